//! A batch: the rows of a contiguous run of deliveries, the unit of commit, and its sorting into days.

use std::sync::Arc;

use arrow::{
    array::{AsArray, RecordBatch},
    compute::{SortColumn, concat_batches, lexsort_to_indices, partition, take_record_batch},
    datatypes::{Date32Type, SchemaRef},
    error::ArrowError,
};
use schemas::{EventDate, Sequence, tables};

use table::Fingerprint;

use super::{runs::Runs, span::Publishes};

/// The rows of the sequences after `after` up to and including `last`.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) after: Sequence,
    pub(super) last: Sequence,
    pub(super) events: Runs,
    pub(super) quarantined: Runs,
    /// The payload of the last message, as the table will remember it.
    pub(super) last_message: Fingerprint,
    pub(super) publishes: Publishes,
}

/// The rows of one partition, in the order of its file.
#[derive(Debug)]
pub(super) struct Day {
    pub(super) date: EventDate,
    pub(super) rows: RecordBatch,
}

/// The order of a file of `events`, after its day: what queries ask for first, then time, then the natural key.
pub(super) const EVENTS_ORDER: [&str; 4] = ["event_name", "timestamp", "_sequence", "_index"];
/// The order of a file of `quarantine`: that of the journal.
pub(super) const QUARANTINE_ORDER: [&str; 2] = ["_sequence", "_index"];

/// Puts rows in order and cuts them into days.
///
/// # Errors
/// When Arrow cannot, such as for more than 2 GiB of text in one batch.
pub(super) fn days(schema: &SchemaRef, rows: &[RecordBatch], order: &[&str]) -> Result<Vec<Day>, ArrowError> {
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sorted(&concat_batches(schema, rows)?, order)?;
    let dates = Arc::clone(rows.column_by_name(tables::EVENT_DATE).expect("both tables are cut by day"));
    let days = partition(std::slice::from_ref(&dates))?.ranges().into_iter();
    Ok(days
        .map(|range| Day {
            date: EventDate(dates.as_primitive::<Date32Type>().value(range.start)),
            rows: rows.slice(range.start, range.len()),
        })
        .collect())
}

fn sorted(rows: &RecordBatch, order: &[&str]) -> Result<RecordBatch, ArrowError> {
    let column = |name: &str| SortColumn {
        values: Arc::clone(rows.column_by_name(name).expect("the order is by columns of the table")),
        options: None,
    };
    let columns: Vec<SortColumn> = [tables::EVENT_DATE].iter().chain(order).map(|name| column(name)).collect();
    take_record_batch(rows, &lexsort_to_indices(&columns, None)?)
}
