//! The statistics of a file as Delta keeps them: JSON with `numRecords`, `minValues`, `maxValues`, `nullCount`.
//!
//! Bounds may be wider than the values, never narrower: times are rounded outwards to milliseconds, long texts are cut, and a cut
//! upper bound is rounded up. Readers of every engine skip files by them.

use std::{cmp::Ordering, collections::BTreeMap};

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    compute::{max, max_string, min, min_string},
    datatypes::{ArrowPrimitiveType, DataType, Field, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType},
};
use chrono::DateTime;
use schemas::tables::EVENT_DATE;
use serde_json::{Map, Value, json};

/// A bound of a text has at most so many characters.
const TEXT_CHARS: usize = 64;
/// Free text in which nobody looks for a range.
const WITHOUT_BOUNDS: [&str; 2] = ["metadata", "message"];
const US_PER_MS: i64 = 1000;

/// Collects the statistics of a file while its rows pass. Lists and raw bytes have none, the partition column needs none.
#[derive(Default)]
pub(crate) struct Collector {
    rows: u64,
    columns: BTreeMap<String, Column>,
}

/// What is known of a column so far.
#[derive(Default)]
struct Column {
    nulls: usize,
    least: Option<Value>,
    greatest: Option<Value>,
    /// Some value is above all bounds that can be written down.
    is_endless: bool,
}

impl Collector {
    /// Takes the next rows.
    pub(crate) fn push(&mut self, rows: &RecordBatch) {
        self.rows += rows.num_rows() as u64;
        for (field, values) in rows.schema_ref().fields().iter().zip(rows.columns()) {
            if field.name() != EVENT_DATE && is_scalar(field.data_type()) {
                self.columns.entry(field.name().clone()).or_default().push(field, values);
            }
        }
    }

    /// The rows so far.
    pub(crate) const fn rows(&self) -> u64 {
        self.rows
    }

    /// As JSON.
    pub(crate) fn finish(self) -> String {
        let (mut least, mut greatest, mut nulls) = (Map::new(), Map::new(), Map::new());
        for (name, column) in self.columns {
            nulls.insert(name.clone(), column.nulls.into());
            least.extend(column.least.map(|value| (name.clone(), value)));
            greatest.extend(column.greatest.filter(|_| !column.is_endless).map(|value| (name, value)));
        }
        json!({ "numRecords": self.rows, "minValues": least, "maxValues": greatest, "nullCount": nulls }).to_string()
    }
}

impl Column {
    fn push(&mut self, field: &Field, values: &ArrayRef) {
        self.nulls += values.null_count();
        if WITHOUT_BOUNDS.contains(&field.name().as_str()) {
            return;
        }
        let (lower, upper) = bounds(values, field.data_type());
        self.is_endless |= lower.is_some() && upper.is_none();
        widen(&mut self.least, lower, Ordering::Less);
        widen(&mut self.greatest, upper, Ordering::Greater);
    }
}

/// Takes the value if there is none yet, or if it lies beyond.
fn widen(bound: &mut Option<Value>, value: Option<Value>, beyond: Ordering) {
    let Some(value) = value else { return };
    if bound.as_ref().is_none_or(|bound| order(&value, bound) == beyond) {
        *bound = Some(value);
    }
}

/// Of two bounds of one column: whole numbers, or texts (times are texts of one length).
fn order(one: &Value, other: &Value) -> Ordering {
    (one.as_i64(), one.as_str()).cmp(&(other.as_i64(), other.as_str()))
}

const fn is_scalar(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::Int32 | DataType::Int64 | DataType::Timestamp(TimeUnit::Microsecond, _))
}

fn bounds(column: &ArrayRef, data_type: &DataType) -> (Option<Value>, Option<Value>) {
    match data_type {
        DataType::Utf8 => text_bounds(column),
        DataType::Int32 => number_bounds::<Int32Type>(column),
        DataType::Int64 => number_bounds::<Int64Type>(column),
        _ => time_bounds(column),
    }
}

fn number_bounds<T: ArrowPrimitiveType>(column: &ArrayRef) -> (Option<Value>, Option<Value>)
where
    T::Native: Into<i64>,
{
    let column = column.as_primitive::<T>();
    (min(column).map(|value| value.into().into()), max(column).map(|value| value.into().into()))
}

fn time_bounds(column: &ArrayRef) -> (Option<Value>, Option<Value>) {
    let column = column.as_primitive::<TimestampMicrosecondType>();
    let floor = |us: i64| us.div_euclid(US_PER_MS);
    let ceiling = |us: i64| us.div_euclid(US_PER_MS) + i64::from(us.rem_euclid(US_PER_MS) > 0);
    (min(column).map(floor).and_then(time_text), max(column).map(ceiling).and_then(time_text))
}

fn time_text(ms: i64) -> Option<Value> {
    Some(DateTime::from_timestamp_millis(ms)?.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string().into())
}

fn text_bounds(column: &ArrayRef) -> (Option<Value>, Option<Value>) {
    let column = column.as_string::<i32>();
    (min_string(column).map(|text| lower_bound(text).into()), max_string(column).and_then(upper_bound).map(Value::from))
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
