//! The Tidemark that answers: ask it, or let it stop.

use std::time::Duration;

use reqwest::Client;
use service::settings::Settings;
use uuid::Uuid;

use super::{answer::Answer, fault};
use crate::client;

/// How long the server may take to confirm that a query has ended.
const CANCEL_PATIENCE: Duration = Duration::from_secs(5);

/// A running Tidemark.
pub(super) struct Server {
    client: Client,
    url: String,
}

/// An id under which a query can be cancelled before its answer begins.
pub(super) fn new_query_id() -> String {
    Uuid::new_v4().to_string()
}

impl Server {
    /// The one at `url`, or that of the settings; nothing is sent yet.
    pub(super) fn new(url: Option<String>, settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self { client: client::client(settings)?, url: client::server(url, settings)? })
    }

    /// Where it is.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Fails when nothing answers there.
    pub(super) async fn greet(&self) -> Result<(), client::Error> {
        client::send(self.client.get(format!("{}/livez", self.url)), &self.url).await.map(|_| ())
    }

    /// Asks a statement.
    ///
    /// # Errors
    /// Nothing answers, or the server refuses; then with the place in the statement, when it names one.
    pub(super) async fn ask(&self, statement: &str, format: &str, query_id: &str) -> anyhow::Result<Answer> {
        let request = self
            .client
            .post(format!("{}/sql", self.url))
            .query(&[("format", format)])
            .header("content-type", "application/sql")
            .header("x-query-id", query_id)
            .body(statement.to_owned());
        client::send(request, &self.url).await.map(Answer::new).map_err(|error| fault::shown(error, statement))
    }

    /// Ends a query.
    ///
    /// # Errors
    /// Nothing answers in time, or no such query is running.
    pub(super) async fn cancel(&self, query_id: &str) -> anyhow::Result<()> {
        let request = self.client.delete(format!("{}/sql/{query_id}", self.url)).timeout(CANCEL_PATIENCE);
        client::send(request, &self.url).await?;
        Ok(())
    }
}
