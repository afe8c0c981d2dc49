//! Where the rows stand that a condition is true for, as the running query says.

use anyhow::Context;
use http::header::CONTENT_TYPE;
use reqwest::Client;
use schemas::{EventDate, Position, Sequence, ShardId};
use serde::Deserialize;
use service::settings::Settings;

use super::Days;
use crate::client;

/// A running Tidemark that answers SQL.
pub(super) struct Places {
    client: Client,
    url: String,
}

#[derive(Deserialize)]
struct Place {
    event_date: String,
    #[serde(rename = "_shard")]
    shard: ShardId,
    #[serde(rename = "_sequence")]
    sequence: Sequence,
    #[serde(rename = "_index")]
    index: u32,
}

impl Places {
    pub(super) fn new(url: Option<String>, settings: &Settings) -> anyhow::Result<Self> {
        Ok(Self { client: client::client(settings)?, url: client::server(url, settings)? })
    }

    /// The places of the rows of a table, those included that are not committed yet.
    ///
    /// # Errors
    /// When nothing answers, the condition is wrong, or the answer lacks what is not committed.
    pub(super) async fn of(&self, table: &str, condition: &str) -> anyhow::Result<Days> {
        let question = format!("SELECT event_date, _shard, _sequence, _index FROM {table} WHERE (\n{condition}\n)");
        let request = self.client.post(format!("{}/sql", self.url)).query(&[("format", "jsonl")]);
        let answer = client::send(request.header(CONTENT_TYPE, "application/sql").body(question), &self.url).await?;
        anyhow::ensure!(!client::is_stale(answer.headers()), "{}; nothing was erased", client::NOT_FRESH);
        let mut days = Days::new();
        for line in answer.text().await.context("the places could not be read to their end")?.lines() {
            let place: Place = serde_json::from_str(line).with_context(|| format!("no place of a row: {line}"))?;
            let date = EventDate::parse(&place.event_date).with_context(|| format!("no day: {line}"))?;
            days.entry(date).or_default().insert(Position { shard: place.shard, sequence: place.sequence, index: Some(place.index) });
        }
        Ok(days)
    }
}
