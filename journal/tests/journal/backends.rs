//! The implementations under test.

use std::{sync::Arc, time::Duration};

use chrono::DateTime;
use journal::{
    JetStream, Journal, Memory,
    jetstream::{ServerConfig, StreamsConfig},
};
use schemas::{Sequence, ShardId};
use testkit::NatsServer;

/// Room for one shard, for all rules but the one about a full journal.
pub(crate) const ROOM_BYTES: u64 = 64 << 20;

/// How a rule gets its journal.
pub(crate) trait Backend {
    /// An empty journal.
    async fn open(&mut self, shards: u16, max_bytes: u64) -> Arc<dyn Journal>;
    /// Answers get lost from now on.
    fn silence(&self);
    /// Answers arrive again.
    fn answer(&self);
    /// The disk forgets one message; each takes more than half of the server's 8 MiB blocks.
    async fn lose(&mut self, sequence: Sequence);
}

#[derive(Default)]
pub(crate) struct InMemory(Option<Arc<Memory>>);

impl Backend for InMemory {
    async fn open(&mut self, shards: u16, max_bytes: u64) -> Arc<dyn Journal> {
        let memory = Arc::new(Memory::new(shards, || DateTime::UNIX_EPOCH).with_max_bytes(max_bytes));
        self.0 = Some(Arc::clone(&memory));
        memory
    }

    fn silence(&self) {
        self.0.as_ref().unwrap().silence();
    }

    fn answer(&self) {
        self.0.as_ref().unwrap().answer();
    }

    async fn lose(&mut self, sequence: Sequence) {
        self.0.as_ref().unwrap().lose(ShardId(0), sequence);
    }
}

#[derive(Default)]
pub(crate) struct OnJetStream(Option<NatsServer>);

impl Backend for OnJetStream {
    async fn open(&mut self, shards: u16, max_bytes: u64) -> Arc<dyn Journal> {
        let server = self.0.insert(NatsServer::start().await);
        Arc::new(open(server, &StreamsConfig { shards, max_bytes, ..streams() }).await)
    }

    fn silence(&self) {
        self.0.as_ref().unwrap().pause();
    }

    fn answer(&self) {
        self.0.as_ref().unwrap().resume();
    }

    async fn lose(&mut self, sequence: Sequence) {
        let server = self.0.as_mut().unwrap();
        server.kill();
        let messages = server.stream_folder("events-0").join("msgs");
        std::fs::remove_file(messages.join(format!("{sequence}.blk"))).unwrap();
        let _ = std::fs::remove_file(messages.join("index.db"));
        server.restart().await;
    }
}

pub(crate) async fn open(server: &NatsServer, streams: &StreamsConfig) -> JetStream {
    JetStream::open(&at(server.url()), streams).await.unwrap()
}

/// A server without a login.
pub(crate) fn at(url: String) -> ServerConfig {
    ServerConfig { url, credentials: None, monitoring_url: None, connect_timeout: Duration::from_secs(2) }
}

/// One shard, `events-0`.
pub(crate) fn streams() -> StreamsConfig {
    StreamsConfig { stream: "events".to_owned(), shards: 1, replicas: 1, max_bytes: ROOM_BYTES, publish_timeout: Duration::from_secs(2) }
}
