//! The serde side of [`super`]: visitors that keep what they find and fail on broken JSON only.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{Body, Field, Item, RawEvent, Value};

/// More elements of a list than any field may have; what follows is only counted.
const LIST_KEPT: usize = 64;

pub(super) fn document(bytes: &[u8], limit: usize) -> serde_json::Result<Body<'_>> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let body = BodySeed { limit }.deserialize(&mut json)?;
    json.end()?;
    Ok(body)
}

/// Whether a first document was complete and another one begins on a later line.
pub(super) fn is_followed_by_more(error: &serde_json::Error, bytes: &[u8]) -> bool {
    error.is_syntax()
        && error.line() > 1
        && bytes.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty()).is_some_and(is_json)
}

fn is_json(line: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

struct BodySeed {
    limit: usize,
}

impl<'de> DeserializeSeed<'de> for BodySeed {
    type Value = Body<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Body<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for BodySeed {
    type Value = Body<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event, a list of events, or {\"events\": [...]}")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Body<'de>, A::Error> {
        read_list(seq, self.limit)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Body<'de>, A::Error> {
        let (event, events) = read_object(map, Some(self.limit))?;
        Ok(events.unwrap_or_else(|| Body::One(Box::new(event))))
    }
}

fn read_list<'de, A: SeqAccess<'de>>(mut seq: A, limit: usize) -> Result<Body<'de>, A::Error> {
    let mut items: Vec<Item<'de>> = Vec::new();
    while items.len() < limit {
        match seq.next_element()? {
            Some(event) => items.push(Ok(event)),
            None => return Ok(Body::Many(items, 0).counted()),
        }
    }
    let mut count = items.len();
    while seq.next_element::<IgnoredAny>()?.is_some() {
        count += 1;
    }
    Ok(Body::Many(items, count))
}

impl Body<'_> {
    fn counted(self) -> Self {
        match self {
            Self::Many(items, _) => {
                let count = items.len();
                Self::Many(items, count)
            }
            one @ Self::One(_) => one,
        }
    }
}

/// Reads the fields of an object; `limit` says that a list under `events` makes it a batch.
fn read_object<'de, A: MapAccess<'de>>(mut map: A, limit: Option<usize>) -> Result<(RawEvent<'de>, Option<Body<'de>>), A::Error> {
    let mut event = RawEvent::default();
    let mut events = None;
    while let Some(Key(key)) = map.next_key()? {
        match (Field::named(&key), limit) {
            (Some(Field::Metadata), _) => event.put_metadata(map.next_value()?),
            (Some(field), _) => event.put(field, map.next_value()?),
            (None, Some(limit)) if key == "events" => events = map.next_value_seed(EventsSeed { limit })?,
            (None, _) => {
                map.next_value::<IgnoredAny>()?;
                event.unknown.push(key);
            }
        }
    }
    Ok((event, events))
}

impl<'a> RawEvent<'a> {
    fn put(&mut self, field: Field, value: Value<'a>) {
        if self.values[field as usize].replace(value).is_some() {
            self.repeated.push(field);
        }
    }

    fn put_metadata(&mut self, json: &'a RawValue) {
        if self.metadata.replace(json).is_some() {
            self.repeated.push(Field::Metadata);
        }
    }
}

/// The value under `events`: a list is a batch, anything else is not ours.
struct EventsSeed {
    limit: usize,
}

impl<'de> DeserializeSeed<'de> for EventsSeed {
    type Value = Option<Body<'de>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self).map(Some)
    }
}

impl<'de> Visitor<'de> for EventsSeed {
    type Value = Body<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Body<'de>, A::Error> {
        read_list(seq, self.limit)
    }
}

/// A key of an object, borrowed unless it has escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Key<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(ValueVisitor)? {
            Value::Text(text) => Ok(Self(text)),
            other => Err(D::Error::custom(format_args!("a key must be a text, found {}", other.kind()))),
        }
    }
}

impl<'de> Deserialize<'de> for RawEvent<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EventVisitor)
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

/// An object is an event; anything else is kept as what stands there instead.
struct EventVisitor;

impl<'de> Visitor<'de> for EventVisitor {
    type Value = RawEvent<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawEvent<'de>, A::Error> {
        Ok(read_object(map, None)?.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawEvent<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(instead("a list"))
    }

    fn visit_unit<E: Error>(self) -> Result<RawEvent<'de>, E> {
        Ok(instead("null"))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<RawEvent<'de>, E> {
        Ok(instead("a boolean"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<RawEvent<'de>, E> {
        Ok(instead("a number"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<RawEvent<'de>, E> {
        Ok(instead("a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<RawEvent<'de>, E> {
        Ok(instead("a number"))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<RawEvent<'de>, E> {
        Ok(instead("a text"))
    }
}

fn instead<'a>(kind: &'static str) -> RawEvent<'a> {
    RawEvent { instead: Some(kind), ..RawEvent::default() }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(value))
    }

    #[expect(clippy::cast_precision_loss, reason = "above i64 only the magnitude matters: no field takes such a number")]
    fn visit_u64<E: Error>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value<'de>, E> {
        Ok(Value::Float(value))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        let mut kept = Vec::new();
        while kept.len() < LIST_KEPT {
            match seq.next_element()? {
                Some(value) => kept.push(value),
                None => {
                    let count = kept.len();
                    return Ok(Value::List(kept, count));
                }
            }
        }
        let mut count = kept.len();
        while seq.next_element::<IgnoredAny>()?.is_some() {
            count += 1;
        }
        Ok(Value::List(kept, count))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Object)
    }
}
