//! Which files may hold rows that a filter lets through.
//!
//! The ranges in the Delta log may be wider than the values, never narrower, so a file that is left out holds no such row.

use std::{collections::HashSet, sync::Arc};

use datafusion::{
    arrow::{
        array::{ArrayRef, BooleanArray, Date32Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray},
        datatypes::SchemaRef,
    },
    catalog::Session,
    common::{Column, DFSchema, ScalarValue, pruning::PruningStatistics},
    logical_expr::Expr,
    physical_optimizer::pruning::PruningPredicateBuilder,
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
        let Ok(may_match) = predicate.and_then(|predicate| predicate.prune(&Ranges(&kept))) else { continue };
        let mut may_match = may_match.into_iter();
        kept.retain(|_| may_match.next().unwrap_or(true));
    }
    kept
}

/// What the Delta log tells about files, one array entry for each.
struct Ranges<'a>(&'a [DataFile]);

#[derive(Clone, Copy)]
enum End {
    Least,
    Greatest,
}

impl End {
    fn of<T>(self, (least, greatest): (T, T)) -> T {
        match self {
            Self::Least => least,
            Self::Greatest => greatest,
        }
    }
}

impl Ranges<'_> {
    fn bounds(&self, column: &str, end: End) -> Option<ArrayRef> {
        let files = self.0.iter();
        Some(match column {
            "timestamp" => {
                Arc::new(TimestampMicrosecondArray::from_iter_values(files.map(|file| end.of(times(file)))).with_timezone("UTC"))
            }
            EVENT_DATE => Arc::new(Date32Array::from_iter_values(files.map(|file| file.date.0))),
            "event_name" => {
                Arc::new(files.map(|file| file.stats.event_name.as_ref().map(|(a, z)| end.of((a, z)))).collect::<StringArray>())
            }
            "_shard" => Arc::new(files.map(|file| file.stats.shards.map(|(a, z)| i32::from(end.of((a.0, z.0))))).collect::<Int32Array>()),
            "_sequence" => {
                let sequence = |file: &DataFile| file.stats.sequences.and_then(|(a, z)| i64::try_from(end.of((a.0, z.0))).ok());
                Arc::new(files.map(sequence).collect::<Int64Array>())
            }
            _ => return None,
        })
    }
}

/// The event times of a file: as its statistics say, else anywhere in its day.
fn times(file: &DataFile) -> (i64, i64) {
    let day = || (file.date.start().0, EventDate(file.date.0 + 1).start().0 - 1);
    file.stats.timestamp.unwrap_or_else(day)
}

impl PruningStatistics for Ranges<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column.name(), End::Least)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column.name(), End::Greatest)
    }

    fn num_containers(&self) -> usize {
        self.0.len()
    }

    fn null_counts(&self, _column: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
