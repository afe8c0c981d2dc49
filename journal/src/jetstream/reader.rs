//! Reading a shard: consumers one after the other, with the cursor between them and the caller.
//!
//! The reader keeps the position, the server keeps nothing that matters. On any doubt the consumer is thrown away and the
//! next one starts behind the cursor, after a look at whether the stream is still the same and still has what comes next (I8).
//! While the server is away the reader waits; it gives up only what waiting cannot repair.
//! It runs when it is polled, in no task of its own.

use std::time::Duration;

use futures::{StreamExt, stream};
use schemas::Sequence;
use tokio::time::sleep;

use super::{
    consumer::{Arrival, Consumer, Doubt},
    cursor::{Cursor, Verdict},
    server::Server,
    stream::Stream,
};
use crate::{Deliveries, Delivery, Error, Remedy};

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Everything in `stream` after `after`; the first look is taken now, so that what is wrong already is said at once.
pub(super) async fn read(server: Server, stream: Stream, after: Sequence) -> Result<Deliveries, Error> {
    let mut reader = Reader { server, stream, cursor: Cursor::after(after), consumer: None, pause: FIRST_PAUSE };
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
}

impl Reader {
    async fn next(&mut self) -> Result<Delivery, Error> {
        loop {
            let mut consumer = match self.consumer.take() {
                Some(consumer) => consumer,
                None => self.wait_for_consumer().await?,
            };
            match consumer.next(&self.server).await {
                Ok(arrival) => {
                    if let Some(delivery) = self.accept(arrival, consumer)? {
                        return Ok(delivery);
                    }
                }
                Err(Doubt(reason)) => self.doubt(&reason),
            }
        }
    }

    /// Keeps the consumer unless the arrival speaks against it.
    fn accept(&mut self, arrival: Arrival, consumer: Consumer) -> Result<Option<Delivery>, Error> {
        let expected = self.cursor.last().next();
        match self.cursor.judge(arrival.sequence, arrival.sent) {
            Verdict::Next => {
                self.consumer = Some(consumer);
                self.pause = FIRST_PAUSE;
                Ok(Some(arrival.into_delivery(&self.stream)))
            }
            Verdict::Seen => {
                self.consumer = Some(consumer);
                Ok(None)
            }
            Verdict::Lost => {
                self.doubt("a message was lost on the way");
                Ok(None)
            }
            Verdict::Hole => Err(Error::Gap { stream: self.stream.name.clone(), expected, found: arrival.sequence }),
        }
    }

    fn doubt(&self, reason: &str) {
        tracing::debug!(stream = self.stream.name, after = %self.cursor.last(), reason, "reading goes on with a new consumer");
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
                Err(error) if error.remedy() == Remedy::Stop => return Err(error),
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
        if bounds.first > next {
            return Err(Error::Gap { stream: self.stream.name.clone(), expected: next, found: bounds.first });
        }
        self.cursor.consumer_created();
        Ok(consumer)
    }
}
