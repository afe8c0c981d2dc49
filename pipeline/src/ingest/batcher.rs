//! The batcher of each shard: group commit. One message, one fsync, many events.
//!
//! Handlers push under a short lock and wait for the block's outcome; one agent for each shard publishes what [`Queue`] says is due.
//! What waits is bounded in bytes (INVARIANTS I6): above the bound a request is refused at once.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use futures::{StreamExt, stream::FuturesUnordered};
use journal::{Journal, Message, PublishError};
use schemas::{BlockBuilder, Event, Identity, Position, ShardId, block::size_bytes};
use service::{tasks::Tasks, telemetry::traces::TraceContext};
use tokio::{sync::Notify, time::Instant};
use tracing::{Instrument, Span};
use uuid::Uuid;

use super::{
    Config,
    open_block::{Limits, OpenBlock, Outcome, Place, Queue},
    span,
};

/// Why events were not stored, or perhaps not.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// Too many bytes wait for the journal. Nothing of the request was stored.
    #[error("{waiting_bytes} bytes of events wait for the journal")]
    Busy {
        /// How many.
        waiting_bytes: usize,
    },
    /// The journal said no, or said nothing.
    #[error(transparent)]
    Journal(Arc<PublishError>),
    /// The process is ending.
    #[error("the server is stopping")]
    Stopping,
}

/// One shard: its queue, and a bell that rings when a block is due or the handlers are gone.
struct Shard {
    id: ShardId,
    queue: Mutex<Queue>,
    bell: Notify,
}

struct Shared {
    shards: Vec<Shard>,
    waiting_bytes: AtomicUsize,
    max_waiting_bytes: usize,
    is_closed: AtomicBool,
}

/// The handlers' side. When the last clone is gone, the agents publish what is left and end.
#[derive(Clone)]
pub(super) struct Batchers(Arc<Handle>);

struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.is_closed.store(true, Ordering::SeqCst);
        self.0.shards.iter().for_each(|shard| shard.bell.notify_one());
    }
}

/// The publishing side, not yet running.
pub(super) struct Agents {
    shared: Arc<Shared>,
    journal: Arc<dyn Journal>,
}

/// Where the events of one request will stand.
pub(super) struct Receipt(Vec<(ShardId, Place)>);

impl Batchers {
    pub(super) fn new(journal: Arc<dyn Journal>, config: &Config) -> (Self, Agents) {
        let limits = Limits { target_bytes: config.block_target.as_usize(), in_flight: config.blocks_in_flight.max(1) };
        let shard = |id| Shard { id: ShardId(id), queue: Mutex::new(Queue::new(limits)), bell: Notify::new() };
        let shared = Arc::new(Shared {
            shards: (0..journal.shards()).map(shard).collect(),
            waiting_bytes: AtomicUsize::new(0),
            max_waiting_bytes: config.max_waiting.as_usize(),
            is_closed: AtomicBool::new(false),
        });
        (Self(Arc::new(Handle(Arc::clone(&shared)))), Agents { shared, journal })
    }

