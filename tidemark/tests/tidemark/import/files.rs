//! The same events in every form that a file can have.

use std::{io::Write, sync::Arc};

use arrow::{
    array::{ArrayRef, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray},
    datatypes::{DataType, Field, Schema},
};
use parquet::arrow::ArrowWriter;

/// How many events each of the files holds.
pub(super) const EVENTS: u64 = 1200;

/// The content of a file.
pub(super) type Form = Vec<u8>;

const FIRST_US: i64 = 1_790_000_000_000_123;

/// An event without an id: its fields and every byte of its metadata make it the same.
fn event(number: u64) -> String {
    format!(
        r#"{{"event_name":{},"user_id":"u{number}","timestamp":{},"tags":["x","y"],"metadata":{}}}"#,
        serde_json::Value::from(name(number)),
        time_us(number),
        metadata(number)
    )
}

fn name(number: u64) -> &'static str {
    if number.is_multiple_of(3) { "page view" } else { "purchase, \"new\"" }
}

fn time_us(number: u64) -> i64 {
    FIRST_US + i64::try_from(number).unwrap() * 1_000_000
}

fn metadata(number: u64) -> String {
    format!(r#"{{"price": {number}.50,"zip":"00{number}"}}"#)
}

fn joined(separator: &str) -> String {
    (0..EVENTS).map(event).collect::<Vec<_>>().join(separator)
}

/// NDJSON, with a byte order mark and empty lines.
pub(super) fn lines() -> Form {
    format!("\u{feff}{}\r\n\n", joined("\n")).into_bytes()
}

/// Small events, each another one.
pub(super) fn many(events: u64) -> Form {
    let line = |number| format!("{{\"event_name\":\"a\",\"user_id\":\"u\",\"timestamp\":{}}}\n", time_us(number));
    (0..events).map(line).collect::<String>().into_bytes()
}

/// A list.
pub(super) fn json() -> Form {
    format!("\n[ {} ]\n", joined("\n , ")).into_bytes()
}

/// A list under `events`.
pub(super) fn wrapped() -> Form {
    format!(r#"{{"source":[1,{{"events":7}}],"events":[{}],"end":null}}"#, joined(",")).into_bytes()
}

/// Separated cells, with columns in another order and times as text.
pub(super) fn csv(delimiter: char) -> Form {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let header = ["timestamp", "metadata", "event_type", "channel", "tags", "user_id"].join(&delimiter.to_string());
    let row = |number| {
        let time = chrono::DateTime::from_timestamp_micros(time_us(number)).unwrap().to_rfc3339();
        let user = format!("u{number}");
        [time, quoted(&metadata(number)), quoted(name(number)), String::new(), quoted("x,y"), user].join(&delimiter.to_string())
    };
    let rows: Vec<String> = (0..EVENTS).map(row).collect();
    format!("{header}\r\n{}", rows.join("\r\n")).into_bytes()
}

/// Columns, with some that only a table has.
pub(super) fn parquet() -> Form {
    let texts = |text: fn(u64) -> String| -> ArrayRef { Arc::new((0..EVENTS).map(|number| Some(text(number))).collect::<StringArray>()) };
    let mut tags = ListBuilder::new(StringBuilder::new());
    (0..EVENTS).for_each(|_| tags.append_value([Some("x"), Some("y")]));
    let times = TimestampMicrosecondArray::from_iter_values((0..EVENTS).map(time_us));
    let columns: [(&str, ArrayRef); 6] = [
        ("timestamp", Arc::new(times)),
        ("_sequence", Arc::new(Int64Array::from_iter_values(0..i64::try_from(EVENTS).unwrap()))),
        ("user_id", texts(|number| format!("u{number}"))),
        ("event_name", texts(|number| name(number).to_owned())),
        ("metadata", texts(metadata)),
        ("tags", Arc::new(tags.finish())),
    ];
    let field = |(name, column): &(&str, ArrayRef)| Field::new(*name, column.data_type().clone(), true);
    let mut fields: Vec<Field> = columns.iter().map(field).collect();
    fields.push(Field::new("channel", DataType::Utf8, true));
    let nothing: ArrayRef = Arc::new((0..EVENTS).map(|_| None::<&str>).collect::<StringArray>());
    let arrays = columns.into_iter().map(|(_, column)| column).chain([nothing]).collect();
    let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

/// Two members, as `cat a.gz b.gz` makes them.
pub(super) fn gzip(content: &[u8]) -> Form {
    let (left, right) = content.split_at(content.len() / 3);
    let pack = |part: &[u8]| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packer.write_all(part).unwrap();
        packer.finish().unwrap()
    };
    [pack(left), pack(right)].concat()
}

/// Two frames.
pub(super) fn zstd(content: &[u8]) -> Form {
    let (left, right) = content.split_at(content.len() / 2);
    [left, right].map(|part| zstd::encode_all(part, 3).unwrap()).concat()
}
