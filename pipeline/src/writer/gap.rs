//! Messages that are gone before they were read, and the quarantine row that says so (INVARIANTS I9).
//!
//! The row stands at the first missing position that `quarantine` has not passed, and holds no bytes. Its text begins with the range,
//! which [`Gap::of_record`] reads again.

use std::fmt;

use arrow::array::RecordBatch;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use journal::Delivery;
use schemas::{Sequence, ShardId};

use super::foreign::quarantine_whole;

/// The code of a record of messages that were gone.
pub const GAP_CODE: &str = "journal_gap";
/// The code of a record of an adoption: another stream stands under the name, with higher numbers.
pub const ADOPTED_CODE: &str = "journal_adopted";

/// Positions of a shard that no message will ever fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The first.
    pub first: Sequence,
    /// The last.
    pub last: Sequence,
}

impl Gap {
    /// How many positions there are.
    #[must_use]
    pub const fn messages(self) -> u64 {
        self.last.0 - self.first.0 + 1
    }

    /// The gap that a quarantine record speaks of; `None` for a record of another kind.
    #[must_use]
    pub fn of_record(code: &str, message: &str) -> Option<Self> {
        let (range, _) = [GAP_CODE, ADOPTED_CODE].contains(&code).then(|| message.split_once(':'))??;
        let (first, last) = range.split_once(" to ")?;
        Some(Self { first: Sequence(first.parse().ok()?), last: Sequence(last.parse().ok()?) })
    }

    /// The row of `quarantine` that says so, at a position that is free.
    pub(super) fn record(self, position: (ShardId, Sequence), code: &str, why: &str, now: DateTime<Utc>) -> RecordBatch {
        let delivery = Delivery { shard: position.0, sequence: position.1, payload: Bytes::new(), trace: None, published_at: now };
        quarantine_whole(&delivery, code, &format!("{self}: {why}")).quarantined.expect("a whole message is one row")
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gap(first: u64, last: u64) -> Gap {
        Gap { first: Sequence(first), last: Sequence(last) }
    }

    #[test]
    fn a_record_tells_its_range_again() {
        let text = format!("{}: somebody purged: them", gap(7, 12));
        assert_eq!(Gap::of_record(GAP_CODE, &text), Some(gap(7, 12)));
        assert_eq!(Gap::of_record("invalid_json", &text), None);
        assert_eq!(Gap::of_record(GAP_CODE, "seven"), None);
        assert_eq!(gap(7, 12).messages(), 6);
    }
}
