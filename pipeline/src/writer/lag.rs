//! How far a shard's writer is behind its journal: in messages, which is what the journal counts, and in seconds.
//!
//! A message holds one event or thousands, and nobody knows how many before it is read; so the lag has no number of events.
//! The seconds are the age of what is not read yet, at most one look too much: from the last moment at which nothing was missing, or from
//! the journal's time of the last message that was read, whichever is later.

use std::time::Duration;

use chrono::{DateTime, Utc};
use journal::Bounds;
use schemas::ShardId;
use serde_json::json;
use service::health::Check;
use table::TailView;

/// What is known of the lag since a run began.
#[derive(Debug)]
pub(super) struct Lag {
    /// Everything that was published before is read.
    read_until: Option<DateTime<Utc>>,
    started_at: DateTime<Utc>,
    messages: u64,
    uncommitted: u64,
    behind: Duration,
    journal_bytes: u64,
}

impl Lag {
    pub(super) fn new(now: DateTime<Utc>) -> Self {
        Self { read_until: None, started_at: now, messages: 0, uncommitted: 0, behind: Duration::ZERO, journal_bytes: 0 }
    }

    /// A message that was stored then is read.
    pub(super) fn read(&mut self, published_at: DateTime<Utc>) {
        self.read_until = self.read_until.max(Some(published_at));
    }

    /// Compares what is read with what the journal has.
    pub(super) fn look(&mut self, view: &TailView, bounds: &Bounds, now: DateTime<Utc>) {
        self.messages = bounds.last.0.saturating_sub(view.head.0);
        self.uncommitted = view.head.0.saturating_sub(view.tidemark.0);
        self.journal_bytes = bounds.bytes;
        if self.messages == 0 {
            self.read_until = self.read_until.max(Some(now));
        }
        let since = self.read_until.unwrap_or(self.started_at);
        self.behind = if self.messages == 0 { Duration::ZERO } else { (now - since).to_std().unwrap_or_default() };
    }

    /// Tells Prometheus and readiness; beyond `max_lag`, unless that is zero, the part is down.
    pub(super) fn report(&self, shard: ShardId, max_lag: Duration, check: &Check) {
        let (name, seconds) = (shard.to_string(), self.behind.as_secs_f64());
        metrics::gauge!("tidemark_pipeline_lag_messages", "shard" => name.clone()).set(self.messages as f64);
        metrics::gauge!("tidemark_pipeline_lag_seconds", "shard" => name.clone()).set(seconds);
        metrics::gauge!("tidemark_pipeline_uncommitted_messages", "shard" => name.clone()).set(self.uncommitted as f64);
        metrics::gauge!("tidemark_journal_bytes", "shard" => name).set(self.journal_bytes as f64);
        let detail = json!({"lag_messages": self.messages, "lag_seconds": seconds, "uncommitted_messages": self.uncommitted});
        check.detail(format!("shard_{shard}"), detail);
        if max_lag.is_zero() || self.behind <= max_lag {
            check.up();
        } else {
            check.down(format!("shard {shard} is more than {max_lag:?} behind the journal (`pipeline.max_lag`)"));
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::Sequence;

    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn look(lag: &mut Lag, (head, last): (u64, u64), now: i64) -> (u64, u64) {
        let view = TailView { head: Sequence(head), ..TailView::empty(ShardId(0), 1, Sequence(2)) };
        let bounds = Bounds { first: Sequence(1), last: Sequence(last), identity: String::new(), bytes: 7, max_bytes: 100 };
        lag.look(&view, &bounds, at(now));
        (lag.messages, lag.behind.as_secs())
    }

    #[test]
    fn the_lag_is_the_age_of_what_is_not_read() {
        let mut lag = Lag::new(at(1000));
        assert_eq!(look(&mut lag, (2, 9), 1003), (7, 3), "nothing read yet: as long as the run");
        lag.read(at(400));
        assert_eq!(look(&mut lag, (3, 9), 1004), (6, 604), "a backlog that is old");
        lag.read(at(1005));
        assert_eq!(look(&mut lag, (9, 9), 1006), (0, 0));
        assert_eq!(look(&mut lag, (9, 9), 5000), (0, 0), "idle is not behind");
        assert_eq!(look(&mut lag, (9, 10), 5001), (1, 1), "since the last look at most");
        assert_eq!(look(&mut lag, (9, 10), 5031), (1, 31));
    }
}
