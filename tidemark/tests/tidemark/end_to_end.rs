//! From a POST to the same number in SQL, in metrics and in another engine.

use serde_json::Value;
use testkit::{NatsServer, S3Server};

use crate::{
    duckdb,
    process::{Tidemark, good, text, tidemark},
};

/// Sends a demo and compares: acknowledged, counted by `/sql`, counted by DuckDB.
async fn demo_is_counted_everywhere(tidemark: &Tidemark, location: &str, s3: Option<&S3Server>) {
    let said = good(&tidemark.demo(&["--events", "20000", "--seed", "1"]).wait_with_output().unwrap());
    assert!(said.contains("20,000 events acknowledged"), "{said}");
    assert!(said.contains("mobile_app") && said.contains("page_view"), "a few metrics as tables: {said}");
    assert_eq!(tidemark.sql("SELECT count(*) FROM events"), "20000");
    assert!(said.contains("in the Delta table"), "the demo waits for the commit: {said}");
    assert_eq!(duckdb::ask(location, s3, "SELECT count(*) FROM events"), "20000");
    for statement in [
        "SELECT count(DISTINCT user_id) FROM events WHERE event_name = 'page_view'",
        "SELECT count(*) FROM events WHERE channel = 'web' AND path LIKE '/products/1%'",
        "SELECT min(_sequence) || ':' || count(DISTINCT _sequence * 100000 + _index) FROM events",
    ] {
        assert_eq!(tidemark.sql(statement), duckdb::ask(location, s3, statement), "{statement}");
    }
}

#[tokio::test]
async fn every_acknowledged_event_is_counted_by_us_and_by_duckdb_on_a_local_folder() {
    let nats = NatsServer::start().await;
    let tidemark = Tidemark::start(&nats).await;
    let location = tidemark.lake().join("events").display().to_string();
    demo_is_counted_everywhere(&tidemark, &location, None).await;
}

#[tokio::test]
async fn every_acknowledged_event_is_counted_by_us_and_by_duckdb_on_s3() {
    let (nats, s3) = (NatsServer::start().await, S3Server::start().await);
    let tidemark = Tidemark::start_on_s3(&nats, &s3).await;
    demo_is_counted_everywhere(&tidemark, "s3://tidemark/lake/events", Some(&s3)).await;
}

#[tokio::test]
async fn the_id_of_a_202_is_found_by_sql_whoever_made_it() {
    let nats = NatsServer::start().await;
    let tidemark = Tidemark::start(&nats).await;
    let client = reqwest::Client::new();
    let post = async |body: &'static str| -> Value {
        let answer =
            client.post(format!("{}/events", tidemark.url)).header("content-type", "application/json").body(body).send().await.unwrap();
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    };
    let ours = post(r#"{"event_name":"a","user_id":"u","timestamp":1723475612,"tags":["x"],"metadata":{"k": 1.50}}"#).await;
    let theirs = post(r#"{"event_name":"b","user_id":"u","timestamp":"2024-08-12T15:13:32Z","event_id":"order-17"}"#).await;
    let position = theirs["position"].as_str().unwrap();
    let seen = client.get(format!("{}/metrics?from=0&at_least={position}", tidemark.url)).send().await.unwrap();
    assert_eq!(seen.status(), 200);
    for (answer, name) in [(ours, "a"), (theirs, "b")] {
        let id = answer["event_id"].as_str().unwrap();
        assert_eq!(tidemark.sql(&format!("SELECT event_name FROM events WHERE event_id = '{id}'")), name);
    }
}

#[tokio::test]
async fn settings_are_shown_with_their_origin_and_without_secrets() {
    let shown =
        tidemark(&["config", "show"]).env("TIDEMARK__NATS__PASSWORD", "hunter2").env("TIDEMARK__PIPELINE__MAX_AGE", "7s").output().unwrap();
    let shown = good(&shown);
    assert!(!shown.contains("hunter2"), "{shown}");
    let line = shown.lines().find(|line| line.contains("pipeline.max_age")).unwrap();
    assert!(line.contains("7s") && line.contains("TIDEMARK__PIPELINE__MAX_AGE"), "{line}");
    let help = tidemark(&["--help"]).output().unwrap();
    assert!(text(&help.stdout).contains("Examples:"));
}

#[tokio::test]
async fn an_event_is_in_metrics_and_sql_at_once_although_no_commit_comes() {
    let nats = NatsServer::start().await;
    let tidemark = Tidemark::start_with_settings(&nats, &["pipeline.max_age=1h", "pipeline.max_idle=1h"]).await;
    let client = reqwest::Client::new();
    for number in 1..=20 {
        let body = format!(r#"{{"event_name":"a","user_id":"u{number}","timestamp":1723475612}}"#);
        let answer =
            client.post(format!("{}/events", tidemark.url)).header("content-type", "application/json").body(body).send().await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        let position = answer["position"].as_str().unwrap();
        let metrics =
            client.get(format!("{}/metrics?from=1723475612&to=1723475612&at_least={position}", tidemark.url)).send().await.unwrap();
        let metrics: Value = serde_json::from_slice(&metrics.bytes().await.unwrap()).unwrap();
        assert_eq!(
            (&metrics["total_events"], &metrics["unique_users"], &metrics["fresh"]),
            (&number.into(), &number.into(), &true.into()),
            "{metrics}"
        );
        assert_eq!(tidemark.sql("SELECT count(*) FROM events"), number.to_string());
    }
    assert_eq!(tidemark.sql("SELECT count(*) FROM events_committed"), "0");
}

#[tokio::test]
async fn the_same_demo_again_adds_nothing_also_after_a_restart() {
    let nats = NatsServer::start().await;
    let mut tidemark = Tidemark::start(&nats).await;
    let end = "2026-11-20T12:00:00Z";
    for _ in 0..3 {
        good(&tidemark.demo(&["--events", "5000", "--seed", "7", "--end", end]).wait_with_output().unwrap());
        assert_eq!(tidemark.sql("SELECT count(*) || ' ' || count(DISTINCT event_id) FROM events"), "5000 5000");
        tidemark.restart().await;
    }
}
