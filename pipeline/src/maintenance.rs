//! Looks after the tables while they grow, without anybody's hand: merges small files, writes checkpoints, gives up old days, deletes
//! what no version needs.
//!
//! The pipeline that shows the tail of shard 0 does it, on a thread of its own with the lowest priority. Every step is safe to
//! repeat and to do twice at the same time, so nobody has to be elected: when a second pipeline takes over it just goes on.

use std::{
    collections::HashMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use chrono::DateTime;
use object_store::ObjectMeta;
use schemas::{EventDate, ShardId, Timestamp};
use service::{
    clock::Clock,
    tasks::{Stop, Tasks},
    telemetry,
};
use table::{Change, DataFile, Error, Policy, Store, Table};
use tokio::{runtime::Handle, sync::oneshot};

use crate::{failpoint::Failpoint, writer::Board};

mod config;
mod measures;

pub use config::{Config, ConfigError};

/// A file whose merge failed so often is left out until the next start.
const TRIES: u32 = 3;
/// The most merges of a table in one round: what waits behind them, deletions above all, must not wait for long.
const MERGES: usize = 16;
/// The store is listed so many times while what was replaced is kept; a listing costs as much as the table is large.
const LISTINGS: u32 = 4;

/// Both tables and how they are kept.
#[derive(Clone)]
pub struct Maintenance {
    tables: [Table; 2],
    config: Config,
    clock: Clock,
    /// How often a merge with this file failed.
    failures: Arc<Mutex<HashMap<Arc<str>, u32>>>,
}

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The day of the files.
    pub date: EventDate,
    /// How many files became one.
    pub files: usize,
    /// Their rows.
    pub rows: u64,
    /// Their bytes.
    pub from_bytes: u64,
    /// The bytes of the one.
    pub to_bytes: u64,
}

impl Maintenance {
    /// Opens or creates both tables.
    ///
    /// # Errors
    /// When the store cannot hold the tables, or a table is not ours.
    pub async fn open(store: &Store, config: Config, clock: Clock) -> Result<Self, Error> {
        let events = Table::open_or_create(store, "events", schemas::tables::events()).await?;
        let quarantine = Table::open_or_create(store, "quarantine", schemas::tables::quarantine()).await?;
        Ok(Self { tables: [events, quarantine], config, clock, failures: Arc::default() })
    }

    /// `events` and `quarantine`.
    #[must_use]
    pub const fn tables(&self) -> &[Table; 2] {
        &self.tables
    }

    /// Works from time to time, while `board` shows that shard 0 is written here. Does nothing when the settings say so.
    pub fn start(self, board: Board, tasks: &Tasks, stop: &Stop) {
        telemetry::describe(&measures::METRICS);
        if self.config.enabled {
            let stop = stop.clone();
            tasks.spawn("maintenance", on_a_patient_thread(async move { self.work(&board, &stop).await }));
        }
    }

    async fn work(self, board: &Board, stop: &Stop) {
        let mut listed_at = DateTime::UNIX_EPOCH;
        while !stop.is_requested() {
            let mut has_more = false;
            if board.shows(ShardId(0)) {
                let lists = listed_at + self.config.keep.0 / LISTINGS <= self.clock.now();
                for table in &self.tables {
                    tokio::select! {
                        outcome = self.look_after(table, lists) => has_more |= reported(table, outcome).unwrap_or(false),
                        () = stop.requested() => return,
                    }
                }
                listed_at = if lists { self.clock.now() } else { listed_at };
            }
            let pause = if has_more { Duration::ZERO } else { self.config.interval.0 };
            tokio::select! {
                () = self.clock.sleep_until(self.clock.now() + pause) => {}
                () = stop.requested() => {}
            }
        }
    }

    /// One round: everything that is due now. Whether more merges may be.
    async fn look_after(&self, table: &Table, lists: bool) -> Result<bool, Error> {
        self.give_up_old_days(table).await?;
        let mut merges = 0;
        while merges < MERGES && self.merge_next(table).await?.is_some() {
            merges += 1;
        }
        table.checkpoint_if_due().await?;
        if lists {
            table.forget_versions(self.config.keep.0, self.clock.now()).await?;
            self.delete_garbage(table).await?;
        }
        Ok(merges == MERGES)
    }

