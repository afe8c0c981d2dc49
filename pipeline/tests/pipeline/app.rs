//! A running ingest and, on demand, writers on one journal and one table; what is in the table is read from its Parquet files.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use arrow::{
    array::{Array, AsArray, RecordBatch},
    datatypes::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use journal::{Journal, Memory};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pipeline::{connect::JournalConfig, ingest, writer};
use schemas::{IdentityRule, ShardId, tables};
use serde_json::Value;
use service::{
    clock::Clock,
    health::Health,
    http,
    settings::{Settings, Sources},
    tasks::{Stop, StopHandle, Tasks},
};
use table::{Snapshot, Store, Table};
use tempfile::TempDir;

/// A row of `events`, as far as tests ask.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) key: (i32, i64, i32),
    pub(crate) timestamp: i64,
    pub(crate) event_name: String,
    pub(crate) event_id: Option<String>,
    pub(crate) metadata: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) date: String,
}

/// What came back from a request.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

pub(crate) struct App {
    pub(crate) journal: Arc<Memory>,
    pub(crate) url: String,
    pub(crate) client: reqwest::Client,
    settings: Settings,
    store: Store,
    folder: TempDir,
    _stop: StopHandle,
    _tasks: Tasks,
}

/// A running writer; it ends when it is told to, or is left behind as if it were killed.
pub(crate) struct RunningWriter {
    pub(crate) tails: writer::Board,
    health: Health,
    tasks: Tasks,
    stop: StopHandle,
}

impl RunningWriter {
    /// What `/readyz` answers.
    pub(crate) async fn readiness(&self) -> Value {
        let request = axum::http::Request::get("/readyz").body(axum::body::Body::empty()).unwrap();
        let answer = tower::ServiceExt::oneshot(self.health.router(), request).await.unwrap();
        serde_json::from_slice(&axum::body::to_bytes(answer.into_body(), usize::MAX).await.unwrap()).unwrap()
    }

    /// Waits until it gives up, and tells why.
    pub(crate) async fn failure(self) -> String {
        let failure = tokio::time::timeout(Duration::from_secs(10), self.tasks.failed()).await.expect("the writer gives up");
        failure.source.to_string()
    }

    pub(crate) async fn stop(self) {
        self.stop.stop();
        self.tasks.join(Duration::from_secs(10)).await.expect("a writer ends when it is told to");
    }
}

impl App {
    pub(crate) async fn start() -> Self {
        Self::with(Memory::new(1, || Clock::system().now()), &[]).await
    }

    /// An ingest with these settings on this journal.
    pub(crate) async fn with(journal: Memory, set: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let lake = folder.path().join("lake").display().to_string();
        let flags = set.iter().copied().chain([("table.url", lake.as_str())]).map(|(key, value)| (key.to_owned(), value.to_owned()));
        let settings = Settings::load(Sources { flags: flags.collect(), ..Sources::default() }).unwrap();
        let store = Store::open(&settings.section("table").unwrap()).await.unwrap();
        let journal = Arc::new(journal);
        let (stop_handle, stop) = Stop::pair();
        let tasks = Tasks::new();
        let parts = ingest::Parts {
            journal: Arc::clone(&journal) as Arc<dyn Journal>,
            identity: IdentityRule::default(),
            clock: Clock::system(),
            health: Health::new(),
        };
        let ingest = ingest::Ingest::build(&settings.section("ingest").unwrap(), parts);
        let listener = http::bind("127.0.0.1:0", "ingest.listen").await.unwrap();
        let url = format!("http://{}", listener.address());
        let router = http::layers(ingest.router(), None, None);
        tasks.spawn("http", http::serve(listener, router, stop.clone(), settings.section("http").unwrap()));
        ingest.start(&tasks, &stop);
        Self { journal, url, client: reqwest::Client::new(), settings, store, folder, _stop: stop_handle, _tasks: tasks }
    }

    /// The same table with another journal.
    pub(crate) fn replace_journal(&mut self, journal: Memory) {
        self.journal = Arc::new(journal);
    }

    pub(crate) async fn writer(&self) -> RunningWriter {
        self.writer_on(Arc::clone(&self.journal) as Arc<dyn Journal>).await
    }

