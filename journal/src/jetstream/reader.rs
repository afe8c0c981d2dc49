//! Reading a shard: consumers one after the other, with the cursor between them and the caller.
//!
//! The reader keeps the position, the server keeps nothing that matters. On any doubt the consumer is thrown away and the
//! next one starts behind the cursor, after a look at whether the stream is still the same and still has what comes next (I8).
//! While the server is away the reader waits; it gives up only what waiting cannot repair. A consumer that is alive and brings
//! nothing although there is something is thrown away too; if then the leader has no next message, there is a gap.
//! It runs when it is polled, in no task of its own.

use std::time::Duration;

use futures::{StreamExt, stream};
use schemas::Sequence;
use tokio::time::{Instant, sleep};

use super::{
    consumer::{Arrival, Consumer, Doubt, Said},
    cursor::{Cursor, Verdict},
    server::Server,
    stream::Stream,
};
use crate::{Deliveries, Delivery, Error, Remedy};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long nothing may come while messages are there: two heartbeats, less some jitter.
const PATIENCE: Duration = Duration::from_millis(9_500);

/// Everything in `stream` after `after`; the first look is taken now, so that what is wrong already is said at once.
pub(super) async fn read(server: Server, stream: Stream, after: Sequence) -> Result<Deliveries, Error> {
    let cursor = Cursor::after(after);
    let mut reader = Reader {
        server,
        stream,
        cursor,
        consumer: None,
        pause: FIRST_PAUSE,
        complete_at: Instant::now(),
        is_pending: false,
        suspects_gap: false,
    };
    reader.consumer = Some(reader.create_consumer().await?);
    let deliveries = stream::try_unfold(reader, |mut reader| async move {
        let delivery = reader.next().await?;
        Ok(Some((delivery, reader)))
    });
    Ok(deliveries.boxed())
}

#[derive(Debug)]
struct Reader {
    server: Server,
    stream: Stream,
    cursor: Cursor,
    consumer: Option<Consumer>,
    /// Before the next consumer; grows until a message is handed on.
    pause: Duration,
    /// When a message came, or nothing was missing, for the last time.
    complete_at: Instant,
    /// The last look saw messages that had not come.
    is_pending: bool,
    /// They did not come for so long that they may be gone.
    suspects_gap: bool,
}

impl Reader {
    async fn next(&mut self) -> Result<Delivery, Error> {
        loop {
            let mut consumer = match self.consumer.take() {
                Some(consumer) => consumer,
                None => self.wait_for_consumer().await?,
            };
            match consumer.next(&self.server).await {
                Ok(Said::Message(arrival)) => {
                    if let Some(delivery) = self.accept(arrival, consumer).await? {
                        return Ok(delivery);
                    }
                }
                Ok(Said::Nothing) => match self.look().await? {
                    Ok(()) => self.consumer = Some(consumer),
                    Err(doubt) => self.doubt(&doubt),
                },
                Err(doubt) => self.doubt(&doubt),
            }
        }
    }

    /// Keeps the consumer unless the arrival speaks against it.
    async fn accept(&mut self, arrival: Arrival, consumer: Consumer) -> Result<Option<Delivery>, Error> {
        match self.cursor.judge(arrival.sequence, arrival.sent) {
            Verdict::Next => {
                self.consumer = Some(consumer);
                (self.pause, self.suspects_gap) = (FIRST_PAUSE, false);
                self.nothing_is_missing();
                Ok(Some(arrival.into_delivery(&self.stream)))
            }
            Verdict::Seen => {
                self.consumer = Some(consumer);
                Ok(None)
            }
            Verdict::Lost => {
                self.doubt(&Doubt::new("message_lost", "a message was lost on the way"));
                Ok(None)
            }
            Verdict::Hole => {
                self.doubt(&Doubt::new("hole", "the consumer skips messages"));
                self.suspects_gap = true;
                Ok(None)
            }
        }
    }

    fn doubt(&self, Doubt { reason, seen }: &Doubt) {
        tracing::debug!(stream = self.stream.name, after = %self.cursor.last(), reason, seen, "reading goes on with a new consumer");
        metrics::counter!("tidemark_journal_consumer_restarts_total", "reason" => *reason).increment(1);
    }

    /// The consumer says that there is nothing. Is there nothing, and is this still the stream (I8)?
    async fn look(&mut self) -> Result<Result<(), Doubt>, Error> {
        let bounds = match self.stream.same_bounds(&self.server, self.cursor.last()).await {
            Err(error) if error.remedy() == Remedy::Retry => return Ok(Err(Doubt::new("no_answer", error))),
            bounds => bounds?,
        };
        if bounds.last == self.cursor.last() {
            self.nothing_is_missing();
            return Ok(Ok(()));
        }
        if !std::mem::replace(&mut self.is_pending, true) || self.complete_at.elapsed() < PATIENCE {
            return Ok(Ok(()));
        }
        self.suspects_gap = true;
        self.nothing_is_missing();
        Ok(Err(Doubt::new("stalled", format!("messages up to {} are there and do not come", bounds.last))))
    }

    fn nothing_is_missing(&mut self) {
        (self.complete_at, self.is_pending) = (Instant::now(), false);
    }

    /// Tries until there is a consumer, or an error that waiting cannot repair. Says once that it waits.
    #[expect(clippy::disallowed_methods, reason = "a pause between tries of a real server, on the clock of its timeouts")]
    async fn wait_for_consumer(&mut self) -> Result<Consumer, Error> {
        let mut waits = false;
        loop {
            sleep(self.pause).await;
            self.pause = LONGEST_PAUSE.min(2 * self.pause);
            match self.create_consumer().await {
                Ok(consumer) => {
                    if waits {
                        tracing::info!(stream = self.stream.name, after = %self.cursor.last(), "reading goes on");
                    }
                    return Ok(consumer);
                }
                Err(error) if error.remedy() != Remedy::Retry => return Err(error),
                Err(error) if !waits => {
                    waits = true;
                    tracing::warn!(error = &error as &dyn std::error::Error, after = %self.cursor.last(), "reading waits");
                }
                Err(_) => {}
            }
        }
    }

    /// Makes a consumer that starts behind the cursor, then looks at the stream: a consumer does not outlive its
    /// stream, so what is seen here holds for all that this one sends (I8).
    async fn create_consumer(&mut self) -> Result<Consumer, Error> {
        let next = self.cursor.last().next();
        let consumer = Consumer::create(&self.server, &self.stream, next).await?;
        let bounds = self.stream.same_bounds(&self.server, self.cursor.last()).await?;
        if bounds.last > self.cursor.last() && (self.suspects_gap || bounds.first > next) {
            self.stream.confirm_next(&self.server, self.cursor.last(), bounds.last).await?;
        }
        self.cursor.consumer_created();
        Ok(consumer)
    }
}