    /// The files that are merged next, all of one day; nothing when the table is as it should be.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next_merge(&self, table: &Table) -> Result<Option<Vec<DataFile>>, Error> {
        Ok(self.policy().next(table.snapshot().await?.files(), self.clock.now(), |file| self.is_left_out(file)))
    }

    /// Does the next merge that is due; nothing when the table is as it should be.
    ///
    /// # Errors
    /// When the store fails. A file that cannot be read is left out of the next merges instead.
    pub async fn merge_next(&self, table: &Table) -> Result<Option<Merged>, Error> {
        loop {
            let Some(files) = self.next_merge(table).await? else { return Ok(None) };
            match self.merge(table, &files).await {
                Ok(Some(merged)) => return Ok(Some(merged)),
                // Somebody else replaced a file meanwhile.
                Ok(None) => {}
                Err(Error::File { path, source }) if !is_of_the_store(&source) => self.remember(table, &path, &source),
                Err(error) => return Err(error),
            }
        }
    }

    async fn merge(&self, table: &Table, files: &[DataFile]) -> Result<Option<Merged>, Error> {
        let Some(into) = table.merge(files).await? else { return Ok(None) };
        Failpoint::MergeWritten.pass();
        let merged = Merged {
            date: into.date,
            files: files.len(),
            rows: into.rows,
            from_bytes: files.iter().map(|file| file.size_bytes).sum(),
            to_bytes: into.size_bytes,
        };
        let replaced = table.replace(files.to_vec(), Some(into), Change::Layout, self.clock.now()).await?;
        Failpoint::MergeCommitted.pass();
        if replaced.is_some() {
            let Merged { date, files, rows, from_bytes, to_bytes } = &merged;
            tracing::info!(table = table.name(), %date, files, rows, from_bytes, to_bytes, "merged");
            metrics::counter!("tidemark_maintenance_merged_files_total").increment(*files as u64);
        }
        Ok(replaced.map(|_| merged))
    }

    async fn give_up_old_days(&self, table: &Table) -> Result<(), Error> {
        let Some(days) = self.config.retention_days() else { return Ok(()) };
        let now = self.clock.now();
        let today = EventDate::of(Timestamp(now.timestamp_micros()));
        let (files, rows) = table.drop_before(EventDate(today.0.saturating_sub(days)), now).await?;
        if files > 0 {
            tracing::info!(table = table.name(), files, rows, "days older than `table.retention` were given up");
        }
        Ok(())
    }

    /// The files that no version of the last `maintenance.keep` needs.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn garbage(&self, table: &Table) -> Result<Vec<ObjectMeta>, Error> {
        table.garbage(self.config.keep.0, self.clock.now()).await
    }

    async fn delete_garbage(&self, table: &Table) -> Result<(), Error> {
        let garbage = self.garbage(table).await?;
        let bytes: u64 = garbage.iter().map(|found| found.size).sum();
        let deleted = table.delete(garbage).await?;
        if deleted > 0 {
            tracing::info!(table = table.name(), files = deleted, bytes, "deleted files that no version needs");
            metrics::counter!("tidemark_maintenance_deleted_files_total").increment(deleted as u64);
        }
        Ok(())
    }

    fn policy(&self) -> Policy {
        Policy { target_bytes: self.config.target_file.0, grace: self.config.grace.0, rest: self.config.rest.0 }
    }

    /// How long what was replaced stays.
    #[must_use]
    pub const fn keep(&self) -> Duration {
        self.config.keep.0
    }

    fn is_left_out(&self, file: &DataFile) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures.get(&file.path).is_some_and(|tries| *tries >= TRIES)
    }

    /// A file that is damaged or gone.
    fn remember(&self, table: &Table, path: &Arc<str>, error: &Error) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let tries = failures.entry(Arc::clone(path)).or_default();
        *tries += 1;
        let causes = std::iter::successors(Some(error as &dyn std::error::Error), |error| error.source());
        let reason = causes.map(ToString::to_string).collect::<Vec<_>>().join(": ");
        tracing::warn!(table = table.name(), file = &**path, tries, reason, "a file cannot be merged");
        let left_out = failures.values().filter(|tries| **tries >= TRIES).count();
        metrics::gauge!("tidemark_maintenance_unreadable_files").set(left_out as f64);
    }
}

/// Whether the store failed, which says nothing about the file.
fn is_of_the_store(error: &Error) -> bool {
    let mut causes = std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |error| error.source());
    causes.any(|cause| cause.downcast_ref().is_some_and(|error| !matches!(error, object_store::Error::NotFound { .. })))
}

/// What came of a round, when it did not fail.
fn reported<T>(table: &Table, outcome: Result<T, Error>) -> Option<T> {
    if let Err(error) = &outcome {
        let error = error as &(dyn std::error::Error + 'static);
        tracing::warn!(table = table.name(), error, "maintenance failed; it will be tried again");
        metrics::counter!("tidemark_maintenance_errors_total").increment(1);
    }
    outcome.ok()
}

/// Runs on a thread that gets what all others leave of the processor.
async fn on_a_patient_thread(work: impl Future<Output = ()> + Send + 'static) -> Result<(), Infallible> {
    let (done, wait) = oneshot::channel::<()>();
    let runtime = Handle::current();
    let run = move || {
        if let Err(error) = thread_priority::set_current_thread_priority(thread_priority::ThreadPriority::Min) {
            tracing::warn!(?error, "maintenance runs with the priority of everything else");
        }
        runtime.block_on(work);
        drop(done);
    };
    std::thread::Builder::new().name("maintenance".to_owned()).spawn(run).expect("a process has room for one more thread");
    // It ends with the thread, also when that panics.
    let _ = wait.await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_fails_is_not_held_against_the_file() {
        let external = |error: object_store::Error| Error::from(parquet::errors::ParquetError::External(Box::new(error)));
        let failed = || object_store::Error::Generic { store: "S3", source: "connection closed".into() };
        let gone = || object_store::Error::NotFound { path: "a".to_owned(), source: "404".into() };
        assert!(is_of_the_store(&failed().into()) && is_of_the_store(&external(failed())));
        assert!(!is_of_the_store(&gone().into()) && !is_of_the_store(&external(gone())));
        assert!(!is_of_the_store(&parquet::errors::ParquetError::EOF("torn".to_owned()).into()));
    }
}
