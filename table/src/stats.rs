//! The statistics of a file as Delta keeps them: JSON with `numRecords`, `minValues`, `maxValues`, `nullCount`.
//!
//! Bounds may be wider than the values, never narrower: times are rounded outwards to milliseconds, long texts are cut, and a cut
//! upper bound is rounded up. Readers of every engine skip files by them.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    compute::{max, max_string, min, min_string},
    datatypes::{ArrowPrimitiveType, DataType, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType},
};
use chrono::DateTime;
use schemas::tables::EVENT_DATE;
use serde_json::{Map, Value, json};

/// A bound of a text has at most so many characters.
const TEXT_CHARS: usize = 64;
/// Free text in which nobody looks for a range.
const WITHOUT_BOUNDS: [&str; 2] = ["metadata", "message"];
const US_PER_MS: i64 = 1000;

/// The statistics of rows that become one file. Lists and raw bytes have none, the partition column needs none.
pub(crate) fn collect(rows: &[RecordBatch]) -> String {
    let (mut least, mut greatest, mut nulls) = (Map::new(), Map::new(), Map::new());
    let fields = rows.first().map(RecordBatch::schema).into_iter().flat_map(|schema| schema.fields().to_vec()).enumerate();
    for (index, field) in fields.filter(|(_, field)| field.name() != EVENT_DATE && is_scalar(field.data_type())) {
        let column: Vec<ArrayRef> = rows.iter().map(|batch| Arc::clone(batch.column(index))).collect();
        nulls.insert(field.name().clone(), column.iter().map(|part| part.null_count()).sum::<usize>().into());
        if WITHOUT_BOUNDS.contains(&field.name().as_str()) {
            continue;
        }
        let (lower, upper) = bounds(&column, field.data_type());
        least.extend(lower.map(|value| (field.name().clone(), value)));
        greatest.extend(upper.map(|value| (field.name().clone(), value)));
    }
    let count: usize = rows.iter().map(RecordBatch::num_rows).sum();
    json!({ "numRecords": count, "minValues": least, "maxValues": greatest, "nullCount": nulls }).to_string()
}

const fn is_scalar(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Int32 | DataType::Int64 | DataType::Timestamp(TimeUnit::Microsecond, _))
}

fn bounds(column: &[ArrayRef], data_type: &DataType) -> (Option<Value>, Option<Value>) {
    match data_type {
        DataType::Utf8 => text_bounds(column),
        DataType::Int32 => number_bounds::<Int32Type>(column),
        DataType::Int64 => number_bounds::<Int64Type>(column),
        _ => time_bounds(column),
    }
}

fn number_bounds<T: ArrowPrimitiveType>(column: &[ArrayRef]) -> (Option<Value>, Option<Value>)
where
    T::Native: Into<i64> + Ord,
{
    let (least, greatest) = extremes::<T>(column);
    (least.map(|value| value.into().into()), greatest.map(|value| value.into().into()))
}

fn time_bounds(column: &[ArrayRef]) -> (Option<Value>, Option<Value>) {
    let (least, greatest) = extremes::<TimestampMicrosecondType>(column);
    let floor = |us: i64| us.div_euclid(US_PER_MS);
    let ceiling = |us: i64| us.div_euclid(US_PER_MS) + i64::from(us.rem_euclid(US_PER_MS) > 0);
    (least.map(floor).and_then(time_text), greatest.map(ceiling).and_then(time_text))
}

fn extremes<T: ArrowPrimitiveType>(column: &[ArrayRef]) -> (Option<T::Native>, Option<T::Native>)
where
    T::Native: Ord,
{
    let parts = || column.iter().map(|part| part.as_primitive::<T>());
    (parts().filter_map(min).min(), parts().filter_map(max).max())
}

fn time_text(ms: i64) -> Option<Value> {
    Some(DateTime::from_timestamp_millis(ms)?.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().into())
}

fn text_bounds(column: &[ArrayRef]) -> (Option<Value>, Option<Value>) {
    let parts = || column.iter().map(|part| part.as_string::<i32>());
    let least = parts().filter_map(min_string).min();
    let greatest = parts().filter_map(max_string).max();
    (least.map(|text| lower_bound(text).into()), greatest.and_then(upper_bound).map(Value::from))
}

/// A text that is not greater: its first characters.
fn lower_bound(text: &str) -> String {
    text.chars().take(TEXT_CHARS).collect()
}

/// A text that is not less: itself, or its first characters with the last one raised. `None` when there is no such text.
fn upper_bound(text: &str) -> Option<String> {
    if text.chars().nth(TEXT_CHARS).is_none() {
        return Some(text.to_owned());
    }
    let mut bound: Vec<char> = text.chars().take(TEXT_CHARS).collect();
    while let Some(last) = bound.pop() {
        if let Some(raised) = (last..=char::MAX).nth(1) {
            bound.push(raised);
            return Some(bound.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests;
