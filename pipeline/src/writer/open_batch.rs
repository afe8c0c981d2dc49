//! When rows are committed: a plain buffer that is due by rows, bytes or age, or when nothing new comes.

use std::time::Duration;

use arrow::{array::RecordBatch, error::ArrowError};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use schemas::Sequence;
use service::telemetry::traces::TraceContext;
use table::{Fingerprint, size_bytes};

use super::{batch::Batch, gap::Gap, runs::Runs, span::Publishes};

/// When a batch is full or old.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) rows: usize,
    pub(super) bytes: usize,
    pub(super) age: Duration,
    pub(super) idle: Duration,
}

/// Rows of a contiguous run of deliveries, beginning after `after`.
#[derive(Debug)]
pub(super) struct OpenBatch {
    limits: Limits,
    after: Sequence,
    last: Sequence,
    events: Runs,
    quarantined: Runs,
    rows: usize,
    bytes: usize,
    publishes: Publishes,
    filled: Option<Filled>,
}

/// What is known once there is a delivery.
#[derive(Clone, Debug)]
struct Filled {
    first_at: DateTime<Utc>,
    last_at: DateTime<Utc>,
    last_message: Bytes,
}

impl OpenBatch {
    /// An empty batch that continues after `after`.
    pub(super) fn new(limits: Limits, after: Sequence) -> Self {
        Self {
            limits,
            after,
            last: after,
            events: Runs::default(),
            quarantined: Runs::default(),
            rows: 0,
            bytes: 0,
            publishes: Publishes::default(),
            filled: None,
        }
    }

    /// Adds the rows of the next delivery, which may be none.
    ///
    /// # Errors
    /// When Arrow cannot hold them.
    ///
    /// # Panics
    /// When it is not the next: a hole here would be lost events (INVARIANTS I2).
    pub(super) fn push(
        &mut self,
        (sequence, message): (Sequence, Bytes),
        events: Option<RecordBatch>,
        quarantined: Option<RecordBatch>,
        now: DateTime<Utc>,
    ) -> Result<(), ArrowError> {
        assert_eq!(sequence, self.last.next(), "the journal's reader delivers every sequence once and in order");
        self.extend((sequence, message), events, quarantined, now)
    }

    /// Remembers the span that published a delivery, for traces.
    pub(super) fn link(&mut self, publish: Option<TraceContext>) {
        self.publishes.add(publish);
    }

    /// Adds messages that are gone, with the row that says so.
    ///
    /// # Errors
    /// When Arrow cannot hold it.
    ///
    /// # Panics
    /// When they are not the next.
    pub(super) fn push_gap(&mut self, gap: Gap, record: RecordBatch, now: DateTime<Utc>) -> Result<(), ArrowError> {
        assert_eq!(gap.first, self.last.next(), "a gap begins where reading ended");
        self.extend((gap.last, Bytes::new()), None, Some(record), now)
    }

    fn extend(
        &mut self,
        (last, message): (Sequence, Bytes),
        events: Option<RecordBatch>,
        quarantined: Option<RecordBatch>,
        now: DateTime<Utc>,
    ) -> Result<(), ArrowError> {
        self.last = last;
        for rows in events.iter().chain(&quarantined) {
            self.rows += rows.num_rows();
            self.bytes += size_bytes(rows);
        }
        events.map_or(Ok(()), |rows| self.events.push(rows))?;
        quarantined.map_or(Ok(()), |rows| self.quarantined.push(rows))?;
        let first_at = self.filled.as_ref().map_or(now, |filled| filled.first_at);
        self.filled = Some(Filled { first_at, last_at: now, last_message: message });
        Ok(())
    }

    /// The memory of the rows.
    pub(super) fn size_bytes(&self) -> usize {
        self.bytes
    }

    /// The last delivery that was pushed, here or before.
    pub(super) fn last(&self) -> Sequence {
        self.last
    }

    /// The rows of `events`.
    pub(super) fn events(&self) -> &[RecordBatch] {
        self.events.batches()
    }

    /// The rows of `quarantine`.
    pub(super) fn quarantined(&self) -> &[RecordBatch] {
        self.quarantined.batches()
    }

    /// Whether no further delivery may be added.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.limits.rows || self.bytes >= self.limits.bytes
    }

    /// When the batch is due because its first row is old or nothing new came for a while; `None` while it is empty.
    pub(super) fn deadline(&self) -> Option<DateTime<Utc>> {
        let filled = self.filled.as_ref()?;
        Some((filled.first_at + self.limits.age).min(filled.last_at + self.limits.idle))
    }

    /// Whether the batch is to be committed.
    pub(super) fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.is_full() || self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// Takes what is there, if anything; the buffer goes on after it.
    pub(super) fn take(&mut self) -> Option<Batch> {
        let last_message = Fingerprint::of(&self.filled.as_ref()?.last_message);
        let taken = std::mem::replace(self, Self::new(self.limits, self.last));
        let Self { after, last, events, quarantined, publishes, .. } = taken;
        Some(Batch { after, last, events, quarantined, last_message, publishes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { rows: 3, bytes: usize::MAX, age: Duration::from_secs(30), idle: Duration::from_secs(25) };

    fn push(open: &mut OpenBatch, sequence: u64, rows: usize, now: DateTime<Utc>) {
        let schema = std::sync::Arc::new(arrow::datatypes::Schema::empty());
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(schema, Vec::new(), &options).unwrap();
        open.push((Sequence(sequence), Bytes::new()), Some(batch), None, now).unwrap();
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn an_empty_batch_is_never_due() {
        let mut open = OpenBatch::new(LIMITS, Sequence(7));
        assert!(!open.is_due(at(1_000_000)));
        assert!(open.take().is_none());
    }

    #[test]
    fn a_batch_is_due_when_full_or_when_its_oldest_row_is_old() {
        let mut open = OpenBatch::new(LIMITS, Sequence(7));
        push(&mut open, 8, 1, at(100));
        push(&mut open, 9, 1, at(120));
        assert!(!open.is_due(at(129)));
        assert!(open.is_due(at(130)), "by age");
        assert!(!open.is_full());
        push(&mut open, 10, 1, at(121));
        assert!(open.is_full() && open.is_due(at(121)), "by rows");
        open.take();
        push(&mut open, 11, 1, at(200));
        assert_eq!(open.deadline(), Some(at(225)), "when nothing new comes");
    }

    #[test]
    fn batches_follow_each_other_without_a_hole() {
        let mut open = OpenBatch::new(LIMITS, Sequence::ZERO);
        push(&mut open, 1, 1, at(1));
        push(&mut open, 2, 1, at(1));
        let first = open.take().unwrap();
        push(&mut open, 3, 1, at(2));
        let second = open.take().unwrap();
        assert_eq!([first.after, first.last, second.after, second.last], [Sequence(0), Sequence(2), Sequence(2), Sequence(3)]);
    }

    #[test]
    #[should_panic(expected = "every sequence once and in order")]
    fn a_hole_is_never_committed() {
        let mut open = OpenBatch::new(LIMITS, Sequence::ZERO);
        push(&mut open, 2, 1, at(1));
    }
}
