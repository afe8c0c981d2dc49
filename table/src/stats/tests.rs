use std::sync::Arc;

use arrow::{
    array::{Int32Array, StringArray, TimestampMicrosecondArray},
    datatypes::{Field, Schema},
};

use super::*;

fn rows(texts: Vec<Option<&str>>, times: Vec<i64>) -> RecordBatch {
    let times = TimestampMicrosecondArray::from(times).with_timezone("UTC");
    let schema = Schema::new(vec![
        Field::new("user_id", DataType::Utf8, true),
        Field::new("timestamp", schemas::tables::timestamp_type(), false),
        Field::new("_index", DataType::Int32, false),
        Field::new("metadata", DataType::Utf8, true),
    ]);
    let index = Int32Array::from_iter_values(0..i32::try_from(texts.len()).unwrap());
    let texts: ArrayRef = Arc::new(StringArray::from(texts));
    RecordBatch::try_new(Arc::new(schema), vec![Arc::clone(&texts), Arc::new(times), Arc::new(index), texts]).unwrap()
}

fn collected(rows: &[RecordBatch]) -> Value {
    let mut collector = Collector::default();
    rows.iter().for_each(|batch| collector.push(batch));
    serde_json::from_str(&collector.finish()).unwrap()
}

#[test]
fn the_bounds_are_those_of_all_batches() {
    let stats = collected(&[rows(vec![Some("b"), None], vec![2_000, 7_000]), rows(vec![Some("a")], vec![1_000])]);
    let expected = json!({
        "numRecords": 3,
        "minValues": { "user_id": "a", "timestamp": "1970-01-01T00:00:00.001Z", "_index": 0 },
        "maxValues": { "user_id": "b", "timestamp": "1970-01-01T00:00:00.007Z", "_index": 1 },
        "nullCount": { "user_id": 1, "timestamp": 0, "_index": 0, "metadata": 1 },
    });
    assert_eq!(stats, expected);
}

#[test]
fn times_are_rounded_outwards_also_before_1970() {
    let stats = collected(&[rows(vec![None, None], vec![-1_500, 1_001])]);
    assert_eq!(stats["minValues"]["timestamp"], "1969-12-31T23:59:59.998Z");
    assert_eq!(stats["maxValues"]["timestamp"], "1970-01-01T00:00:00.002Z");
}

#[test]
fn a_column_of_nulls_has_no_bounds() {
    let stats = collected(&[rows(vec![None], vec![0])]);
    assert_eq!(stats["minValues"].get("user_id"), None);
    assert_eq!(stats["maxValues"].get("user_id"), None);
    assert_eq!(stats["nullCount"]["user_id"], 1);
}

#[test]
fn a_cut_text_stays_between_its_bounds() {
    for tail in ["z", "\u{D7FF}", "\u{10FFFF}", "é", "~"] {
        let text = format!("{}{tail}{tail}{tail}", "x".repeat(TEXT_CHARS - 1));
        let upper = upper_bound(&text).unwrap();
        assert!(lower_bound(&text) <= text && text <= upper, "{text:?} against {upper:?}");
        assert!(upper.chars().count() <= TEXT_CHARS);
    }
}

#[test]
fn a_short_text_is_its_own_bounds() {
    let text = "x".repeat(TEXT_CHARS);
    assert_eq!((lower_bound(&text), upper_bound(&text)), (text.clone(), Some(text)));
}

#[test]
fn a_text_of_greatest_characters_has_no_upper_bound() {
    assert_eq!(upper_bound(&"\u{10FFFF}".repeat(TEXT_CHARS + 1)), None);
}
