//! What Tidemark counts, as tables in the terminal.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use reqwest::Client;
use serde::Deserialize;
use service::clock::Clock;

use super::sender::Answer;
use crate::{client, output::print};

/// A little more than the default age of a batch.
const COMMIT_PATIENCE: Duration = Duration::from_secs(40);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The members of an answer of `/metrics` that are shown.
#[derive(Deserialize)]
struct Metrics {
    total_events: u64,
    unique_users: u64,
    data: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    group: Option<String>,
    total_events: u64,
    unique_users: u64,
}

/// Waits until everything acknowledged is visible, then prints events by channel and by name, and where to go on.
pub(super) async fn report(client: &Client, url: &str, end: DateTime<Utc>, answers: &[Answer]) -> anyhow::Result<()> {
    let positions = newest(answers);
    for (group_by, limit) in [("channel", 10), ("event_name", 10)] {
        let request = client.get(format!("{url}/metrics")).query(&[
            ("group_by", group_by.to_owned()),
            ("limit", limit.to_string()),
            ("from", (end - TimeDelta::days(1)).timestamp_millis().to_string()),
            ("to", end.timestamp_millis().to_string()),
            ("at_least", positions.clone()),
        ]);
        let metrics: Metrics = client::send(request, url).await?.json().await?;
        print(&format!("\n{}", table(group_by, &metrics)))?;
    }
    print(&format!(
        "\nask more:\n  tidemark sql --url {url} \"SELECT path, count(*) AS views FROM events GROUP BY path ORDER BY views DESC LIMIT 5\""
    ))?;
    print(&format!("  curl '{url}/metrics?group_by=hour'"))?;
    Ok(())
}

/// Waits until everything acknowledged is committed, where other engines see it; says how long that took.
pub(super) async fn committed(client: &Client, url: &str, clock: &Clock, answers: &[Answer]) -> anyhow::Result<()> {
    let (wanted, started) = (positions(answers.iter().map(|answer| answer.position.as_str())), Instant::now());
    while started.elapsed() < COMMIT_PATIENCE {
        let answer = client::send(client.get(format!("{url}/sql?q=SELECT%201")), url).await?;
        let committed = answer.headers().get("tidemark-committed").and_then(|positions| positions.to_str().ok());
        let reached = positions(committed);
        if wanted.iter().all(|(shard, sequence)| reached.get(shard).is_some_and(|reached| reached >= sequence)) {
            print(&format!("in the Delta table, for DuckDB and others, {:.1} s after the last answer", started.elapsed().as_secs_f64()))?;
            return Ok(());
        }
        clock.sleep_until(clock.now() + LOOK_AGAIN).await;
    }
    print("not yet in the Delta table; `pipeline.max_age` and `pipeline.max_idle` say when")?;
    Ok(())
}

fn table(group_by: &str, metrics: &Metrics) -> Table {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_header([group_by, "events", "users"]);
    for group in &metrics.data {
        table.add_row([group.group.clone().unwrap_or_default(), group.total_events.to_string(), group.unique_users.to_string()]);
    }
    table.add_row(["all of the day".to_owned(), metrics.total_events.to_string(), metrics.unique_users.to_string()]);
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

/// The newest position of each shard, as `at_least` takes it.
fn newest(answers: &[Answer]) -> String {
    let newest = positions(answers.iter().map(|answer| answer.position.as_str()));
    newest.iter().map(|(shard, sequence)| format!("{shard}:{sequence}")).collect::<Vec<_>>().join(",")
}

/// The newest sequence of each shard in lists of positions.
fn positions<'a>(lists: impl IntoIterator<Item = &'a str>) -> BTreeMap<u16, u64> {
    let mut newest: BTreeMap<u16, u64> = BTreeMap::new();
    for position in lists.into_iter().flat_map(|list| list.split(',')).filter_map(|text| text.parse::<schemas::Position>().ok()) {
        let sequence = newest.entry(position.shard.0).or_default();
        *sequence = position.sequence.0.max(*sequence);
    }
    newest
}
