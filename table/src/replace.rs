//! Replace: some files give way to others that hold the same rows, or fewer, in one atomic Delta commit. Tidemarks stay.
//!
//! Writers go on meanwhile. When one of them was faster, the commit is built on its version; when somebody else has already replaced
//! one of the files, nothing happens. An error may mean "it happened", so the table is read again before anything is said.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use deltalake_core::{
    DeltaTableError,
    kernel::{
        Action, Add, Remove, Transaction,
        transaction::{CommitBuilder, CommitProperties},
    },
    protocol::DeltaOperation,
    table::state::DeltaTableState,
};

use schemas::EventDate;

use crate::{DataFile, Error, Snapshot, Table};

/// So many commits of others may come in between.
const REBASES: usize = 64;

/// Files that take the place of others.
#[derive(Clone, Debug)]
pub(crate) struct Replacement {
    /// Files of the table.
    pub(crate) removed: Vec<DataFile>,
    /// Files that are written and not in the table yet.
    pub(crate) added: Vec<DataFile>,
    /// What becomes of the rows.
    pub(crate) change: Change,
    /// The time now: the removed files are kept for some time after it.
    pub(crate) at: DateTime<Utc>,
    /// For rows that come back: what was known when they were found missing.
    pub(crate) missed: Option<Missed>,
}

/// What must still hold when lost rows are added, or they would be there twice, or where nothing should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Missed {
    /// Nobody else brought rows back meanwhile.
    pub(crate) rebuilds: i64,
    /// No further days were given up.
    pub(crate) dropped_before: Option<EventDate>,
}

impl Missed {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        Self { rebuilds: snapshot.rebuilds(), dropped_before: snapshot.dropped_before() }
    }
}

/// What a replacement does to the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing: the added files hold every row of the removed ones. Readers that follow changes see none.
    Layout,
    /// Rows that match this text, in words or SQL, are no longer there, or are there again.
    Rows(String),
}

impl Replacement {
    fn actions(&self, table: &str) -> Vec<Action> {
        let data_change = self.change != Change::Layout;
        let add = |file: &DataFile| Action::Add(Add { data_change, ..file.to_add(table) });
        let remove = |file: &DataFile| Action::Remove(Remove { data_change, ..file.to_remove(table, self.at.timestamp_millis()) });
        self.removed.iter().map(remove).chain(self.added.iter().map(add)).collect()
    }

    fn operation(&self) -> DeltaOperation {
        match &self.change {
            Change::Layout => DeltaOperation::Optimize { predicate: None, target_size: 0 },
            Change::Rows(what) => DeltaOperation::Delete { predicate: Some(what.clone()) },
        }
    }

    fn what_is(&self, version: &Snapshot) -> Standing {
        let files: HashSet<&str> = version.files().iter().map(|file| &*file.path).collect();
        let all = |some: &[DataFile]| some.iter().all(|file| files.contains(&*file.path));
        match (all(&self.removed), all(&self.added) && !self.added.is_empty()) {
            (_, true) => Standing::Done,
            (true, false) if self.missed.as_ref().is_none_or(|missed| *missed == Missed::of(version)) => Standing::Open,
            (_, false) => Standing::Gone,
        }
    }
}

/// Where a replacement stands in a version.
enum Standing {
    Open,
    Done,
    /// Some removed file is not there any more, or what was missing may not be missing now.
    Gone,
}

impl Table {
    /// Replaces files, and sets marks of the table beside; `None` when one of the removed files is no longer in the table, or rows that
    /// come back may be there again, and nothing was changed. Files are never deleted here.
    ///
    /// # Errors
    /// When the table cannot be read, or nobody knows whether it happened. The same replacement may be tried again.
    pub(crate) async fn put_in_place(&self, replacement: &Replacement, marks: &[Transaction]) -> Result<Option<Snapshot>, Error> {
        let mut failure = None;
        for _ in 0..REBASES {
            let newest = self.snapshot().await?;
            match replacement.what_is(&newest) {
                Standing::Done => return Ok(Some(newest)),
                Standing::Gone => return Ok(None),
                Standing::Open => {}
            }
            match self.write_replacement(&newest, replacement, marks).await {
                Ok(state) => {
                    let snapshot = newest.moved_to(self.log(), state).await?;
                    self.adopt(&snapshot).await;
                    return Ok(Some(snapshot));
                }
                Err(error) if !self.log().is_newer_than(newest.version()).await? => return Err(self.log().failed(error)),
                Err(error) => failure = Some(error),
            }
        }
        Err(self.log().failed(failure.unwrap_or_else(|| DeltaTableError::Generic(format!("{REBASES} other commits came in between")))))
    }

    /// Writes the version after `base`, once.
    async fn write_replacement(
        &self,
        base: &Snapshot,
        replacement: &Replacement,
        marks: &[Transaction],
    ) -> Result<DeltaTableState, DeltaTableError> {
        let properties = CommitProperties::default()
            .with_max_retries(0)
            .with_create_checkpoint(false)
            .with_cleanup_expired_logs(Some(false))
            .with_application_transactions(marks.to_vec());
        let builder = CommitBuilder::from(properties).with_actions(replacement.actions(self.name()));
        let commit = builder.build(Some(base.state()), self.log().store(), replacement.operation()).await?;
        Ok(commit.snapshot())
    }
}
