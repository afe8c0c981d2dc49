//! Where queries run: threads and memory of their own.
//!
//! Runtimes apart from the one that serves HTTP, so that a heavy query never slows the door: one for metrics and one for SQL, so that
//! a join that computes for seconds between two waits never holds up a metric. One memory pool that all queries share, of which SQL
//! leaves a part to metrics; a deadline that ends a query with everything it started. A client that goes away ends its query, too.

use std::{future::Future, sync::Arc, thread::available_parallelism, time::Duration};

use datafusion::{
    execution::{
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::{GreedyMemoryPool, MemoryPool},
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    object_store::ObjectStore,
};
use thread_priority::ThreadPriority;
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, timeout_at},
};
use tokio_util::task::AbortOnDropHandle;

use self::memory::Part;
use crate::{Config, Error, cancel::Cancel, provider::store_url};

mod memory;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The stack of a query's thread, in address space; memory is taken only for what is used. A plan of the greatest depth that
/// [`crate::sql`] lets through fits into a quarter of it.
const STACK_BYTES: usize = 8 << 20;
/// The syntax tree of a refused statement can be half as deep as its text is long, and is dropped recursively.
const STACK_BYTES_PER_SQL_BYTE: usize = 128;

/// SQL takes at most so much of the memory of all queries; the rest is always there for metrics.
const SHARE_OF_SQL: (usize, usize) = (3, 4);

/// Whose threads a query runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Questions of our own making, which are short.
    Metrics,
    /// Whatever somebody writes.
    Sql,
}

/// SQL gets what the threads that serve the door, write the table and count metrics leave of the processor.
fn yield_to_others() {
    let outcome = thread_priority::set_current_thread_priority(ThreadPriority::Min);
    outcome.unwrap_or_else(|error| tracing::warn!(?error, "SQL runs with the priority of everything else"));
}

struct Lanes {
    metrics: Runtime,
    sql: Runtime,
}

impl Lanes {
    fn start(threads: usize, stack_bytes: usize) -> std::io::Result<Self> {
        let lane = |name: &str, on_start: fn()| {
            let mut lane = Builder::new_multi_thread();
            lane.worker_threads(threads).thread_name(name).thread_stack_size(stack_bytes).on_thread_start(on_start);
            lane.enable_all().build()
        };
        Ok(Self { metrics: lane("metrics", || {})?, sql: lane("sql", yield_to_others)? })
    }

    const fn of(&self, lane: Lane) -> &Runtime {
        match lane {
            Lane::Metrics => &self.metrics,
            Lane::Sql => &self.sql,
        }
    }
}

/// The threads and the memory of all queries.
pub(crate) struct Engine {
    /// `None` only while it is dropped.
    lanes: Option<Lanes>,
    environment: Arc<RuntimeEnv>,
    memory: Arc<dyn MemoryPool>,
    threads: usize,
    timeout: Duration,
}

impl Engine {
    /// Starts the threads.
    pub(crate) fn start(config: &Config, store: Arc<dyn ObjectStore>) -> Result<Self, BoxError> {
        let threads = match config.threads {
            0 => available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        let stack_bytes = STACK_BYTES.max(config.max_sql.as_usize().saturating_mul(STACK_BYTES_PER_SQL_BYTE));
        let lanes = Lanes::start(threads, stack_bytes)?;
        let memory: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(config.memory.as_usize()));
        let memory_of_sql = Part::of(&memory, config.memory.as_usize() / SHARE_OF_SQL.1 * SHARE_OF_SQL.0);
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(memory_of_sql))
            .with_metadata_cache_limit(config.footers.as_usize())
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()?;
        environment.register_object_store(store_url().as_ref(), store);
        Ok(Self { lanes: Some(lanes), environment, memory, threads, timeout: config.timeout.0 })
    }

    /// What DataFusion needs to know of the memory and the store.
    pub(crate) fn environment(&self) -> Arc<RuntimeEnv> {
        Arc::clone(&self.environment)
    }

    /// The memory that all queries of a lane share.
    pub(crate) fn memory(&self, lane: Lane) -> &Arc<dyn MemoryPool> {
        match lane {
            Lane::Metrics => &self.memory,
            Lane::Sql => &self.environment.memory_pool,
        }
    }

    /// On how many threads a query runs.
    pub(crate) const fn threads(&self) -> usize {
        self.threads
    }

    /// The longest that a query may run; a client may ask for less.
    pub(crate) fn timeout(&self, asked: Option<Duration>) -> Duration {
        asked.map_or(self.timeout, |asked| asked.min(self.timeout))
    }

    /// Starts work on the queries' threads. Dropping the task before it has ended aborts it, and cancels what does not wait.
    pub(crate) fn spawn<T: Send + 'static>(&self, lane: Lane, cancel: Cancel, work: impl Future<Output = T> + Send + 'static) -> Task<T> {
        let lanes = self.lanes.as_ref().expect("the lanes are there until the engine is dropped");
        Task { handle: AbortOnDropHandle::new(lanes.of(lane).spawn(work)), cancel }
    }

    /// Runs work on the queries' threads to its end, or ends it after `limit`.
    ///
    /// # Errors
    /// Those of the work; [`Error::TimedOut`]; [`Error::Cancelled`].
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        lane: Lane,
        limit: Duration,
        cancel: Cancel,
        work: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let deadline = Deadline::after(limit, cancel.clone());
        let mut task = self.spawn(lane, cancel, work);
        deadline.keep(&mut task.handle).await?.map_err(Error::Panicked)?
    }
}

/// When a query must have ended: at an instant, or when it is cancelled.
#[derive(Clone, Debug)]
pub(crate) struct Deadline {
    at: Instant,
    limit: Duration,
    cancel: Cancel,
}

impl Deadline {
    /// `limit` from now, or when it is cancelled.
    pub(crate) fn after(limit: Duration, cancel: Cancel) -> Self {
        Self { at: Instant::now() + limit, limit, cancel }
    }

    /// Waits for work, but not beyond the deadline.
    pub(crate) async fn keep<T>(&self, work: impl Future<Output = T>) -> Result<T, Error> {
        tokio::select! {
            biased;
            () = self.cancel.given() => Err(Error::Cancelled),
            ended = timeout_at(self.at, work) => ended.map_err(|_elapsed| Error::TimedOut { after: self.limit }),
        }
    }
}

/// Work that runs on the queries' threads.
pub(crate) struct Task<T> {
    handle: AbortOnDropHandle<T>,
    cancel: Cancel,
}

impl<T> Task<T> {
    /// Waits for its end.
    ///
    /// # Errors
    /// When it panicked.
    pub(crate) async fn ended(mut self) -> Result<T, Error> {
        (&mut self.handle).await.map_err(Error::Panicked)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        if !self.handle.is_finished() {
            self.cancel.give();
        }
    }
}

/// A runtime may not be dropped on a thread of another one: that would wait there for its threads.
impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(Lanes { metrics, sql }) = self.lanes.take() {
            metrics.shutdown_background();
            sql.shutdown_background();
        }
    }
}
