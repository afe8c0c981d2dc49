//! The tail: the rows of a shard that are above the table's tidemark, already deduplicated, as Arrow in memory.
//!
//! ```text
//! a cut = the table at version V  +  the tail above the tidemark of V
//! ```
//!
//! The pipeline keeps it and the queries ask for it: by a call in one process, over HTTP between two (`encode`, `decode`).
//! A [`TailView`] holds every row of `tidemark + 1 ..= head`, so a reader whose snapshot is at or above `tidemark` loses nothing
//! and repeats nothing by taking the rows above its own tidemark (INVARIANTS I7).

use arrow::{
    array::{AsArray, RecordBatch},
    compute::{filter_record_batch, kernels::cmp::gt},
    datatypes::{Int64Type, Schema, SchemaRef},
    error::ArrowError,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use async_trait::async_trait;
use schemas::{Sequence, ShardId, tables};

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

/// Bytes that are no encoded view.
#[derive(Debug, thiserror::Error)]
#[error("these bytes are no tail")]
pub struct DecodeError(#[source] Option<ArrowError>);

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

    /// The view without the rows that a snapshot with this tidemark holds already.
    #[must_use]
    pub fn above(&self, above: Sequence) -> Self {
        let (tidemark, head) = (self.tidemark.max(above), self.head.max(above));
        Self {
            shard: self.shard,
            run: self.run,
            tidemark,
            head,
            events: rows_above(&self.events, above),
            quarantined: rows_above(&self.quarantined, above),
        }
    }

    /// The view with its numbers as they are, without the rows up to `after`, which the reader has already.
    #[must_use]
    pub fn rows_after(self, after: Sequence) -> Self {
        Self { events: rows_above(&self.events, after), quarantined: rows_above(&self.quarantined, after), ..self }
    }

    /// This view, of which the rows above an earlier one's head were asked for, together with what that one had.
    #[must_use]
    pub fn continuing(self, earlier: &Self) -> Self {
        if self.run != earlier.run || self.shard != earlier.shard {
            return self;
        }
        let rows = |earlier: &[RecordBatch], new: Vec<RecordBatch>| [rows_above(earlier, self.tidemark), new].concat();
        Self { events: rows(&earlier.events, self.events), quarantined: rows(&earlier.quarantined, self.quarantined), ..self }
    }

    /// The view as bytes: two Arrow IPC streams, the first of which carries the numbers in its schema's metadata.
    ///
    /// # Errors
    /// When Arrow cannot encode the rows.
    pub fn encode(&self) -> Result<Vec<u8>, ArrowError> {
        let numbers = [("shard", u64::from(self.shard.0)), ("run", self.run), ("tidemark", self.tidemark.0), ("head", self.head.0)];
        let metadata = numbers.map(|(name, number)| (name.to_owned(), number.to_string())).into();
        let schema = Schema::clone(&tables::events()).with_metadata(metadata);
        let mut bytes = Vec::new();
        write(&mut bytes, &schema.into(), &self.events)?;
        write(&mut bytes, &tables::quarantine(), &self.quarantined)?;
        Ok(bytes)
    }

    /// The views that were encoded, one behind the other.
    ///
    /// # Errors
    /// When the bytes are damaged or of another version.
    pub fn decode_all(mut bytes: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let mut views = Vec::new();
        while !bytes.is_empty() {
            views.push(Self::decode(&mut bytes)?);
        }
        Ok(views)
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        let broken = |error| DecodeError(Some(error));
        let (schema, events) = read(bytes, &tables::events()).map_err(broken)?;
        let (_, quarantined) = read(bytes, &tables::quarantine()).map_err(broken)?;
        let number = |name: &str| schema.metadata().get(name)?.parse::<u64>().ok();
        let shard = number("shard").and_then(|shard| u16::try_from(shard).ok());
        match (shard, number("run"), number("tidemark"), number("head")) {
            (Some(shard), Some(run), Some(tidemark), Some(head)) => {
                Ok(Self { shard: ShardId(shard), run, tidemark: Sequence(tidemark), head: Sequence(head), events, quarantined })
            }
            _ => Err(DecodeError(None)),
        }
    }
}

/// The rows whose sequence is above `tidemark`, of batches in the columns of either table and in the order of their sequences.
#[must_use]
pub fn rows_above(batches: &[RecordBatch], tidemark: Sequence) -> Vec<RecordBatch> {
    batches.iter().filter_map(|batch| above(batch, tidemark)).collect()
}

fn above(batch: &RecordBatch, tidemark: Sequence) -> Option<RecordBatch> {
    let sequences = batch.column_by_name("_sequence").expect("both tables have the natural key");
    let limit = arrow::array::Int64Array::new_scalar(i64::try_from(tidemark.0).unwrap_or(i64::MAX));
    let last = sequences.as_primitive::<Int64Type>().values().last()?;
    if u64::try_from(*last).unwrap_or_default() <= tidemark.0 {
        return None;
    }
    let is_above = gt(sequences, &limit).expect("both are 64-bit integers");
    let rows = filter_record_batch(batch, &is_above).expect("the filter has one value for each row");
    (rows.num_rows() > 0).then_some(rows)
}

fn write(bytes: &mut Vec<u8>, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<(), ArrowError> {
    let mut writer = StreamWriter::try_new(bytes, schema)?;
    batches.iter().try_for_each(|batch| writer.write(&batch.clone().with_schema(SchemaRef::clone(schema))?))?;
    writer.finish()
}

/// Reads one stream and leaves what follows it in `bytes`; the rows get the schema of the table.
fn read(bytes: &mut &[u8], table: &SchemaRef) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let reader = StreamReader::try_new(&mut *bytes, None)?;
    let schema = reader.schema();
    let row_batch = |batch: RecordBatch| RecordBatch::try_new(SchemaRef::clone(table), batch.columns().to_vec());
    let batches = reader.map(|batch| batch.and_then(row_batch)).collect::<Result<Vec<_>, _>>()?;
    Ok((schema, batches))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, new_null_array};

    use super::*;

    /// Rows of `quarantine` with these sequences; the other columns are of no matter here.
    fn rows(sequences: &[i64]) -> RecordBatch {
        let nullable =
            |schema: SchemaRef| schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>();
        let schema = Arc::new(Schema::new(nullable(tables::quarantine())));
        let column = |name: &str, kind| -> ArrayRef {
            if name == "_sequence" {
                Arc::new(arrow::array::Int64Array::from(sequences.to_vec()))
            } else {
                new_null_array(kind, sequences.len())
            }
        };
        let columns = schema.fields().iter().map(|field| column(field.name(), field.data_type())).collect();
        RecordBatch::try_new(schema, columns).unwrap()
    }

    fn sequences(batches: &[RecordBatch]) -> Vec<i64> {
        batches.iter().flat_map(|batch| batch.column_by_name("_sequence").unwrap().as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    #[test]
    fn what_a_snapshot_holds_is_not_in_the_view_above_it() {
        let view = TailView {
            quarantined: vec![rows(&[5, 5, 6]), rows(&[7, 9])],
            head: Sequence(9),
            ..TailView::empty(ShardId(1), 1, Sequence(4))
        };
        for (tidemark, expected) in
            [(0, vec![5, 5, 6, 7, 9]), (4, vec![5, 5, 6, 7, 9]), (5, vec![6, 7, 9]), (7, vec![9]), (9, vec![]), (20, vec![])]
        {
            assert_eq!(sequences(&view.above(Sequence(tidemark)).quarantined), expected, "above {tidemark}");
        }
        assert_eq!(view.above(Sequence(20)).head, Sequence(20), "a snapshot beyond the head is newer than the view");
    }

    #[test]
    fn a_view_comes_back_as_it_went_and_rubbish_is_refused() {
        let view = TailView { head: Sequence(9), ..TailView::empty(ShardId(3), u64::MAX, Sequence(4)) };
        let bytes = [view.encode().unwrap(), view.encode().unwrap()].concat();
        let back = TailView::decode_all(&bytes).unwrap();
        assert_eq!(back.len(), 2);
        assert_eq!((back[1].shard, back[1].run, back[1].tidemark, back[1].head), (ShardId(3), u64::MAX, Sequence(4), Sequence(9)));
        assert!(TailView::decode_all(b"rubbish").is_err());
    }

    #[test]
    fn a_view_goes_on_from_an_earlier_one_of_the_same_run_only() {
        let earlier = TailView { quarantined: vec![rows(&[5, 6, 7])], head: Sequence(7), ..TailView::empty(ShardId(1), 1, Sequence(4)) };
        let newer = |run| TailView { quarantined: vec![rows(&[8, 9])], head: Sequence(9), ..TailView::empty(ShardId(1), run, Sequence(6)) };
        assert_eq!(sequences(&newer(1).continuing(&earlier).quarantined), [7, 8, 9]);
        assert_eq!(sequences(&newer(2).continuing(&earlier).quarantined), [8, 9]);
    }
}
