//! The table's side of an adoption: the tables go on with a stream that was made anew, with numbers above their tidemarks.
//!
//! One position is given to the adoption itself: a record in `quarantine` that says what became of the positions up to it. Then one commit
//! without rows moves the tidemark of `events` there and remembers the new stream. Both are done once, however often they are tried.

use chrono::{DateTime, Utc};
use schemas::{EventDate, Sequence, ShardId, Timestamp};
use table::{CommitError, Fingerprint, NewCommit, Origin, Picked, Snapshot, Table};

use super::gap::{ADOPTED_CODE, Gap};

/// A stream that waits to be adopted.
#[derive(Clone, Debug)]
pub struct Adopted {
    /// Its shard.
    pub shard: ShardId,
    /// Its identity.
    pub identity: String,
    /// The position of the adoption: one before the stream's first.
    pub position: Sequence,
}

/// Why the tables did not take the stream.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// A table cannot be read or written.
    #[error("the table cannot be read or written")]
    Table(#[from] table::Error),
    /// Somebody else writes to the table, or nobody knows.
    #[error("the table did not take the stream; stop every pipeline and run the adoption again")]
    Commit(#[from] CommitError),
}

impl Adopted {
    /// Records the adoption in both tables; gives false when it was there already.
    ///
    /// # Errors
    /// See [`AdoptError`]. The same call later goes on.
    pub async fn commit(&self, events: &Table, quarantine: &Table, now: DateTime<Utc>) -> Result<bool, AdoptError> {
        let (base, records) = (events.snapshot().await?, quarantine.snapshot().await?);
        if base.tidemark(self.shard) >= self.position {
            return Ok(false);
        }
        if records.tidemark(self.shard) < self.position {
            self.record(quarantine, &records, base.tidemark(self.shard), now).await?;
        }
        events.commit(&base, self.new_commit(Vec::new())).await?;
        Ok(true)
    }

    async fn record(&self, quarantine: &Table, base: &Snapshot, tidemark: Sequence, now: DateTime<Utc>) -> Result<(), AdoptError> {
        let gap = Gap { first: tidemark.next(), last: self.position };
        let why = format!(
            "the stream was replaced by that of {}; what it still held has positions after these, and what an earlier stream had here and \
             the table had not is gone",
            self.identity
        );
        let row = gap.record((self.shard, self.position), ADOPTED_CODE, &why, now);
        let day = EventDate::of(Timestamp(now.timestamp_micros()));
        let file = quarantine.write(day, &Picked::all(&[row])).await?;
        quarantine.commit(base, self.new_commit(vec![file])).await?;
        Ok(())
    }

    fn new_commit(&self, files: Vec<table::DataFile>) -> NewCommit {
        let origin = Origin { stream: Fingerprint::of(self.identity.as_bytes()), last_message: Fingerprint::of(&[]) };
        NewCommit { shard: self.shard, files, tidemark: self.position, origin: Some(origin) }
    }
}
