//! A journal in memory, for tests of what stands on a journal. It forgets everything when it is dropped.
//!
//! It keeps the rules of the trait and of nothing else: no server, no disk, and ids are remembered for ever.
//! [`Memory::silence`] makes it the server that stores a message and loses the answer.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use futures::{StreamExt, stream};
use schemas::{Sequence, ShardId};
use tokio::sync::watch;

use crate::{Bounds, Deliveries, Delivery, Error, Journal, Message, PublishError, check};

const DEFAULT_MAX_BYTES: u64 = 64 << 20;
const DEFAULT_MAX_PAYLOAD_BYTES: usize = 8 << 20;

/// The journal for tests.
pub struct Memory {
    shards: Vec<Arc<Shard>>,
    max_bytes: u64,
    max_payload_bytes: usize,
    now: Box<dyn Fn() -> DateTime<Utc> + Send + Sync>,
    answering: watch::Sender<bool>,
}

struct Shard {
    id: ShardId,
    log: Mutex<Log>,
    appended: watch::Sender<()>,
}

/// The messages that are kept; the first one has the sequence `first`.
struct Log {
    first: Sequence,
    kept: VecDeque<Delivery>,
    ids: HashMap<String, Sequence>,
    bytes: u64,
    /// Kept by number only.
    lost: BTreeSet<Sequence>,
}

impl Memory {
    /// An empty journal with room for 64 MiB in each shard and payloads up to 8 MiB; `now` gives `published_at`.
    #[must_use]
    pub fn new(shards: u16, now: impl Fn() -> DateTime<Utc> + Send + Sync + 'static) -> Self {
        Self {
            shards: (0..shards).map(|id| Arc::new(Shard::new(ShardId(id)))).collect(),
            max_bytes: DEFAULT_MAX_BYTES,
            max_payload_bytes: DEFAULT_MAX_PAYLOAD_BYTES,
            now: Box::new(now),
            answering: watch::Sender::new(true),
        }
    }

    /// With room for this many payload bytes in each shard.
    #[must_use]
    pub fn with_max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// With another limit for a payload.
    #[must_use]
    pub fn with_max_payload_bytes(mut self, max_payload_bytes: usize) -> Self {
        self.max_payload_bytes = max_payload_bytes;
        self
    }

    /// From now on messages are stored and the answer is lost; reading waits, everything else is unavailable.
    pub fn silence(&self) {
        self.answering.send_replace(false);
    }

    /// Ends [`silence`](Self::silence).
    pub fn answer(&self) {
        self.answering.send_replace(true);
    }

    /// Makes the disk forget one message that is kept.
    pub fn lose(&self, shard: ShardId, sequence: Sequence) {
        let shard = self.shard(shard).expect("the test names a shard that is there");
        shard.log().lost.insert(sequence);
    }

    fn shard(&self, shard: ShardId) -> Result<&Arc<Shard>, Error> {
        self.shards.get(usize::from(shard.0)).ok_or(Error::NoSuchShard { shard, shards: self.shards() })
    }

