//! What an operator sees: metrics and logs of a running server.

use std::{collections::BTreeMap, time::Duration};

use reqwest::{Client, header::CONTENT_TYPE};
use testkit::{NatsServer, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::process::Tidemark;

const TABLE: &str = include_str!("../../../docs/METRICS.md");
const SOON: Duration = Duration::from_secs(30);

/// Name to kind, of the metrics in the document that have a value, or may have one.
fn documented(only_at_all_times: bool) -> BTreeMap<String, String> {
    let rows = TABLE.lines().filter(|line| line.starts_with("| `"));
    let rows = rows.filter(|line| !only_at_all_times || !line.contains("*when it happens*"));
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect::<Vec<_>>();
    rows.map(cells).map(|cells| (cells[1].clone(), cells[2].clone())).collect()
}

/// Name to kind, and whether each has a help text, as Prometheus reads it.
async fn exposed(tidemark: &Tidemark) -> (BTreeMap<String, String>, String) {
    let text = reqwest::get(format!("{}/metrics", tidemark.admin_url)).await.unwrap().text().await.unwrap();
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).filter_map(|line| line.split_once(' '));
    (types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect(), text)
}

async fn post(tidemark: &Tidemark, path: &str, body: &str) -> reqwest::Response {
    let request = Client::new().post(format!("{}{path}", tidemark.url)).header(CONTENT_TYPE, "application/json");
    request.body(body.to_owned()).send().await.unwrap()
}

#[tokio::test]
async fn the_table_of_metrics_is_what_a_running_server_shows() {
    let nats = NatsServer::start().await;
    let tidemark = Tidemark::start(&nats).await;
    let event = r#"{"event_name":"a","user_id":"u","timestamp":1723475612}"#;
    for body in [event, event, r#"{"event_name":"a"}"#] {
        post(&tidemark, "/events", body).await;
    }
    let mut stranger = TcpStream::connect(tidemark.url.strip_prefix("http://").unwrap()).await.unwrap();
    stranger.write_all(b"what is no request\r\n\r\n").await.unwrap();
    stranger.read_to_end(&mut Vec::new()).await.unwrap();
    assert_eq!(reqwest::get(format!("{}/metrics", tidemark.url)).await.unwrap().status(), 200);
    let (shown, text) = until("a commit to be measured", SOON, async || {
        let shown = exposed(&tidemark).await;
        shown.0.contains_key("tidemark_pipeline_commit_duration_seconds").then_some(shown)
    })
    .await;
    for (name, kind) in &shown {
        assert_eq!(documented(false).get(name), Some(kind), "`{name}` is shown and not in docs/METRICS.md");
        assert!(text.contains(&format!("# HELP {name} ")), "`{name}` has no help text");
    }
    for (name, kind) in documented(true) {
        assert_eq!(shown.get(&name), Some(&kind), "`{name}` is in docs/METRICS.md and not shown");
    }
    for line in [
        "tidemark_ingest_events_total{result=\"accepted\"} 2",
        "tidemark_ingest_events_total{result=\"rejected\"} 1",
        "tidemark_pipeline_events_total{result=\"duplicate\"} 1",
        "tidemark_pipeline_commit_rows_sum 1",
        "http_connections_closed_total{reason=\"malformed\"} 1",
        "tidemark_query_duration_seconds_count{kind=\"metrics\",result=\"ok\"} 1",
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line}: {text}");
    }
}

#[tokio::test]
async fn an_answer_of_503_is_a_warning_in_the_log_with_the_id_that_the_client_has() {
    let mut nats = NatsServer::start().await;
    let tidemark = Tidemark::start_with_settings(&nats, &["journal.publish_timeout=300ms"]).await;
    nats.kill();
    let answer = post(&tidemark, "/events", r#"{"event_name":"a","user_id":"u","timestamp":1723475612}"#).await;
    assert_eq!(answer.status(), 503);
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();
    let log = tidemark.log();
    let line = log.lines().find(|line| line.contains(&id)).unwrap_or_else(|| panic!("{id} is not in the log: {log}"));
    let line: serde_json::Value = serde_json::from_str(line).expect("a log that is no terminal is JSON");
    assert_eq!((&line["level"], &line["status"], &line["path"]), (&"WARN".into(), &503.into(), &"/events".into()), "{line}");
}
