//! `tidemark table status` says what is there, by other ways of counting it, and needs neither server nor journal for the tables.

use std::{path::Path, time::Duration};

use serde_json::Value;
use tempfile::TempDir;
use testkit::{NatsServer, S3Server, publish, until};

use crate::process::{Tidemark, good, text, tidemark};

fn status(tidemark: &Tidemark) -> Value {
    serde_json::from_str(&good(&tidemark.command(&["table", "status", "--json"]).output().unwrap())).unwrap()
}

fn words(tidemark: &Tidemark) -> String {
    good(&tidemark.command(&["table", "status"]).output().unwrap())
}

fn number(status: &Value, pointer: &str) -> u64 {
    status.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no number at {pointer} of {status:#}"))
}

/// The files below a folder whose path holds a text, and their size.
fn files_below(folder: &Path, part: &str) -> (u64, u64) {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let counts = entries.map(|path| match path.is_dir() {
        true => files_below(&path, part),
        false if path.to_str().unwrap().contains(part) => (1, path.metadata().unwrap().len()),
        false => (0, 0),
    });
    counts.fold((0, 0), |(files, bytes), (more_files, more_bytes)| (files + more_files, bytes + more_bytes))
}

/// A day of events ends in the middle of a UTC day, so they lie in two.
async fn with_a_day_of_events(tidemark: &Tidemark) {
    good(&tidemark.demo(&["--events", "3000", "--seed", "7", "--end", "2026-11-20T12:00:00Z"]).wait_with_output().unwrap());
    let committed = async || (tidemark.sql("SELECT count(*) FROM events_committed") == "3000").then_some(());
    until("the events to be committed", Duration::from_secs(30), committed).await;
}

#[tokio::test]
async fn it_counts_what_lies_in_the_folder_and_what_sql_says() {
    let nats = NatsServer::start().await;
    let mut tidemark = Tidemark::start(&nats).await;
    with_a_day_of_events(&tidemark).await;
    assert!(publish(&nats.url(), "tidemark.0", b"rubbish".to_vec()).await);
    tidemark.says("SELECT count(*) FROM quarantine", "1").await;
    let newest = tidemark.sql("SELECT to_char(date_trunc('second', max(timestamp)), '%Y-%m-%dT%H:%M:%S') FROM events");
    let tidemark_of_the_table = tidemark.sql("SELECT max(_sequence) FROM quarantine");
    assert!(tidemark.terminate().await);

    let status = status(&tidemark);
    let (events, log) = (tidemark.lake().join("events"), tidemark.lake().join("events/_delta_log"));
    assert_eq!((number(&status, "/events/rows"), number(&status, "/events/partitions")), (3000, 2));
    assert_eq!((number(&status, "/events/files"), number(&status, "/events/bytes")), files_below(&events, "event_date="));
    assert_eq!((number(&status, "/events/log/files"), number(&status, "/events/log/bytes")), files_below(&log, ""));
    let commits = number(&status, "/events/log/commits");
    assert_eq!((commits, number(&status, "/events/log/commits_since_checkpoint")), (number(&status, "/events/version") + 1, commits));
    assert_eq!(status["events"]["first_day"], "2026-11-19");
    assert!(status["events"]["newest"].as_str().unwrap().starts_with(&newest), "{newest} {status:#}");
    assert_eq!(
        status["events"]["small_files"],
        if number(&status, "/events/files") > 2 { status["events"]["files"].clone() } else { 0.into() }
    );
    assert_eq!((number(&status, "/quarantine/rows"), status["shards"][0]["uncommitted_messages"].clone()), (1, 0.into()));
    assert_eq!(status["shards"][0]["quarantine_tidemark"].to_string(), tidemark_of_the_table);

    let words = words(&tidemark);
    for part in
        ["3,000 in ", " files of 2 days", "bytes for each", "events       from 2026-11-19T", "everything is committed", "no checkpoint yet"]
    {
        assert!(words.contains(part), "`{part}` is not in:\n{words}");
    }
}

#[tokio::test]
async fn what_is_not_committed_yet_is_told_and_a_journal_that_is_away_too() {
    let mut nats = NatsServer::start().await;
    let tidemark = Tidemark::start(&nats).await;
    with_a_day_of_events(&tidemark).await;
    let mut tidemark = tidemark;
    assert!(tidemark.terminate().await);
    for _ in 0..3 {
        assert!(publish(&nats.url(), "tidemark.0", br#"{"event_name":"a","timestamp":1723475612}"#.to_vec()).await);
    }
    assert_eq!(number(&status(&tidemark), "/shards/0/uncommitted_messages"), 3);
    assert!(words(&tidemark).contains("3 messages not committed yet"), "{}", words(&tidemark));

    nats.kill();
    let status = status(&tidemark);
    assert_eq!((number(&status, "/events/rows"), status["shards"][0]["uncommitted_messages"].clone()), (3000, Value::Null));
    assert!(status["journal_error"].as_str().unwrap().contains("no NATS server answers"), "{status:#}");
    assert!(words(&tidemark).contains("journal      not asked how far it is: no NATS server answers"), "{}", words(&tidemark));
}

#[tokio::test]
async fn it_is_the_same_on_s3() {
    let (nats, s3) = (NatsServer::start().await, S3Server::start().await);
    let tidemark = Tidemark::start_on_s3(&nats, &s3).await;
    with_a_day_of_events(&tidemark).await;
    let status = status(&tidemark);
    assert_eq!((number(&status, "/events/rows"), number(&status, "/events/partitions")), (3000, 2));
    assert_eq!(number(&status, "/events/log/commits"), number(&status, "/events/version") + 1);
    assert!(words(&tidemark).starts_with("events in s3://tidemark/lake/\n"), "{}", words(&tidemark));
}

#[tokio::test]
async fn where_no_table_is_none_is_made() {
    let folder = TempDir::new().unwrap();
    let lake = folder.path().join("lake");
    let setting = format!("table.url={}", lake.display());
    let output = tidemark(&["table", "status", "--set", &setting]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("there is no table at `"), "{}", text(&output.stderr));
    assert!(!lake.exists());
}
