//! Lost rows on their way back: from the journal into the table that should have them, at their own positions.
//!
//! ```text
//! Delivery --Rows--> [the lost ones] --(rows or bytes)--> days -> DataFiles --+--> a commit: nothing of their days gives way
//!                                                                             +--> the last commit: files and rows give way to them
//! ```
//!
//! Memory holds one batch, as large as that of a writer. A file that cannot be read, or a row that should have been folded, leaves the
//! table in the commit that adds what it stood for, so at no moment is an event there twice. A process that dies leaves files without
//! a commit, which are deleted later; what it has committed is not missing any more.

use std::{
    collections::{BTreeSet, HashSet},
    sync::Arc,
    time::Duration,
};

use arrow::{
    array::{AsArray, BooleanArray, RecordBatch},
    compute::filter_record_batch,
    datatypes::Int32Type,
    error::ArrowError,
};
use journal::Delivery;
use schemas::{EventDate, IdentityRule, Position, Rules};
use service::{clock::Clock, settings::Interval};
use table::{DataFile, Snapshot, Table};
use tokio::task::spawn_blocking;

use super::{
    Config,
    batch::{Day, Order, days},
    open_batch::Limits,
    rows::Reader,
    runs::Runs,
};
use crate::failpoint::Failpoint;

/// Why rows did not come back.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    /// Nothing was changed by the commit that failed; look again what is missing.
    #[error("the table `{table}` was changed meanwhile by somebody else who repairs it")]
    Changed {
        /// The table.
        table: String,
    },
    /// The journal has another message there than the one that was compared.
    #[error("the message {position} is not the one that was compared")]
    AnotherMessage {
        /// Where.
        position: Position,
    },
    /// A file does not hold what was found in it.
    #[error("`{file}` should have {expected} rows without those that give way, and has {found}; run `tidemark verify`")]
    OtherRows {
        /// The file.
        file: Arc<str>,
        /// How many should be left.
        expected: u64,
        /// How many are.
        found: u64,
    },
    /// Maintenance may take the first files for garbage.
    #[error(
        "it took so long that the files may be deleted before they are committed; set `maintenance.keep` = {keep} to more, at most 1day"
    )]
    TookTooLong {
        /// How long files may wait.
        keep: Interval,
    },
    /// A defect: rows that cannot be sorted.
    #[error("the rows cannot be put in order")]
    Arrow(#[from] ArrowError),
    /// The table cannot be read or written. What was committed stays; the same may be tried again.
    #[error("the table cannot be read or written")]
    Table(#[from] table::Error),
}

/// What came back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Rows that are there again.
    pub rows: u64,
    /// Files that hold them.
    pub files: u64,
    /// Files that were taken out.
    pub replaced: u64,
}

/// What leaves a table when lost rows come back, in the last commit.
#[derive(Clone, Debug, Default)]
pub struct GivingWay {
    /// Files that cannot be read.
    pub unreadable: Vec<DataFile>,
    /// Rows of sound files: each is a repeat that was taken for a first occurrence while the first was lost.
    pub late: Vec<(DataFile, HashSet<Position>)>,
}

impl GivingWay {
    /// Whether files of a day leave the table, so that what comes there must wait for them.
    fn touches(&self, date: EventDate) -> bool {
        self.unreadable.iter().chain(self.late.iter().map(|(file, _)| file)).any(|file| file.date == date)
    }
}

/// Brings lost rows back into one table.
pub struct Rebuilder {
    table: Table,
    /// A version without the rows; after each commit the one that it made.
    known: Snapshot,
    giving_way: GivingWay,
    reader: Reader,
    limits: Limits,
    keep: Duration,
    clock: Clock,
    open: Runs,
    open_rows: usize,
    open_bytes: usize,
    /// Files that wait for the last commit.
    held: Vec<DataFile>,
    rebuilt: Rebuilt,
}

impl Rebuilder {
    /// For a table in whose version `known` the rows are missing, and what of that version gives way to them.
    ///
    /// `keep` is how long files may wait for their commit.
    #[must_use]
    pub fn new(
        (table, known): (Table, Snapshot),
        giving_way: GivingWay,
        identity: IdentityRule,
        config: &Config,
        keep: Duration,
        clock: Clock,
    ) -> Self {
        let reader = Reader::new(identity, Rules::default().for_foreign_messages());
        let limits = config.limits();
        let (open, held, rebuilt) = (Runs::default(), Vec::new(), Rebuilt::default());
        Self { table, known, giving_way, reader, limits, keep, clock, open, open_rows: 0, open_bytes: 0, held, rebuilt }
    }

