//! A record of quarantine, and the event that is made of it.

use pipeline::writer::{ADOPTED_CODE, GAP_CODE};
use schemas::{Position, Sequence, ShardId};
use serde::{Deserialize, Deserializer, de::Error};
use serde_json::value::RawValue;

use crate::members::Members;

/// A row of `quarantine`, as [`question`] asks for it.
#[derive(Debug, Deserialize)]
pub(super) struct Record {
    #[serde(rename = "_shard")]
    shard: ShardId,
    #[serde(rename = "_sequence")]
    sequence: Sequence,
    #[serde(rename = "_index")]
    index: u32,
    received_at_us: i64,
    pub(super) code: String,
    pub(super) message: String,
    #[serde(deserialize_with = "from_hex")]
    raw: Vec<u8>,
}

/// The SQL for up to `limit` records after one; those of messages that are gone hold nothing that could be sent. The bytes come as hexadecimal digits, so that none is lost on the way.
pub(super) fn question(condition: &str, after: Option<&Record>, limit: usize) -> String {
    let after = after.map_or_else(String::new, |Record { shard, sequence, index, .. }| {
        format!("AND (_shard > {shard} OR _shard = {shard} AND (_sequence > {sequence} OR _sequence = {sequence} AND _index > {index}))")
    });
    format!(
        "SELECT _shard, _sequence, _index, CAST(received_at AS BIGINT) AS received_at_us, code, message, encode(raw, 'hex') AS raw \
         FROM quarantine WHERE code NOT IN ('{GAP_CODE}', '{ADOPTED_CODE}') AND (\n{condition}\n) {after} ORDER BY _shard, _sequence, _index LIMIT {limit}"
    )
}

impl Record {
    pub(super) fn position(&self) -> Position {
        Position { shard: self.shard, sequence: self.sequence, index: Some(self.index) }
    }

    /// The event to send: the record's own fields, with an id and a time where it has none. `None` for what is no JSON object.
    pub(super) fn body(&self) -> Option<String> {
        let Members(mut members) = serde_json::from_slice(&self.raw).ok()?;
        let id = format!("\"quarantine-{}-{}-{}\"", self.shard, self.sequence, self.index);
        for (name, value) in [("event_id", id), ("timestamp", self.received_at_us.to_string())] {
            members.retain(|(key, found)| key != name || found.get() != "null");
            if members.iter().all(|(key, _)| key != name) {
                members.push((name.to_owned(), RawValue::from_string(value).expect("a number and an id are JSON")));
            }
        }
        let texts = members.iter().map(|(key, value)| format!("{}:{value}", serde_json::Value::from(key.as_str())));
        Some(format!("{{{}}}", texts.collect::<Vec<_>>().join(",")))
    }
}

fn from_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let byte = |pair: &[u8]| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?);
    let bytes: Option<Vec<u8>> = text.as_bytes().chunks(2).map(byte).collect();
    bytes.ok_or_else(|| D::Error::custom("`raw` is not hexadecimal"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(raw: &str) -> Option<String> {
        let hex: String = raw.bytes().map(|byte| format!("{byte:02x}")).collect();
        let (received_at_us, code, message) = (1_795_000_000_000_000_i64, "c", "m");
        let row = json!({
            "_shard": 0, "_sequence": 7, "_index": 2, "received_at_us": received_at_us, "code": code, "message": message, "raw": hex
        });
        serde_json::from_value::<Record>(row).unwrap().body()
    }

    #[test]
    fn a_record_is_sent_as_it_came_with_an_id_and_a_time_where_it_has_none() {
        let own = r#"{"event_id":"x","timestamp":1.50,"n":1e400,"n":"é"}"#;
        assert_eq!(body(own).unwrap(), own);
        assert_eq!(
            body(r#"{"event_id":null,"a":{"b": 1}}"#).unwrap(),
            r#"{"a":{"b": 1},"event_id":"quarantine-0-7-2","timestamp":1795000000000000}"#
        );
        assert_eq!(body("{}").unwrap(), r#"{"event_id":"quarantine-0-7-2","timestamp":1795000000000000}"#);
    }

    #[test]
    fn what_is_no_object_is_not_sent() {
        for raw in ["rubbish", "[]", "7", "", "{", "{} {}"] {
            assert_eq!(body(raw), None, "{raw}");
        }
    }
}
