//! The table looks after itself while events and questions come.

use std::{
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use serde_json::{Value, json};
use testkit::{NatsServer, until};

use crate::process::{Tidemark, good, text};

/// Commits often and merges often; what was replaced goes soon.
const EAGER: [&str; 4] = ["pipeline.max_idle=20ms", "maintenance.interval=50ms", "maintenance.grace=0s", "journal.retention=1h"];
const MINUTE_US: i64 = 60_000_000;
/// 2026-11-19T10:00:00Z.
const START_US: i64 = 1_795_082_400_000_000;

fn event(number: i64) -> Value {
    let user = format!("user-{}", number % 7);
    let name = ["view", "buy", "search"][usize::try_from(number % 3).unwrap()];
    json!({"event_name": name, "timestamp": START_US + number * MINUTE_US / 10, "event_id": number.to_string(), "user_id": user})
}

async fn send(tidemark: &Tidemark, client: &reqwest::Client, numbers: std::ops::Range<i64>) {
    let body = json!({"events": numbers.map(event).collect::<Vec<_>>()}).to_string();
    assert_eq!(tidemark.post(client, "/events/bulk", body).await.0, 202);
}

fn parquet_files(folder: &Path) -> Vec<PathBuf> {
    let days = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let days = days.filter(|day| day.file_name().unwrap().to_str().unwrap().starts_with("event_date="));
    let files = days.flat_map(|day| std::fs::read_dir(day).unwrap().map(|file| file.unwrap().path()));
    files.filter(|file| file.extension().is_some()).collect()
}

fn status(tidemark: &Tidemark) -> Value {
    serde_json::from_str(&good(&tidemark.command(&["table", "status", "--json"]).output().unwrap())).unwrap()
}

fn verified(tidemark: &Tidemark) -> Value {
    serde_json::from_str(&good(&tidemark.command(&["verify", "--json"]).output().unwrap())).unwrap()
}

#[tokio::test]
async fn many_small_commits_become_few_files_and_every_answer_is_exact_meanwhile() {
    const BATCHES: i64 = 60;
    let (nats, client) = (NatsServer::start().await, reqwest::Client::new());
    let tidemark = Tidemark::start_with_settings(&nats, &EAGER).await;
    for batch in 0..BATCHES {
        send(&tidemark, &client, batch * 10..batch * 10 + 10).await;
        let expected = ((batch + 1) * 10).to_string();
        assert_eq!(tidemark.sql("SELECT count(*) FROM events"), expected);
        assert_eq!(tidemark.sql("SELECT count(DISTINCT event_id) FROM events"), expected);
        let metrics = format!("{}/metrics?from={}&to={}&uniques=exact", tidemark.url, START_US, START_US + 1000 * MINUTE_US);
        let metrics: Value = client.get(metrics).send().await.unwrap().json().await.unwrap();
        assert_eq!(metrics["total_events"], json!((batch + 1) * 10), "{metrics}");
    }
    let few = async || (status(&tidemark)["events"]["files"].as_u64().unwrap() <= 6).then_some(());
    until("few files", Duration::from_secs(30), few).await;
    assert_eq!(tidemark.sql("SELECT count(*) FROM events_committed"), "600");
    let log = tidemark.log();
    assert!(log.contains("merged") && log.contains("from_bytes"), "{log}");
    assert_eq!(verified(&tidemark)["violation_count"], 0);
}

#[tokio::test]
async fn a_repeat_is_folded_also_after_its_file_was_merged_and_everything_was_started_again() {
    let (nats, client) = (NatsServer::start().await, reqwest::Client::new());
    let mut tidemark = Tidemark::start_with_settings(&nats, &EAGER).await;
    for batch in 0..8 {
        send(&tidemark, &client, batch * 10..batch * 10 + 10).await;
        tidemark.says("SELECT count(*) FROM events_committed", &((batch + 1) * 10).to_string()).await;
    }
    until("a merge", Duration::from_secs(30), async || tidemark.log().contains("merged").then_some(())).await;
    tidemark.restart().await;
    send(&tidemark, &client, 0..80).await;
    send(&tidemark, &client, 80..81).await;
    tidemark.says("SELECT count(*) FROM events_committed", "81").await;
    assert_eq!(verified(&tidemark)["violation_count"], 0);
}

#[tokio::test]
async fn compact_and_vacuum_by_hand_say_what_they_would_do_and_do_it() {
    let (nats, client) = (NatsServer::start().await, reqwest::Client::new());
    let settings = ["pipeline.max_idle=20ms", "maintenance.enabled=false", "maintenance.keep=1m"];
    let tidemark = Tidemark::start_with_settings(&nats, &settings).await;
    for batch in 0..5 {
        send(&tidemark, &client, batch * 10..batch * 10 + 10).await;
        tidemark.says("SELECT count(*) FROM events_committed", &((batch + 1) * 10).to_string()).await;
    }
    let table = |arguments: &[&str]| good(&tidemark.command(&[&["table"], arguments].concat()).output().unwrap());
    assert!(table(&["compact", "--dry-run"]).contains("events: the first merge would make one of 5 files with 50 rows"));
    assert_eq!(status(&tidemark)["events"]["files"], 5);
    let done = table(&["compact"]);
    assert!(done.contains("events: 1 merge of 5 files with 50 rows") && done.contains("quarantine: nothing to merge"), "{done}");
    assert_eq!(status(&tidemark)["events"]["files"], 1);
    assert!(table(&["vacuum", "--dry-run"]).contains("events: nothing to delete"), "a query may still read the merged files");
    assert_eq!(parquet_files(&tidemark.lake().join("events")).len(), 6);
    assert_eq!(tidemark.sql("SELECT count(DISTINCT event_id) FROM events"), "50");
}

#[tokio::test]
async fn a_damaged_file_is_named_and_left_out_and_all_others_are_merged() {
    let (nats, client) = (NatsServer::start().await, reqwest::Client::new());
    let mut tidemark = Tidemark::start_with_settings(&nats, &["pipeline.max_idle=20ms", "maintenance.interval=1h"]).await;
    let mut files = Vec::new();
    for batch in 0..12 {
        send(&tidemark, &client, batch * 10..batch * 10 + 10).await;
        tidemark.says("SELECT count(*) FROM events_committed", &((batch + 1) * 10).to_string()).await;
        files.extend(parquet_files(&tidemark.lake().join("events")));
    }
    // The first minute's: whether later events repeat some of a damaged file nobody could say, and their writer would wait.
    let poison = files.swap_remove(0);
    let mut bytes = std::fs::read(&poison).unwrap();
    let half = bytes.len() / 2;
    bytes[..half].fill(0);
    std::fs::write(&poison, bytes).unwrap();
    tidemark.restart_with(&EAGER).await;
    let two = async || (status(&tidemark)["events"]["files"] == 2).then_some(());
    until("all but one are one", Duration::from_secs(60), two).await;
    let log = tidemark.log();
    let name = poison.file_name().unwrap().to_str().unwrap();
    assert!(
        log.lines().any(|line| line.contains("a file cannot be merged") && line.contains(name) && line.contains("\"tries\":3")),
        "{log}"
    );
    send(&tidemark, &client, 120..130).await;
    tidemark.says("SELECT count(*) FROM events", "130").await;
}

#[tokio::test]
async fn files_whose_commit_waited_until_they_are_garbage_are_written_again() {
    const KEEP: Duration = Duration::from_secs(4);
    let (nats, client) = (NatsServer::start().await, reqwest::Client::new());
    let settings = ["pipeline.max_idle=20ms", "maintenance.enabled=false", "maintenance.keep=4s", "query.timeout=2s"];
    let tidemark = Tidemark::start_with_settings(&nats, &settings).await;
    send(&tidemark, &client, 0..10).await;
    tidemark.says("SELECT count(*) FROM events_committed", "10").await;

    let table = tidemark.lake().join("events");
    let committed = parquet_files(&table);
    let orphans = || parquet_files(&table).into_iter().filter(|file| !committed.contains(file)).collect::<Vec<_>>();
    // Files can be written meanwhile, commits cannot.
    let (log, away) = (table.join("_delta_log"), table.join("away"));
    std::fs::rename(&log, &away).unwrap();
    std::fs::write(&log, "no folder").unwrap();
    send(&tidemark, &client, 10..20).await;
    until("a file without a commit", Duration::from_secs(30), async || (!orphans().is_empty()).then_some(())).await;
    let [first] = &orphans()[..] else { panic!("{:?}", orphans()) };
    let is_garbage = async || (first.metadata().unwrap().modified().unwrap().elapsed().unwrap() > KEEP).then_some(());
    until("it is old enough to be deleted", Duration::from_secs(30), is_garbage).await;
    std::fs::remove_file(first).unwrap();
    std::fs::remove_file(&log).unwrap();
    std::fs::rename(&away, &log).unwrap();

    tidemark.says("SELECT count(DISTINCT event_id) FROM events_committed", "20").await;
    assert_eq!(verified(&tidemark)["violation_count"], 0);
}

#[tokio::test]
async fn an_erased_user_is_nowhere_and_verification_knows() {
    let (nats, client) = (NatsServer::start().await, reqwest::Client::new());
    let tidemark = Tidemark::start_with_settings(&nats, &["pipeline.max_idle=20ms", "maintenance.enabled=false"]).await;
    send(&tidemark, &client, 0..70).await;
    tidemark.says("SELECT count(*) FROM events_committed", "70").await;
    send(&tidemark, &client, 0..70).await;
    // What was durable but is no event, of this user and of another.
    let stream = async_nats::jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    for user in ["user-3", "user-4"] {
        let message = json!({"user_id": user}).to_string();
        stream.publish("tidemark.0", message.into()).await.unwrap().await.unwrap();
    }
    tidemark.says("SELECT count(*) FROM quarantine", "2").await;
    send(&tidemark, &client, 70..77).await;

    let erase =
        |arguments: &[&str]| -> Output { tidemark.command(&[&["erase", "--url", &tidemark.url], arguments].concat()).output().unwrap() };
    let said = good(&erase(&["--user", "user-3", "--dry-run"]));
    assert!(said.contains("events: 11 rows would be erased") && said.contains("quarantine: 1 rows would be erased"), "{said}");
    assert_eq!(tidemark.sql("SELECT count(*) FROM events"), "77");
    let receipt: Value = serde_json::from_str(&good(&erase(&["--user", "user-3", "--json"]))).unwrap();
    assert_eq!((&receipt["tables"][0]["erased"], &receipt["tables"][1]["erased"]), (&json!(11), &json!(1)), "{receipt}");

    assert_eq!(tidemark.sql("SELECT count(*) FROM events WHERE user_id = 'user-3'"), "0");
    assert_eq!(tidemark.sql("SELECT count(*) FROM events"), "66");
    assert_eq!(tidemark.sql("SELECT count(*) FROM quarantine"), "1");
    let metrics = format!("{}/metrics?from={}&to={}", tidemark.url, START_US, START_US + 1000 * MINUTE_US);
    let metrics: Value = client.get(metrics).send().await.unwrap().json().await.unwrap();
    assert_eq!((&metrics["total_events"], &metrics["unique_users"]), (&json!(66), &json!(6)), "the summaries were made anew: {metrics}");
    let report = verified(&tidemark);
    assert_eq!((&report["violation_count"], &report["shards"][0]["rows"]), (&json!(0), &json!(66)), "{report:#}");
    assert_eq!(report["shards"][0]["given_up"], json!(22), "11 rows, the 10 repeats of them, and a record of quarantine");
    assert!(good(&erase(&["--user", "user-3"])).contains("events: 0 rows erased"));

    let wrong = erase(&["--where", "no_such_column = 1"]);
    assert!(!wrong.status.success() && text(&wrong.stderr).contains("no_such_column"), "{}", text(&wrong.stderr));
}

#[tokio::test]
async fn days_older_than_the_retention_are_given_up_and_verification_knows() {
    let (nats, client) = (NatsServer::start().await, reqwest::Client::new());
    let settings = [&EAGER[..], &["table.retention=2days"]].concat();
    let tidemark = Tidemark::start_with_settings(&nats, &settings).await;
    let old = json!({"event_name": "view", "timestamp": "2020-01-01T00:00:00Z", "event_id": "old", "user_id": "u"});
    let new = json!({"event_name": "view", "timestamp": now_s(), "event_id": "new", "user_id": "u"});
    let answer = tidemark.post(&client, "/events/bulk", json!({"events": [old, new]}).to_string()).await;
    assert_eq!(answer.0, 202, "{}", answer.1);
    tidemark.says("SELECT min(event_id) || count(*) FROM events_committed", "new1").await;
    assert_eq!(tidemark.sql("SELECT count(*) FROM events"), "1");
    let report = verified(&tidemark);
    assert_eq!((&report["violation_count"], &report["shards"][0]["given_up"]), (&json!(0), &json!(1)), "{report:#}");
}

/// Now, in seconds.
fn now_s() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "retention is about the real day")]
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}
