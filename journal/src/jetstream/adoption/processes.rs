//! Who else is connected: an adoption wants to be alone.

use std::time::Duration;

use serde::Deserialize;

use super::{Error, Streams};
use crate::jetstream::server::CLIENT_NAME;

const TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
struct Connz {
    #[serde(default)]
    connections: Vec<Connection>,
}

#[derive(Deserialize)]
struct Connection {
    cid: u64,
    #[serde(default)]
    name: String,
    #[serde(default)]
    ip: String,
    #[serde(default)]
    port: u16,
}

impl Streams {
    /// The addresses of other processes of Tidemark that are connected to this server; `None` without a monitoring address.
    ///
    /// # Errors
    /// When the monitoring address does not tell.
    pub async fn other_processes(&self) -> Result<Option<Vec<String>>, Error> {
        let Some(monitoring_url) = &self.monitoring_url else { return Ok(None) };
        let url = format!("{}/connz?limit=4096", monitoring_url.trim_end_matches('/'));
        let connections = fetch(&url).await.map_err(|source| Error::Monitoring { url, source })?.connections;
        let own = self.server.client().server_info().client_id;
        let others = connections.into_iter().filter(|connection| connection.name == CLIENT_NAME && connection.cid != own);
        Ok(Some(others.map(|Connection { ip, port, .. }| format!("{ip}:{port}")).collect()))
    }
}

async fn fetch(url: &str) -> Result<Connz, reqwest::Error> {
    let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
    client.get(url).send().await?.error_for_status()?.json().await
}
