//! Messages that no door of ours wrote (`nats pub`, `nats bench`): read as JSON, one item after the other.
//!
//! The good items are rows; each bad one is a quarantine row with its own bytes and its place in the message.

use std::{collections::HashMap, sync::Arc};

use arrow::array::{BinaryArray, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use journal::Delivery;
use schemas::{BlockBuilder, Event, EventDate, IdentityRule, RawEvent, Rules, Timestamp, Violation, tables};
use serde_json::value::RawValue;

use super::rows::{Rows, event_rows, sequence};

/// One thing that is no event.
struct Quarantined<'a> {
    index: i32,
    code: &'a str,
    message: String,
    raw: &'a [u8],
}

/// Reads a message as one event, an array, `{"events": [...]}` or NDJSON.
pub(super) fn read(delivery: &Delivery, rules: &Rules, identity: &IdentityRule) -> Rows {
    let arrived = arrival(delivery);
    let (mut events, mut indices, mut quarantined) = (BlockBuilder::default(), Vec::new(), Vec::new());
    for (index, raw) in (0..).zip(split(&delivery.payload)) {
        match judge(raw, rules, arrived) {
            Ok(event) => {
                events.push(&event, identity.of(&event));
                indices.push(index);
            }
            Err(violation) => quarantined.push(Quarantined { index, code: violation.code.as_str(), message: violation.to_string(), raw }),
        }
    }
    Rows {
        sequence: delivery.sequence,
        message: delivery.payload.clone(),
        events: (events.rows() > 0).then(|| event_rows(&events.into_batch(), delivery, Some(indices))),
        quarantined: (!quarantined.is_empty()).then(|| quarantine_rows(delivery, &quarantined)),
    }
}

/// Puts a whole message into quarantine.
pub(super) fn quarantine_whole(delivery: &Delivery, code: &str, message: &str) -> Rows {
    let whole = Quarantined { index: 0, code, message: message.to_owned(), raw: &delivery.payload };
    Rows {
        sequence: delivery.sequence,
        message: delivery.payload.clone(),
        events: None,
        quarantined: Some(quarantine_rows(delivery, &[whole])),
    }
}

/// The items of a message; a message that is no list of any kind is one item.
fn split(payload: &[u8]) -> Vec<&[u8]> {
    if let Ok(items) = serde_json::from_slice::<Vec<&RawValue>>(payload) {
        return items.into_iter().map(|item| item.get().as_bytes()).collect();
    }
    match serde_json::from_slice::<HashMap<&str, &RawValue>>(payload) {
        Ok(fields) => events_of(&fields).unwrap_or_else(|| vec![payload]),
        Err(_) => lines(payload),
    }
}

fn events_of<'a>(fields: &HashMap<&str, &'a RawValue>) -> Option<Vec<&'a [u8]>> {
    let items = serde_json::from_str::<Vec<&RawValue>>(fields.get("events")?.get()).ok()?;
    Some(items.into_iter().map(|item| item.get().as_bytes()).collect())
}

/// The lines of NDJSON, if the first one is JSON; else the whole as it is.
fn lines(payload: &[u8]) -> Vec<&[u8]> {
    let lines: Vec<&[u8]> = payload.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()).collect();
    match lines.first() {
        Some(first) if serde_json::from_slice::<&RawValue>(first).is_ok() => lines,
        _ => vec![payload],
    }
}

fn judge<'a>(raw: &'a [u8], rules: &Rules, arrived: Timestamp) -> Result<Event<'a>, Violation> {
    Event::validate(RawEvent::read(raw)?, rules, arrived).map_err(|mut violations| violations.swap_remove(0))
}

fn arrival(delivery: &Delivery) -> Timestamp {
    Timestamp(delivery.published_at.timestamp_micros())
}

fn quarantine_rows(delivery: &Delivery, all: &[Quarantined<'_>]) -> RecordBatch {
    let (arrived, count) = (arrival(delivery), all.len());
    let columns: Vec<arrow::array::ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_value(arrived.0, count).with_timezone("UTC")),
        Arc::new(Date32Array::from_value(EventDate::of(arrived).0, count)),
        Arc::new(StringArray::from_iter_values(all.iter().map(|one| one.code))),
        Arc::new(StringArray::from_iter_values(all.iter().map(|one| &one.message))),
        Arc::new(BinaryArray::from_iter_values(all.iter().map(|one| one.raw))),
        Arc::new(Int32Array::from_value(i32::from(delivery.shard.0), count)),
        Arc::new(Int64Array::from_value(sequence(delivery), count)),
        Arc::new(Int32Array::from_iter_values(all.iter().map(|one| one.index))),
    ];
    RecordBatch::try_new(tables::quarantine(), columns).expect("the columns are those of `quarantine`")
}
