//! The messages of a shard one after the other, and the holes between them.

use std::time::Duration;

use anyhow::Context;
use futures::TryStreamExt;
use journal::{Deliveries, Delivery, Error, Journal};
use pipeline::writer::Gap;
use schemas::{Position, Sequence, ShardId};
use tokio::time::timeout;

/// How long the journal may take for the next message, of which we know that it is there.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many messages are rather read than jumped over.
const NEAR: u64 = 1000;

/// A shard that is read up to a message that is known to be there.
pub(crate) struct Messages<'a> {
    journal: &'a dyn Journal,
    shard: ShardId,
    at: Sequence,
    open: Option<Deliveries>,
}

impl<'a> Messages<'a> {
    /// What comes after a message.
    pub(crate) fn after(journal: &'a dyn Journal, shard: ShardId, at: Sequence) -> Self {
        Self { journal, shard, at, open: None }
    }

    /// So that a message is the next.
    pub(crate) fn before(journal: &'a dyn Journal, message: Position) -> Self {
        Self::after(journal, message.shard, Sequence(message.sequence.0.saturating_sub(1)))
    }

    /// The shard that is read.
    pub(crate) const fn shard(&self) -> ShardId {
        self.shard
    }

    /// The last message, or the end of the last hole.
    pub(crate) const fn at(&self) -> Sequence {
        self.at
    }

    /// The next message, or the hole that is there instead.
    pub(crate) async fn next(&mut self) -> anyhow::Result<Result<Delivery, Gap>> {
        let next = match timeout(PATIENCE, self.read()).await.context("the journal does not answer")? {
            Err(Error::Gap { expected, found, .. }) => Err(Gap { first: expected, last: Sequence(found.0 - 1) }),
            next => Ok(next.context("the journal cannot be read")?.context("the journal ended before its last message")?),
        };
        match &next {
            Ok(delivery) => self.at = delivery.sequence,
            Err(gap) => (self.at, self.open) = (gap.last, None),
        }
        Ok(next)
    }

    /// A message that lies ahead; `None` when it is gone.
    pub(crate) async fn seek(&mut self, sequence: Sequence) -> anyhow::Result<Option<Delivery>> {
        if sequence.0 > self.at.0 + NEAR {
            (self.at, self.open) = (Sequence(sequence.0 - 1), None);
        }
        while self.at < sequence {
            if let Ok(delivery) = self.next().await?
                && delivery.sequence == sequence
            {
                return Ok(Some(delivery));
            }
        }
        Ok(None)
    }

    async fn read(&mut self) -> Result<Option<Delivery>, Error> {
        if self.open.is_none() {
            self.open = Some(self.journal.read(self.shard, self.at).await?);
        }
        self.open.as_mut().expect("opened above").try_next().await
    }
}
