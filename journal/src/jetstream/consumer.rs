//! A pull consumer on the server: ephemeral, without acks, made to be thrown away.
//!
//! One pull is open at a time, bounded in messages and bytes (I6). The server says with heartbeats that it is alive
//! and with a status that it has brought all it may. Everything unexpected is a [`Doubt`], never repaired here.

use std::time::Duration;

use async_nats::{
    StatusCode, Subscriber,
    jetstream::{
        self,
        consumer::{AckPolicy, DeliverPolicy, IntoConsumerConfig, pull},
    },
};
use bytes::Bytes;
use chrono::DateTime;
use futures::StreamExt;
use schemas::Sequence;
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::timeout};

use super::{publish::TRACE_HEADER, server::Server, stream::Stream};
use crate::{Delivery, Error, Trace};

/// The messages of one pull; a subscription holds twice as many, so none is ever dropped.
pub(super) const PULL_MESSAGES: usize = 8192;
/// The bytes of one pull, unless the largest message needs more.
const PULL_BYTES: usize = 16 << 20;
/// How long the server keeps a pull open.
const PULL_EXPIRES: Duration = Duration::from_secs(30);
/// How often the server says that an open pull is alive. Missing two of them is a doubt.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// When the server forgets a consumer that nobody pulls from. Who reads more slowly gets a new one.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// A consumer on the server and its open pull.
#[derive(Debug)]
pub(super) struct Consumer {
    name: String,
    stream: String,
    losses: watch::Receiver<u64>,
    pull: Option<Pull>,
}

#[derive(Debug)]
struct Pull {
    answers: Subscriber,
    messages_left: usize,
}

/// Why a consumer must not be trusted any more: a stable word for the counter, and what was seen.
#[derive(Debug)]
pub(super) struct Doubt {
    pub(super) reason: &'static str,
    pub(super) seen: String,
}

/// What a consumer says.
#[derive(Debug)]
pub(super) enum Said {
    Message(Arrival),
    /// It is alive and has brought nothing for a while.
    Nothing,
}

/// What an open pull brings.
enum Answer {
    Message(Arrival),
    Heartbeat,
    /// The pull has brought all it may; ask for the next.
    Finished,
    Doubt(Doubt),
}

/// A message with the numbers that it has in the stream and at the consumer.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) sequence: Sequence,
    pub(super) sent: u64,
    published_ns: i64,
    payload: Bytes,
    trace: Option<Trace>,
}

#[derive(Serialize)]
struct CreateConsumer<'a> {
    stream_name: &'a str,
    config: jetstream::consumer::Config,
}

#[derive(Deserialize)]
struct CreatedConsumer {
    name: String,
}

impl Doubt {
    pub(super) fn new(reason: &'static str, seen: impl ToString) -> Self {
        Self { reason, seen: seen.to_string() }
    }
}

impl Consumer {
    /// One that starts to send at `start` and to count at 1.
    pub(super) async fn create(server: &Server, stream: &Stream, start: Sequence) -> Result<Self, Error> {
        let losses = server.losses();
        let request = CreateConsumer { stream_name: &stream.name, config: config(start) };
        let created = server.call::<CreatedConsumer>(format!("CONSUMER.CREATE.{}", stream.name), &request).await;
        let name = created.map_err(|error| error.about(&stream.name))?.name;
        Ok(Self { name, stream: stream.name.clone(), losses, pull: None })
    }

    /// Waits for the next message, or for the word that there is none.
    pub(super) async fn next(&mut self, server: &Server) -> Result<Said, Doubt> {
        loop {
            let mut pull = match self.pull.take() {
                Some(pull) => pull,
                None => self.open_pull(server).await?,
            };
            let answer = tokio::select! {
                biased;
                answer = pull.next(server) => answer,
                _ = self.losses.changed() => return Err(Doubt::new("connection_lost", "the connection was lost")),
            };
            match answer {
                Answer::Message(arrival) => {
                    self.pull = pull.if_open();
                    return Ok(Said::Message(arrival));
                }
                Answer::Heartbeat => {
                    self.pull = Some(pull);
                    return Ok(Said::Nothing);
                }
                Answer::Finished => {}
                Answer::Doubt(doubt) => return Err(doubt),
            }
        }
    }

