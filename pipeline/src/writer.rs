//! The binary `pipeline`: journal to table. One task for each shard, whose only memory is the table's tidemark.
//!
//! ```text
//! Delivery --Rows--> [repeats out] --> OpenBatch --(rows, bytes or age)--> Batch --by day--> DataFiles --> Commit + tidemark
//!     ^                                    |                                                                  |
//!     |                                    +--> tail: what queries see before it is committed                 |
//!     +--------------------------- starts again at tidemark + 1 <--- fenced, error ---------------------------+
//! ```

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use journal::Journal;
use schemas::{Rules, tables};
use service::{
    clock::Clock,
    health::Health,
    tasks::{Stop, Tasks},
    telemetry,
};
use table::{Store, Table};

use self::{committer::Committer, history::History, rows::Reader, shard_writer::ShardWriter};
use crate::journal_watch::JournalWatch;

mod adoption;
mod batch;
mod committer;
mod config;
mod dedup;
mod foreign;
mod gap;
mod history;
mod items;
mod lag;
mod measures;
mod open_batch;
mod origin;
mod rebuild;
mod retention;
mod rows;
mod runs;
mod shard;
mod shard_writer;
mod span;
mod tail;

pub use adoption::{AdoptError, Adopted};
pub use config::{Config, Dedup, OnGap};
pub use dedup::{Index, Minute};
pub use gap::{ADOPTED_CODE, GAP_CODE, Gap};
pub use items::{Item, Items};
pub use origin::{AnotherJournal, Error as OriginError, confirm};
pub use rebuild::{GivingWay, RebuildError, Rebuilder, Rebuilt};
pub use rows::Identified;
pub use tail::{Board, ROUTES};

/// What the role needs from the process it lives in.
pub struct Parts {
    /// Where blocks come from.
    pub journal: Arc<dyn Journal>,
    /// Where tables lie.
    pub store: Store,
    /// What makes two events the same, and the memory to know it.
    pub dedup: Dedup,
    /// How long committed messages stay in the journal.
    pub retention: Duration,
    /// What to do when messages are gone that were not read.
    pub on_gap: OnGap,
    /// Files that were written and not committed may be deleted when they are so old.
    pub keep: Duration,
    /// Ages of batches.
    pub clock: Clock,
    /// Gets the checks `journal`, `table` and `pipeline`.
    pub health: Health,
}

/// The role, built and not yet running.
pub struct Writer {
    shards: Vec<ShardWriter>,
    board: Board,
    watch: JournalWatch,
}

impl Writer {
    /// Opens or creates both tables; nothing runs yet.
    ///
    /// # Errors
    /// When the store cannot hold the tables, or a table is not ours.
    pub async fn build(config: &Config, parts: Parts) -> Result<Self, table::Error> {
        let Parts { journal, store, dedup, retention, on_gap, keep, clock, health } = parts;
        telemetry::describe(&measures::METRICS);
        let identity = dedup.identity;
        let events = Table::open_or_create(&store, "events", tables::events()).await?;
        let quarantine = Table::open_or_create(&store, "quarantine", tables::quarantine()).await?;
        let watch = JournalWatch::new(Arc::clone(&journal), clock.clone(), &health);
        let history = History::new(events.clone(), identity.clone());
        let reader = Reader::new(identity, Rules::default().for_foreign_messages());
        let (board, signs) = Board::new(journal.shards());
        let shard_writer = |(shard, sign)| ShardWriter {
            shard,
            limits: config.limits(),
            retention,
            on_gap,
            max_lag: config.max_lag.0,
            journal: Arc::clone(&journal),
            reader: reader.clone(),
            dedup_bytes: dedup.memory.as_usize() / usize::from(journal.shards()),
            history: history.clone(),
            committer: Committer::new(
                shard,
                journal.stream(shard),
                events.clone(),
                quarantine.clone(),
                keep / 2,
                clock.clone(),
                health.check("table"),
            ),
            clock: clock.clone(),
            check: health.check("pipeline"),
            sign,
            gone: AtomicU64::new(0),
        };
        let shards = signs.into_iter().map(shard_writer).collect();
        Ok(Self { shards, board, watch })
    }

    /// The tails of this process.
    #[must_use]
    pub fn tails(&self) -> Board {
        self.board.clone()
    }

    /// Starts one task for each shard. On `stop` each commits what it has and ends.
    pub fn start(self, tasks: &Tasks, stop: &Stop) {
        self.watch.spawn(tasks, stop.clone());
        for writer in self.shards {
            tasks.spawn(format!("writer-{}", writer.shard), writer.run(stop.clone()));
        }
    }
}