    /// A writer that reads the journal through another one.
    pub(crate) async fn writer_on(&self, journal: Arc<dyn Journal>) -> RunningWriter {
        let JournalConfig { retention, on_gap, .. } = self.settings.section("journal").unwrap();
        let health = Health::new();
        let parts = writer::Parts {
            journal,
            store: self.store.clone(),
            dedup: self.settings.section("dedup").unwrap(),
            retention: retention.0,
            on_gap,
            keep: Duration::from_secs(3600),
            clock: Clock::system(),
            health: health.clone(),
        };
        let writer = writer::Writer::build(&self.settings.section("pipeline").unwrap(), parts).await.unwrap();
        let (stop_handle, stop) = Stop::pair();
        let (tasks, tails) = (Tasks::new(), writer.tails());
        writer.start(&tasks, &stop);
        RunningWriter { tails, health, tasks, stop: stop_handle }
    }

    /// An ingest with these settings on a journal of one shard.
    pub(crate) async fn with_settings(set: &[(&str, &str)]) -> Self {
        Self::with(Memory::new(1, || Clock::system().now()), set).await
    }

    /// Posts a body with these headers and gives the whole answer.
    pub(crate) async fn send(&self, route: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
        let request = self.client.post(format!("{}{route}", self.url)).body(body);
        let answer = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        Answer { status, headers, body: serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null) }
    }

    /// Posts a JSON body and gives status and answer.
    pub(crate) async fn post(&self, route: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let request = self.client.post(format!("{}{route}", self.url)).header("content-type", "application/json").body(body);
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null))
    }

    pub(crate) async fn snapshot(&self, name: &str) -> Snapshot {
        let schema = if name == "events" { tables::events() } else { tables::quarantine() };
        Table::open_or_create(&self.store, name, schema).await.unwrap().snapshot().await.unwrap()
    }

    /// Waits until everything in the journal is committed.
    pub(crate) async fn drained(&self) {
        for shard in (0..self.journal.shards()).map(ShardId) {
            let last = self.journal.bounds(shard).await.unwrap().last;
            let committed = async || (self.snapshot("events").await.tidemark(shard) >= last).then_some(());
            testkit::until("the writer to drain the journal", Duration::from_secs(20), committed).await;
        }
    }

    /// (sequence, code, message) of each row of `quarantine`.
    pub(crate) async fn quarantined(&self) -> Vec<(i64, String, String)> {
        let mut records = Vec::new();
        for (_, batch) in self.batches("quarantine").await {
            let sequences = batch.column_by_name("_sequence").unwrap().as_primitive::<Int64Type>().values().to_vec();
            let text = |name: &str, row: usize| batch.column_by_name(name).unwrap().as_string::<i32>().value(row).to_owned();
            records.extend((0..batch.num_rows()).map(|row| (sequences[row], text("code", row), text("message", row))));
        }
        records.sort();
        records
    }

    /// Every row of `events`; panics when a natural key stands twice or a row lies in another day's partition (I3, I4).
    pub(crate) async fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (date, batch) in self.batches("events").await {
            rows.extend((0..batch.num_rows()).map(|index| row(&batch, index, &date)));
        }
        rows.sort();
        let keys: BTreeSet<_> = rows.iter().map(|row| row.key).collect();
        assert_eq!(keys.len(), rows.len(), "a natural key stands twice");
        for row in &rows {
            assert_eq!(schemas::EventDate::of(schemas::Timestamp(row.timestamp)).to_string(), row.date, "{row:?}");
        }
        rows
    }

    /// The batches of a table with the date of their partition.
    pub(crate) async fn batches(&self, name: &str) -> Vec<(String, RecordBatch)> {
        let files = self.snapshot(name).await;
        let read = |path: &str| ParquetRecordBatchReaderBuilder::try_new(open(self.folder.path(), path)).unwrap().build().unwrap();
        let of_file = |file: &table::DataFile| read(&file.path).map(|batch| (file.date.to_string(), batch.unwrap())).collect::<Vec<_>>();
        files.files().iter().flat_map(of_file).collect()
    }
}

fn open(folder: &Path, path: &str) -> std::fs::File {
    std::fs::File::open(folder.join("lake").join(path)).unwrap()
}

fn row(batch: &RecordBatch, index: usize, date: &str) -> Row {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let text = |name: &str| column(name).is_valid(index).then(|| column(name).as_string::<i32>().value(index).to_owned());
    let tags = column("tags").as_list::<i32>().value(index);
    Row {
        key: (
            column("_shard").as_primitive::<Int32Type>().value(index),
            column("_sequence").as_primitive::<Int64Type>().value(index),
            column("_index").as_primitive::<Int32Type>().value(index),
        ),
        timestamp: column("timestamp").as_primitive::<TimestampMicrosecondType>().value(index),
        event_name: text("event_name").unwrap(),
        event_id: text("event_id"),
        metadata: text("metadata"),
        tags: tags.as_string::<i32>().iter().flatten().map(str::to_owned).collect(),
        date: date.to_owned(),
    }
}
