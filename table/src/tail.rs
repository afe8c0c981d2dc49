//! The tail: the rows of a shard that are above the table's tidemark, already deduplicated, as Arrow in memory.
//!
//! ```text
//! a cut = the table at version V  +  the tail above the tidemark of V
//! ```
//!
//! The pipeline keeps it and the queries ask for it: by a call in one process, over HTTP between two, a [`TailPart`] at a time.
//! A [`TailView`] holds every row of `tidemark + 1 ..= head`, so a reader whose snapshot is at or above `tidemark` loses nothing
//! and repeats nothing by taking the rows above its own tidemark (INVARIANTS I7).

use arrow::{
    array::{AsArray, Int64Array, RecordBatch},
    compute::{filter_record_batch, kernels::cmp::gt},
    datatypes::Int64Type,
};
use async_trait::async_trait;
use schemas::{Sequence, ShardId};

mod part;

pub use self::part::{DecodeError, TailPart};

/// Who can tell the tails of some shards.
#[async_trait]
pub trait Tails: Send + Sync + 'static {
    /// The tails of all shards, each as it is now.
    ///
    /// # Errors
    /// When any of them cannot be had: a part of the tail is worse than none.
    async fn views(&self) -> Result<Vec<TailView>, TailUnavailable>;

    /// Waits until the view of `shard` reaches `at_least`, or gives up after a moment.
    async fn reached(&self, shard: ShardId, at_least: Sequence);
}

/// A pipeline did not tell its tail.
#[derive(Debug, thiserror::Error)]
#[error("the tail is not available: {reason}")]
pub struct TailUnavailable {
    /// Whom was asked, and what happened.
    pub reason: String,
}

/// The tail of one shard at one moment. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TailView {
    /// The shard.
    pub shard: ShardId,
    /// Which run of a writer shows it: views of different runs are never put together.
    pub run: u64,
    /// What the pipeline has committed: the rows begin after it.
    pub tidemark: Sequence,
    /// The last sequence that was read; every row up to it is in the table or here.
    pub head: Sequence,
    /// Rows of `events`, in the order of their sequences.
    pub events: Vec<RecordBatch>,
    /// Rows of `quarantine`, in the order of their sequences.
    pub quarantined: Vec<RecordBatch>,
}

impl TailView {
    /// A shard of which everything that was read is committed.
    #[must_use]
    pub fn empty(shard: ShardId, run: u64, tidemark: Sequence) -> Self {
        Self { shard, run, tidemark, head: tidemark, events: Vec::new(), quarantined: Vec::new() }
    }
}

/// The rows whose sequence is above `tidemark`, of batches in the columns of either table and in the order of their sequences.
#[must_use]
pub fn rows_above(batches: &[RecordBatch], tidemark: Sequence) -> Vec<RecordBatch> {
    batches.iter().filter_map(|batch| above(batch, tidemark)).collect()
}

fn above(batch: &RecordBatch, tidemark: Sequence) -> Option<RecordBatch> {
    if last_sequence(batch)? <= tidemark {
        return None;
    }
    let limit = Int64Array::new_scalar(i64::try_from(tidemark.0).unwrap_or(i64::MAX));
    let is_above =
        gt(batch.column_by_name("_sequence").expect("both tables have the natural key"), &limit).expect("both are 64-bit integers");
    let rows = filter_record_batch(batch, &is_above).expect("the filter has one value for each row");
    (rows.num_rows() > 0).then_some(rows)
}

/// What the rows of a batch take, whatever larger buffers they may be a part of.
#[must_use]
pub fn size_bytes(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or_default()).sum()
}

/// The sequence of the last row, which is the highest.
fn last_sequence(batch: &RecordBatch) -> Option<Sequence> {
    sequences(batch).last().map(|last| Sequence(u64::try_from(*last).unwrap_or_default()))
}

fn sequences(batch: &RecordBatch) -> &[i64] {
    batch.column_by_name("_sequence").expect("both tables have the natural key").as_primitive::<Int64Type>().values()
}

#[cfg(test)]
mod tests {
    use super::{part::tests::rows, *};

    #[test]
    fn what_a_snapshot_holds_is_not_taken_from_the_tail() {
        let batches = [rows(&[5, 5, 6]), rows(&[7, 9])];
        for (tidemark, expected) in
            [(0, vec![5, 5, 6, 7, 9]), (4, vec![5, 5, 6, 7, 9]), (5, vec![6, 7, 9]), (7, vec![9]), (9, vec![]), (20, vec![])]
        {
            let above = rows_above(&batches, Sequence(tidemark));
            assert_eq!(above.iter().flat_map(sequences).copied().collect::<Vec<_>>(), expected, "above {tidemark}");
        }
    }
}
