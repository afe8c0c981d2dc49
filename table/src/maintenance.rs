//! What keeps a table small and fast over weeks of commits: merges of small files, days that are given up, old versions that go.
//!
//! Each step is one Delta commit or only deletes what no version of the last hours needs. Steps never wait for a writer and no
//! writer waits for them; two processes that do the same step at the same time lose work, never rows.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use deltalake_core::protocol::checkpoints::cleanup_expired_logs_for;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{Error as StoreError, ObjectMeta, ObjectStore, path::Path};
use schemas::{EventDate, tables::EVENT_DATE};
use uuid::Uuid;

use crate::{
    DataFile, Error, Keep, Snapshot, Table,
    log::Mark,
    merge::Merge,
    replace::{Change, Replacement},
};

mod plan;

/// A checkpoint after so many commits keeps opening quick.
const CHECKPOINT_EVERY: u64 = 50;

/// Which files are merged.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Small files become files of up to so many bytes; what has half of it is large.
    pub target_bytes: u64,
    /// Hours of event time are over when they ended so long ago.
    pub grace: Duration,
    /// What nobody added to for so long is merged whatever its sizes: it will hardly grow any more.
    pub rest: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { target_bytes: 256 << 20, grace: Duration::from_secs(600), rest: Duration::from_hours(24) }
    }
}

impl Table {
    /// Writes the rows of some files of one day as one file, in order; nothing when there are no files. It takes their place by
    /// [`replace`](Self::replace).
    ///
    /// # Errors
    /// [`Error::File`] names a file that cannot be read; else when the store fails.
    pub async fn merge(&self, files: &[DataFile]) -> Result<Option<DataFile>, Error> {
        let Some((merge, date)) = self.open_merge(files, None).await? else { return Ok(None) };
        let expected = merge.expected_rows();
        let into = self.write_merged(date, merge).await?;
        match into.as_ref().map_or(0, |file| file.rows) {
            rows if rows == expected => Ok(into),
            rows => Err(Error::Rows { what: format!("{expected} were to be merged, {rows} came") }),
        }
    }

    /// As [`merge`](Self::merge), without the rows that do not stay; nothing when no row stays.
    ///
    /// # Errors
    /// As for [`merge`](Self::merge).
    pub async fn merge_kept(&self, files: &[DataFile], keep: Keep) -> Result<Option<DataFile>, Error> {
        match self.open_merge(files, Some(keep)).await? {
            Some((merge, date)) => self.write_merged(date, merge).await,
            None => Ok(None),
        }
    }

    async fn open_merge(&self, files: &[DataFile], keep: Option<Keep>) -> Result<Option<(Merge, EventDate)>, Error> {
        let Some(date) = files.first().map(|file| file.date) else { return Ok(None) };
        debug_assert!(files.iter().all(|file| file.date == date), "a file has rows of one day (I4)");
        Ok(Some((Merge::open(self, files, keep).await?, date)))
    }

    /// Puts a file in the place of others, in one commit. `None` when one of those is no longer in the table, and nothing was changed.
    ///
    /// # Errors
    /// When the table cannot be read or written. The same may be tried again.
    pub async fn replace(
        &self,
        removed: Vec<DataFile>,
        added: Option<DataFile>,
        change: Change,
        at: DateTime<Utc>,
    ) -> Result<Option<Snapshot>, Error> {
        self.put_in_place(&Replacement { removed, added: added.into_iter().collect(), change, at, missed: None }, &[]).await
    }

    /// Takes all days before `first` out of the table; the number of files and rows that go. Readers see it at once, the files are
    /// deleted later.
    ///
    /// # Errors
    /// When the table cannot be read or written.
    pub async fn drop_before(&self, first: EventDate, at: DateTime<Utc>) -> Result<(usize, u64), Error> {
        let removed: Vec<DataFile> = self.snapshot().await?.files().iter().filter(|file| file.date < first).cloned().collect();
        if removed.is_empty() {
            return Ok((0, 0));
        }
        let gone = (removed.len(), removed.iter().map(|file| file.rows).sum());
        let change = Change::Rows(format!("event_date < DATE '{first}'"));
        let replacement = Replacement { removed, added: Vec::new(), change, at, missed: None };
        let replaced = self.put_in_place(&replacement, &[Mark::DroppedBefore.action(i64::from(first.0))]).await?;
        Ok(if replaced.is_some() { gone } else { (0, 0) })
    }

