//! Takes a body as the door does, through validation and a block, and compares every row with what was sent, as `serde_json` and
//! `chrono` read it. The fuzz target uses it too.

use std::collections::HashMap;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::TimestampMicrosecondType,
};
use schemas::{
    Block, BlockBuilder, Event, IdentityRule, RawEvent, Rules, Timestamp,
    event::Presence,
    raw::{Body, Dialect, Field, Item, Unreadable},
};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

const NOW: Timestamp = Timestamp(1_763_717_400_000_000);
const TEXTS: [Field; 7] = [Field::EventId, Field::EventName, Field::UserId, Field::Channel, Field::CampaignId, Field::SiteId, Field::Path];

/// What a cloud event must say of itself.
const ATTRIBUTES: &str = r#"{"specversion":"1.0","id":"1","source":"s","type":"t"}"#;

/// What became of a body: for each item whether it was JSON and whether it was accepted, and the rows of those that were.
#[derive(Default)]
struct Taken {
    items: Vec<(bool, bool)>,
    block: BlockBuilder,
}

impl Taken {
    fn take(&mut self, item: Item<'_>) {
        let is_json = item.is_ok();
        let event = item.map_err(|violation| vec![violation]).and_then(|raw: RawEvent<'_>| Event::validate(raw, &rules(), NOW));
        self.items.push((is_json, event.is_ok()));
        if let Ok(event) = event {
            self.block.push(&event, IdentityRule::default().of(&event));
        }
    }
}

/// Checks a body in every way in which a client may send it: as JSON, as cloud events, as NDJSON, as the data of a cloud event whose
/// attributes are headers. Gives the most events that were accepted of it.
///
/// # Panics
/// When a row is not what was sent, or when `serde_json` and the door disagree about what is JSON.
pub(crate) fn check(bytes: &[u8]) -> usize {
    let lines = take(Body::of_lines(bytes)).expect("lines are never refused as a whole");
    compare(&lines_of(without_mark(bytes)), lines, Dialect::Tidemark);
    check_data(bytes);
    [Dialect::Tidemark, Dialect::CloudEvents].map(|dialect| check_document(bytes, dialect)).into_iter().max().unwrap_or(0)
}

fn check_document(bytes: &[u8], dialect: Dialect) -> usize {
    let sent = without_mark(bytes);
    match Body::of_json(bytes, dialect).and_then(take) {
        Err(Unreadable::Syntax(syntax)) => {
            assert!(!is_json(sent), "refused, and it is JSON: {syntax}");
            0
        }
        Err(_) => 0,
        Ok(taken) if is_json(sent) => documents(sent, dialect).map_or(0, |items| compare(&items, taken, dialect)),
        Ok(taken) => compare(&lines_of(sent), taken, Dialect::Tidemark),
    }
}

/// The body of a cloud event in binary form is its metadata, and nothing else.
fn check_data(bytes: &[u8]) {
    let read = RawEvent::of_cloud_event(ATTRIBUTES, Some(bytes));
    assert_eq!(read.is_ok(), is_json(bytes), "data");
    if let Some(Ok(event)) = read.ok().map(|raw| Event::validate(raw, &rules(), NOW)) {
        let sent = serde_json::from_slice::<&RawValue>(bytes).expect("it is JSON").get();
        assert_eq!(event.metadata.unwrap_or("null"), sent, "the data of a cloud event, byte for byte");
    }
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}

fn rules() -> Rules {
    Rules { timestamp: Presence::Optional, user_id: Presence::Optional, ..Rules::default() }
}

fn take(body: Body<'_>) -> Result<Taken, Unreadable> {
    let mut taken = Taken::default();
    match body {
        Body::One(raw) => taken.take(Ok(*raw)),
        Body::Many(events) => {
            let count = events.for_each(usize::MAX, false, |item| taken.take(item))?;
            assert_eq!(count, taken.items.len());
        }
    }
    Ok(taken)
}

fn is_json(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

fn lines_of(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect()
}

/// The items of a JSON document; `None` when `serde_json` cannot tell, because a key is no text.
fn documents(bytes: &[u8], dialect: Dialect) -> Option<Vec<&[u8]>> {
    let items = |json| serde_json::from_slice::<Vec<&RawValue>>(json).ok();
    let items = match (items(bytes), dialect) {
        (Some(items), _) => Some(items),
        (None, Dialect::Tidemark) => fields(bytes)?.get("events").and_then(|events| items(events.get().as_bytes())),
        (None, Dialect::CloudEvents) => None,
    };
    Some(items.map_or_else(|| vec![bytes], |items| items.into_iter().map(|item| item.get().as_bytes()).collect()))
}

fn fields(json: &[u8]) -> Option<HashMap<String, &RawValue>> {
    serde_json::from_slice(json).ok()
}

/// Compares rows with the items that they come from; gives their number.
fn compare(sent: &[&[u8]], taken: Taken, dialect: Dialect) -> usize {
    assert_eq!(sent.len(), taken.items.len(), "items");
    for (json, (was_json, _)) in sent.iter().zip(&taken.items) {
        assert_eq!(is_json(json), *was_json, "{}", String::from_utf8_lossy(json));
    }
    let rows = taken.block.rows();
    if rows > 0 {
        let batch = Block::decode(&taken.block.finish().into_bytes()).expect("a block of ours");
        let accepted = sent.iter().zip(&taken.items).filter(|(_, (_, accepted))| *accepted);
        accepted.enumerate().for_each(|(row, (json, _))| same(&batch, row, json, dialect));
    }
    rows
}

/// The row is what the JSON object says.
fn same(batch: &RecordBatch, row: usize, json: &[u8], dialect: Dialect) {
    let Some(sent) = fields(json) else { return };
    let member = |name: &str| sent.get(name).map(|value| value.get()).filter(|value| *value != "null");
    let value = |field: Field| key(field, dialect).and_then(member);
    let text = |json: &str| serde_json::from_str::<String>(json).expect("a text was accepted");
    let column = |field: Field| batch.column_by_name(field.name()).filter(|column| column.is_valid(row));
    let stored = |field: Field| column(field).map(|column| column.as_string::<i32>().value(row).to_owned());
    for field in TEXTS {
        let alias = (field == Field::EventName && dialect == Dialect::Tidemark).then(|| member("event_type")).flatten();
        assert_eq!(stored(field), value(field).or(alias).map(text), "{}", field.name());
    }
    assert_eq!(stored(Field::Metadata).as_deref(), value(Field::Metadata), "metadata, byte for byte");
    let tags = column(Field::Tags).map(|column| {
        let tags = column.as_list::<i32>().value(row);
        tags.as_string::<i32>().iter().map(|tag| tag.expect("a tag is a text").to_owned()).collect::<Vec<_>>()
    });
    let sent_tags = value(Field::Tags).map(|json| serde_json::from_str::<Vec<String>>(json).expect("a list of texts was accepted"));
    assert_eq!(tags, sent_tags, "tags");
    let timestamp = column(Field::Timestamp).expect("every row has it").as_primitive::<TimestampMicrosecondType>().value(row);
    let sent_time = value(Field::Timestamp);
    assert!(sent_time.map_or(timestamp == NOW.0, |json| is_time(json, timestamp)), "{sent_time:?} became {timestamp}");
}

/// The key of a field; cloud events have a name of their own for each field that they have.
fn key(field: Field, dialect: Dialect) -> Option<&'static str> {
    let name = dialect.name(field);
    (dialect == Dialect::Tidemark || name != field.name()).then_some(name)
}

/// Whether this many microseconds are the time that was sent.
fn is_time(json: &str, us: i64) -> bool {
    let units = [1_000_000, 1_000, 1];
    if let Ok(number) = json.parse::<i64>() {
        return units.iter().any(|unit| number.checked_mul(*unit) == Some(us));
    }
    if let Ok(number) = json.parse::<f64>() {
        return units.iter().any(|unit| (number * *unit as f64 - us as f64).abs() <= 1.0 + number * f64::EPSILON * *unit as f64);
    }
    let text: String = serde_json::from_str(json).expect("a time is a number or a text");
    chrono::DateTime::parse_from_rfc3339(&text).is_ok_and(|time| time.timestamp_micros() == us)
}
