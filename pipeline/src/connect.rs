//! From settings to a journal: sections `[nats]` and `[journal]`.

use journal::{
    JetStream,
    jetstream::{Credentials, Durability, OpenError, ServerConfig, StreamsConfig, adoption::Streams},
};
use serde::Deserialize;
use service::settings::{self, ByteSize, Interval, Secret, Settings};

use crate::writer::OnGap;

/// Section `[nats]`; `config/tidemark.toml` explains each key.
#[derive(Clone, Debug, Deserialize)]
pub struct NatsConfig {
    /// `nats://host:port`, several with commas.
    pub url: String,
    /// Empty = none.
    pub user: String,
    /// Of that user.
    pub password: Secret,
    /// Empty = not asked.
    pub monitoring_url: String,
    /// For one attempt.
    pub connect_timeout: Interval,
}

/// Section `[journal]`; `config/tidemark.toml` explains each key.
#[derive(Clone, Debug, Deserialize)]
pub struct JournalConfig {
    /// Name of the streams.
    pub stream: String,
    /// How many there are.
    pub shards: u16,
    /// Copies of each.
    pub replicas: u16,
    /// Where one starts to refuse.
    pub max_bytes: ByteSize,
    /// Until an acknowledgement.
    pub publish_timeout: Interval,
    /// How long committed messages stay.
    pub retention: Interval,
    /// What to do when messages are gone that were not read.
    pub on_gap: OnGap,
}

/// Why there is no journal.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is wrong.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// The server is away, or its streams are not as they must be.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Connects to the journal that the settings name, and says in the log what its acknowledgements are worth.
///
/// # Errors
/// One message that names the server and what to do.
pub async fn journal(settings: &Settings) -> Result<JetStream, Error> {
    let (nats, journal) = sections(settings)?;
    let journal = JetStream::open(&nats.into_server(), &journal.into_streams()).await?;
    log_durability(&journal).await;
    Ok(journal)
}

/// Whether the settings could be those of a journal. Connects to nothing.
///
/// # Errors
/// One message that names the setting and what would be right.
pub fn check(settings: &Settings) -> Result<(), Error> {
    let (nats, journal) = sections(settings)?;
    Ok(JetStream::check(&nats.into_server(), &journal.into_streams())?)
}

/// Connects to the streams that the settings name as an operator: nothing is created or verified.
///
/// # Errors
/// As for [`journal()`].
pub async fn streams(settings: &Settings) -> Result<Streams, Error> {
    let (nats, journal) = sections(settings)?;
    Ok(Streams::connect(&nats.into_server(), &journal.into_streams()).await?)
}

fn sections(settings: &Settings) -> Result<(NatsConfig, JournalConfig), settings::Error> {
    Ok((settings.section("nats")?, settings.section("journal")?))
}

async fn log_durability(journal: &JetStream) {
    match journal.durability().await {
        Ok(Some(Durability::BeforeAck)) => tracing::info!("the journal syncs every write: an acknowledged event survives a power cut"),
        Ok(Some(other)) => tracing::warn!(
            ?other,
            "the journal does not sync every write: a power cut may lose acknowledged events; set `sync_interval: always`"
        ),
        Ok(None) => tracing::info!("`nats.monitoring_url` is not set: the journal's durability is not checked"),
        Err(error) => tracing::warn!(%error, "the journal's durability is not known"),
    }
}

impl NatsConfig {
    fn into_server(self) -> ServerConfig {
        let credentials = (!self.user.is_empty()).then(|| Credentials { user: self.user, password: self.password.expose().to_owned() });
        let monitoring_url = (!self.monitoring_url.is_empty()).then_some(self.monitoring_url);
        ServerConfig { url: self.url, credentials, monitoring_url, connect_timeout: self.connect_timeout.0 }
    }
}

impl JournalConfig {
    fn into_streams(self) -> StreamsConfig {
        StreamsConfig {
            stream: self.stream,
            shards: self.shards,
            replicas: self.replicas,
            max_bytes: self.max_bytes.0,
            publish_timeout: self.publish_timeout.0,
        }
    }
}
