//! Questions to the tables: business metrics, site statistics and SQL.
//!
//! In the order in which a question meets them: [`params`] and the questions of [`metrics`], [`stats`] and [`sql`] read what is
//! asked -> [`cut`] pins one consistent set of rows -> [`session`] and [`provider`] show it to DataFusion -> [`engine`] runs the
//! plan on threads and memory of its own -> the answer goes back with what [`reply`] tells about the cut, or as an [`error`].
//!
//! [`build`] opens the tables; [`Query::router`] has the public routes; [`Query::start`] keeps the readiness true.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{Router, extract::DefaultBodyLimit};
use schemas::{IdentityRule, Position, Timestamp};
use serde::Deserialize;
use service::{
    clock::Clock,
    health::{Check, Health},
    http::Access,
    keys::Scope,
    openapi::{Api, Description},
    settings::{Address, ByteSize, Interval, Secret},
    tasks::{Stop, Tasks},
    telemetry,
};
use table::{Store, Tails};
use tokio::time::{Instant, timeout};

mod bounded;
mod buckets;
mod bytes;
mod cancel;
mod constants;
mod cut;
mod early;
mod engine;
mod error;
mod event_id;
mod footers;
mod gathered;
mod measures;
mod metrics;
mod openapi;
mod params;
mod pipelines;
mod provider;
mod pruning;
mod reply;
mod session;
mod sql;
mod statements;
mod stats;
mod suggest;
mod watch;
mod widths;

pub use params::parse_instant;
pub use pipelines::Pipelines;

use crate::{
    cut::{Cut, Lake, PinError},
    engine::{Engine, Lane},
    error::Error,
    metrics::FileTallies,
    session::Sessions,
    statements::Statements,
};

/// How often the tables are looked at when nobody asks.
const WATCH_INTERVAL: Duration = Duration::from_secs(5);
/// What part of a question's time is kept for computing once the rows are there.
const RESERVED_FOR_COMPUTING: u32 = 10;

/// Section `[query]`.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Public address of the binary `query`.
    pub listen: Address,
    /// Internal address of the binary `query`.
    pub admin_listen: Address,
    /// Internal addresses of the pipelines, for the binary `query`.
    pub pipelines: Vec<String>,
    /// What their internal ports ask for.
    pub pipeline_key: Secret,
    /// The memory that all running queries share; a quarter of it is never SQL's.
    pub memory: ByteSize,
    /// The memory in which counts of files and of days that are over are kept for the next question of `/metrics`.
    pub cache: ByteSize,
    /// The memory for the footers of files that were read already.
    pub footers: ByteSize,
    /// The longest that one query may run.
    pub timeout: Interval,
    /// Most rows or groups of an answer that is not a stream.
    pub max_rows: usize,
    /// Longest statement.
    pub max_sql: ByteSize,
    /// Most SQL queries at the same time.
    pub max_queries: usize,
    /// Threads that run SQL, and as many for metrics; 0 = one for each core.
    pub threads: usize,
}