    /// Writes a checkpoint when the last one is many versions old, so that opening need not read the commits before it.
    ///
    /// # Errors
    /// When the store fails; the table is as before, only slower to open.
    pub async fn checkpoint_if_due(&self) -> Result<bool, Error> {
        let newest = self.snapshot().await?.version();
        let last = self.log().checkpoints().await?.last().copied();
        if newest.saturating_sub(last.unwrap_or(0)) < CHECKPOINT_EVERY {
            return Ok(false);
        }
        self.log().checkpoint(newest).await.map(|()| true)
    }

    /// Deletes versions that are older than `keep` and lie before the last checkpoint but one: should the last be damaged, the table is
    /// opened from the one before. How many files of the log went.
    ///
    /// # Errors
    /// When the store fails; what was not deleted is deleted the next time.
    pub async fn forget_versions(&self, keep: Duration, now: DateTime<Utc>) -> Result<usize, Error> {
        let checkpoints = self.log().checkpoints().await?;
        let Some(second) = checkpoints.iter().rev().nth(1) else { return Ok(0) };
        let deleted = cleanup_expired_logs_for(*second, self.log().store().as_ref(), before(now, keep).timestamp_millis(), None).await;
        deleted.map_err(|error| self.log().failed(error))
    }

    /// Finds data files that no version of the last `keep` has: replaced ones, and those that no commit ever named.
    ///
    /// # Errors
    /// When the table cannot be read.
    pub async fn garbage(&self, keep: Duration, now: DateTime<Utc>) -> Result<Vec<ObjectMeta>, Error> {
        let before = before(now, keep);
        // Listed first: whoever commits an old file meanwhile is seen in the snapshot.
        let listed = self.object_store().list(Some(&Path::from(self.name())));
        let old: Vec<ObjectMeta> = listed.try_filter(|found| std::future::ready(is_old(found, before))).try_collect().await?;
        let snapshot = self.snapshot().await?;
        let mut needed: HashSet<String> = snapshot.files().iter().map(|file| file.path.to_string()).collect();
        let log = self.log().store();
        let mut removed = snapshot.state().all_tombstones(log.as_ref());
        while let Some(file) = removed.try_next().await.map_err(|error| self.log().failed(error))? {
            if file.deletion_timestamp().is_some_and(|at| at >= before.timestamp_millis()) {
                needed.insert(format!("{}/{}", self.name(), file.path()));
            }
        }
        Ok(old.into_iter().filter(|found| !needed.contains(found.location.as_ref())).collect())
    }

    /// Deletes what [`garbage`](Self::garbage) found; how many files went.
    ///
    /// # Errors
    /// When the store fails; what was not deleted is found again.
    pub async fn delete(&self, garbage: Vec<ObjectMeta>) -> Result<usize, Error> {
        let places = stream::iter(garbage).map(|found| Ok(found.location)).boxed();
        let mut deleted = self.object_store().delete_stream(places);
        let mut count = 0;
        while let Some(outcome) = deleted.next().await {
            match outcome {
                Ok(_) | Err(StoreError::NotFound { .. }) => count += 1,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(count)
    }
}

fn before(now: DateTime<Utc>, keep: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(keep).ok().and_then(|keep| now.checked_sub_signed(keep)).unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// A data file of ours, old by the store's clock and by that of its writer.
fn is_old(found: &ObjectMeta, before: DateTime<Utc>) -> bool {
    let is_in_partition = found.location.parts().any(|part| part.as_ref().starts_with(&format!("{EVENT_DATE}=")));
    let name = found.location.filename().and_then(|name| name.strip_suffix(".parquet")).and_then(|name| Uuid::parse_str(name).ok());
    let named_at = name.and_then(|name| name.get_timestamp()).and_then(|at| DateTime::from_timestamp(at.to_unix().0.try_into().ok()?, 0));
    is_in_partition && found.last_modified < before && named_at.is_some_and(|at| at < before)
}
