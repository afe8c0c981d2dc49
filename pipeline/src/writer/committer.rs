//! Makes batches part of the tables: days to Parquet files, then quarantine, then the commit that moves the tidemark.
//!
//! While the store is away it tries again with the same files, for as long as it takes; the full buffer behind it then stops the
//! reader (INVARIANTS I6). A tidemark that somebody else moved ends the work at once (I3).

use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use schemas::{Sequence, ShardId};
use service::{clock::Clock, health::Check};
use table::{CommitError, DataFile, Fingerprint, NewCommit, Origin, Snapshot, Table, rows_above};
use tokio::{task::spawn_blocking, time::Instant};
use tracing::{Instrument, Span};

use super::{
    batch::{Batch, Day, Order, days},
    span,
};
use crate::failpoint::Failpoint;

/// Files of different days that are written at the same time: each takes a core while it is encoded, then waits for the store.
const WRITTEN_AT_ONCE: usize = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why a batch did not become part of the table, and never will.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// Somebody else writes this shard. What the table says now counts; start again from there.
    #[error("fenced: another writer moved the tidemark of `{table}`")]
    Fenced {
        /// The table.
        table: String,
        /// Whose tidemark was found.
        #[source]
        source: CommitError,
    },
    /// Somebody brought lost rows back. What repeats them may be in the batch; start again from the table.
    #[error("lost rows came back to `{table}`")]
    Rebuilt {
        /// The table.
        table: String,
        /// What was found.
        #[source]
        source: CommitError,
    },
    /// A defect: rows that cannot be sorted or encoded.
    #[error("the rows after `{after}` up to `{last}` cannot be written")]
    Unwritable {
        /// The batch.
        after: Sequence,
        /// Its last sequence.
        last: Sequence,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// The last known state of the tables for one shard, and the way to the next.
pub(super) struct Committer {
    shard: ShardId,
    stream: String,
    events: Table,
    quarantine: Table,
    /// A file that is older is written again before it is committed: maintenance may take it for garbage soon.
    fresh_for: Duration,
    clock: Clock,
    check: Check,
}

/// What a shard's writer knows of the tables: the state on which its next commit is built.
#[derive(Clone)]
pub(super) struct Base {
    events: Snapshot,
    quarantine: Snapshot,
    stream: Fingerprint,
    shard: ShardId,
}

impl Base {
    /// The committed events.
    pub(super) fn events(&self) -> &Snapshot {
        &self.events
    }

    /// Everything up to here is in the table.
    pub(super) fn tidemark(&self) -> Sequence {
        self.events.tidemark(self.shard)
    }
}

impl Committer {
    pub(super) const fn new(
        shard: ShardId,
        stream: String,
        events: Table,
        quarantine: Table,
        fresh_for: Duration,
        clock: Clock,
        check: Check,
    ) -> Self {
        Self { shard, stream, events, quarantine, fresh_for, clock, check }
    }

    /// What the tables say now, for commits from the stream of this identity.
    pub(super) async fn base(&self, stream: &str) -> Result<Base, table::Error> {
        let (events, quarantine) = (self.events.snapshot().await?, self.quarantine.snapshot().await?);
        self.check.up();
        Ok(Base { events, quarantine, stream: Fingerprint::of(stream.as_bytes()), shard: self.shard })
    }

    /// The tidemarks of `events` and of `quarantine` now, whoever moved them.
    pub(super) async fn tidemarks(&self) -> Result<(Sequence, Sequence), table::Error> {
        Ok((self.events.snapshot().await?.tidemark(self.shard), self.quarantine.snapshot().await?.tidemark(self.shard)))
    }

    /// Commits a batch that begins right after the base's tidemark.
    pub(super) async fn commit(&self, base: Base, batch: Batch) -> Result<Base, Error> {
        let span = span::begin(&self.stream, self.shard, &batch);
        let committed = self.commit_traced(base, batch, &span).instrument(span.clone()).await;
        span::end(&span, &committed);
        committed
    }

    async fn commit_traced(&self, base: Base, batch: Batch, span: &Span) -> Result<Base, Error> {
        debug_assert_eq!(base.tidemark(), batch.after, "a batch begins where the table ends (I2)");
        let started = Instant::now();
        let (after, last, quarantine) = (batch.after, batch.last, base.quarantine.tidemark(self.shard));
        let origin = Origin { stream: base.stream, last_message: batch.last_message };
        let sorted = spawn_blocking(move || sort(&batch, quarantine)).await;
        let (events, quarantined) = sorted.map_err(|panic| Error::Unwritable { after, last, source: panic.into() })?;
        Failpoint::BeforeFiles.pass();
        let quarantine = self.commit_quarantine(base.quarantine, quarantined, (last, origin)).await?;
        let files = self.write(&self.events, &events, after, last).await?;
        measure(&files);
        span::describe(span, &files);
        Failpoint::EventsWritten.pass();
        let events = self.commit_files(&self.events, &base.events, (files, &events), (last, origin)).await?;
        Failpoint::EventsCommitted.pass();
        report(self.shard, &events, started);
        Ok(Base { events, quarantine, stream: base.stream, shard: self.shard })
    }

    /// Quarantine goes first and keeps its own tidemark, so a crash between the two repeats neither (I9, I3).
    async fn commit_quarantine(&self, base: Snapshot, days: Vec<Day>, (last, origin): (Sequence, Origin)) -> Result<Snapshot, Error> {
        if days.is_empty() || base.tidemark(self.shard) >= last {
            return Ok(base);
        }
        let files = self.write(&self.quarantine, &days, base.tidemark(self.shard), last).await?;
        Failpoint::QuarantineWritten.pass();
        let committed = self.commit_files(&self.quarantine, &base, (files, &days), (last, origin)).await?;
        Failpoint::QuarantineCommitted.pass();
        Ok(committed)
    }

    async fn write(&self, table: &Table, days: &[Day], after: Sequence, last: Sequence) -> Result<Vec<DataFile>, Error> {
        let files: Vec<_> = days.iter().map(|day| self.write_day(table, day, after, last)).collect();
        stream::iter(files).buffered(WRITTEN_AT_ONCE).try_collect().await
    }

    async fn write_day(&self, table: &Table, day: &Day, after: Sequence, last: Sequence) -> Result<DataFile, Error> {
        let mut pause = Pause::default();
        loop {
            match table.write(day.date, &day.rows).await {
                Ok(file) => return Ok(file),
                Err(error @ (table::Error::Rows { .. } | table::Error::Parquet { .. })) => {
                    return Err(Error::Unwritable { after, last, source: error.into() });
                }
                Err(error) => self.wait(&mut pause, &error).await,
            }
        }
    }

    async fn commit_files(
        &self,
        table: &Table,
        base: &Snapshot,
        (mut files, days): (Vec<DataFile>, &[Day]),
        (tidemark, origin): (Sequence, Origin),
    ) -> Result<Snapshot, Error> {
        let mut pause = Pause::default();
        loop {
            if files.iter().any(|file| self.is_stale(file)) {
                files = self.write(table, days, base.tidemark(self.shard), tidemark).await?;
            }
            match table.commit(base, NewCommit { shard: self.shard, files: files.clone(), tidemark, origin: Some(origin) }).await {
                Ok(snapshot) => {
                    self.check.up();
                    return Ok(snapshot);
                }
                Err(source @ CommitError::Fenced { .. }) => return Err(Error::Fenced { table: table.name().to_owned(), source }),
                Err(source @ CommitError::Rebuilt) => return Err(Error::Rebuilt { table: table.name().to_owned(), source }),
                Err(error) => self.wait(&mut pause, &error).await,
            }
        }
    }

    fn is_stale(&self, file: &DataFile) -> bool {
        let age_ms = self.clock.now().timestamp_millis().saturating_sub(file.written_at_ms);
        u64::try_from(age_ms).is_ok_and(|age_ms| Duration::from_millis(age_ms) > self.fresh_for)
    }

    async fn wait(&self, pause: &mut Pause, error: &(dyn std::error::Error + Sync)) {
        let cause =
            std::iter::successors(error.source(), |cause| cause.source()).last().map(|cause| format!(": {cause}")).unwrap_or_default();
        tracing::warn!(shard = %self.shard, error = %error, cause, "the store does not take a batch; trying again");
        metrics::counter!("tidemark_pipeline_store_errors_total").increment(1);
        self.check.down(format!("{error}; commits wait, events stay safe in the journal"));
        self.clock.sleep_until(self.clock.now() + pause.next()).await;
    }
}

/// The pauses between tries, doubling.
#[derive(Default)]
struct Pause(u32);

impl Pause {
    fn next(&mut self) -> Duration {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.0.min(8)).min(LONGEST_PAUSE);
        self.0 += 1;
        pause
    }
}

/// The files to be of both tables. What `quarantine` holds already, because a crash came between the two commits, is left out.
fn sort(batch: &Batch, quarantine: Sequence) -> (Vec<Day>, Vec<Day>) {
    let quarantined = rows_above(batch.quarantined.batches(), quarantine);
    (days(batch.events.batches(), Order::NameAndTime), days(&quarantined, Order::Journal))
}

fn measure(files: &[DataFile]) {
    let (rows, bytes) = files.iter().fold((0, 0), |(rows, bytes), file| (rows + file.rows, bytes + file.size_bytes));
    metrics::histogram!("tidemark_pipeline_commit_rows").record(rows as f64);
    metrics::histogram!("tidemark_pipeline_commit_bytes").record(bytes as f64);
}

fn report(shard: ShardId, events: &Snapshot, started: Instant) {
    let tidemark = events.tidemark(shard);
    tracing::info!(%shard, %tidemark, version = events.version(), took_ms = started.elapsed().as_millis(), "committed");
    metrics::histogram!("tidemark_pipeline_commit_duration_seconds").record(started.elapsed());
    metrics::gauge!("tidemark_pipeline_tidemark", "shard" => shard.to_string()).set(tidemark.0 as f64);
}