    /// Each pull has an inbox of its own, so that nothing of an older one is taken for its answer.
    async fn open_pull(&self, server: &Server) -> Result<Pull, Doubt> {
        let inbox = server.client().new_inbox();
        let answers = server.client().subscribe(inbox.clone()).await.map_err(|error| Doubt::new("not_asked", error))?;
        let request = pull::BatchConfig {
            batch: PULL_MESSAGES,
            max_bytes: PULL_BYTES.max(2 * server.client().max_payload()),
            expires: Some(PULL_EXPIRES),
            idle_heartbeat: HEARTBEAT,
            ..pull::BatchConfig::default()
        };
        let request = serde_json::to_vec(&request).expect("numbers only");
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", self.stream, self.name);
        server.client().publish_with_reply(subject, inbox, request.into()).await.map_err(|error| Doubt::new("not_asked", error))?;
        Ok(Pull { answers, messages_left: PULL_MESSAGES })
    }
}

impl Pull {
    async fn next(&mut self, server: &Server) -> Answer {
        match timeout(2 * HEARTBEAT, self.answers.next()).await {
            Err(_elapsed) => Answer::Doubt(Doubt::new("no_heartbeat", "two heartbeats are missing")),
            Ok(None) => Answer::Doubt(Doubt::new("unsubscribed", "the subscription ended")),
            Ok(Some(message)) => self.classify(message, server),
        }
    }

    /// A stored message has an ack subject; anything else is the server speaking, whatever status a stored message may carry.
    fn classify(&mut self, message: async_nats::Message, server: &Server) -> Answer {
        let message = jetstream::Message { message, context: server.context().clone() };
        if let Some(arrival) = Arrival::from_message(&message) {
            self.messages_left -= 1;
            return Answer::Message(arrival);
        }
        let said = message.description.as_deref().unwrap_or_default();
        match message.status {
            Some(StatusCode::IDLE_HEARTBEAT) => Answer::Heartbeat,
            Some(StatusCode::TIMEOUT | StatusCode::NOT_FOUND) => Answer::Finished,
            Some(StatusCode::REQUEST_TERMINATED) if ["Message Size Exceeds MaxBytes", "Batch Completed"].contains(&said) => {
                Answer::Finished
            }
            status => Answer::Doubt(Doubt::new("status", format!("status {status:?} {said}"))),
        }
    }

    fn if_open(self) -> Option<Self> {
        (self.messages_left > 0).then_some(self)
    }
}

impl Arrival {
    fn from_message(message: &jetstream::Message) -> Option<Self> {
        let info = message.info().ok()?;
        Some(Self {
            sequence: Sequence(info.stream_sequence),
            sent: info.consumer_sequence,
            published_ns: i64::try_from(info.published.unix_timestamp_nanos()).ok()?,
            payload: message.payload.clone(),
            trace: message.headers.as_ref().and_then(|headers| Trace::new(headers.get(TRACE_HEADER)?.as_str())),
        })
    }

    pub(super) fn into_delivery(self, stream: &Stream) -> Delivery {
        let published_at = DateTime::from_timestamp_nanos(self.published_ns);
        Delivery { shard: stream.shard, sequence: self.sequence, payload: self.payload, trace: self.trace, published_at }
    }
}

fn config(start: Sequence) -> jetstream::consumer::Config {
    pull::Config {
        deliver_policy: DeliverPolicy::ByStartSequence { start_sequence: start.0 },
        ack_policy: AckPolicy::None,
        inactive_threshold: FORGOTTEN_AFTER,
        memory_storage: true,
        num_replicas: 1,
        ..pull::Config::default()
    }
    .into_consumer_config()
}
