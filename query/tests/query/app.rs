//! The role in a temporary folder, on a free port.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use chrono::DateTime;
use datafusion::arrow::array::RecordBatch;
use query::{Config, Parts, Query};
use reqwest::{RequestBuilder, Response};
use schemas::{EventDate, IdentityRule, Sequence, ShardId, tables};
use serde_json::{Value, json};
use service::{
    clock::Clock,
    health::Health,
    http::{self, Limits},
    settings::Settings,
    tasks::{Stop, StopHandle, Tasks},
};
use table::{NewCommit, Picked, Store, Table, TailUnavailable, TailView, Tails};
use tempfile::TempDir;

use crate::{
    rows::{self, NOW, Row},
    watched::{Watch, Watched},
};

/// How long an answer may take in a test.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running role. Dropping it ends the server and removes the folder.
pub(crate) struct TestApp {
    pub(crate) events: Table,
    pub(crate) quarantine: Table,
    /// What is read from the store, and whether it is down.
    pub(crate) watch: Watch,
    folder: TempDir,
    base: String,
    client: reqwest::Client,
    tasks: Tasks,
    stop: StopHandle,
}

/// What every test may change before the start.
pub(crate) fn config() -> Config {
    let settings = Settings::load(service::settings::Sources::default()).unwrap();
    Config { threads: 2, ..settings.section("query").unwrap() }
}

impl TestApp {
    /// The role over no rows.
    pub(crate) async fn empty(config: Config) -> Self {
        Self::start(TempDir::new().unwrap(), config, None).await
    }

    /// The role over no committed rows, and a tail.
    pub(crate) async fn with_tail(config: Config, tail: TailView) -> Self {
        Self::start(TempDir::new().unwrap(), config, Some(Arc::new(FixedTail(tail)))).await
    }

    /// The role over no rows yet, and these rows above `tidemark`.
    pub(crate) async fn above(config: Config, tidemark: u64, rows: &[Row]) -> Self {
        let (tidemark, head) = (Sequence(tidemark), Sequence(rows.iter().map(|row| row.sequence.unsigned_abs()).max().unwrap()));
        let events = rows::batches(rows).into_values().collect();
        Self::with_tail(config, TailView { tidemark, head, events, ..TailView::empty(ShardId(0), 1, tidemark) }).await
    }

    /// The same tables in a new process, as far as a process remembers anything.
    pub(crate) async fn restarted(self, config: Config) -> Self {
        self.stop.stop();
        self.tasks.join(PATIENCE).await.unwrap();
        Self::start(self.folder, config, None).await
    }

    async fn start(folder: TempDir, config: Config, tails: Option<Arc<dyn Tails>>) -> Self {
        let url = folder.path().to_str().unwrap();
        let table: table::Config = serde_json::from_value(json!({"url": url, "s3": {"endpoint": "", "region": "", "access_key_id": "", "secret_access_key": "", "allow_http": false, "create_bucket": false}})).unwrap();
        let watch = Watch::default();
        let store = Store::open(&table).await.unwrap().decorated(|inner| Arc::new(Watched { inner, watch: watch.clone() }));
        let events = Table::open_or_create(&store, "events", tables::events()).await.unwrap();
        let quarantine = Table::open_or_create(&store, "quarantine", tables::quarantine()).await.unwrap();
        let now = DateTime::parse_from_rfc3339(NOW).unwrap().to_utc();
        let health = Health::new();
        let parts = Parts { store, tails, identity: IdentityRule::default(), clock: Clock::manual(now), health: health.clone() };
        let query = query::build(&config, parts).await.unwrap();
        let (base, tasks, stop) = Self::serve(query, &health).await;
        let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { events, quarantine, watch, folder, base, client, tasks, stop }
    }

    /// The role over three commits of seeded rows, and these rows.
    pub(crate) async fn seeded() -> (Self, Vec<Row>) {
        Self::seeded_with(config()).await
    }

