//! The agent of one shard: reads on from the table's tidemark, buffers, commits, one batch on its way while the next one fills.
//!
//! Whatever is in doubt (fenced, a store that cannot be read, a panic in a stage) ends the run, and the next run starts from the
//! table. Messages that are gone are recorded and passed. What no restart can mend (a recreated stream) ends the task with an error that
//! says so.

use std::{
    collections::BTreeSet,
    future::ready,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arrow::error::ArrowError;
use chrono::{DateTime, Utc};
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use journal::{Deliveries, Delivery, Journal, Remedy};
use schemas::{Sequence, ShardId};
use service::{clock::Clock, health::Check, tasks::Stop, telemetry::traces::TraceContext};
use table::TailPart;
use uuid::Uuid;

use super::{
    OnGap,
    committer::{self, Base, Committer},
    dedup::Minute,
    gap::{GAP_CODE, Gap},
    history::{History, Reading},
    lag::Lag,
    open_batch::Limits,
    origin,
    retention::Retention,
    rows::Reader,
    shard::{Admitted, Shard},
    tail::Sign,
};
use crate::failpoint::Failpoint;

/// How often the bounds of the journal are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const PAUSE_BEFORE_RESTART: Duration = Duration::from_secs(1);

/// The agent of one shard.
pub(super) struct ShardWriter {
    pub(super) shard: ShardId,
    pub(super) limits: Limits,
    pub(super) retention: Duration,
    pub(super) on_gap: OnGap,
    pub(super) max_lag: Duration,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) reader: Reader,
    pub(super) dedup_bytes: usize,
    pub(super) history: History,
    pub(super) committer: Committer,
    pub(super) clock: Clock,
    pub(super) check: Check,
    pub(super) sign: Sign,
    /// How many messages were gone before they were read, since the start.
    pub(super) gone: AtomicU64,
}

