//! `tidemark verify` says yes to what is right, and names what is not: each rule is broken in a copy of the tables.

use std::{
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use async_nats::jetstream;
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::{NatsServer, S3Server, until};

use crate::process::{Tidemark, good, text};

/// What no door of ours wrote: 6 items, of which 2 are rows, 1 is a repeat and 3 are no events. The last message has a row.
const FOREIGN: [&str; 4] = [
    "rubbish",
    "TMB1, and then no block",
    r#"{"event_name":"a","timestamp":1723475612,"event_id":"f-1"}"#,
    r#"[{"event_name":"a","timestamp":1723475612,"event_id":"f-1"}, 7, {"event_name":"a","timestamp":1723475612,"event_id":"f-2"}]"#,
];
const FOREIGN_DATE: &str = "2024-08-12";

/// A journal and tables after 3,000 events that were sent twice and some foreign messages; everything is committed.
struct Story {
    nats: NatsServer,
    tidemark: Tidemark,
}

impl Story {
    async fn tell() -> Self {
        let nats = NatsServer::start().await;
        let mut tidemark = Tidemark::start(&nats).await;
        send(&nats, &tidemark).await;
        assert!(tidemark.terminate().await);
        Self { nats, tidemark }
    }

    /// A copy of the tables.
    fn copy(&self) -> Lake {
        let folder = TempDir::new().unwrap();
        copy_folder(&self.tidemark.lake(), folder.path());
        Lake(folder)
    }

    /// The report about a lake, which must be bad, in words and as JSON; it names the violations `parts`.
    fn is_refused(&self, lake: &Lake, codes: &[&str], parts: &[&str]) {
        let setting = format!("table.url={}", lake.0.path().display());
        let verify = |more: &[&str]| self.tidemark.command(&["verify"]).args(["--set", &setting]).args(more).output().unwrap();
        assert_refused(&verify(&[]), parts);
        let report: Value = serde_json::from_slice(&verify(&["--json"]).stdout).unwrap();
        let shown = report["violations"].as_array().unwrap();
        for code in codes {
            assert!(shown.iter().any(|violation| violation["code"] == *code), "`{code}` is not in {report:#}");
        }
        assert!(shown.len() as u64 <= report["violation_count"].as_u64().unwrap().min(20));
    }
}

/// One message on standard error, exit code 1, and each of `parts` in the report.
fn assert_refused(output: &Output, parts: &[&str]) {
    let (report, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{report}{said}");
    assert!(said.starts_with("error: ") && said.contains("violation") && said.lines().count() == 1, "{said}");
    for part in parts {
        assert!(report.contains(part), "`{part}` is not in:\n{report}");
    }
}

async fn send(nats: &NatsServer, tidemark: &Tidemark) {
    for _ in 0..2 {
        good(&tidemark.demo(&["--events", "3000", "--seed", "7", "--end", "2026-11-20T12:00:00Z"]).wait_with_output().unwrap());
    }
    publish(nats, FOREIGN.map(str::to_owned)).await;
    until_it_says(tidemark, "SELECT count(*) FROM events", "3002").await;
}

async fn until_it_says(tidemark: &Tidemark, statement: &str, answer: &str) {
    let is_seen = async || (tidemark.sql(statement) == answer).then_some(());
    until(statement, Duration::from_secs(10), is_seen).await;
}

async fn publish(nats: &NatsServer, messages: impl IntoIterator<Item = String>) {
    let stream = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    for message in messages {
        stream.publish("tidemark.0", message.into()).await.unwrap().await.unwrap();
    }
}

/// A copy of the tables, to be broken.
struct Lake(TempDir);

impl Lake {
    /// The `add` of a file in a day, by the table's log.
    fn add_of(&self, table: &str, date: &str) -> Value {
        let commits = self.log(table).into_iter().map(|file| std::fs::read_to_string(file).unwrap());
        let lines = commits.flat_map(|commit| commit.lines().map(str::to_owned).collect::<Vec<_>>());
        let actions = lines.map(|line| serde_json::from_str::<Value>(&line).unwrap());
        let mut adds = actions.filter(|action| action["add"]["path"].as_str().is_some_and(|path| path.contains(date)));
        adds.next().unwrap()
    }

    fn path_of(&self, table: &str, add: &Value) -> PathBuf {
        self.0.path().join(table).join(add["add"]["path"].as_str().unwrap())
    }

    /// A commit by hand.
    fn commit(&self, table: &str, actions: &[Value]) {
        let lines: String = actions.iter().map(|action| format!("{action}\n")).collect();
        let next = self.0.path().join(table).join("_delta_log").join(format!("{:020}.json", self.log(table).len()));
        std::fs::write(next, lines).unwrap();
    }

    /// The commits, oldest first.
    fn log(&self, table: &str) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.0.path().join(table).join("_delta_log")).unwrap().map(|file| file.unwrap().path());
        let mut commits: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|end| end == "json")).collect();
        commits.sort_unstable();
        commits
    }
}