    pub(crate) async fn seeded_with(config: Config) -> (Self, Vec<Row>) {
        let app = Self::empty(config).await;
        let mut all = Vec::new();
        for (seed, sequence) in [(1, 1), (2, 101), (3, 201)] {
            let rows = rows::seeded(seed, sequence);
            app.commit(&rows, u64::try_from(sequence).unwrap() + 99).await;
            all.extend(rows);
        }
        (app, all)
    }

    async fn serve(query: Query, health: &Health) -> (String, Tasks, StopHandle) {
        let listener = http::bind("127.0.0.1:0", "query.listen").await.unwrap();
        let base = format!("http://{}", listener.address());
        let (stop, signal) = Stop::pair();
        let tasks = Tasks::new();
        let settings = Settings::load(service::settings::Sources::default()).unwrap();
        let limits: Limits = settings.section("http").unwrap();
        tasks.spawn("http", http::serve(listener, http::layers(query.router().merge(health.router()), None, None), signal.clone(), limits));
        query.start(&tasks, &signal);
        (base, tasks, stop)
    }

    /// Commits rows of shard 0 up to `tidemark`: a file for each day.
    pub(crate) async fn commit(&self, rows: &[Row], tidemark: u64) {
        commit(&self.events, rows::batches(rows), tidemark).await;
    }

    /// Where the tables lie.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// A GET with parameters that need no escaping by the caller.
    pub(crate) fn get(&self, path: &str, parameters: &[(&str, &str)]) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base)).query(parameters)
    }

    /// The JSON of a GET that must succeed.
    pub(crate) async fn json(&self, path: &str, parameters: &[(&str, &str)]) -> Value {
        let response = self.get(path, parameters).send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 200, "{path} {parameters:?}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The status and the problem of a GET that must fail.
    pub(crate) async fn problem(&self, path: &str, parameters: &[(&str, &str)]) -> (u16, Value) {
        problem_of(self.get(path, parameters).send().await.unwrap()).await
    }

    /// A statement, as text in a body.
    pub(crate) fn post(&self, url: &str, sql: &str) -> RequestBuilder {
        self.client.post(format!("{}{url}", self.base)).body(sql.to_owned())
    }

    /// A DELETE.
    pub(crate) fn delete(&self, path: &str) -> RequestBuilder {
        self.client.delete(format!("{}{path}", self.base))
    }

    /// The rows of a statement that must succeed.
    pub(crate) async fn sql(&self, sql: &str) -> Vec<Value> {
        let response = self.post("/sql?format=json", sql).send().await.unwrap();
        let (status, text) = (response.status(), response.text().await.unwrap());
        assert_eq!(status, 200, "{sql}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// The status and the problem of a statement that must fail.
    pub(crate) async fn sql_problem(&self, sql: &str) -> (u16, Value) {
        problem_of(self.post("/sql", sql).send().await.unwrap()).await
    }

    /// Ends the server and waits until everything has ended.
    pub(crate) async fn end(self) {
        self.stop.stop();
        self.tasks.join(PATIENCE).await.unwrap();
    }
}

/// A pipeline that has read everything and tells one tail for ever.
struct FixedTail(TailView);

#[async_trait]
impl Tails for FixedTail {
    async fn views(&self) -> Result<Vec<TailView>, TailUnavailable> {
        Ok(vec![self.0.clone()])
    }

    async fn reached(&self, _shard: ShardId, _at_least: Sequence) {}
}

/// Commits rows of shard 0 up to `tidemark`: a file for each batch, which has the rows of one day.
pub(crate) async fn commit(table: &Table, batches: impl IntoIterator<Item = (i32, RecordBatch)>, tidemark: u64) {
    let mut files = Vec::new();
    for (day, batch) in batches {
        files.push(table.write(EventDate(day), &Picked::all(&[batch])).await.unwrap());
    }
    let base = table.snapshot().await.unwrap();
    table.commit(&base, NewCommit { shard: ShardId(0), files, tidemark: Sequence(tidemark), origin: None }).await.unwrap();
}

pub(crate) async fn problem_of(response: Response) -> (u16, Value) {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let status = response.status().as_u16();
    let problem: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(problem["status"], status);
    assert!(problem["request_id"].is_string() && problem["code"].is_string() && problem["error"] == problem["detail"], "{problem}");
    (status, problem)
}
