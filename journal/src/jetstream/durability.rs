//! What an acknowledgement is worth, asked from the server's monitoring address: no other place tells.

use std::time::Duration;

use serde::Deserialize;

const TIMEOUT: Duration = Duration::from_secs(5);

/// When a stored message is on the disk and no longer only in the system's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Before it is acknowledged: `sync_interval: always`.
    BeforeAck,
    /// Some time later: a power cut loses what was acknowledged within this time.
    Within(Duration),
}

/// The monitoring address does not tell.
#[derive(Debug, thiserror::Error)]
#[error("`{url}` does not tell how the NATS server syncs: set `nats.monitoring_url` to its `http_port`, or to nothing")]
pub struct DurabilityError {
    url: String,
    #[source]
    source: reqwest::Error,
}

#[derive(Deserialize)]
struct Jsz {
    config: JetStreamConfig,
}

#[derive(Deserialize)]
struct JetStreamConfig {
    #[serde(default)]
    sync_always: bool,
    #[serde(rename = "sync_interval")]
    sync_interval_ns: u64,
}

pub(super) async fn ask(monitoring_url: &str) -> Result<Durability, DurabilityError> {
    let url = format!("{}/jsz", monitoring_url.trim_end_matches('/'));
    let config = fetch(&url).await.map_err(|source| DurabilityError { url, source })?.config;
    Ok(if config.sync_always { Durability::BeforeAck } else { Durability::Within(Duration::from_nanos(config.sync_interval_ns)) })
}

async fn fetch(url: &str) -> Result<Jsz, reqwest::Error> {
    let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
    client.get(url).send().await?.error_for_status()?.json().await
}