/// Why a run ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("the journal cannot be read")]
    Journal(#[from] journal::Error),
    #[error("the table cannot be read")]
    Table(#[from] table::Error),
    #[error(transparent)]
    AnotherJournal(#[from] origin::AnotherJournal),
    #[error("the journal has a gap, and `journal.on_gap` says `stop`")]
    Gap(#[source] journal::Error),
    #[error("another writer has committed what this one did not read: up to `{tidemark}`, while `{next}` is next here")]
    Overtaken { tidemark: Sequence, next: Sequence },
    #[error("the rows of a message cannot be kept")]
    Rows(#[from] ArrowError),
    #[error(transparent)]
    Commit(#[from] committer::Error),
}

impl From<origin::Error> for Error {
    fn from(error: origin::Error) -> Self {
        match error {
            origin::Error::AnotherJournal(error) => Self::AnotherJournal(error),
            origin::Error::Journal(error) => Self::Journal(error),
        }
    }
}

impl Error {
    /// Whether starting again from the table may help.
    fn remedy(&self) -> Remedy {
        match self {
            Self::Journal(error) => error.remedy(),
            Self::Table(_) | Self::Overtaken { .. } => Remedy::Retry,
            Self::Commit(committer::Error::Fenced { .. } | committer::Error::Rebuilt { .. }) => Remedy::Retry,
            Self::Gap(_) | Self::AnotherJournal(_) | Self::Rows(_) | Self::Commit(committer::Error::Unwritable { .. }) => Remedy::Stop,
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
        let bounds = self.journal.bounds(self.shard).await?;
        let base = self.committer.base(&bounds.identity).await?;
        origin::confirm(self.journal.as_ref(), self.shard, &bounds, base.events()).await?;
        tracing::info!(shard = %self.shard, tidemark = %base.tidemark(), "reading on from the table's tidemark");
        let deliveries = self.read(base.tidemark(), stop).await?;
        let state = Shard::new(self.shard, Uuid::new_v4().as_u64_pair().0, base.tidemark(), self.limits, self.dedup_bytes);
        self.check.up();
        let ended = Run {
            writer: self,
            stop,
            deliveries,
            lag: Lag::new(self.clock.now()),
            caught_up_at: bounds.last,
            retention: Retention::new(self.retention, base.tidemark(), self.clock.now()),
            look_at: self.clock.now(),
            state,
            base,
            commit: None,
        }
        .run()
        .await;
        self.sign.send_replace(None);
        ended
    }

    /// What comes after `after`, until `stop`. A gap there is what comes first.
    async fn read(&self, after: Sequence, stop: &Stop) -> Result<Deliveries, journal::Error> {
        let deliveries = match self.journal.read(self.shard, after).await {
            Err(gap @ journal::Error::Gap { .. }) => stream::once(ready(Err(gap))).boxed(),
            deliveries => deliveries?,
        };
        let stop = stop.clone();
        Ok(deliveries.take_until(async move { stop.requested().await }).boxed())
    }

    /// Says to everybody who may look that messages are gone.
    fn report_gap(&self, gap: Gap, error: &journal::Error) {
        let gone = self.gone.fetch_add(gap.messages(), Ordering::Relaxed) + gap.messages();
        tracing::error!(shard = %self.shard, first = %gap.first, last = %gap.last, %error, "messages are gone that were not read; recorded");
        metrics::counter!("tidemark_journal_gap_messages_total", "shard" => self.shard.to_string()).increment(gap.messages());
        self.check.note(format!(
            "{gone} messages of shard {} were gone before they were read: SELECT * FROM quarantine WHERE code = '{GAP_CODE}'",
            self.shard
        ));
    }
}

/// The text of an error and its causes.
fn explain(error: &Error) -> String {
    let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

struct Run<'a> {
    writer: &'a ShardWriter,
    stop: &'a Stop,
    deliveries: Deliveries,
    lag: Lag,
    /// Where the journal ended when the run began: before that point an answer could lack what an earlier run had shown.
    caught_up_at: Sequence,
    retention: Retention,
    /// When to look at the journal's bounds again.
    look_at: DateTime<Utc>,
    state: Shard,
    /// What the table held after the last commit.
    base: Base,
    /// The commit on its way.
    commit: Option<BoxFuture<'a, Result<Base, committer::Error>>>,
}

impl Run<'_> {
    /// Reads while there is room, commits what is due; ends when the deliveries end and all of them are committed.
    async fn run(mut self) -> Result<(), Error> {
        let mut is_reading = true;
        loop {
            self.start_commit(!is_reading);
            self.show();
            if !is_reading && self.commit.is_none() {
                return Ok(());
            }
            tokio::select! {
                base = committed(&mut self.commit) => self.finish_commit(base?),
                delivery = self.deliveries.next(), if is_reading && !self.state.is_full() => match delivery {
                    Some(Ok(delivery)) => self.take(&delivery).await?,
                    Some(Err(error)) => self.pass(error).await?,
                    None => is_reading = false,
                },
                () = due(&self.writer.clock, self.state.deadline()) => {}
                () = self.writer.clock.sleep_until(self.look_at) => self.look_at_journal().await,
            }
        }
    }

    /// Takes one delivery; asks the table first about the minutes that are not known.
    async fn take(&mut self, delivery: &Delivery) -> Result<(), Error> {
        let rows = self.writer.reader.read(delivery);
        let missing = self.state.missing(&rows);
        if !missing.is_empty() {
            self.learn(missing).await?;
        }
        let admitted = self.state.push(rows, self.writer.clock.now())?;
        self.state.link(delivery.trace.as_ref().and_then(|trace| TraceContext::parse(trace.as_str())));
        self.lag.read(delivery.published_at);
        count(admitted);
        Ok(())
    }

    /// Reads minutes back from the table, while the commit on its way goes on.
    async fn learn(&mut self, missing: BTreeSet<Minute>) -> Result<(), Error> {
        let reading = Reading::plan(self.base.events().files(), missing, self.state.dedup_room_bytes());
        self.state.expect(reading.minutes());
        let mut keys = pin!(self.writer.history.read(&reading));
        loop {
            tokio::select! {
                base = committed(&mut self.commit) => self.finish_commit(base?),
                next = keys.try_next() => match next? {
                    Some(keys) => self.state.learn(keys),
                    None => return Ok(()),
                },
            }
        }
    }

    /// Records messages that are gone and reads on after them; any other error ends the run.
    ///
    /// What another writer has committed and released looks the same from here; the table tells.
    async fn pass(&mut self, error: journal::Error) -> Result<(), Error> {
        let journal::Error::Gap { expected, found, .. } = error else { return Err(error.into()) };
        let (writer, gap) = (self.writer, Gap { first: expected, last: Sequence(found.0 - 1) });
        let (tidemark, quarantine) = writer.committer.tidemarks().await?;
        if tidemark >= gap.first {
            return Err(Error::Overtaken { tidemark, next: gap.first });
        }
        if writer.on_gap == OnGap::Stop {
            return Err(Error::Gap(error));
        }
        let position = if quarantine < gap.last { gap.first.max(quarantine.next()) } else { gap.first };
        let record = gap.record((writer.shard, position), GAP_CODE, &error.to_string(), writer.clock.now());
        self.state.push_gap(gap, record, writer.clock.now())?;
        writer.report_gap(gap, &error);
        self.deliveries = writer.read(gap.last, self.stop).await?;
        Ok(())
    }

    /// Commits the open batch if it is due, or if it is the last, and no other is on its way.
    fn start_commit(&mut self, is_last: bool) {
        if let Some(batch) = self.state.take_due(self.writer.clock.now(), is_last) {
            self.commit = Some(self.writer.committer.commit(self.base.clone(), batch).boxed());
        }
    }

    fn finish_commit(&mut self, base: Base) {
        self.state.committed();
        self.retention.committed(base.tidemark(), self.writer.clock.now());
        self.base = base;
        self.commit = None;
    }

    /// Says how far behind the writer is, and releases what the journal need not keep (I5). A failure shows in the journal's own check.
    async fn look_at_journal(&mut self) {
        let (writer, now) = (self.writer, self.writer.clock.now());
        self.look_at = now + LOOK_EVERY;
        let Ok(bounds) = writer.journal.bounds(writer.shard).await else { return };
        self.lag.look(&self.state.view(), &bounds, now);
        self.lag.report(writer.shard, writer.max_lag, &writer.check);
        let Some(up_to) = self.retention.releasable(&bounds, now) else { return };
        Failpoint::BeforeRelease.pass();
        match writer.journal.release(writer.shard, up_to).await {
            Ok(()) => tracing::info!(shard = %writer.shard, %up_to, "released from the journal"),
            Err(error) => {
                tracing::warn!(shard = %writer.shard, %up_to, %error, "the journal released nothing; it will be asked again");
                self.retention.not_released(up_to);
            }
        }
    }

    /// Shows the queries what is not in the table yet.
    fn show(&self) {
        self.writer.sign.send_replace(Some(TailPart::new(self.state.view(), self.caught_up_at)));
        metrics::gauge!("tidemark_pipeline_dedup_bytes", "shard" => self.writer.shard.to_string()).set(self.state.dedup_bytes() as f64);
    }
}

/// The end of the running commit; never while there is none.
async fn committed(commit: &mut Option<BoxFuture<'_, Result<Base, committer::Error>>>) -> Result<Base, committer::Error> {
    match commit {
        Some(commit) => commit.await,
        None => std::future::pending().await,
    }
}

/// The moment at which the open batch is due by age; never while it is empty.
async fn due(clock: &Clock, deadline: Option<DateTime<Utc>>) {
    match deadline {
        Some(deadline) => clock.sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

fn count(admitted: Admitted) {
    let Admitted { rows, duplicates, quarantined } = admitted;
    for (result, count) in [("row", rows), ("duplicate", duplicates), ("quarantined", quarantined)] {
        metrics::counter!("tidemark_pipeline_events_total", "result" => result).increment(count as u64);
    }
}