/// The action that takes a file out of the table.
fn remove(add: &Value) -> Value {
    json!({"remove": {"path": add["add"]["path"], "deletionTimestamp": 1_795_000_000_000_u64, "dataChange": true}})
}

/// An `add` with other statistics.
fn with_stats(add: &Value, change: impl FnOnce(&mut Value)) -> Value {
    let (mut add, mut stats) = (add.clone(), serde_json::from_str(add["add"]["stats"].as_str().unwrap()).unwrap());
    change(&mut stats);
    add["add"]["stats"] = stats.to_string().into();
    add
}

/// An `add` of a copy of its file in another place of the lake.
fn copied(lake: &Lake, (from, add): (&str, &Value), table: &str, path: &str, date: &Value) -> Value {
    let mut copy = add.clone();
    copy["add"]["path"] = path.into();
    copy["add"]["partitionValues"]["event_date"] = date.clone();
    let to = lake.path_of(table, &copy);
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    std::fs::copy(lake.path_of(from, add), to).unwrap();
    copy
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy_folder(&path, &target),
            false => assert!(std::fs::copy(&path, &target).is_ok(), "{}", path.display()),
        }
    }
}

/// The numbers of shard 0: accepted, rows, duplicates, quarantined, violations.
fn numbers(report: &Value) -> [u64; 5] {
    ["accepted", "rows", "duplicates", "quarantined", "violations"].map(|number| report["shards"][0][number].as_u64().unwrap())
}

#[tokio::test]
async fn a_true_story_is_verified_with_its_numbers_also_when_the_journal_forgets() {
    let story = Story::tell().await;
    let said = good(&story.tidemark.command(&["verify"]).output().unwrap());
    assert!(["6,006", "3,002", "3,001", "verified: "].iter().all(|part| said.contains(part)), "{said}");
    let verified = || -> Value { serde_json::from_str(&good(&story.tidemark.command(&["verify", "--json"]).output().unwrap())).unwrap() };
    let report = verified();
    assert_eq!(numbers(&report), [6006, 3002, 3001, 3, 0], "{report:#}");
    assert_eq!(report["violations"], json!([]));

    let streams = jetstream::new(async_nats::connect(story.nats.url()).await.unwrap());
    streams.get_stream("tidemark-0").await.unwrap().purge().sequence(2).await.unwrap();
    let [accepted, rows, rest @ ..] = numbers(&verified());
    assert!(accepted < 6006 && rows == accepted - 3004, "the first message had rows, which are first occurrences for the repeats");
    assert_eq!(rest, [3001, 3, 0]);
    let said = good(&story.tidemark.command(&["verify"]).output().unwrap());
    assert!(said.contains("the journal begins at 2"), "{said}");
}

#[tokio::test]
async fn a_file_that_is_gone_or_damaged_is_named() {
    let story = Story::tell().await;
    let lake = story.copy();
    let add = lake.add_of("events", FOREIGN_DATE);
    let (file, name) = (lake.path_of("events", &add), add["add"]["path"].as_str().unwrap());
    let bytes = std::fs::read(&file).unwrap();

    std::fs::write(&file, &bytes[..bytes.len() - 9]).unwrap();
    story.is_refused(&lake, &["file_size", "lost"], &[name, "the log says", "is lost"]);
    std::fs::write(&file, vec![b'x'; bytes.len()]).unwrap();
    story.is_refused(&lake, &["file_unreadable", "lost"], &[name, "cannot be read"]);
    std::fs::remove_file(&file).unwrap();
    story.is_refused(&lake, &["file_missing", "lost"], &[name, "is missing"]);

    let lake = story.copy();
    let add = lake.add_of("quarantine", "event_date");
    std::fs::remove_file(lake.path_of("quarantine", &add)).unwrap();
    story.is_refused(&lake, &["file_missing", "lost"], &[add["add"]["path"].as_str().unwrap(), "is missing", "is lost"]);
}

