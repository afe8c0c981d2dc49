use std::time::{Duration, Instant};

use query::Config;
use serde_json::{Value, json};
use service::settings::ByteSize;

use crate::app::{TestApp, config, problem_of};

/// More work than any test waits for: it makes 10^10 pairs.
const ENDLESS: &str = "SELECT count(*) FROM events a, events b, events c WHERE a._index + b._index + c._index = -1";

#[tokio::test(flavor = "multi_thread")]
async fn a_query_beyond_its_time_is_stopped() {
    let (app, rows) = TestApp::seeded().await;
    let began = Instant::now();
    let (status, problem) = problem_of(app.post("/sql?timeout_ms=300", ENDLESS).send().await.unwrap()).await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("query_timeout")));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(app.sql("SELECT count(*) AS n FROM events").await, [json!({"n": rows.len()})], "the threads are free again");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_beyond_its_memory_is_refused_and_the_next_one_runs() {
    let (app, rows) = TestApp::seeded_with(Config { memory: ByteSize(4 << 20), ..config() }).await;
    let hungry = "SELECT a.metadata || b.event_name || CAST(b._sequence AS TEXT) AS text, count(*) FROM events a, events b GROUP BY 1 LIMIT 1";
    let (status, problem) = app.sql_problem(hungry).await;
    assert_eq!((status, problem["code"].as_str()), (422, Some("out_of_memory")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("query.memory"));
    assert_eq!(app.sql("SELECT count(*) AS n FROM events").await, [json!({"n": rows.len()})]);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_beyond_its_length_is_refused() {
    let app = TestApp::empty(Config { max_sql: ByteSize(1024), ..config() }).await;
    let long = format!("SELECT '{}'", "x".repeat(2000));
    let (status, problem) = app.sql_problem(&long).await;
    assert_eq!((status, problem["code"].as_str()), (413, Some("sql_too_long")));
    let (status, _) = app.sql_problem(&"x".repeat(2 << 20)).await;
    assert_eq!(status, 413);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_a_limit_says_whether_rows_were_left_out() {
    let (app, rows) = TestApp::seeded_with(Config { max_rows: 100, ..config() }).await;
    let ask = async |url: &str, sql: &str| {
        let response = app.post(url, sql).send().await.unwrap();
        let is_truncated = response.headers()["x-truncated"] == "true";
        (response.text().await.unwrap(), is_truncated)
    };
    let (text, is_truncated) = ask("/sql?format=json", "SELECT path FROM events").await;
    assert_eq!((serde_json::from_str::<Vec<Value>>(&text).unwrap().len(), is_truncated), (100, true));
    let (_, is_truncated) = ask("/sql?format=json", "SELECT path FROM events LIMIT 100").await;
    assert!(!is_truncated, "exactly as many as there may be");
    let (text, is_truncated) = ask("/sql?format=csv&max_rows=7", "SELECT path FROM events").await;
    assert_eq!((text.lines().count(), is_truncated), (8, true));
    let (text, is_truncated) = ask("/sql?format=csv", "SELECT _index FROM events").await;
    assert_eq!((text.lines().count(), is_truncated), (rows.len() + 1, false), "a stream has no limit of its own");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_after_the_first_byte_breaks_the_transfer() {
    let (app, _) = TestApp::seeded().await;
    // The first rows are fine; the text that is no number comes last.
    let sql = "SELECT 1 / (200000 - value) FROM generate_series(1, 300000)";
    let mut response = app.post("/sql?format=csv", sql).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut bytes = 0;
    let outcome = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes += chunk.len(),
            outcome => break outcome,
        }
    };
    assert!(outcome.is_err() && bytes > 0, "{bytes} bytes, then a clean end");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_cannot_be_read_is_a_503_that_tells_nothing_of_the_inside() {
    let (app, _) = TestApp::seeded().await;
    std::fs::remove_dir_all(app.folder.path().join("events/event_date=2026-11-20")).unwrap();
    let (status, problem) = app.sql_problem("SELECT max(path) FROM events").await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("tables_unavailable")));
    assert!(!problem.to_string().contains("parquet") && !problem.to_string().contains("event_date"), "{problem}");
    app.end().await;
}
