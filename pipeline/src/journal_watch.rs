//! Tells readiness whether the journal answers and has room, also while no event comes.

use std::{convert::Infallible, sync::Arc, time::Duration};

use journal::{Bounds, Journal};
use schemas::ShardId;
use service::{
    clock::Clock,
    health::{Check, Health},
    tasks::{Stop, Tasks},
};

const EVERY: Duration = Duration::from_secs(1);

/// Asks the journal once a second.
pub(crate) struct JournalWatch {
    journal: Arc<dyn Journal>,
    clock: Clock,
    check: Check,
}

impl JournalWatch {
    /// Adds the check `journal`.
    pub(crate) fn new(journal: Arc<dyn Journal>, clock: Clock, health: &Health) -> Self {
        Self { journal, clock, check: health.check("journal") }
    }

    pub(crate) fn spawn(self, tasks: &Tasks, stop: Stop) {
        tasks.spawn("journal-watch", async move {
            while !stop.is_requested() {
                self.look().await;
                tokio::select! {
                    () = self.clock.sleep_until(self.clock.now() + EVERY) => {}
                    () = stop.requested() => {}
                }
            }
            self.check.down("the server is stopping");
            Ok::<(), Infallible>(())
        });
    }

    async fn look(&self) {
        match self.trouble().await {
            None => self.check.up(),
            Some(reason) => self.check.down(reason),
        }
    }

    async fn trouble(&self) -> Option<String> {
        for shard in (0..self.journal.shards()).map(ShardId) {
            match self.journal.bounds(shard).await {
                Ok(bounds) if self.is_full(&bounds) => return Some(full(shard, &bounds)),
                Ok(_) => {}
                Err(error) => return Some(error.to_string()),
            }
        }
        self.journal.health().await.err().map(|error| error.to_string())
    }

    /// Whether a block of the largest size may no longer fit.
    fn is_full(&self, bounds: &Bounds) -> bool {
        bounds.bytes + self.journal.max_payload_bytes() as u64 > bounds.max_bytes
    }
}

fn full(shard: ShardId, bounds: &Bounds) -> String {
    format!(
        "shard {shard} is full: {} of {} bytes; let the pipeline catch up, or raise `journal.max_bytes`",
        bounds.bytes, bounds.max_bytes
    )
}
