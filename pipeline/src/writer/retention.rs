//! Which messages may leave the journal: committed, and old enough or in the way (INVARIANTS I5).
//!
//! A message is kept for `journal.retention` after its commit, so that a range can be replayed; the retention gives way when the stream
//! is more than 70 % full. That it is committed never gives way.

use std::{collections::VecDeque, time::Duration};

use chrono::{DateTime, Utc};
use journal::Bounds;
use schemas::Sequence;

const FULL_PERCENT: u64 = 70;

/// The commits of which some messages are still in the journal, oldest first.
#[derive(Debug)]
pub(super) struct Retention {
    keep: Duration,
    commits: VecDeque<(Sequence, DateTime<Utc>)>,
}

impl Retention {
    /// What was committed before `now` counts as committed now.
    pub(super) fn new(keep: Duration, tidemark: Sequence, now: DateTime<Utc>) -> Self {
        let commits = (tidemark > Sequence::ZERO).then_some((tidemark, now)).into_iter().collect();
        Self { keep, commits }
    }

    /// Everything up to `tidemark` is in the tables and synced.
    pub(super) fn committed(&mut self, tidemark: Sequence, now: DateTime<Utc>) {
        self.commits.push_back((tidemark, now));
    }

    /// What was told could not be released; it will be told again.
    pub(super) fn not_released(&mut self, up_to: Sequence) {
        self.commits.push_front((up_to, DateTime::UNIX_EPOCH));
    }

    /// The sequence up to which messages may go, if there is one that was not told before.
    pub(super) fn releasable(&mut self, bounds: &Bounds, now: DateTime<Utc>) -> Option<Sequence> {
        let is_full = bounds.bytes.saturating_mul(100) > bounds.max_bytes.saturating_mul(FULL_PERCENT);
        let may_go = self.commits.iter().take_while(|(_, at)| is_full || *at + self.keep <= now).count();
        self.commits.drain(..may_go).next_back().map(|(tidemark, _)| tidemark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(hour: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(hour * 3600, 0).unwrap()
    }

    fn bounds(percent: u64) -> Bounds {
        Bounds { first: Sequence(1), last: Sequence(1000), identity: String::new(), bytes: percent, max_bytes: 100 }
    }

    #[test]
    fn a_message_goes_when_it_is_committed_and_old_enough() {
        let mut retention = Retention::new(24 * HOUR, Sequence(5), at(0));
        retention.committed(Sequence(10), at(1));
        retention.committed(Sequence(20), at(2));
        assert_eq!(retention.releasable(&bounds(10), at(23)), None);
        assert_eq!(retention.releasable(&bounds(10), at(25)), Some(Sequence(10)));
        assert_eq!(retention.releasable(&bounds(10), at(25)), None, "told once");
        retention.not_released(Sequence(10));
        assert_eq!(retention.releasable(&bounds(10), at(25)), Some(Sequence(10)), "again, because it failed");
        assert_eq!(retention.releasable(&bounds(10), at(26)), Some(Sequence(20)));
    }

    #[test]
    fn a_full_stream_releases_all_that_is_committed_and_nothing_else() {
        let mut retention = Retention::new(24 * HOUR, Sequence::ZERO, at(0));
        assert_eq!(retention.releasable(&bounds(99), at(1)), None, "nothing is committed");
        retention.committed(Sequence(10), at(1));
        assert_eq!(retention.releasable(&bounds(70), at(1)), None);
        assert_eq!(retention.releasable(&bounds(71), at(1)), Some(Sequence(10)));
    }
}
