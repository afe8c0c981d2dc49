//! Which messages may leave the journal: committed, and old enough or in the way (INVARIANTS I5).
//!
//! A message is kept for `journal.retention` after its commit, so that a range can be replayed; the retention gives way when the stream
//! is more than 70 % full. That it is committed never gives way.
//!
//! Messages leave in steps. A server that deletes takes no message meanwhile: nats-server 2.15 took none for 2.2 s while it deleted 850,000 of
//! 3.3 kB, and mostly for a twentieth of a second for what is released at once here (docs/BENCHMARKS.md).

use std::{collections::VecDeque, time::Duration};

use chrono::{DateTime, Utc};
use journal::Bounds;
use schemas::Sequence;

const FULL_PERCENT: u64 = 70;
/// So full, a stream that stands still for a while is better than one that refuses.
const URGENT_PERCENT: u64 = 90;
/// The most that is released at once.
const MESSAGES_AT_ONCE: u64 = 20_000;
const BYTES_AT_ONCE: u64 = 64 << 20;

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

    /// The sequence up to which messages may go now, if there is one that was not told before. More may go the next time.
    pub(super) fn releasable(&mut self, bounds: &Bounds, now: DateTime<Utc>) -> Option<Sequence> {
        let is_full = is_above(FULL_PERCENT, bounds);
        let (may_go, _) = *self.commits.iter().take_while(|(_, at)| is_full || *at + self.keep <= now).last()?;
        let up_to = if is_above(URGENT_PERCENT, bounds) { may_go } else { may_go.min(end_of_step(bounds)) };
        self.commits.retain(|(tidemark, _)| *tidemark > up_to);
        Some(up_to)
    }
}

fn is_above(percent: u64, bounds: &Bounds) -> bool {
    bounds.bytes.saturating_mul(100) > bounds.max_bytes.saturating_mul(percent)
}

/// The last message of those that go at once, as if all were of one size.
fn end_of_step(Bounds { first, last, bytes, .. }: &Bounds) -> Sequence {
    let messages = (last.0 + 1).saturating_sub(first.0).max(1);
    let bytes_of_one = (bytes / messages).max(1);
    let step = MESSAGES_AT_ONCE.min(BYTES_AT_ONCE / bytes_of_one).max(1);
    Sequence(first.0 + step - 1)
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

    /// A stream of a million messages of this size from `first` on, full to this part.
    fn stream(first: u64, message_bytes: u64, percent: u64) -> Bounds {
        let bytes = 1_000_000 * message_bytes;
        Bounds { first: Sequence(first), last: Sequence(first + 999_999), identity: String::new(), bytes, max_bytes: bytes / percent * 100 }
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

    #[test]
    fn many_messages_go_in_steps_and_only_until_the_stream_is_no_longer_full() {
        let mut retention = Retention::new(24 * HOUR, Sequence(900_000), at(0));
        assert_eq!(retention.releasable(&stream(1, 1000, 72), at(1)), Some(Sequence(20_000)));
        assert_eq!(retention.releasable(&stream(20_001, 1000, 72), at(1)), Some(Sequence(40_000)));
        assert_eq!(retention.releasable(&stream(40_001, 1000, 69), at(1)), None, "the rest is kept for a replay");
        assert_eq!(retention.releasable(&stream(40_001, 1000, 69), at(24)), Some(Sequence(60_000)), "until it is old enough");
        assert_eq!(retention.releasable(&stream(890_001, 1000, 69), at(24)), Some(Sequence(900_000)));
        assert_eq!(retention.releasable(&stream(900_001, 1000, 69), at(24)), None);
    }

    #[test]
    fn large_messages_go_in_smaller_steps() {
        let mut retention = Retention::new(24 * HOUR, Sequence(900_000), at(0));
        assert_eq!(retention.releasable(&stream(1, 1 << 20, 72), at(1)), Some(Sequence(64)));
        assert_eq!(retention.releasable(&stream(65, 1 << 30, 72), at(1)), Some(Sequence(65)), "one at least");
    }

    #[test]
    fn a_stream_that_is_about_to_refuse_gives_all_at_once() {
        let mut retention = Retention::new(24 * HOUR, Sequence(900_000), at(0));
        assert_eq!(retention.releasable(&stream(1, 1000, 91), at(1)), Some(Sequence(900_000)));
    }

    #[test]
    fn what_was_not_released_goes_with_the_next_step() {
        let mut retention = Retention::new(24 * HOUR, Sequence(900_000), at(100));
        assert_eq!(retention.releasable(&stream(1, 1000, 72), at(101)), Some(Sequence(20_000)));
        retention.not_released(Sequence(20_000));
        assert_eq!(retention.releasable(&stream(1, 1000, 69), at(101)), Some(Sequence(20_000)));
        assert_eq!(retention.releasable(&stream(20_001, 1000, 72), at(101)), Some(Sequence(40_000)));
    }
}
