//! The folder of the Delta log: how long it has become, and when the newest version was committed.
//!
//! Opening a table reads the newest checkpoint and every commit after it, so both numbers are what an operator watches.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::{ObjectMeta, path::Path};

use crate::{
    Error, Table,
    log::{LOG_FOLDER, is_commit},
};

/// Digits in front of every name that belongs to a version.
const VERSION_DIGITS: usize = 20;

/// What lies in `_delta_log`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogFolder {
    /// All files, whatever they are.
    pub files: u64,
    /// Their size.
    pub bytes: u64,
    /// Commits; those before a checkpoint are cleaned up after a while.
    pub commits: u64,
    /// Versions that have a checkpoint.
    pub checkpoints: u64,
    /// The newest of them; opening the table begins there.
    pub newest_checkpoint: Option<u64>,
    /// Commits after it, or all of them: what opening has to read besides.
    pub commits_since_checkpoint: u64,
    /// When the newest commit was written, by the clock of the store.
    pub newest_commit_at: Option<DateTime<Utc>>,
}

impl Table {
    /// Lists the folder of the log.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn log_folder(&self) -> Result<LogFolder, Error> {
        let store = self.log().store().object_store(None);
        let objects: Vec<ObjectMeta> = store.list(Some(&Path::from(LOG_FOLDER))).try_collect().await?;
        Ok(LogFolder::of(&objects))
    }
}

impl LogFolder {
    fn of(objects: &[ObjectMeta]) -> Self {
        let checkpoints: BTreeSet<u64> = names(objects).filter(|(name, _)| name.contains(".checkpoint.")).filter_map(version).collect();
        let commits: Vec<(u64, DateTime<Utc>)> =
            names(objects).filter(|(name, _)| is_commit(name)).filter_map(|found| Some((version(found)?, found.1.last_modified))).collect();
        let newest_checkpoint = checkpoints.last().copied();
        let is_after = |version: u64| newest_checkpoint.is_none_or(|checkpoint| version > checkpoint);
        Self {
            files: objects.len() as u64,
            bytes: objects.iter().map(|object| object.size).sum(),
            commits: commits.len() as u64,
            checkpoints: checkpoints.len() as u64,
            newest_checkpoint,
            commits_since_checkpoint: commits.iter().filter(|(version, _)| is_after(*version)).count() as u64,
            newest_commit_at: commits.iter().max().map(|(_, at)| *at),
        }
    }
}

fn names(objects: &[ObjectMeta]) -> impl Iterator<Item = (&str, &ObjectMeta)> {
    objects.iter().filter_map(|object| Some((object.location.filename()?, object)))
}

fn version((name, _): (&str, &ObjectMeta)) -> Option<u64> {
    name.get(..VERSION_DIGITS)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, second: i64) -> ObjectMeta {
        let last_modified = DateTime::from_timestamp_secs(second).unwrap();
        ObjectMeta { location: Path::from(format!("_delta_log/{name}")), last_modified, size: 10, e_tag: None, version: None }
    }

    #[test]
    fn commits_are_counted_from_the_newest_checkpoint_of_whatever_kind() {
        let names = [
            "00000000000000000000.json",
            "00000000000000000001.json",
            "00000000000000000001.checkpoint.parquet",
            "00000000000000000002.checkpoint.0000000001.0000000002.parquet",
            "00000000000000000002.checkpoint.0000000002.0000000002.parquet",
            "00000000000000000003.json",
            "00000000000000000004.json",
            "_last_checkpoint",
            "00000000000000000004.crc",
        ];
        let objects: Vec<ObjectMeta> = names.iter().zip(100..).map(|(name, second)| object(name, second)).collect();
        let expected = LogFolder {
            files: 9,
            bytes: 90,
            commits: 4,
            checkpoints: 2,
            newest_checkpoint: Some(2),
            commits_since_checkpoint: 2,
            newest_commit_at: DateTime::from_timestamp_secs(106),
        };
        assert_eq!(LogFolder::of(&objects), expected);
        assert_eq!(LogFolder::of(&[]), LogFolder::default());
    }
}