    fn answering_shard(&self, shard: ShardId) -> Result<&Arc<Shard>, Error> {
        let shard = self.shard(shard)?;
        if *self.answering.borrow() {
            Ok(shard)
        } else {
            Err(Error::Unavailable { stream: shard.name(), source: "it was silenced".into() })
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("shards", &self.shards.len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Journal for Memory {
    fn shards(&self) -> u16 {
        u16::try_from(self.shards.len()).expect("made from a u16")
    }

    fn stream(&self, shard: ShardId) -> String {
        self.shard(shard).map_or_else(|_none| shard.to_string(), |shard| shard.name())
    }

    fn max_payload_bytes(&self) -> usize {
        self.max_payload_bytes
    }

    async fn publish(&self, shard: ShardId, message: Message) -> Result<Sequence, PublishError> {
        check(&message, self.max_payload_bytes)?;
        let shard = self.shard(shard).map_err(|error| PublishError::Refused { reason: error.to_string() })?;
        let sequence = shard.append(message, (self.now)(), self.max_bytes)?;
        if *self.answering.borrow() { Ok(sequence) } else { Err(PublishError::NoAnswer { stream: shard.name(), timeout: Duration::ZERO }) }
    }

    async fn read(&self, shard: ShardId, after: Sequence) -> Result<Deliveries, Error> {
        let shard = self.answering_shard(shard)?;
        shard.log().after(after, &shard.name())?;
        let reader =
            Reader { shard: Arc::clone(shard), appended: shard.appended.subscribe(), answering: self.answering.subscribe(), last: after };
        let deliveries = stream::try_unfold(reader, |mut reader| async move {
            let delivery = reader.next().await?;
            Ok(Some((delivery, reader)))
        });
        Ok(deliveries.boxed())
    }

    async fn bounds(&self, shard: ShardId) -> Result<Bounds, Error> {
        let shard = self.answering_shard(shard)?;
        let log = shard.log();
        Ok(Bounds { first: log.first, last: log.last(), identity: shard.name(), bytes: log.bytes, max_bytes: self.max_bytes })
    }

    async fn release(&self, shard: ShardId, up_to: Sequence) -> Result<(), Error> {
        let shard = self.answering_shard(shard)?;
        shard.log().release(up_to, &shard.name())
    }

    async fn health(&self) -> Result<(), Error> {
        (0..self.shards()).try_for_each(|shard| self.answering_shard(ShardId(shard)).map(drop))
    }
}

impl Shard {
    fn new(id: ShardId) -> Self {
        let log = Log { first: Sequence(1), kept: VecDeque::new(), ids: HashMap::new(), bytes: 0, lost: BTreeSet::new() };
        Self { id, log: Mutex::new(log), appended: watch::Sender::new(()) }
    }

    fn name(&self) -> String {
        format!("memory-{}", self.id)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("nothing panics while it holds the log")
    }

    fn append(&self, message: Message, published_at: DateTime<Utc>, max_bytes: u64) -> Result<Sequence, PublishError> {
        let mut log = self.log();
        if let Some(sequence) = log.ids.get(&message.id) {
            return Ok(*sequence);
        }
        let bytes = log.bytes + message.payload.len() as u64;
        if bytes > max_bytes {
            return Err(PublishError::Full { stream: self.name(), reason: format!("maximum of {max_bytes} bytes exceeded") });
        }
        let sequence = log.last().next();
        log.bytes = bytes;
        log.ids.insert(message.id, sequence);
        log.kept.push_back(Delivery { shard: self.id, sequence, payload: message.payload, trace: message.trace, published_at });
        self.appended.send_replace(());
        Ok(sequence)
    }
}

impl Log {
    fn last(&self) -> Sequence {
        Sequence(self.first.0 + self.kept.len() as u64 - 1)
    }

    /// The message that follows `after`, if it is there already.
    fn after(&self, after: Sequence, stream: &str) -> Result<Option<&Delivery>, Error> {
        if after > self.last() {
            return Err(Error::Truncated { stream: stream.to_owned(), position: after, last: self.last() });
        }
        let (expected, found) = (after.next(), self.first_readable(after.next()));
        if found != expected {
            return Err(Error::Gap { stream: stream.to_owned(), expected, found });
        }
        let index = usize::try_from(expected.0 - self.first.0).expect("not above the number of messages kept");
        Ok(self.kept.get(index))
    }

    /// The first sequence at or after `sequence` that is there, or that will be.
    fn first_readable(&self, sequence: Sequence) -> Sequence {
        let mut readable = sequence.max(self.first);
        while self.lost.contains(&readable) {
            readable = readable.next();
        }
        readable
    }

    fn release(&mut self, up_to: Sequence, stream: &str) -> Result<(), Error> {
        if up_to > self.last() {
            return Err(Error::Truncated { stream: stream.to_owned(), position: up_to, last: self.last() });
        }
        while self.first <= up_to {
            let released = self.kept.pop_front().expect("first <= last");
            self.bytes -= released.payload.len() as u64;
            self.first = self.first.next();
        }
        Ok(())
    }
}

/// Where one reader of a shard stands.
struct Reader {
    shard: Arc<Shard>,
    appended: watch::Receiver<()>,
    answering: watch::Receiver<bool>,
    last: Sequence,
}

impl Reader {
    async fn next(&mut self) -> Result<Delivery, Error> {
        loop {
            if self.answering.wait_for(|answering| *answering).await.is_err() {
                // The journal was dropped in its silence.
                return futures::future::pending().await;
            }
            if let Some(delivery) = self.shard.log().after(self.last, &self.shard.name())? {
                self.last = delivery.sequence;
                return Ok(delivery.clone());
            }
            self.appended.changed().await.expect("the shard held here has the sender");
        }
    }
}
