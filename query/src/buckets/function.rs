//! The buckets as a scalar function of DataFusion: `time_bucket(unit, zone, timestamp)`.
//!
//! Unit and zone are arguments, not state, so that a plan that uses it can be sent to another machine by name.

use std::sync::{Arc, LazyLock};

use chrono::NaiveDate;
use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray, PrimitiveArray},
        datatypes::{DataType, TimestampMicrosecondType},
    },
    common::{Result, exec_err},
    logical_expr::{ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility},
    prelude::lit,
};
use schemas::tables::timestamp_type;

use super::{Buckets, Unit, Zone};

/// The start of the bucket of `timestamp`. `zone` is a name that [`Zone::parse`] has accepted.
pub(crate) fn time_bucket(unit: Unit, zone: &str, timestamp: Expr) -> Expr {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| Arc::new(ScalarUDF::from(TimeBucket::new())));
    FUNCTION.call(vec![lit(unit.name()), lit(zone), timestamp])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct TimeBucket {
    signature: Signature,
}

impl TimeBucket {
    fn new() -> Self {
        Self { signature: Signature::exact(vec![DataType::Utf8, DataType::Utf8, timestamp_type()], Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for TimeBucket {
    fn name(&self) -> &'static str {
        "time_bucket"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(timestamp_type())
    }

    fn invoke_with_args(&self, call: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [ColumnarValue::Scalar(unit), ColumnarValue::Scalar(zone), timestamps] = &call.args[..] else {
            return exec_err!("time_bucket takes a constant unit, a constant zone and a timestamp");
        };
        let unit = unit.try_as_str().flatten().and_then(Unit::parse);
        let zone = zone.try_as_str().flatten().and_then(Zone::parse);
        let (Some(unit), Some(zone)) = (unit, zone) else {
            return exec_err!("time_bucket knows no such unit or zone");
        };
        let starts = bucket_starts(Buckets { unit, zone }, &timestamps.to_array(call.number_rows)?);
        Ok(ColumnarValue::Array(starts))
    }
}

fn bucket_starts(buckets: Buckets, timestamps: &ArrayRef) -> ArrayRef {
    let timestamps: &PrimitiveArray<TimestampMicrosecondType> = timestamps.as_primitive();
    let starts: PrimitiveArray<TimestampMicrosecondType> = match buckets.unit {
        Unit::Minute | Unit::Hour => timestamps.unary(|us| buckets.start_of(us)),
        Unit::Day | Unit::Week | Unit::Month => {
            let mut last: Option<(NaiveDate, i64)> = None;
            timestamps.iter().map(|us| us.map(|us| start_of_date(buckets, buckets.first_date(us), &mut last))).collect()
        }
    };
    Arc::new(starts.with_data_type(timestamp_type()))
}

/// Neighbouring rows mostly lie on one date, and finding the first instant of a date is the costly part.
fn start_of_date(buckets: Buckets, date: NaiveDate, last: &mut Option<(NaiveDate, i64)>) -> i64 {
    match last {
        Some((known, start)) if *known == date => *start,
        _ => {
            let start = buckets.start_on(date);
            *last = Some((date, start));
            start
        }
    }
}
