//! What SQL counts at the end must be what was acknowledged: each event once, and what has no answer at most once.

use std::{
    fmt,
    ops::RangeInclusive,
    time::{Duration, Instant},
};

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};
use indicatif::HumanCount;
use reqwest::Client;
use serde::{Deserialize, Serialize};
use service::clock::Clock;

use crate::client;

/// How long the server may take to show everything.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long an answer that covers everything may say too little, before it is believed.
const DOUBT: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Asks a server in SQL.
#[derive(Debug)]
pub(super) struct Check {
    client: Client,
    url: String,
}

/// What was counted.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Checked {
    pub(super) rows: u64,
    /// Events that were acknowledged, repeats not counted.
    pub(super) acknowledged: u64,
    /// Events of requests whose outcome is not known.
    pub(super) unknown: u64,
    /// Whether the rows are as many as they must be.
    pub(super) is_right: bool,
    /// Whether the server said that the answer covers everything.
    is_fresh: bool,
}

#[derive(Deserialize)]
struct Row {
    rows: u64,
}

impl Check {
    /// Asks `url` whether it answers SQL.
    pub(super) async fn prepare(client: Client, url: String) -> Result<Self, client::Error> {
        let check = Self { client, url };
        check.ask("SELECT count(*) AS rows FROM events WHERE false", "").await?;
        Ok(check)
    }

    /// Counts the events of a run, which are none older than `since`, until they are as many as they must be, which they are as soon as `positions` are visible.
    ///
    /// # Errors
    /// When the server does not answer.
    pub(super) async fn count(
        &self,
        run: &str,
        since: DateTime<Utc>,
        positions: &str,
        expected: RangeInclusive<u64>,
    ) -> anyhow::Result<Checked> {
        let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
        let statement = format!("SELECT count(*) AS rows FROM events WHERE site_id = '{run}' AND timestamp >= '{since}'");
        let (clock, started) = (Clock::system(), Instant::now());
        let patience = if positions.is_empty() { PATIENCE } else { DOUBT };
        loop {
            match self.ask(&statement, positions).await {
                Ok((rows, is_fresh)) if rows >= *expected.start() || started.elapsed() > patience => {
                    return Ok(Checked::new(rows, &expected, is_fresh));
                }
                Err(error) if started.elapsed() > PATIENCE => {
                    return Err(error).context("the load is over, but its rows could not be counted");
                }
                Ok(_) | Err(_) => clock.sleep_until(clock.now() + LOOK_AGAIN).await,
            }
        }
    }

    /// The number of rows, and whether it is fresh.
    async fn ask(&self, statement: &str, positions: &str) -> Result<(u64, bool), client::Error> {
        let parameters = [("q", statement), ("format", "json"), ("at_least", positions)];
        let parameters: Vec<_> = parameters.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let request = self.client.get(format!("{}/sql", self.url)).query(&parameters);
        let answer = client::send(request, &self.url).await?;
        let is_fresh = !client::is_stale(answer.headers());
        let broken = |source| client::Error::Broken { url: self.url.clone(), source };
        let rows: [Row; 1] = answer.json().await.map_err(broken)?;
        Ok((rows[0].rows, is_fresh))
    }
}

impl Checked {
    fn new(rows: u64, expected: &RangeInclusive<u64>, is_fresh: bool) -> Self {
        let (acknowledged, most) = (*expected.start(), *expected.end());
        Self { rows, acknowledged, unknown: most - acknowledged, is_right: expected.contains(&rows), is_fresh }
    }

    /// Why the run has failed, if it has.
    pub(super) fn failure(&self) -> Option<String> {
        let Self { rows, acknowledged, unknown, .. } = self;
        let missing = if self.is_fresh { String::new() } else { format!("; {}", client::NOT_FRESH) };
        (!self.is_right).then(|| {
            format!("SQL counts {rows} rows, and {acknowledged} events were acknowledged, with {unknown} more whose outcome is not known{missing}")
        })
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [rows, acknowledged, unknown] = [self.rows, self.acknowledged, self.unknown].map(HumanCount);
        write!(f, "{rows} rows for {acknowledged} different events that were acknowledged")?;
        if self.unknown > 0 {
            write!(f, ", and up to {unknown} whose outcome is not known")?;
        }
        f.write_str(if self.is_right { ": right" } else { ": WRONG" })
    }
}