    /// Adds the events of one request, one block for each shard that they fall into.
    ///
    /// # Errors
    /// [`Refusal::Busy`] when too much waits already; then none of them was added.
    pub(super) fn submit(&self, events: &[(Event<'_>, Identity)]) -> Result<Receipt, Refusal> {
        let shared = &self.0.0;
        shared.admit(events.iter().map(|(event, _)| size_bytes(event)).sum())?;
        let request = TraceContext::current();
        let places = shared.shards.iter().filter_map(|shard| shard.push(events, shared.shards.len(), request.as_ref()));
        Ok(Receipt(places.collect()))
    }
}

impl Shared {
    fn admit(&self, size_bytes: usize) -> Result<(), Refusal> {
        let waiting_bytes = self.waiting_bytes.fetch_add(size_bytes, Ordering::Relaxed);
        if waiting_bytes > 0 && waiting_bytes + size_bytes > self.max_waiting_bytes {
            self.waiting_bytes.fetch_sub(size_bytes, Ordering::Relaxed);
            return Err(Refusal::Busy { waiting_bytes });
        }
        Ok(())
    }
}

impl Shard {
    /// Adds those events of a request that fall into this shard.
    fn push(&self, events: &[(Event<'_>, Identity)], shards: usize, request: Option<&TraceContext>) -> Option<(ShardId, Place)> {
        let mine = || events.iter().filter(|(_, identity)| shard_of(*identity, shards) == self.id);
        let size_bytes = mine().map(|(event, _)| size_bytes(event)).sum::<usize>();
        if size_bytes == 0 {
            return None;
        }
        let mut queue = self.queue();
        let place = queue.push(size_bytes, mine(), request.cloned());
        if queue.is_due() {
            self.bell.notify_one();
        }
        Some((self.id, place))
    }

    /// A poisoned lock is still good: a push that panicked leaves whole rows or a builder that fails when it is encoded.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The shard of an event: its identity decides, so that a repeat meets its first occurrence.
fn shard_of(identity: Identity, shards: usize) -> ShardId {
    let shard = u128::from_be_bytes(identity.0) % shards as u128;
    ShardId(u16::try_from(shard).expect("the journal counts its shards in 16 bits"))
}

impl Receipt {
    /// Waits until every event of the request is on disk. One position for each shard, of the request's first event there.
    ///
    /// # Errors
    /// The first refusal; other shards may have stored their part.
    pub(super) async fn wait(self) -> Result<Vec<Position>, Refusal> {
        let mut positions = Vec::with_capacity(self.0.len());
        for (shard, mut place) in self.0 {
            let outcome = place.outcome.wait_for(Option::is_some).await.map_err(|_| Refusal::Stopping)?.clone();
            let sequence = outcome.expect("waited for an outcome")?;
            positions.push(Position { shard, sequence, index: Some(place.first_index) });
        }
        Ok(positions)
    }
}

impl Agents {
    pub(super) fn spawn(self, tasks: &Tasks) {
        for (index, shard) in self.shared.shards.iter().enumerate() {
            let stream = self.journal.stream(shard.id);
            let agent = Agent { shared: Arc::clone(&self.shared), index, stream, journal: Arc::clone(&self.journal) };
            tasks.spawn(format!("batcher-{index}"), async move {
                agent.run().await;
                Ok::<(), Infallible>(())
            });
        }
    }
}

/// Publishes the blocks of one shard.
struct Agent {
    shared: Arc<Shared>,
    index: usize,
    stream: String,
    journal: Arc<dyn Journal>,
}

impl Agent {
    async fn run(&self) {
        let shard = &self.shared.shards[self.index];
        let mut in_flight = FuturesUnordered::new();
        loop {
            let is_closed = self.shared.is_closed.load(Ordering::SeqCst);
            while let Some(block) = { shard.queue().take_due() } {
                in_flight.push(self.publish(shard.id, block));
            }
            if is_closed && in_flight.is_empty() {
                return;
            }
            tokio::select! {
                Some(()) = in_flight.next() => shard.queue().landed(),
                () = shard.bell.notified() => {}
            }
        }
    }

    /// Publishes one block and tells all who wait for it.
    async fn publish(&self, shard: ShardId, block: OpenBlock) {
        let size_bytes = block.events.size_bytes();
        let span = span::begin(&self.stream, shard, &block.requests);
        let outcome = self.store(shard, block.events, &span).instrument(span.clone()).await;
        span::end(&span, &outcome);
        block.outcome.send_replace(Some(outcome));
        self.shared.waiting_bytes.fetch_sub(size_bytes, Ordering::Relaxed);
    }

    async fn store(&self, shard: ShardId, events: BlockBuilder, span: &Span) -> Outcome {
        let rows = events.rows();
        let block = events.finish();
        metrics::histogram!("tidemark_ingest_block_events").record(rows as f64);
        metrics::histogram!("tidemark_ingest_block_bytes").record(block.len_bytes() as f64);
        let started = Instant::now();
        let message = Message { id: Uuid::now_v7().simple().to_string(), payload: block.into_bytes(), trace: span::trace(span) };
        span::describe(span, &message, rows);
        let stored = self.journal.publish(shard, message).await;
        metrics::histogram!("tidemark_ingest_publish_duration_seconds").record(started.elapsed());
        stored.map_err(|error| refused(shard, error))
    }
}

fn refused(shard: ShardId, error: PublishError) -> Refusal {
    tracing::warn!(%shard, %error, "a block was not acknowledged");
    metrics::counter!("tidemark_ingest_publish_errors_total").increment(1);
    Refusal::Journal(Arc::new(error))
}
