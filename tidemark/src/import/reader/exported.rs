//! What SQL exported is made the event again that it was: an id that Tidemark made itself is left out, so that the door makes the same
//! one, and metadata that comes as a text becomes the object that it holds.

use std::time::Duration;

use schemas::{Event, IdentityRule, RawEvent, Rules, Timestamp, raw::Field};
use serde_json::{Value, value::RawValue};

use crate::members::Members;

/// 32 hexadecimal digits between quotation marks.
const OWN_ID_BYTES: usize = 34;

/// The event as it was, when it is an exported one; else nothing.
pub(super) fn restored(json: &[u8], rule: &IdentityRule) -> Option<Vec<u8>> {
    let with_metadata = with_metadata(json);
    let json = with_metadata.as_deref().unwrap_or(json);
    without_own_id(json, rule).or(with_metadata)
}

fn with_metadata(json: &[u8]) -> Option<Vec<u8>> {
    let text = RawEvent::read(json).ok()?.get(Field::Metadata).filter(|metadata| metadata.starts_with('"'))?;
    let metadata = serde_json::from_str::<String>(text).ok()?;
    serde_json::from_str::<Members>(&metadata).ok()?;
    changed(json, Field::Metadata, Some(&RawValue::from_string(metadata).ok()?))
}

fn without_own_id(json: &[u8], rule: &IdentityRule) -> Option<Vec<u8>> {
    let raw = RawEvent::read(json).ok()?;
    let id = raw.get(Field::EventId).filter(|id| id.len() == OWN_ID_BYTES)?;
    let id = serde_json::from_str::<String>(id).ok()?;
    let rules = Rules { future_skew: Duration::MAX, ..Rules::default().for_foreign_messages() };
    let mut event = Event::validate(raw, &rules, Timestamp(0)).ok()?;
    event.event_id = None;
    let is_own = rule.of(&event).to_string() == id;
    is_own.then(|| changed(json, Field::EventId, None)).flatten()
}

/// The object with another value of a field, or without the field.
fn changed(json: &[u8], field: Field, value: Option<&RawValue>) -> Option<Vec<u8>> {
    let Members(members) = serde_json::from_slice(json).ok()?;
    let value = |name: &str, own| if name == field.name() { value } else { Some(own) };
    let members = members.iter().filter_map(|(name, own)| Some((name, value(name, own)?)));
    let texts = members.map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())));
    Some(format!("{{{}}}", texts.collect::<Vec<_>>().join(",")).into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &str = r#""event_name":"a","user_id":"u","timestamp":1795000000,"metadata":{"n": 1.50}"#;

    fn is(exported: &str, was: Option<&str>) {
        let restored = restored(exported.as_bytes(), &IdentityRule::default());
        assert_eq!(restored.map(|json| String::from_utf8(json).unwrap()).as_deref(), was, "{exported}");
    }

    #[test]
    fn an_id_that_is_the_identity_of_the_event_is_left_out_and_every_other_one_stays() {
        let json = format!("{{{EVENT}}}");
        let event = Event::validate(RawEvent::read(json.as_bytes()).unwrap(), &Rules::default(), Timestamp(i64::MAX)).unwrap();
        let own = format!(r#"{{"event_id":"{}",{EVENT}}}"#, IdentityRule::default().of(&event));
        is(&own, Some(&json));
        is(&own.replace(r#"{"n": 1.50}"#, r#""{\"n\": 1.50}""#), Some(&json));
        for other in [json.clone(), own.replace("1.50", "1.5"), format!(r#"{{"event_id":"order-17",{EVENT}}}"#), "{".to_owned()] {
            is(&other, None);
        }
    }

    #[test]
    fn a_text_that_holds_an_object_is_metadata_and_no_other_text() {
        is(r#"{"event_name":"a","metadata":"{\"n\": 1.50}"}"#, Some(r#"{"event_name":"a","metadata":{"n": 1.50}}"#));
        for other in [r#"{"metadata":"oops"}"#, r#"{"metadata":"[1]"}"#, r#"{"metadata":{"a":"{}"}}"#] {
            is(other, None);
        }
    }
}