#[tokio::test]
async fn a_log_that_does_not_fit_its_files_is_refused() {
    let story = Story::tell().await;
    let add = story.copy().add_of("events", FOREIGN_DATE);
    let refused_after = |actions: &[Value], code: &str, part: &str| {
        let lake = story.copy();
        lake.commit("events", actions);
        story.is_refused(&lake, &[code], &[part]);
    };
    refused_after(&[remove(&add)], "lost", "is lost");
    refused_after(&[with_stats(&add, |stats| stats["numRecords"] = 3.into())], "row_count", "has 2 rows, and the log says 3");
    let narrowed = with_stats(&add, |stats| stats["maxValues"]["_sequence"] = stats["minValues"]["_sequence"].clone());
    refused_after(&[narrowed], "outside_statistics", "1 rows of the file");
    refused_after(&[json!({"txn": {"appId": "tidemark/0", "version": 3}})], "above_tidemark", "above the tidemark 3");
}

#[tokio::test]
async fn a_row_in_two_places_or_in_the_wrong_one_is_refused() {
    let story = Story::tell().await;
    let original = story.copy().add_of("events", FOREIGN_DATE);

    let lake = story.copy();
    let twin = copied(&lake, ("events", &original), "events", "event_date=2024-08-12/twin.parquet", &FOREIGN_DATE.into());
    lake.commit("events", &[twin]);
    story.is_refused(&lake, &["twice"], &["stands twice in `events`", "twin.parquet"]);

    let lake = story.copy();
    let moved = copied(&lake, ("events", &original), "events", "event_date=2024-08-13/moved.parquet", &"2024-08-13".into());
    lake.commit("events", &[remove(&original), moved]);
    story.is_refused(&lake, &["wrong_partition"], &["lies in the partition 2024-08-13, and its time in 2024-08-12", "moved.parquet"]);

    let lake = story.copy();
    let date = lake.add_of("quarantine", "event_date")["add"]["partitionValues"]["event_date"].clone();
    let both = copied(&lake, ("events", &original), "quarantine", "both.parquet", &date);
    lake.commit("quarantine", &[both]);
    story.is_refused(&lake, &["in_both"], &["is a row and in quarantine"]);
}

