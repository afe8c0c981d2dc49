//! Is this the journal from which the table was written? Asked at each start of a run (INVARIANTS I8).
//!
//! The numbers of a stream that was created again, restored from a backup or cut by a power loss look like the old ones. Going on
//! would skip new events as known, or put two meanings on one position, so the writer refuses.

use futures::TryStreamExt;
use journal::{Bounds, Journal};
use schemas::{Sequence, ShardId};
use table::{Fingerprint, Snapshot};

/// The journal is not the one that the table knows.
#[derive(Debug, thiserror::Error)]
#[error(
    "the journal of shard {shard} is not the one from which the table was written: {what}; restore the journal's files, or stop Tidemark \
     and let the table go on with this stream by `tidemark journal adopt`, or begin a new table with another `table.url` (the old one stays \
     readable)"
)]
pub struct AnotherJournal {
    shard: ShardId,
    what: String,
}

impl AnotherJournal {
    /// What is different, in words.
    #[must_use]
    pub fn what(&self) -> &str {
        &self.what
    }
}

/// Why the origin was not confirmed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Refused.
    #[error(transparent)]
    AnotherJournal(#[from] AnotherJournal),
    /// Not known.
    #[error("the journal cannot be read")]
    Journal(#[from] journal::Error),
}

/// Compares what the table remembers with what the journal is.
///
/// # Errors
/// [`Error::AnotherJournal`] for a stream of another identity, one that ends before the tidemark, or another message at the tidemark.
pub async fn confirm(journal: &dyn Journal, shard: ShardId, bounds: &Bounds, events: &Snapshot) -> Result<(), Error> {
    let (tidemark, Some(origin)) = (events.tidemark(shard), events.origin(shard)) else { return Ok(()) };
    let refuse = |what: String| Err(AnotherJournal { shard, what }.into());
    if origin.stream != Fingerprint::of(bounds.identity.as_bytes()) {
        return refuse(format!("the stream was created again (`{}`)", bounds.identity));
    }
    if bounds.last < tidemark {
        return refuse(format!("it ends at {}, and the table has rows up to {tidemark}", bounds.last));
    }
    match message(journal, shard, tidemark, bounds).await? {
        Some(found) if found != origin.last_message => refuse(format!("the message {tidemark} is another one")),
        _ => Ok(()),
    }
}

/// The fingerprint of a message, unless it was released or is gone.
async fn message(
    journal: &dyn Journal,
    shard: ShardId,
    sequence: Sequence,
    bounds: &Bounds,
) -> Result<Option<Fingerprint>, journal::Error> {
    if sequence < bounds.first {
        return Ok(None);
    }
    let first = async { journal.read(shard, Sequence(sequence.0 - 1)).await?.try_next().await };
    match first.await {
        Err(journal::Error::Gap { .. }) => Ok(None),
        first => Ok(first?.map(|delivery| Fingerprint::of(&delivery.payload))),
    }
}
