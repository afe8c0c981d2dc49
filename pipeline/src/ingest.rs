//! The door: HTTP requests become blocks in the journal; 2xx is said after the journal's acknowledgement (INVARIANTS I1).
//!
//! ```text
//! handler: body -> RawEvent -> Event --push--> open block of its shard --+
//!    waits for the block's outcome <----------- Batcher: publish <-------+
//! ```

use std::sync::Arc;

use axum::Router;
use journal::Journal;
use service::{clock::Clock, health::Health, openapi::Description, tasks::Tasks, telemetry};

use self::{batcher::Batchers, door::Door};
use crate::journal_watch;

mod answer;
mod batcher;
mod cloud_event;
mod config;
mod door;
mod measures;
mod open_block;
mod openapi;
mod options;
mod request;
mod span;

pub use config::{Config, MissingEventId};

/// What the role needs from the process it lives in.
pub struct Parts {
    /// Where blocks go.
    pub journal: Arc<dyn Journal>,
    /// What makes two events the same.
    pub identity: schemas::IdentityRule,
    /// Arrival times.
    pub clock: Clock,
    /// Gets the check `journal`.
    pub health: Health,
}

/// The role, built and not yet running.
pub struct Ingest {
    router: Router,
    batchers: batcher::Agents,
    watch: journal_watch::JournalWatch,
}

impl Ingest {
    /// Puts the parts together; nothing runs yet.
    #[must_use]
    pub fn build(config: &Config, parts: Parts) -> Self {
        telemetry::describe(&measures::METRICS);
        let watch = journal_watch::JournalWatch::new(Arc::clone(&parts.journal), parts.clock.clone(), &parts.health);
        let (batchers, agents) = Batchers::new(parts.journal, config);
        let door = Door::new(config, batchers, parts.identity, parts.clock);
        Self { router: door::router(door), batchers: agents, watch }
    }

    /// `POST /events`, `/events/bulk` and `/event`.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// What clients are told about the routes.
    #[must_use]
    pub fn description() -> Description {
        door::api().finish().1
    }

    /// Starts the agents. They end when every clone of the router is gone and the last block is answered.
    pub fn start(self, tasks: &Tasks, stop: &service::tasks::Stop) {
        self.batchers.spawn(tasks);
        self.watch.spawn(tasks, stop.clone());
    }
}
