//! When rows are committed: a plain buffer that is due by rows, bytes or age.

use std::time::Duration;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use schemas::Sequence;

use super::{batch::Batch, rows::Rows};

/// When a batch is full or old.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) rows: usize,
    pub(super) bytes: usize,
    pub(super) age: Duration,
}

/// Rows of a contiguous run of deliveries, beginning after `after`.
#[derive(Debug)]
pub(super) struct OpenBatch {
    limits: Limits,
    after: Sequence,
    last: Sequence,
    events: Vec<RecordBatch>,
    quarantined: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
    opened_at: Option<DateTime<Utc>>,
}

impl OpenBatch {
    /// An empty batch that continues after `after`.
    pub(super) fn new(limits: Limits, after: Sequence) -> Self {
        Self { limits, after, last: after, events: Vec::new(), quarantined: Vec::new(), rows: 0, bytes: 0, opened_at: None }
    }

    /// Adds the rows of the next delivery.
    ///
    /// # Panics
    /// When it is not the next: a hole here would be lost events (INVARIANTS I2).
    pub(super) fn push(&mut self, rows: Rows, now: DateTime<Utc>) {
        assert_eq!(rows.sequence, self.last.next(), "the journal's reader delivers every sequence once and in order");
        self.last = rows.sequence;
        self.rows += rows.count();
        self.bytes += rows.size_bytes();
        self.events.extend(rows.events);
        self.quarantined.extend(rows.quarantined);
        self.opened_at.get_or_insert(now);
    }

    /// Whether no further delivery may be added.
    pub(super) fn is_full(&self) -> bool {
        self.rows >= self.limits.rows || self.bytes >= self.limits.bytes
    }

    /// When the batch is due by age; `None` while it is empty.
    pub(super) fn deadline(&self) -> Option<DateTime<Utc>> {
        Some(self.opened_at? + self.limits.age)
    }

    /// Whether the batch is to be committed.
    pub(super) fn is_due(&self, now: DateTime<Utc>) -> bool {
        self.is_full() || self.deadline().is_some_and(|deadline| deadline <= now)
    }

    /// Takes what is there, if anything; the buffer goes on after it.
    pub(super) fn take(&mut self) -> Option<Batch> {
        self.opened_at?;
        let taken = std::mem::replace(self, Self::new(self.limits, self.last));
        Some(Batch { after: taken.after, last: taken.last, events: taken.events, quarantined: taken.quarantined })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { rows: 3, bytes: usize::MAX, age: Duration::from_secs(30) };

    fn rows(sequence: u64, events: usize) -> Rows {
        let schema = std::sync::Arc::new(arrow::datatypes::Schema::empty());
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(events));
        let batch = RecordBatch::try_new_with_options(schema, Vec::new(), &options).unwrap();
        Rows { sequence: Sequence(sequence), events: Some(batch), quarantined: None }
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
        open.push(rows(8, 1), at(100));
        open.push(rows(9, 1), at(120));
        assert!(!open.is_due(at(129)));
        assert!(open.is_due(at(130)), "by age");
        assert!(!open.is_full());
        open.push(rows(10, 1), at(121));
        assert!(open.is_full() && open.is_due(at(121)), "by rows");
    }

    #[test]
    fn batches_follow_each_other_without_a_hole() {
        let mut open = OpenBatch::new(LIMITS, Sequence::ZERO);
        open.push(rows(1, 1), at(1));
        open.push(rows(2, 1), at(1));
        let first = open.take().unwrap();
        open.push(rows(3, 1), at(2));
        let second = open.take().unwrap();
        assert_eq!([first.after, first.last, second.after, second.last], [Sequence(0), Sequence(2), Sequence(2), Sequence(3)]);
    }

    #[test]
    #[should_panic(expected = "every sequence once and in order")]
    fn a_hole_is_never_committed() {
        let mut open = OpenBatch::new(LIMITS, Sequence::ZERO);
        open.push(rows(2, 1), at(1));
    }
}