#[tokio::test]
async fn two_rows_that_are_one_event_are_refused() {
    let nats = NatsServer::start().await;
    let mut tidemark = Tidemark::start(&nats).await;
    let event = |name: &str, user: u32, at: &str| format!(r#"{{"event_name":"{name}","user_id":"{user}","timestamp":"{at}"}}"#);
    let last_of_a_minute = "2026-11-20T08:59:59.999999Z";
    let (same_minute, next_minute) = (event("a", 2, "2026-11-20T08:59:00Z"), event("a", 3, "2026-11-20T09:00:00Z"));
    publish(&nats, [event("a", 1, last_of_a_minute), event("b", 1, last_of_a_minute), same_minute, next_minute]).await;
    until_it_says(&tidemark, "SELECT count(*) FROM events", "4").await;
    assert!(tidemark.terminate().await);
    good(&tidemark.command(&["verify"]).output().unwrap());
    // By a rule that the pipeline did not have, two of the rows are one event.
    let output = tidemark.command(&["verify"]).args(["--set", "dedup.identity=event_name"]).output().unwrap();
    assert_refused(&output, &["  0:3:0 is the same event as 0:1:0, in the same minute"]);
    assert!(text(&output.stderr).starts_with("error: 1 violation"), "{}", text(&output.stdout));
}

#[tokio::test]
async fn another_journal_is_refused() {
    let (story, other) = (Story::tell().await, NatsServer::start().await);
    let setting = format!("nats.url={}", other.url());
    let verify = || story.tidemark.command(&["verify"]).args(["--set", &setting]).output().unwrap();
    assert_refused(&verify(), &["the journal of shard 0 ends at 0"]);
    publish(&other, (0..100).map(|number| format!("rubbish {number}"))).await;
    assert_refused(&verify(), &["the journal's message has no such item"]);
}

#[tokio::test]
async fn a_replay_of_quarantine_sends_each_record_once_however_often_it_is_done() {
    let nats = NatsServer::start().await;
    let mut tidemark = Tidemark::start_with_settings(&nats, &["ingest.future_skew=87600h"]).await;
    let future = r#"{"event_name":"a","user_id":"u","timestamp":1923475612,"metadata":{"n": 1.50}}"#;
    let numbers_only = format!("{:?}", (0..600).collect::<Vec<_>>());
    publish(&nats, ["rubbish", r#"{"event_name":7,"user_id":"u"}"#, future, &numbers_only].map(str::to_owned)).await;
    until_it_says(&tidemark, "SELECT count(*) FROM quarantine", "603").await;

    let replay = |more: &[&str]| good(&tidemark.command(&["quarantine", "replay"]).args(more).output().unwrap());
    let shown = replay(&["--dry-run", "--where", "_sequence = 3 -- only"]);
    assert_eq!(shown, format!("0:3:0\t{},\"event_id\":\"quarantine-0-3-0\"}}\n", future.trim_end_matches('}').to_owned() + "}"));
    assert_eq!(replay(&["--where", "false"]), "0 records of quarantine: 0 accepted by the door, 0 refused again\n");
    for _ in 0..2 {
        let said = replay(&[]);
        assert!(
            said.starts_with("603 records of quarantine: 1 accepted by the door, 602 refused again\n  0:1:0 [invalid_json] "),
            "{said}"
        );
        assert!(said.contains("  0:2:0 [wrong_type] ") && said.ends_with("  and 582 more\n"), "{said}");
    }
    until_it_says(&tidemark, "SELECT event_id || ' ' || metadata FROM events", "\"quarantine-0-3-0 {\"\"n\"\": 1.50}\"").await;
    assert!(tidemark.terminate().await);
    let report: Value = serde_json::from_str(&good(&tidemark.command(&["verify", "--json"]).output().unwrap())).unwrap();
    assert_eq!(numbers(&report), [605, 1, 1, 603, 0], "{report:#}");
}

/// The disk forgets a message that lies in a block of its own.
async fn lose(nats: &mut NatsServer, sequence: u64) {
    nats.kill();
    let messages = nats.stream_folder("tidemark-0").join("msgs");
    std::fs::remove_file(messages.join(format!("{sequence}.blk"))).unwrap();
    let _ = std::fs::remove_file(messages.join("index.db"));
    nats.restart().await;
}

#[tokio::test]
async fn a_hole_in_the_journal_is_accounted_for_when_it_was_recorded_and_refused_when_not() {
    let mut nats = NatsServer::start().await;
    let mut tidemark = Tidemark::start(&nats).await;
    assert!(tidemark.terminate().await);
    publish(&nats, (0..4).map(|_| "x".repeat(5 << 20))).await;
    lose(&mut nats, 2).await;
    tidemark.restart().await;
    until_it_says(&tidemark, "SELECT count(*) FROM quarantine WHERE code = 'journal_gap'", "1").await;
    until_it_says(&tidemark, "SELECT count(*) FROM quarantine", "4").await;
    let readiness = reqwest::get(format!("{}/readyz", tidemark.url)).await.unwrap();
    assert!(readiness.status().is_success());
    let readiness = readiness.text().await.unwrap();
    assert!(readiness.contains("ok, but 1 messages of shard 0 were gone before they were read"), "{readiness}");
    assert!(tidemark.terminate().await);
    let said = good(&tidemark.command(&["verify"]).output().unwrap());
    assert!(said.contains("messages 2 to 2: stream `tidemark-0` has a gap") && said.contains("except for what was gone"), "{said}");

    lose(&mut nats, 3).await;
    let output = tidemark.command(&["verify"]).output().unwrap();
    assert_refused(&output, &["messages 2 to 3 of shard 0 are missing in the journal"]);
}

#[tokio::test]
async fn what_is_not_committed_yet_is_said_to_be_left_out() {
    let nats = NatsServer::start().await;
    let mut tidemark = Tidemark::start(&nats).await;
    publish(&nats, [FOREIGN[2].to_owned()]).await;
    until_it_says(&tidemark, "SELECT count(*) FROM events", "1").await;
    assert!(tidemark.terminate().await);
    let verified = |more: &[&str]| good(&tidemark.command(&["verify"]).args(more).output().unwrap());
    assert!(verified(&[]).ends_with("\nverified: everything accepted is a row, a repeat of one, or in quarantine\n"));

    publish(&nats, ["rubbish", "rubbish"].map(str::to_owned)).await;
    let said = verified(&[]);
    assert!(said.contains("\nshard 0: messages 2 to 3 are not committed yet and were not looked at"), "{said}");
    assert!(said.ends_with("\nverified: everything committed is a row, a repeat of one, or in quarantine\n"), "{said}");
    let report: Value = serde_json::from_str(&verified(&["--json"])).unwrap();
    assert_eq!((&report["shards"][0]["checked"], &report["shards"][0]["uncommitted"]), (&json!([1, 1]), &json!([2, 3])));
}

#[tokio::test]
async fn a_running_pipeline_does_not_disturb() {
    let (nats, s3) = (NatsServer::start().await, S3Server::start().await);
    let tidemark = Tidemark::start_on_s3(&nats, &s3).await;
    let mut demo = tidemark.demo(&["--events", "40000", "--batch", "20", "--connections", "4"]);
    let mut verified = 0;
    while demo.try_wait().unwrap().is_none() {
        let said = good(&tidemark.command(&["verify"]).output().unwrap());
        assert!(said.contains("verified: "), "{said}");
        verified += 1;
    }
    assert!(verified > 0, "the demo was still running");
}
