//! Which files may hold rows that a filter lets through.
//!
//! The ranges in the Delta log may be wider than the values, never narrower, so a file that is left out holds no such row.

use std::sync::Arc;

use datafusion::{
    arrow::datatypes::{Schema, SchemaRef},
    catalog::Session,
    common::{ColumnStatistics, DFSchema, ScalarValue, pruning::PrunableStatistics, stats::Precision},
    logical_expr::Expr,
    physical_optimizer::pruning::PruningPredicateBuilder,
    physical_plan::Statistics,
};
use schemas::{EventDate, tables::EVENT_DATE};
use table::DataFile;

/// The files that may hold rows for which all `filters` are true. A filter that says nothing about ranges keeps all files.
pub(crate) fn may_match(files: &[DataFile], schema: &SchemaRef, filters: &[Expr], state: &dyn Session) -> Vec<DataFile> {
    let mut kept: Vec<DataFile> = files.to_vec();
    let Ok(names) = DFSchema::try_from(Arc::clone(schema)) else { return kept };
    for filter in filters {
        let predicate = state
            .create_physical_expr(filter.clone(), &names)
            .and_then(|filter| PruningPredicateBuilder::new().with_file_schema(Arc::clone(schema)).try_build(filter));
        let Ok(predicate) = predicate else { continue };
        let ranges = kept.iter().map(|file| Arc::new(bounds(file, schema))).collect();
        let Ok(may_match) = predicate.prune(&PrunableStatistics::new(ranges, Arc::clone(schema))) else { continue };
        let mut may_match = may_match.into_iter();
        kept.retain(|_| may_match.next().unwrap_or(true));
    }
    kept
}

/// What the Delta log tells about a file, column by column of `schema`. Pruning takes these ranges as they are; as statistics
/// of the values themselves they are inexact.
pub(crate) fn bounds(file: &DataFile, schema: &Schema) -> Statistics {
    let columns = schema.fields().iter().map(|field| column_bounds(file, field.name()));
    Statistics {
        num_rows: Precision::Exact(usize::try_from(file.rows).unwrap_or(usize::MAX)),
        total_byte_size: Precision::Absent,
        column_statistics: columns.collect(),
    }
}

fn column_bounds(file: &DataFile, column: &str) -> ColumnStatistics {
    let stats = &file.stats;
    let range = match column {
        "timestamp" => Some(stats.timestamp.unwrap_or_else(|| day(file.date))).map(|(least, greatest)| (time(least), time(greatest))),
        EVENT_DATE => Some((date(file.date), date(file.date))),
        "event_name" => stats.event_name.clone().map(|(least, greatest)| (ScalarValue::from(least), ScalarValue::from(greatest))),
        "_shard" => stats.shards.map(|(least, greatest)| (ScalarValue::from(i32::from(least.0)), ScalarValue::from(i32::from(greatest.0)))),
        "_sequence" => stats.sequences.and_then(|(least, greatest)| Some((number(least.0)?, number(greatest.0)?))),
        _ => None,
    };
    let Some((least, greatest)) = range else { return ColumnStatistics::new_unknown() };
    ColumnStatistics {
        null_count: Precision::Exact(0),
        min_value: Precision::Exact(least),
        max_value: Precision::Exact(greatest),
        ..ColumnStatistics::new_unknown()
    }
}

/// The first and the last microsecond of a day.
fn day(date: EventDate) -> (i64, i64) {
    (date.start().0, EventDate(date.0 + 1).start().0 - 1)
}

fn time(us: i64) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(Some(us), Some("UTC".into()))
}

fn date(date: EventDate) -> ScalarValue {
    ScalarValue::Date32(Some(date.0))
}

fn number(sequence: u64) -> Option<ScalarValue> {
    i64::try_from(sequence).ok().map(ScalarValue::from)
}
