//! A tail on its way to another process, in parts that fit into memory and into a moment.
//!
//! A tail of a hundred megabytes takes a busy machine seconds to send. So each answer has the rows of some whole sequences above those
//! that the reader has already, and what was received stays when the next answer does not come. Parts can also be had of a tail that is
//! not whole yet, because a pipeline that was started again reads what it had shown before.

use arrow::{
    array::RecordBatch,
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use schemas::{Sequence, ShardId, tables};

use super::{TailView, last_sequence, rows_above, sequences, size_bytes};

/// Bytes that are no encoded part.
#[derive(Debug, thiserror::Error)]
#[error("these bytes are no tail")]
pub struct DecodeError(#[source] Option<ArrowError>);

/// The first rows of a tail, and how far it reaches. Cheap to clone.
#[derive(Clone, Debug)]
pub struct TailPart {
    view: TailView,
    /// The head of the whole tail.
    tail_head: Sequence,
    /// Below this head a tail lacks what was shown before, and is not shown.
    shown_from: Sequence,
}

impl TailPart {
    /// All of a tail that may be shown once its head is at `shown_from`.
    #[must_use]
    pub const fn new(view: TailView, shown_from: Sequence) -> Self {
        Self { tail_head: view.head, view, shown_from }
    }

    /// The shard.
    #[must_use]
    pub const fn shard(&self) -> ShardId {
        self.view.shard
    }

    /// Which run of a writer shows it: parts of different runs are never put together.
    #[must_use]
    pub const fn run(&self) -> u64 {
        self.view.run
    }

    /// Every row up to this sequence is in the table, here, or in the parts before.
    #[must_use]
    pub const fn head(&self) -> Sequence {
        self.view.head
    }

    /// The tail, when nothing of it is missing and it may be shown.
    #[must_use]
    pub fn whole(&self) -> Option<&TailView> {
        (self.view.head >= self.tail_head && !self.is_behind()).then_some(&self.view)
    }

    /// Whether the pipeline itself lacks what it had shown before.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.tail_head < self.shown_from
    }

    /// The rows after `after` that a reader gets next: those of whole sequences, about `most_bytes` of either table.
    #[must_use]
    pub fn next(&self, after: Sequence, most_bytes: usize) -> Self {
        let [events, quarantined] = [&self.view.events, &self.view.quarantined].map(|batches| rows_above(batches, after));
        let ends = [&events, &quarantined].into_iter().filter_map(|batches| end_of_part(batches, most_bytes));
        let head = ends.min().unwrap_or(self.view.head);
        let view = TailView { head, events: rows_up_to(&events, head), quarantined: rows_up_to(&quarantined, head), ..self.view };
        Self { view, ..*self }
    }

    /// This part, which comes after an earlier one's head, together with that one.
    #[must_use]
    pub fn continuing(self, earlier: &Self) -> Self {
        if (self.run(), self.shard()) != (earlier.run(), earlier.shard()) {
            return self;
        }
        let rows = |earlier: &[RecordBatch], new: Vec<RecordBatch>| [rows_above(earlier, self.view.tidemark), new].concat();
        let (events, quarantined) = (rows(&earlier.view.events, self.view.events), rows(&earlier.view.quarantined, self.view.quarantined));
        Self { view: TailView { events, quarantined, ..self.view }, ..self }
    }

    /// The part as bytes: two Arrow IPC streams, the first of which carries the numbers in its schema's metadata.
    ///
    /// # Errors
    /// When Arrow cannot encode the rows.
    pub fn encode(&self) -> Result<Vec<u8>, ArrowError> {
        let Self { view, tail_head, shown_from } = self;
        let numbers = [
            ("shard", u64::from(view.shard.0)),
            ("run", view.run),
            ("tidemark", view.tidemark.0),
            ("head", view.head.0),
            ("tail_head", tail_head.0),
            ("shown_from", shown_from.0),
        ];
        let metadata = numbers.map(|(name, number)| (name.to_owned(), number.to_string())).into();
        let schema = Schema::clone(&tables::events()).with_metadata(metadata);
        let mut bytes = Vec::new();
        write(&mut bytes, &schema.into(), &view.events)?;
        write(&mut bytes, &tables::quarantine(), &view.quarantined)?;
        Ok(bytes)
    }

    /// The parts that were encoded, one behind the other.
    ///
    /// # Errors
    /// When the bytes are damaged or of another version.
    pub fn decode_all(mut bytes: &[u8]) -> Result<Vec<Self>, DecodeError> {
        let mut parts = Vec::new();
        while !bytes.is_empty() {
            parts.push(Self::decode(&mut bytes)?);
        }
        Ok(parts)
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        let broken = |error| DecodeError(Some(error));
        let (schema, events) = read(bytes, &tables::events()).map_err(broken)?;
        let (_, quarantined) = read(bytes, &tables::quarantine()).map_err(broken)?;
        let number = |name: &str| schema.metadata().get(name)?.parse::<u64>().ok();
        let sequence = |name: &str| number(name).map(Sequence);
        let shard = number("shard").and_then(|shard| u16::try_from(shard).ok()).map(ShardId);
        let part = || {
            let (run, tidemark, head) = (number("run")?, sequence("tidemark")?, sequence("head")?);
            let view = TailView { shard: shard?, run, tidemark, head, events, quarantined };
            Some(Self { view, tail_head: sequence("tail_head")?, shown_from: sequence("shown_from")? })
        };
        part().ok_or(DecodeError(None))
    }
}

/// The last sequence of the batch with which `most_bytes` are reached, if they are. A sequence is never in two batches.
fn end_of_part(batches: &[RecordBatch], most_bytes: usize) -> Option<Sequence> {
    let mut bytes = 0;
    let last = batches.iter().find(|batch| {
        bytes += size_bytes(batch);
        bytes >= most_bytes
    })?;
    last_sequence(last)
}

fn rows_up_to(batches: &[RecordBatch], head: Sequence) -> Vec<RecordBatch> {
    let head = i64::try_from(head.0).unwrap_or(i64::MAX);
    let up_to = |batch: &RecordBatch| batch.slice(0, sequences(batch).partition_point(|sequence| *sequence <= head));
    batches.iter().map(up_to).filter(|batch| batch.num_rows() > 0).collect()
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
pub(super) mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, new_null_array};
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Rows of `quarantine` with these sequences; the other columns are of no matter here.
    pub(in crate::tail) fn rows(sequences: &[i64]) -> RecordBatch {
        rows_of(&tables::quarantine(), sequences)
    }

    fn rows_of(schema: &SchemaRef, sequences: &[i64]) -> RecordBatch {
        let nullable = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect::<Vec<_>>();
        let schema = Arc::new(Schema::new(nullable));
        let column = |name: &str, kind| -> ArrayRef {
            if name == "_sequence" { Arc::new(Int64Array::from(sequences.to_vec())) } else { new_null_array(kind, sequences.len()) }
        };
        let columns = schema.fields().iter().map(|field| column(field.name(), field.data_type())).collect();
        RecordBatch::try_new(schema, columns).unwrap()
    }

    fn sequences_of(batches: &[RecordBatch]) -> Vec<i64> {
        batches.iter().flat_map(sequences).copied().collect()
    }

    fn part(run: u64, (tidemark, head): (u64, u64), quarantined: &[i64]) -> TailPart {
        let empty = TailView::empty(ShardId(3), run, Sequence(tidemark));
        TailPart::new(TailView { head: Sequence(head), quarantined: vec![rows(quarantined)], ..empty }, Sequence::ZERO)
    }

    #[test]
    fn a_part_comes_back_as_it_went_and_rubbish_is_refused() {
        let view = TailView { head: Sequence(9), ..TailView::empty(ShardId(3), u64::MAX, Sequence(4)) };
        let part = TailPart::new(view, Sequence(12));
        let bytes = [part.encode().unwrap(), part.encode().unwrap()].concat();
        let back = TailPart::decode_all(&bytes).unwrap();
        assert_eq!(back.len(), 2);
        let TailPart { view, tail_head, shown_from } = &back[1];
        assert_eq!((view.shard, view.run, view.tidemark, view.head), (ShardId(3), u64::MAX, Sequence(4), Sequence(9)));
        assert_eq!((*tail_head, *shown_from), (Sequence(9), Sequence(12)));
        assert!(TailPart::decode_all(b"rubbish").is_err());
    }

    #[test]
    fn a_part_goes_on_from_an_earlier_one_of_the_same_run_only() {
        let earlier = part(1, (4, 7), &[5, 6, 7]);
        let newer = |run| part(run, (6, 9), &[8, 9]);
        assert_eq!(sequences_of(&newer(1).continuing(&earlier).view.quarantined), [7, 8, 9]);
        assert_eq!(sequences_of(&newer(2).continuing(&earlier).view.quarantined), [8, 9]);
    }

    #[test]
    fn a_tail_is_whole_once_all_of_it_is_there_and_reaches_what_was_shown_before() {
        let at = |head| TailPart::new(TailView { head: Sequence(head), ..TailView::empty(ShardId(0), 1, Sequence(4)) }, Sequence(7));
        assert!(at(6).is_behind() && at(6).whole().is_none());
        assert!(!at(7).is_behind() && at(7).whole().is_some());
        let mut tail = part(1, (4, 9), &[5, 6, 7]);
        tail.view.quarantined.push(rows(&[8, 9]));
        let first = tail.next(Sequence::ZERO, 1);
        assert!(first.whole().is_none() && !first.is_behind() && first.head() == Sequence(7));
        assert!(tail.next(first.head(), 1).continuing(&first).whole().is_some());
    }

    proptest! {
        /// However the rows lie in batches and in the two tables, and however small the parts are.
        #[test]
        fn parts_put_together_are_the_tail(messages in vec((0..4usize, 0..3usize, any::<bool>()), 0..40), most_bytes in 1..2_000usize) {
            let [events, quarantine] = [tables::events(), tables::quarantine()];
            let mut tail = TailView { head: Sequence(messages.len() as u64), ..TailView::empty(ShardId(0), 1, Sequence::ZERO) };
            let (mut row_sequences, mut quarantined_sequences) = (Vec::new(), Vec::new());
            for (sequence, (rows, quarantined, ends_batch)) in (1..).zip(messages) {
                row_sequences.extend(vec![sequence; rows]);
                quarantined_sequences.extend(vec![sequence; quarantined]);
                if ends_batch {
                    tail.events.push(rows_of(&events, &std::mem::take(&mut row_sequences)));
                    tail.quarantined.push(rows_of(&quarantine, &std::mem::take(&mut quarantined_sequences)));
                }
            }
            tail.events.push(rows_of(&events, &row_sequences));
            tail.quarantined.push(rows_of(&quarantine, &quarantined_sequences));
            let (whole, head) = (TailPart::new(tail.clone(), Sequence::ZERO), tail.head);

            let mut read = whole.next(Sequence::ZERO, most_bytes);
            while read.whole().is_none() {
                let next = whole.next(read.head(), most_bytes);
                prop_assert!(next.head() > read.head(), "each part brings something");
                let known: std::collections::BTreeSet<i64> = sequences_of(&read.view.events).into_iter().collect();
                prop_assert!(sequences_of(&next.view.events).iter().all(|sequence| !known.contains(sequence)), "whole sequences");
                read = next.continuing(&read);
            }
            prop_assert_eq!(read.head(), head);
            prop_assert_eq!(sequences_of(&read.view.events), sequences_of(&tail.events));
            prop_assert_eq!(sequences_of(&read.view.quarantined), sequences_of(&tail.quarantined));
        }
    }
}
