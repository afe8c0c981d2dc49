//! `tidemark metrics`: charts for people, tables and JSON for everybody else.

use serde_json::json;
use tempfile::TempDir;
use testkit::NatsServer;

use crate::{
    process::{Tidemark, good, tidemark},
    terminal::Terminal,
};

/// 30 events of `web` at one hour and 10 of `app` an hour later, of 20 users.
async fn seeded(nats: &NatsServer) -> Tidemark {
    let server = Tidemark::start(nats).await;
    let event = |number: u32| {
        let (channel, hour) = if number < 30 { ("web", "13") } else { ("app", "15") };
        let (id, user) = (format!("e{number}"), format!("u{}", number % 20));
        json!({"event_name": "view", "event_id": id, "user_id": user, "channel": channel, "timestamp": format!("2026-11-20T{hour}:00:00Z")})
    };
    let events: Vec<_> = (0..40).map(event).collect();
    let (status, said) = server.post(&reqwest::Client::new(), "/events", json!({ "events": events }).to_string()).await;
    assert_eq!(status, 202, "{said}");
    server.says("SELECT count(*) FROM events", "40").await;
    server
}

const RANGE: [&str; 4] = ["--from", "2026-11-20T12:00:00Z", "--to", "2026-11-20T17:59:59Z"];

#[tokio::test]
async fn a_pipe_gets_a_plain_table_or_the_answer_as_it_came() {
    let nats = NatsServer::start().await;
    let server = seeded(&nats).await;
    let metrics = |arguments: &[&str]| good(&tidemark(&[&["metrics", "--url", &server.url], arguments].concat()).output().unwrap());
    let table = metrics(&[&RANGE[..], &["--group-by", "channel"]].concat());
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "40 events, 20 users (exact)");
    assert_eq!(lines[1], "2026-11-20 12:00:00 to 2026-11-20 17:59:59 UTC, by channel");
    assert_eq!(lines[2..5], [" channel  events  users", " web          30     20", " app          10     10"]);
    assert!(lines[5].starts_with("as of 0:") && lines[5].contains(", fresh, "), "{table}");
    assert!(!table.contains('\u{1b}'), "no colours: {table:?}");
    assert!(metrics(&["--from", "-1h"]).starts_with("0 events, 0 users (exact)\n"), "a time before now");

    let json: serde_json::Value = serde_json::from_str(&metrics(&[&RANGE[..], &["--group-by", "hour", "--json"]].concat())).unwrap();
    assert_eq!((&json["total_events"], json["data"].as_array().unwrap().len()), (&json!(40), 2));
    let wrong = tidemark(&["metrics", "--url", &server.url, "--group-by", "chanel"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(crate::process::text(&wrong.stderr).contains("did you mean `channel`?"));
}

#[tokio::test]
async fn a_terminal_gets_bars_for_categories_and_columns_for_time() {
    let (nats, state) = (NatsServer::start().await, TempDir::new().unwrap());
    let server = seeded(&nats).await;
    let chart = async |dimension: &str| {
        let arguments = [&["metrics", "--url", &server.url, "--group-by", dimension], &RANGE[..]].concat();
        let mut terminal = Terminal::run(&arguments, state.path());
        assert_eq!(terminal.ends().await, Some(0));
        terminal.shows(" ms").await;
        (terminal.screen().replace('\r', ""), terminal.raw())
    };
    let (bars, raw) = chart("channel").await;
    assert!(raw.contains("\u{1b}[36m"), "colours on a terminal: {raw:?}");
    let long = format!("\nweb      {}      30     20\n", "█".repeat(100 - 9 - 15));
    assert!(bars.contains(&long), "the longest bar fills the terminal: {bars}");
    let third = bars.lines().find(|line| line.starts_with("app")).unwrap();
    assert_eq!(third.matches('█').count(), (100 - 9 - 15) / 3, "{bars}");

    let (columns, _) = chart("hour").await;
    assert!(columns.contains("\n30 │      █████\n"), "the second of six hours is the highest: {columns}");
    assert!(columns.contains("\n 0 └────────────────────────────────────\n"), "six hours, also those without events: {columns}");
    assert!(columns.contains("2026-11-20 12:00") && columns.contains("2026-11-20 17:00"), "{columns}");
}
