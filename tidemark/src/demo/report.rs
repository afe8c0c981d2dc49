//! What Tidemark counts, as tables in the terminal.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use reqwest::Client;
use serde::Deserialize;

use super::sender::Answer;
use crate::client;

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
        println!("\n{}", table(group_by, &metrics));
    }
    println!(
        "\nask more:\n  tidemark sql --url {url} \"SELECT path, count(*) AS views FROM events GROUP BY path ORDER BY views DESC LIMIT 5\""
    );
    println!("  curl '{url}/metrics?group_by=hour'");
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
    let mut newest: BTreeMap<u16, u64> = BTreeMap::new();
    for position in answers.iter().flat_map(|answer| answer.position.split(',')) {
        if let Ok(position) = position.parse::<schemas::Position>() {
            let sequence = newest.entry(position.shard.0).or_default();
            *sequence = position.sequence.0.max(*sequence);
        }
    }
    newest.iter().map(|(shard, sequence)| format!("{shard}:{sequence}")).collect::<Vec<_>>().join(",")
}
