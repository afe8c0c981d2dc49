//! `tidemark replay` brings back what a table has lost: each test takes something away from real files, and counts afterwards.

use std::{
    collections::BTreeMap,
    ops::Range,
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};

use async_nats::jetstream;
use serde_json::{Value, json};
use testkit::{NatsServer, publish, until};

use crate::process::{Tidemark, good, text};

mod beside;
mod losses;
mod refusals;

/// Commits at once; merges only by hand.
const SETTINGS: [&str; 3] = ["pipeline.max_idle=20ms", "maintenance.enabled=false", "journal.retention=1h"];
const BATCH: u64 = 30;
const EVENTS: u64 = 4 * BATCH;
/// Of two days, half of them without an `event_id`.
const DAYS: [&str; 2] = ["2026-11-19", "2026-11-20"];

fn event(number: u64) -> Value {
    let (day, second) = (DAYS[usize::try_from(number % 2).unwrap()], number % 60);
    let name = ["view", "buy", "search"][usize::try_from(number % 3).unwrap()];
    let mut event = json!({"event_name": name, "timestamp": format!("{day}T10:{:02}:{second:02}Z", number / 60 % 2),
        "user_id": format!("user-{}", number % 7), "metadata": {"number": number}});
    if number.is_multiple_of(4) {
        event["event_id"] = number.to_string().into();
    }
    event
}

/// 120 events in four commits, all of them once more, two records of quarantine.
struct Story {
    nats: NatsServer,
    tidemark: Tidemark,
    client: reqwest::Client,
}

impl Story {
    async fn tell() -> Self {
        Self::tell_with(&[]).await
    }

    /// With further settings; the process has ended.
    async fn tell_with(more: &[&str]) -> Self {
        let mut story = Self::tell_on(more).await;
        assert!(story.tidemark.terminate().await);
        story
    }

    /// The process still runs.
    async fn tell_on(more: &[&str]) -> Self {
        let nats = NatsServer::start().await;
        let tidemark = Tidemark::start_with_settings(&nats, &[&SETTINGS[..], more].concat()).await;
        let story = Self { nats, tidemark, client: reqwest::Client::new() };
        for batch in 0..4 {
            story.send(batch * BATCH..(batch + 1) * BATCH).await;
            story.tidemark.says("SELECT count(*) FROM events_committed", &((batch + 1) * BATCH).to_string()).await;
        }
        story.send(0..EVENTS).await;
        for rubbish in ["rubbish", r#"{"event_name":7}"#] {
            assert!(publish(&story.nats.url(), "tidemark.0", rubbish.as_bytes().to_vec()).await);
        }
        until("everything to be committed", Duration::from_secs(30), async || (story.verify().1[0] == 2 * EVENTS + 2).then_some(())).await;
        story
    }

    async fn send(&self, numbers: Range<u64>) {
        let body = json!({"events": numbers.map(event).collect::<Vec<_>>()}).to_string();
        assert_eq!(self.tidemark.post(&self.client, "/events/bulk", body).await.0, 202);
    }

    /// Whether everything is as it should be, and the numbers: accepted, rows, duplicates, quarantined, given up.
    fn verify(&self) -> (bool, [u64; 5]) {
        let output = self.tidemark.command(&["verify", "--json"]).output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", text(&output.stderr)));
        let numbers = ["accepted", "rows", "duplicates", "quarantined", "given_up"];
        (output.status.success(), numbers.map(|number| report["shards"][0][number].as_u64().unwrap()))
    }

    /// Everything is there, once.
    fn is_whole(&self) {
        assert_eq!(self.verify(), (true, [2 * EVENTS + 2, EVENTS, EVENTS, 2, 0]));
    }

    /// Waits until a question has this answer; before, a file may be missing.
    async fn says(&self, statement: &str, answer: &str) {
        let ask = || self.tidemark.command(&["sql", "--url", &self.tidemark.url, "--format", "csv", statement]).output().unwrap();
        let is_said = async || (text(&ask().stdout).lines().nth(1) == Some(answer)).then_some(());
        until(&format!("{statement} = {answer}"), Duration::from_secs(30), is_said).await;
    }

    fn command(&self, arguments: &[&str]) -> Command {
        self.tidemark.command(&[&["replay", "--json"], arguments].concat())
    }

    /// What a replay says that ends well.
    fn replay(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&good(&self.command(arguments).output().unwrap())).unwrap()
    }

    /// What a replay says that is refused: its report, and the error.
    fn refused(&self, arguments: &[&str]) -> (Value, String) {
        let Output { status, stdout, stderr } = self.command(arguments).output().unwrap();
        assert_eq!(status.code(), Some(1), "{}", text(&stdout));
        (serde_json::from_slice(&stdout).unwrap_or_default(), text(&stderr))
    }

    /// The files of a table that its log names, by their paths.
    fn files(&self, table: &str) -> BTreeMap<String, Value> {
        let mut files = BTreeMap::new();
        for commit in self.log(table) {
            for action in std::fs::read_to_string(commit).unwrap().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
                if let Some(path) = action["remove"]["path"].as_str() {
                    files.remove(path);
                }
                if let Some(path) = action["add"]["path"].as_str() {
                    files.insert(path.to_owned(), action);
                }
            }
        }
        files
    }

    fn path_of(&self, table: &str, file: &str) -> PathBuf {
        self.tidemark.lake().join(table).join(file)
    }

    /// A file of `events`, by the order of the days and then of the commits.
    fn file(&self, place: usize) -> (String, PathBuf) {
        let name = self.files("events").into_keys().nth(place).unwrap();
        let path = self.path_of("events", &name);
        (name, path)
    }

    /// The commits of a table, oldest first.
    fn log(&self, table: &str) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.tidemark.lake().join(table).join("_delta_log")).unwrap().map(|file| file.unwrap().path());
        let mut commits: Vec<PathBuf> = files.filter(|file| file.extension().is_some_and(|end| end == "json")).collect();
        commits.sort_unstable();
        commits
    }

    /// A commit by hand.
    fn commit(&self, table: &str, actions: &[Value]) {
        let lines: String = actions.iter().map(|action| format!("{action}\n")).collect();
        let next = self.tidemark.lake().join(table).join("_delta_log").join(format!("{:020}.json", self.log(table).len()));
        std::fs::write(next, lines).unwrap();
    }

    /// Merges the files of each day.
    fn compact(&self) {
        good(&self.tidemark.command(&["table", "compact"]).output().unwrap());
        assert_eq!(self.files("events").len(), DAYS.len());
    }

    /// The rows of a table, as its log says.
    fn rows_in_all(&self, table: &str) -> u64 {
        let stats = |add: &Value| serde_json::from_str::<Value>(add["add"]["stats"].as_str().unwrap()).unwrap();
        self.files(table).values().map(|add| stats(add)["numRecords"].as_u64().unwrap()).sum()
    }

    /// The journal forgets what comes before a message.
    async fn forget_before(&self, sequence: u64) {
        let streams = jetstream::new(async_nats::connect(self.nats.url()).await.unwrap());
        streams.get_stream("tidemark-0").await.unwrap().purge().sequence(sequence).await.unwrap();
    }
}

/// What a report says of a table.
fn part<'a>(report: &'a Value, table: &str) -> &'a Value {
    report["tables"].as_array().unwrap().iter().find(|part| part["table"] == table).unwrap()
}

/// Missing, written and replaced: rows, rows and files.
fn numbers(report: &Value, table: &str) -> [u64; 3] {
    ["missing", "rows_written", "files_replaced"].map(|number| part(report, table)[number].as_u64().unwrap())
}
