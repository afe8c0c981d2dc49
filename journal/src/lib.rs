//! The log between the door and the table: what is in it survives a crash, in order, each message once.
//!
//! In: a [`Message`] (one block). Out: [`Delivery`]s, contiguous from any [`Sequence`] that is still kept.
//! A shard is one stream whose sequences have no holes, so a position says everything about what was read
//! (INVARIANTS I1, I2); a hole that a disk or a person made is an error that names it, never skipped. Reading leaves no trace in the journal; the reader keeps its position.
//!
//! [`JetStream`] is the real one; [`Memory`] is for tests. One conformance suite (`tests/journal`) holds for both.

mod error;
pub mod jetstream;
mod memory;
mod trace;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::stream::BoxStream;
use schemas::{Sequence, ShardId};

pub use error::{Error, PublishError, Remedy};
pub use jetstream::JetStream;
pub use memory::Memory;
pub use trace::{MAX_TRACE_BYTES, Trace};

/// The longest id of a [`Message`].
pub const MAX_ID_BYTES: usize = 128;

/// A durable log in shards, each with contiguous sequences.
#[async_trait]
pub trait Journal: Send + Sync + 'static {
    /// How many shards there are; their ids are `0..shards`.
    fn shards(&self) -> u16;

    /// What the journal calls a shard, for people and for traces; its number alone when there is no such shard.
    fn stream(&self, shard: ShardId) -> String;

    /// The largest payload that [`publish`](Self::publish) takes, in bytes, with the longest id and trace.
    fn max_payload_bytes(&self) -> usize;

    /// Stores a message and says where. `Ok` means that it is on disk (I1).
    ///
    /// A repeated id gives the sequence of its first time and stores nothing, for at least two minutes.
    /// Concurrent calls are in flight together.
    async fn publish(&self, shard: ShardId, message: Message) -> Result<Sequence, PublishError>;

    /// Everything after `after`, then whatever comes; never out of order, never with a hole, never twice.
    ///
    /// Messages that are gone end it with [`Error::Gap`]; who has written that down reads on with another call, after them.
    /// The stream waits while the journal is away and goes on where it stopped. It ends only after an `Err`, which says what a
    /// reader cannot repair by waiting. Messages are fetched when they are asked for, bounded in bytes (I6).
    async fn read(&self, shard: ShardId, after: Sequence) -> Result<Deliveries, Error>;

    /// What a shard holds now.
    async fn bounds(&self, shard: ShardId) -> Result<Bounds, Error>;

    /// Removes every message up to and including `up_to`; they cannot be read again (I5 is the caller's).
    async fn release(&self, shard: ShardId, up_to: Sequence) -> Result<(), Error>;

    /// Whether every shard answers and is the one that was opened (I8). Cheap enough for a readiness probe.
    async fn health(&self) -> Result<(), Error>;
}

/// What [`Journal::publish`] stores.
#[derive(Clone, Debug)]
pub struct Message {
    /// 1 to [`MAX_ID_BYTES`] visible ASCII characters; the same for every try of the same message.
    pub id: String,
    /// At most [`Journal::max_payload_bytes`].
    pub payload: Bytes,
    /// Who publishes it, for traces.
    pub trace: Option<Trace>,
}

/// A message as it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The shard that was read.
    pub shard: ShardId,
    /// One more than that of the delivery before.
    pub sequence: Sequence,
    /// As it was published.
    pub payload: Bytes,
    /// As it was published, by us or by somebody else.
    pub trace: Option<Trace>,
    /// When the journal stored it, by the journal's clock.
    pub published_at: DateTime<Utc>,
}

/// A shard being read; see [`Journal::read`].
pub type Deliveries = BoxStream<'static, Result<Delivery, Error>>;

/// What a shard holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The first message that can still be read; `last.next()` when there is none. Up to `last` some may be gone.
    pub first: Sequence,
    /// The last message stored; [`Sequence::ZERO`] when there never was one.
    pub last: Sequence,
    /// The stream's identity: another text means another stream, whatever its name and numbers (I8).
    pub identity: String,
    /// What the messages take on disk.
    pub bytes: u64,
    /// Where the journal starts to refuse.
    pub max_bytes: u64,
}

/// Refuses what no implementation could store.
fn check(message: &Message, max_payload_bytes: usize) -> Result<(), PublishError> {
    let bytes = message.payload.len();
    if bytes > max_payload_bytes {
        return Err(PublishError::TooLarge { bytes, limit_bytes: max_payload_bytes });
    }
    let id = message.id.as_bytes();
    if (1..=MAX_ID_BYTES).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic) {
        return Ok(());
    }
    Err(PublishError::Refused {
        reason: format!("the id `{}` is not 1 to {MAX_ID_BYTES} visible ASCII characters", message.id.escape_debug()),
    })
}
