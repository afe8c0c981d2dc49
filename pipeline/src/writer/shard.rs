//! The state of one shard, without I/O: what is committed, what is on its way, what is open, and who was here before.
//!
//! ```text
//! missing -> expect -> learn -> push -> [duplicates out] -> open batch -> take_due -> (commit) -> committed
//! ```
//!
//! The driver does what it is told and says what came of it; on any doubt it drops this state and starts a new one from the table.

use std::collections::BTreeSet;

use arrow::{
    array::{BooleanArray, RecordBatch},
    compute::filter_record_batch,
    error::ArrowError,
};
use chrono::{DateTime, Utc};
use schemas::{Sequence, ShardId};
use service::telemetry::traces::TraceContext;
use table::TailView;

use super::{
    batch::Batch,
    dedup::{Index, Minute},
    gap::Gap,
    history::Keys,
    open_batch::{Limits, OpenBatch},
    rows::{Identified, Rows},
};

/// What became of the items of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Admitted {
    pub(super) rows: usize,
    pub(super) duplicates: usize,
    pub(super) quarantined: usize,
}

/// Everything that the writer of a shard knows.
#[derive(Debug)]
pub(super) struct Shard {
    id: ShardId,
    run: u64,
    tidemark: Sequence,
    committing: Option<Batch>,
    committing_bytes: usize,
    open: OpenBatch,
    index: Index,
}

impl Shard {
    /// A shard of which everything up to `tidemark` is in the table, and nothing else is known.
    pub(super) fn new(id: ShardId, run: u64, tidemark: Sequence, limits: Limits, dedup_bytes: usize) -> Self {
        Self {
            id,
            run,
            tidemark,
            committing: None,
            committing_bytes: 0,
            open: OpenBatch::new(limits, tidemark),
            index: Index::new(dedup_bytes),
        }
    }

    /// The minutes that must be learnt before `rows` can be pushed.
    pub(super) fn missing(&self, rows: &Rows) -> BTreeSet<Minute> {
        rows.events.as_ref().map(|events| self.index.missing(events)).unwrap_or_default()
    }

    /// These minutes are learnt next, each in full, as the table has it at the tidemark or later.
    pub(super) fn expect(&mut self, minutes: &BTreeSet<Minute>) {
        self.index.expect(minutes);
    }

    /// Takes identities of the table.
    pub(super) fn learn(&mut self, keys: Keys) {
        keys.into_iter().for_each(|(minute, key)| self.index.learn(minute, key));
    }

    /// Takes the rows of the next delivery, without those that were there before.
    ///
    /// # Errors
    /// When Arrow cannot hold them.
    ///
    /// # Panics
    /// When it is not the next delivery, or a minute is missing.
    pub(super) fn push(&mut self, rows: Rows, now: DateTime<Utc>) -> Result<Admitted, ArrowError> {
        let Rows { sequence, message, events, quarantined } = rows;
        let sent = events.as_ref().map_or(0, |events| events.identities.len());
        let events = events.map(|events| self.first_occurrences(&events, sequence)).transpose()?;
        let admitted = events.as_ref().map_or(0, |rows| rows.num_rows());
        let quarantined_rows = quarantined.as_ref().map_or(0, |rows| rows.num_rows());
        self.open.push((sequence, message), events.filter(|rows| rows.num_rows() > 0), quarantined, now)?;
        self.index.shrink(self.tidemark);
        self.measure();
        Ok(Admitted { rows: admitted, duplicates: sent - admitted, quarantined: quarantined_rows })
    }

    fn first_occurrences(&mut self, events: &Identified, sequence: Sequence) -> Result<RecordBatch, ArrowError> {
        let admitted = self.index.admit(events, sequence);
        if admitted.iter().all(|admitted| *admitted) {
            return Ok(events.rows.clone());
        }
        filter_record_batch(&events.rows, &BooleanArray::from(admitted))
    }

    /// Remembers the span that published the delivery, for traces.
    pub(super) fn link(&mut self, publish: Option<TraceContext>) {
        self.open.link(publish);
    }

    /// Takes messages that are gone, with the row of `quarantine` that says so.
    ///
    /// # Errors
    /// When Arrow cannot hold it.
    ///
    /// # Panics
    /// When they are not the next.
    pub(super) fn push_gap(&mut self, gap: Gap, record: RecordBatch, now: DateTime<Utc>) -> Result<(), ArrowError> {
        self.open.push_gap(gap, record, now)
    }

    /// Whether no further delivery may be pushed now.
    pub(super) fn is_full(&self) -> bool {
        self.open.is_full()
    }

    /// When a commit is due by age, if none is on its way.
    pub(super) fn deadline(&self) -> Option<DateTime<Utc>> {
        if self.committing.is_some() { None } else { self.open.deadline() }
    }

    /// The batch to commit now, if one is due and none is on its way. `is_last` makes any rows due.
    pub(super) fn take_due(&mut self, now: DateTime<Utc>, is_last: bool) -> Option<Batch> {
        if self.committing.is_some() || !(is_last || self.open.is_due(now)) {
            return None;
        }
        self.committing_bytes = self.open.size_bytes();
        self.committing = self.open.take();
        self.committing.clone()
    }

    /// The batch that was taken is in the table.
    ///
    /// # Panics
    /// When none was taken.
    pub(super) fn committed(&mut self) {
        let batch = self.committing.take().expect("a commit follows a take");
        self.tidemark = batch.last;
        self.committing_bytes = 0;
        self.measure();
    }

    fn measure(&self) {
        let bytes = self.committing_bytes + self.open.size_bytes();
        metrics::gauge!("tidemark_pipeline_tail_bytes", "shard" => self.id.to_string()).set(bytes as f64);
    }

    /// Every row above the tidemark, and how far they reach.
    pub(super) fn view(&self) -> TailView {
        let committing = self.committing.as_ref();
        let events = committing.into_iter().flat_map(|batch| batch.events.batches()).chain(self.open.events());
        let quarantined = committing.into_iter().flat_map(|batch| batch.quarantined.batches()).chain(self.open.quarantined());
        TailView {
            shard: self.id,
            run: self.run,
            tidemark: self.tidemark,
            head: self.open.last(),
            events: events.cloned().collect(),
            quarantined: quarantined.cloned().collect(),
        }
    }

    /// The memory that the deduplication may still take.
    pub(super) fn dedup_room_bytes(&self) -> usize {
        self.index.room_bytes()
    }

    /// The memory of the deduplication.
    pub(super) fn dedup_bytes(&self) -> usize {
        self.index.size_bytes()
    }
}

#[cfg(test)]
mod tests;
