//! Commit: files and the tidemark of one shard, in one atomic Delta commit, under compare-and-set (INVARIANTS I2, I3).
//!
//! A commit is built on a version and written as the next one, once. Any error may mean "it happened" (a lost reply), so the table
//! is read again: the tidemark is still the old one, so it did not happen; it is the new one and the commit is mine, so it did;
//! anything else and another writer was here. When only other shards (or maintenance) came in between, the commit is built on their
//! version. Files are never deleted on an error: a request that is still under way may yet commit them.

use deltalake_core::{
    DeltaTableError,
    kernel::{
        Action, Transaction,
        transaction::{CommitBuilder, CommitProperties},
    },
    protocol::{DeltaOperation, OutputMode},
    table::state::DeltaTableState,
};
use schemas::{Sequence, ShardId};

use crate::{
    DataFile, Error, Origin, Snapshot, Table,
    log::{Author, Entry, Mark, tidemark_action},
};

/// So many commits of others may come in between before the caller is asked to try again.
const REBASES: usize = 16;

/// Rows of one shard that are to become visible, with its new tidemark.
#[derive(Clone, Debug)]
pub struct NewCommit {
    /// The shard.
    pub shard: ShardId,
    /// Its rows from the old tidemark + 1 up to the new one; none when all of them were duplicates.
    pub files: Vec<DataFile>,
    /// The new tidemark.
    pub tidemark: Sequence,
    /// Where the rows came from, to be recognised at the next start.
    pub origin: Option<Origin>,
}

/// Why there is no new snapshot.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another writer moved the tidemark. Drop everything and start again from the table.
    #[error("another writer is at work on shard {shard}: its tidemark is {found}, and this writer knows {expected}")]
    Fenced {
        /// The shard.
        shard: ShardId,
        /// The tidemark of the snapshot on which the commit was built.
        expected: Sequence,
        /// The tidemark in the table.
        found: Sequence,
    },
    /// Lost rows came back since the snapshot on which the commit was built, and some of its rows may repeat them. Start again from the
    /// table.
    #[error("rows that were lost came back to the table, and what repeats them must be judged again")]
    Rebuilt,
    /// The tidemark is still the old one. The same commit may be tried again.
    #[error("the commit did not happen")]
    NotCommitted {
        /// Why.
        source: Error,
    },
    /// The table cannot be read, so nobody knows. Trying the same commit again tells.
    #[error("nobody knows whether the commit happened")]
    Unknown {
        /// Why the table cannot be read.
        source: Error,
    },
}

impl Table {
    /// Adds files and moves the shard's tidemark from that of `base` to the new one; the result is the version that does so.
    ///
    /// The same commit may be tried again with the same `base` until the answer is `Ok`, [`CommitError::Fenced`] or
    /// [`CommitError::Rebuilt`]: it happens once.
    ///
    /// # Errors
    /// See [`CommitError`]. The files stay in any case.
    pub async fn commit(&self, base: &Snapshot, commit: NewCommit) -> Result<Snapshot, CommitError> {
        let attempt = Attempt::new(self, base, commit);
        if attempt.author.to <= attempt.author.from {
            return Err(attempt.fenced(attempt.author.from));
        }
        let snapshot = attempt.run(base.clone()).await?;
        self.adopt(&snapshot).await;
        Ok(snapshot)
    }
}

struct Attempt<'a> {
    table: &'a Table,
    author: Author,
    files: Vec<DataFile>,
    origin: Option<Origin>,
    /// Those that the writer knows.
    rebuilds: i64,
}

impl<'a> Attempt<'a> {
    fn new(table: &'a Table, base: &Snapshot, commit: NewCommit) -> Self {
        let NewCommit { shard, files, tidemark, origin } = commit;
        let author = Author { writer: table.writer(), shard, from: base.tidemark(shard), to: tidemark };
        Self { table, author, files, origin, rebuilds: base.rebuilds() }
    }

    async fn run(&self, mut base: Snapshot) -> Result<Snapshot, CommitError> {
        let log = self.table.log();
        for _ in 0..REBASES {
            let failure = match self.write(&base).await {
                Ok(state) => return base.moved_to(log, state).await.map_err(|source| CommitError::Unknown { source }),
                Err(failure) => failure,
            };
            let newest = base.newest(log).await.map_err(|source| CommitError::Unknown { source })?;
            match newest.tidemark(self.author.shard) {
                // Nothing happened at all; or others committed: build on theirs.
                found if found == self.author.from && newest.version() == base.version() => return Err(self.not_committed(failure)),
                found if found == self.author.from && newest.rebuilds() != self.rebuilds => return Err(CommitError::Rebuilt),
                found if found == self.author.from => base = newest,
                found if found == self.author.to && self.is_mine(&base, &newest).await? => return Ok(newest),
                found => return Err(self.fenced(found)),
            }
        }
        Err(self.not_committed(DeltaTableError::Generic(format!("{REBASES} other commits came in between"))))
    }

    /// Writes the version after `base`, once.
    async fn write(&self, base: &Snapshot) -> Result<DeltaTableState, DeltaTableError> {
        let Author { shard, to, .. } = self.author;
        let author = serde_json::to_value(&self.author).expect("numbers and a UUID are JSON");
        let properties = CommitProperties::default()
            .with_max_retries(0)
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false))
            .with_metadata([(Author::KEY.to_owned(), author)])
            .with_application_transactions(self.transactions());
        let transaction = tidemark_action(shard, to);
        let operation = DeltaOperation::StreamingUpdate {
            output_mode: OutputMode::Append,
            query_id: transaction.app_id,
            epoch_id: transaction.version,
        };
        let adds = self.files.iter().map(|file| Action::Add(file.to_add(self.table.name()))).collect();
        let commit =
            CommitBuilder::from(properties).with_actions(adds).build(Some(base.state()), self.table.log().store(), operation).await?;
        Ok(commit.snapshot())
    }

    /// The tidemark, and where it comes from.
    fn transactions(&self) -> Vec<Transaction> {
        let Author { shard, to, .. } = self.author;
        let origin = self.origin.iter().flat_map(|origin| origin.actions(shard));
        std::iter::once(tidemark_action(shard, to)).chain(origin).collect()
    }

    /// Was it my commit that set the newest tidemark?
    async fn is_mine(&self, base: &Snapshot, newest: &Snapshot) -> Result<bool, CommitError> {
        for version in (base.version() + 1..=newest.version()).rev() {
            let entry = self.table.log().entry(version).await.map_err(|source| CommitError::Unknown { source })?;
            match entry {
                Some(entry) if entry.marks.contains_key(&Mark::Tidemark(self.author.shard)) => return Ok(self.made(&entry)),
                Some(_) => {}
                // Cleaned up: it is older than any request of mine can be.
                None => return Ok(false),
            }
        }
        Ok(false)
    }

    fn made(&self, entry: &Entry) -> bool {
        let mut mine: Vec<&str> = self.files.iter().map(|file| file.path_in(self.table.name())).collect();
        let mut added: Vec<&str> = entry.added.iter().map(String::as_str).collect();
        mine.sort_unstable();
        added.sort_unstable();
        entry.author.as_ref() == Some(&self.author) && mine == added
    }

    fn fenced(&self, found: Sequence) -> CommitError {
        CommitError::Fenced { shard: self.author.shard, expected: self.author.from, found }
    }

    fn not_committed(&self, failure: DeltaTableError) -> CommitError {
        CommitError::NotCommitted { source: self.table.log().failed(failure) }
    }
}
