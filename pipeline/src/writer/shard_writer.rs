//! The agent of one shard: reads on from the table's tidemark, buffers, commits, one batch on its way while the next one fills.
//!
//! Whatever is in doubt (fenced, a store that cannot be read, a panic in a stage) ends the run, and the next run starts from the
//! table. What no restart can mend (a gap, a recreated stream) ends the task with an error that says so.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt, StreamExt, future::BoxFuture};
use journal::{Deliveries, Journal, Remedy};
use schemas::ShardId;
use service::{clock::Clock, health::Check, tasks::Stop};

use super::{
    committer::{self, Base, Committer},
    open_batch::{Limits, OpenBatch},
    rows::Reader,
};

const PAUSE_BEFORE_RESTART: Duration = Duration::from_secs(1);

/// The agent of one shard.
pub(super) struct ShardWriter {
    pub(super) shard: ShardId,
    pub(super) limits: Limits,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) reader: Reader,
    pub(super) committer: Committer,
    pub(super) clock: Clock,
    pub(super) check: Check,
}

/// Why a run ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the journal cannot be read")]
    Journal(#[from] journal::Error),
    #[error("the table cannot be read")]
    Table(#[from] table::Error),
    #[error(transparent)]
    Commit(#[from] committer::Error),
}

impl Error {
    /// Whether starting again from the table may help.
    fn remedy(&self) -> Remedy {
        match self {
            Self::Journal(error) => error.remedy(),
            Self::Table(_) | Self::Commit(committer::Error::Fenced { .. }) => Remedy::Retry,
            Self::Commit(committer::Error::Unwritable { .. }) => Remedy::Stop,
        }
    }
}

impl ShardWriter {
    /// Works until `stop`, then commits what it has.
    ///
    /// # Errors
    /// What only an operator can mend.
    pub(super) async fn run(self, stop: Stop) -> Result<(), Error> {
        while !stop.is_requested() {
            match self.run_once(&stop).await {
                Ok(()) => break,
                Err(error) if error.remedy() == Remedy::Stop => {
                    self.check.down(explain(&error));
                    return Err(error);
                }
                Err(error) => self.pause(&error, &stop).await,
            }
        }
        self.check.down("the server is stopping");
        Ok(())
    }

    async fn pause(&self, error: &Error, stop: &Stop) {
        let reason = explain(error);
        tracing::warn!(shard = %self.shard, reason, "starting again from the table");
        metrics::counter!("tidemark_pipeline_restarts_total").increment(1);
        self.check.down(reason);
        tokio::select! {
            () = self.clock.sleep_until(self.clock.now() + PAUSE_BEFORE_RESTART) => {}
            () = stop.requested() => {}
        }
    }

    /// One run from the table's tidemark to a stop or an error.
    async fn run_once(&self, stop: &Stop) -> Result<(), Error> {
        let base = self.committer.base().await?;
        tracing::info!(shard = %self.shard, tidemark = %base.tidemark(), "reading on from the table's tidemark");
        let deliveries = self.journal.read(self.shard, base.tidemark()).await?;
        let stop = stop.clone();
        let deliveries = deliveries.take_until(async move { stop.requested().await }).boxed();
        let open = OpenBatch::new(self.limits, base.tidemark());
        self.check.up();
        Run { writer: self, deliveries, open, table: Progress::Idle(base) }.run().await
    }
}

/// The text of an error and its causes.
fn explain(error: &Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// The table's side of a run: at rest on a base, or on the way to the next one.
enum Progress<'a> {
    Idle(Base),
    Committing(BoxFuture<'a, Result<Base, committer::Error>>),
}

struct Run<'a> {
    writer: &'a ShardWriter,
    deliveries: Deliveries,
    open: OpenBatch,
    table: Progress<'a>,
}

impl Run<'_> {
    /// Reads while there is room, commits what is due; ends when the deliveries end and all of them are committed.
    async fn run(mut self) -> Result<(), Error> {
        let mut is_reading = true;
        loop {
            let is_last = !is_reading;
            self.start_commit(is_last);
            if is_last && matches!(self.table, Progress::Idle(_)) {
                return Ok(());
            }
            tokio::select! {
                base = committed(&mut self.table) => self.table = Progress::Idle(base?),
                delivery = self.deliveries.next(), if is_reading && !self.open.is_full() => match delivery {
                    Some(delivery) => self.open.push(self.writer.reader.read(&delivery?), self.writer.clock.now()),
                    None => is_reading = false,
                },
                () = due(&self.writer.clock, &self.open), if matches!(self.table, Progress::Idle(_)) => {}
            }
        }
    }

    /// Commits the open batch if it is due, or if it is the last, and no other is on its way.
    fn start_commit(&mut self, is_last: bool) {
        let is_due = is_last || self.open.is_due(self.writer.clock.now());
        if let (Progress::Idle(base), true) = (&self.table, is_due)
            && let Some(batch) = self.open.take()
        {
            self.table = Progress::Committing(self.writer.committer.commit(base.clone(), batch).boxed());
        }
    }
}

/// The end of the running commit; never while there is none.
async fn committed(table: &mut Progress<'_>) -> Result<Base, committer::Error> {
    match table {
        Progress::Committing(commit) => commit.await,
        Progress::Idle(_) => std::future::pending().await,
    }
}

/// The moment at which the open batch is due by age; never while it is empty.
async fn due(clock: &Clock, open: &OpenBatch) {
    match open.deadline() {
        Some(deadline) => clock.sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
