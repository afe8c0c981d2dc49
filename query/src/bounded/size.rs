//! How large the result of a call is, estimated from above, before it is made.

use std::iter::zip;

use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray, Int64Array},
        compute::cast,
        datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit},
    },
    common::Result,
    logical_expr::{ColumnarValue, ScalarFunctionArgs},
};

use crate::widths::{self, NUMBER_BYTES};

/// A character may take so many bytes.
const CHARACTER_BYTES: u128 = 4;
const US_PER_DAY: i64 = 24 * 3_600_000_000;
/// No month is shorter.
const DAYS_PER_MONTH: i64 = 28;

/// What makes a result large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Size {
    /// The first argument as often as the second says.
    Repeated,
    /// A list with the first argument as often as the second says.
    Listed,
    /// As long as the second argument says, in characters or elements.
    Filled,
    /// The first argument with the third in the place of each second one that may be in it.
    Replaced,
    /// The first argument with the third, in which references stand for parts of the first, between any two of its bytes.
    Matched,
    /// From the first number or time to the second in steps of the third; up to the first, if it is alone.
    Counted,
    /// All arguments, one after the other.
    Joined,
    /// A list of all arguments.
    Gathered,
    /// All arguments, with the first between any two.
    Separated,
    /// The elements of the first argument with the second between any two, and the third for those that are absent.
    Delimited,
    /// Each byte of the first argument with each of the second: steps rather than bytes.
    Compared,
}

impl Size {
    /// Bytes for all rows of a call.
    pub(super) fn of(self, call: &ScalarFunctionArgs) -> Result<u128> {
        let rows = call.number_rows;
        let widths = |argument: &ColumnarValue| of_rows(argument, rows, widths::of_values);
        let numbers = |argument: &ColumnarValue| of_rows(argument, rows, numbers);
        Ok(match (self, &call.args[..]) {
            (Self::Repeated, [what, times, ..]) => zip(widths(what)?, numbers(times)?).map(|(width, times)| width * positive(times)).sum(),
            (Self::Listed, [what, times, ..]) => {
                let place = widths::place_of(&what.data_type()) + NUMBER_BYTES; // the second is the index by which it is taken
                zip(widths(what)?, numbers(times)?).map(|(width, times)| (width + place) * positive(times)).sum()
            }
            (Self::Filled, [what, length, fill @ ..]) => {
                let fill = fill.first().map(widths).transpose()?.unwrap_or_default();
                let widest = fill.into_iter().max().unwrap_or_default().max(NUMBER_BYTES).max(CHARACTER_BYTES);
                zip(widths(what)?, numbers(length)?).map(|(width, length)| width + widest * positive(length)).sum()
            }
            (Self::Replaced, [what, from, with]) => {
                let changes = zip(zip(widths(what)?, widths(from)?), widths(with)?);
                changes.map(|((what, from), with)| what + what / from.max(1) * with).sum()
            }
            (Self::Matched, [what, _, with, ..]) => zip(widths(what)?, widths(with)?).map(|(what, with)| what + (what + 1) * with).sum(),
            (Self::Counted, [stop]) => numbers(stop)?.into_iter().map(|stop| positive(stop) * NUMBER_BYTES).sum(),
            (Self::Counted, [start, stop, steps @ ..]) => {
                let steps = steps.first().map_or_else(|| Ok(vec![1; rows]), numbers)?;
                let spans = zip(numbers(start)?, numbers(stop)?).map(|(start, stop)| start.abs_diff(stop));
                spans.zip(steps).map(|(span, step)| (u128::from(span / step.unsigned_abs().max(1)) + 1) * NUMBER_BYTES).sum()
            }
            (Self::Joined, parts) => total(parts, widths)?,
            (Self::Gathered, parts) => {
                let places: u128 = parts.iter().map(|part| widths::place_of(&part.data_type())).sum();
                total(parts, widths)? + rows as u128 * places
            }
            (Self::Separated, parts @ [separator, ..]) => {
                total(parts, widths)? + parts.len() as u128 * total(std::slice::from_ref(separator), widths)?
            }
            (Self::Delimited, [lists, texts @ ..]) => {
                let widest = |text: &ColumnarValue| Ok(widths(text)?.into_iter().max().unwrap_or_default());
                let widest: u128 = texts.iter().map(widest).sum::<Result<_>>()?;
                widths(lists)?.into_iter().map(|width| width + width / NUMBER_BYTES * widest).sum()
            }
            (Self::Compared, [one, other, ..]) => zip(widths(one)?, widths(other)?).map(|(one, other)| one * other).sum(),
            _ => 0,
        })
    }
}

fn total(parts: &[ColumnarValue], widths: impl Fn(&ColumnarValue) -> Result<Vec<u128>>) -> Result<u128> {
    parts.iter().map(|part| Ok(widths(part)?.into_iter().sum::<u128>())).sum()
}

fn positive(number: i64) -> u128 {
    u128::try_from(number).unwrap_or_default()
}

/// What `read` says about each row. A constant is looked at once, and not made into a column.
fn of_rows<T: Copy>(argument: &ColumnarValue, rows: usize, read: impl Fn(&ArrayRef) -> Result<Vec<T>>) -> Result<Vec<T>> {
    match argument {
        ColumnarValue::Array(values) => read(values),
        ColumnarValue::Scalar(value) => Ok(vec![read(&value.to_array()?)?[0]; rows]),
    }
}

/// Whole numbers; times and intervals in microseconds, intervals at least as short as they are. An absent one is zero.
fn numbers(values: &ArrayRef) -> Result<Vec<i64>> {
    let number = match values.data_type() {
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let intervals = values.as_primitive::<IntervalMonthDayNanoType>();
            let us = |days: i64, nanoseconds: i64| days.saturating_mul(US_PER_DAY).saturating_add(nanoseconds / 1000);
            let interval = |months: i32, days: i32, nanoseconds| us(i64::from(months) * DAYS_PER_MONTH + i64::from(days), nanoseconds);
            return Ok(intervals
                .iter()
                .map(|value| value.map_or(0, |value| interval(value.months, value.days, value.nanoseconds)))
                .collect());
        }
        DataType::Date32 | DataType::Timestamp(..) => {
            cast(&cast(values, &DataType::Timestamp(TimeUnit::Microsecond, None))?, &DataType::Int64)?
        }
        _ => cast(values, &DataType::Int64)?,
    };
    let number: &Int64Array = number.as_primitive::<Int64Type>();
    Ok(number.iter().map(Option::unwrap_or_default).collect())
}
