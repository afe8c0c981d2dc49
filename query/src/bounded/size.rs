//! How large the result of a call is, estimated from above, before it is made.

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, Int64Array},
        compute::cast,
        datatypes::{DataType, Int64Type, IntervalMonthDayNanoType, IntervalUnit, TimeUnit},
    },
    common::Result,
    logical_expr::ScalarFunctionArgs,
};

/// What a number in a list takes, and at least any element.
const NUMBER_BYTES: u128 = 8;
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
    /// As long as the second argument says, in characters or elements.
    Filled,
    /// The first argument with the third in the place of, at most, each byte.
    Replaced,
    /// From the first number or time to the second in steps of the third; up to the first, if it is alone.
    Counted,
}

impl Size {
    /// Bytes for all rows of a call.
    pub(super) fn of(self, call: &ScalarFunctionArgs) -> Result<u128> {
        let arguments = call.args.iter().map(|argument| argument.to_array(call.number_rows)).collect::<Result<Vec<ArrayRef>>>()?;
        let bytes = match (self, &arguments[..]) {
            (Self::Repeated, [what, times, ..]) => sum(&widths(what)?, &numbers(times)?, |width, times| width * positive(times)),
            (Self::Filled, [what, length, ..]) => {
                let fill = arguments.get(2).map(widths).transpose()?.unwrap_or_default();
                let widest = fill.into_iter().max().unwrap_or_default().max(NUMBER_BYTES).max(CHARACTER_BYTES);
                sum(&widths(what)?, &numbers(length)?, |width, length| width + widest * positive(length))
            }
            (Self::Replaced, [what, _, with]) => widths(what)?.into_iter().zip(widths(with)?).map(|(what, with)| what * with.max(1)).sum(),
            (Self::Counted, [stop]) => numbers(stop)?.iter().map(|stop| positive(*stop) * NUMBER_BYTES).sum(),
            (Self::Counted, [start, stop, steps @ ..]) => {
                let steps = steps.first().map_or_else(|| Ok(vec![1; stop.len()]), numbers)?;
                let spans = numbers(start)?.into_iter().zip(numbers(stop)?).map(|(start, stop)| start.abs_diff(stop));
                spans.zip(steps).map(|(span, step)| (u128::from(span / step.unsigned_abs().max(1)) + 1) * NUMBER_BYTES).sum()
            }
            _ => 0,
        };
        Ok(bytes)
    }
}

fn sum(widths: &[u128], numbers: &[i64], bytes: impl Fn(u128, i64) -> u128) -> u128 {
    widths.iter().zip(numbers).map(|(width, number)| bytes(*width, *number)).sum()
}

fn positive(number: i64) -> u128 {
    u128::try_from(number).unwrap_or_default()
}

/// What each value takes: texts exactly, anything else on average.
fn widths(values: &ArrayRef) -> Result<Vec<u128>> {
    if values.data_type().is_string() {
        let texts = cast(values, &DataType::LargeUtf8)?;
        return Ok(texts.as_string::<i64>().iter().map(|text| text.map_or(0, str::len) as u128).collect());
    }
    let average = values.get_array_memory_size().div_ceil(values.len().max(1)) as u128;
    Ok(vec![average.max(NUMBER_BYTES); values.len()])
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
