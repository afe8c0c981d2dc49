//! The journal in NATS JetStream: one stream for each shard, file storage, `discard: new`.
//!
//! ```text
//! open: connect -> version, JetStream -> each stream created or verified
//! publish -> PubAck (on disk, with `sync_interval: always`)      read <- pull consumer, checked by the cursor
//! ```
//!
//! The connection mends itself. The numbers of a stream mean something only together with its identity,
//! which is remembered at open and compared whenever something depends on it (I8).

pub mod adoption;
mod config;
mod consumer;
mod cursor;
mod durability;
mod open_error;
mod publish;
mod reader;
mod refusals;
mod server;
mod stream;
mod watermark;

use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join_all;
use schemas::{Sequence, ShardId};
use tokio::time::Instant;

use crate::{Bounds, Deliveries, Error, Journal, Message, PublishError, check};

pub use config::{Credentials, ServerConfig, StreamsConfig};
pub use durability::{Durability, DurabilityError};
pub use open_error::OpenError;

use server::Server;
use stream::Stream;

/// A journal in NATS JetStream.
#[derive(Clone, Debug)]
pub struct JetStream {
    server: Server,
    streams: Vec<Stream>,
    publish_timeout: Duration,
    monitoring_url: Option<String>,
}

impl JetStream {
    /// Whether [`open`](Self::open) could work at all, whatever the server is. Connects to nothing.
    ///
    /// # Errors
    /// [`OpenError`], with what to do.
    pub fn check(server: &ServerConfig, streams: &StreamsConfig) -> Result<(), OpenError> {
        streams.check()?;
        server.addresses().map(drop)
    }

    /// Connects, and creates or verifies the stream of every shard.
    ///
    /// # Errors
    /// [`OpenError`], with what to do. Nothing is retried: whoever starts us is still looking.
    pub async fn open(server: &ServerConfig, streams: &StreamsConfig) -> Result<Self, OpenError> {
        streams.check()?;
        let connection = Server::connect(server).await?;
        let opened = try_join_all((0..streams.shards).map(|shard| Stream::open(&connection, streams, shard))).await?;
        Ok(Self {
            server: connection,
            streams: opened,
            publish_timeout: streams.publish_timeout,
            monitoring_url: server.monitoring_url.clone(),
        })
    }

    /// What an acknowledgement of this server is worth in a power cut; absent without a monitoring address.
    ///
    /// # Errors
    /// [`DurabilityError`] when the monitoring address does not tell.
    pub async fn durability(&self) -> Result<Option<Durability>, DurabilityError> {
        match &self.monitoring_url {
            Some(url) => durability::ask(url).await.map(Some),
            None => Ok(None),
        }
    }

    fn stream_of(&self, shard: ShardId) -> Result<&Stream, Error> {
        self.streams.get(usize::from(shard.0)).ok_or(Error::NoSuchShard { shard, shards: self.shards() })
    }
}

#[async_trait]
impl Journal for JetStream {
    fn shards(&self) -> u16 {
        u16::try_from(self.streams.len()).expect("opened from a u16")
    }

    fn stream(&self, shard: ShardId) -> String {
        self.stream_of(shard).map_or_else(|_none| shard.to_string(), |stream| stream.name.clone())
    }

    fn max_payload_bytes(&self) -> usize {
        let headers = self.streams.iter().map(|stream| publish::header_bytes(&stream.name)).max().unwrap_or_default();
        self.server.client().max_payload().saturating_sub(headers)
    }

    async fn publish(&self, shard: ShardId, message: Message) -> Result<Sequence, PublishError> {
        check(&message, self.max_payload_bytes())?;
        let stream = self.stream_of(shard).map_err(|error| PublishError::Refused { reason: error.to_string() })?;
        let outcome = publish::publish(&self.server, stream, message, self.publish_timeout).await;
        stream.refusals.remember(&outcome, Instant::now());
        outcome
    }

    async fn read(&self, shard: ShardId, after: Sequence) -> Result<Deliveries, Error> {
        reader::read(self.server.clone(), self.stream_of(shard)?.clone(), after).await
    }

    async fn bounds(&self, shard: ShardId) -> Result<Bounds, Error> {
        self.stream_of(shard)?.bounds(&self.server).await
    }

    async fn release(&self, shard: ShardId, up_to: Sequence) -> Result<(), Error> {
        self.stream_of(shard)?.release(&self.server, up_to).await
    }

    async fn health(&self) -> Result<(), Error> {
        try_join_all(self.streams.iter().map(|stream| stream.same_bounds(&self.server, stream.watermark.seen()))).await?;
        self.streams.iter().try_for_each(Stream::stores)
    }
}