    /// Takes the rows of a message at these places in it. Messages of a shard come in order, so that files hold neighbours.
    ///
    /// # Errors
    /// See [`RebuildError`].
    pub async fn push(&mut self, delivery: &Delivery, places: &BTreeSet<u32>) -> Result<(), RebuildError> {
        let rows = self.lost(delivery, places)?;
        self.open_rows += rows.num_rows();
        self.open_bytes += rows.get_array_memory_size();
        self.open.push(rows)?;
        if self.open_rows >= self.limits.rows || self.open_bytes >= self.limits.bytes { self.write().await } else { Ok(()) }
    }

    fn lost(&self, delivery: &Delivery, places: &BTreeSet<u32>) -> Result<RecordBatch, RebuildError> {
        let rows = self.reader.read(delivery);
        let rows = if self.is_events() { rows.events.map(|events| events.rows) } else { rows.quarantined };
        let position = Position { shard: delivery.shard, sequence: delivery.sequence, index: None };
        let other = || RebuildError::AnotherMessage { position };
        let rows = rows.ok_or_else(other)?;
        let indices = rows.column_by_name("_index").expect("both tables have it").as_primitive::<Int32Type>();
        let is_lost: BooleanArray = indices.values().iter().map(|index| Some(places.contains(&index.unsigned_abs()))).collect();
        let lost = filter_record_batch(&rows, &is_lost)?;
        if lost.num_rows() == places.len() { Ok(lost) } else { Err(other()) }
    }

    /// Commits what is left, and takes out what gives way.
    ///
    /// # Errors
    /// See [`RebuildError`].
    pub async fn finish(mut self) -> Result<Rebuilt, RebuildError> {
        self.write().await?;
        let GivingWay { unreadable: mut removed, late } = std::mem::take(&mut self.giving_way);
        let mut added = std::mem::take(&mut self.held);
        let rows = rows_in(&added);
        for (file, rows) in late {
            added.extend(self.without(&file, rows).await?);
            removed.push(file);
        }
        self.commit(removed, added, rows).await?;
        Ok(self.rebuilt)
    }

    /// The file anew without its late rows; nothing when it has no other.
    async fn without(&self, file: &DataFile, late: HashSet<Position>) -> Result<Option<DataFile>, RebuildError> {
        let kept = file.rows.saturating_sub(late.len() as u64);
        let anew = self.table.merge_kept(std::slice::from_ref(file), table::without(Arc::new(late))).await?;
        match anew.as_ref().map_or(0, |anew| anew.rows) {
            rows if rows == kept => Ok(anew),
            rows => Err(RebuildError::OtherRows { file: Arc::clone(&file.path), expected: kept, found: rows }),
        }
    }

    /// Writes the open rows; those of days that nothing leaves are committed.
    async fn write(&mut self) -> Result<(), RebuildError> {
        let open = std::mem::take(&mut self.open);
        (self.open_rows, self.open_bytes) = (0, 0);
        let mut free = Vec::new();
        for Day { date, rows } in self.days(open).await? {
            let file = self.table.write(date, &rows).await?;
            if self.giving_way.touches(date) { self.held.push(file) } else { free.push(file) }
        }
        let rows = rows_in(&free);
        self.commit(Vec::new(), free, rows).await
    }

    async fn days(&self, rows: Runs) -> Result<Vec<Day>, RebuildError> {
        let order = if self.is_events() { Order::NameAndTime } else { Order::Journal };
        let sorted = spawn_blocking(move || days(rows.batches(), order)).await;
        Ok(sorted.map_err(|panic| ArrowError::ExternalError(panic.into()))?)
    }

    /// `rows` of those in the added files were lost.
    async fn commit(&mut self, removed: Vec<DataFile>, added: Vec<DataFile>, rows: u64) -> Result<(), RebuildError> {
        if removed.is_empty() && added.is_empty() {
            return Ok(());
        }
        if added.iter().any(|file| self.is_stale(file)) {
            return Err(RebuildError::TookTooLong { keep: Interval(self.keep) });
        }
        Failpoint::RebuildWritten.pass();
        let rebuilt = Rebuilt {
            rows: self.rebuilt.rows + rows,
            files: self.rebuilt.files + added.len() as u64,
            replaced: self.rebuilt.replaced + removed.len() as u64,
        };
        let committed = self.table.rebuild(&self.known, removed, added, self.clock.now()).await?;
        self.known = committed.ok_or_else(|| RebuildError::Changed { table: self.table.name().to_owned() })?;
        self.rebuilt = rebuilt;
        Failpoint::RebuildCommitted.pass();
        Ok(())
    }

    /// Half of the time after which maintenance takes a file without a commit for garbage has passed.
    fn is_stale(&self, file: &DataFile) -> bool {
        let age_ms = self.clock.now().timestamp_millis().saturating_sub(file.written_at_ms);
        u64::try_from(age_ms).is_ok_and(|age_ms| Duration::from_millis(age_ms) > self.keep / 2)
    }

    fn is_events(&self) -> bool {
        self.table.name() == "events"
    }
}

fn rows_in(files: &[DataFile]) -> u64 {
    files.iter().map(|file| file.rows).sum()
}