/// Why questions cannot be answered at all.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The tables cannot be opened.
    #[error("the tables cannot be opened")]
    Tables(#[from] table::Error),
    /// The query engine cannot be started.
    #[error("the query engine cannot be started")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What the role needs from the process it lives in.
pub struct Parts {
    /// Where the tables lie.
    pub store: Store,
    /// Who tells what is not committed yet; without, answers are never fresh.
    pub tails: Option<Arc<dyn Tails>>,
    /// What makes two events the same; ids are computed from it.
    pub identity: IdentityRule,
    /// Today, and the last 24 hours.
    pub clock: Clock,
    /// Gets the check `table`.
    pub health: Health,
}

/// Answers questions. Clones share everything.
#[derive(Clone)]
pub struct Query(Arc<Shared>);

struct Shared {
    lake: Lake,
    tallies: Arc<FileTallies>,
    sessions: Sessions,
    engine: Engine,
    statements: Arc<Statements>,
    clock: Clock,
    tables: Check,
    max_rows: usize,
    max_sql_bytes: usize,
}

/// Opens the tables (creates them when nobody has yet) and starts the threads of the queries.
///
/// # Errors
/// When the store or the tables cannot be used.
pub async fn build(config: &Config, parts: Parts) -> Result<Query, BuildError> {
    telemetry::describe(&measures::METRICS);
    let tables = parts.health.check("table");
    let lake = Lake::open(&parts.store, parts.tails).await?;
    let engine = Engine::start(config, parts.store.object_store()).map_err(BuildError::Engine)?;
    let sessions = Sessions::new(&engine, parts.identity).map_err(|error| BuildError::Engine(error.into()))?;
    let tallies = Arc::new(FileTallies::new(lake.events().clone(), config.cache.0, Arc::clone(engine.memory(Lane::Metrics))));
    tables.up();
    let (max_rows, max_sql_bytes) = (config.max_rows, config.max_sql.as_usize());
    let statements = Statements::new(config.max_queries);
    Ok(Query(Arc::new(Shared { lake, tallies, sessions, engine, statements, clock: parts.clock, tables, max_rows, max_sql_bytes })))
}

/// The routes, each with what clients are told about it.
fn api() -> Api<Query> {
    Api::new("questions", Access::Needs(Scope::Query), "Metrics, statistics and SQL over every acknowledged event.")
        .get("/metrics", metrics::get, openapi::metrics)
        .get("/stats", stats::get, openapi::stats)
        .post("/sql", sql::post, openapi::post_sql)
        .get("/sql", sql::get, openapi::get_sql)
        .delete("/sql/{query_id}", sql::cancel, openapi::cancel_sql)
}

impl Query {
    /// `GET /metrics`, `GET /stats`, `POST /sql`, `GET /sql` and `DELETE /sql/{query_id}`.
    pub fn router(&self) -> Router {
        let body = DefaultBodyLimit::max(self.max_sql_bytes() + sql::MAX_PARAMETERS_BYTES);
        let (routes, _) = api().finish();
        routes.layer(body).with_state(self.clone())
    }

    /// What clients are told about the routes.
    #[must_use]
    pub fn description() -> Description {
        api().finish().1
    }

    /// Starts the task that looks at the tables every few seconds, so that the readiness is true also when nobody asks.
    pub fn start(&self, tasks: &Tasks, stop: &Stop) {
        tasks.spawn("query tables", self.clone().watch(stop.clone()));
    }

    async fn watch(self, stop: Stop) -> Result<(), Infallible> {
        while timeout(WATCH_INTERVAL, stop.requested()).await.is_err() {
            // The outcome is in the readiness, and in the log when it changes.
            let _ = self.pin_at_least(&[]).await;
        }
        Ok(())
    }

    /// The newest cut that covers `positions`.
    async fn pin_at_least(&self, positions: &[Position]) -> Result<Cut, PinError> {
        let patience = self.0.engine.timeout(None);
        let pinned = self.0.lake.pin_at_least(positions, Instant::now() + patience - patience / RESERVED_FOR_COMPUTING).await;
        match &pinned {
            Err(PinError::Table(_)) => self.0.tables.down("the tables cannot be read; look at the log, the disk and `table.url`"),
            Ok(_) | Err(PinError::NotVisible { .. }) => self.0.tables.up(),
        }
        pinned
    }

    fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    fn tallies(&self) -> &Arc<FileTallies> {
        &self.0.tallies
    }

    fn engine(&self) -> &Engine {
        &self.0.engine
    }

    fn statements(&self) -> &Arc<Statements> {
        &self.0.statements
    }

    fn now(&self) -> Timestamp {
        Timestamp(self.0.clock.now().timestamp_micros())
    }

    fn max_rows(&self) -> usize {
        self.0.max_rows
    }

    fn max_sql_bytes(&self) -> usize {
        self.0.max_sql_bytes
    }
}
