//! Rebuild: rows that were lost come back, and files that cannot be read give way to them, in one atomic Delta commit.
//!
//! Each such commit counts the mark `tidemark/rebuilds` up. One that is built on another count does not happen, so two who bring the
//! same rows back at the same time never do so twice (INVARIANTS I3). Neither does one that would bring back a day which was given up
//! meanwhile, or whose removed file somebody else has replaced.

use chrono::{DateTime, Utc};

use crate::{
    DataFile, Error, Snapshot, Table,
    log::Mark,
    replace::{Change, Missed, Replacement},
};

impl Table {
    /// Adds files with rows that `found` does not have, and takes files out; `None` when something of this kind happened since `found`,
    /// and nothing was changed: look again what is missing. Commits of new rows and merges of other files do not disturb.
    ///
    /// # Errors
    /// When the table cannot be read or written. The same may be tried again.
    pub async fn rebuild(
        &self,
        found: &Snapshot,
        removed: Vec<DataFile>,
        added: Vec<DataFile>,
        at: DateTime<Utc>,
    ) -> Result<Option<Snapshot>, Error> {
        let (rows, files): (u64, usize) = (added.iter().map(|file| file.rows).sum(), removed.len());
        let change = Change::Rows(format!("{rows} lost rows are there again, {files} files gave way to them"));
        let missed = Missed::of(found);
        let mark = Mark::Rebuilds.action(missed.rebuilds + 1);
        self.put_in_place(&Replacement { removed, added, change, at, missed: Some(missed) }, &[mark]).await
    }
}
