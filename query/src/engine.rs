//! Where queries run: threads and memory of their own.
//!
//! A runtime apart from the one that serves HTTP, so that a heavy query never slows the door; one memory pool that all queries
//! share; a deadline that aborts a query with everything it started. A client that goes away aborts its query, too.

use std::{future::Future, sync::Arc, thread::available_parallelism, time::Duration};

use datafusion::{
    execution::{
        disk_manager::{DiskManagerBuilder, DiskManagerMode},
        memory_pool::{GreedyMemoryPool, MemoryPool},
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    object_store::ObjectStore,
};
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};
use tokio_util::task::AbortOnDropHandle;

use crate::{Config, Error, provider::store_url};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The threads and the memory of all queries.
pub(crate) struct Engine {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    environment: Arc<RuntimeEnv>,
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
        let runtime = Builder::new_multi_thread().worker_threads(threads).thread_name("query").enable_all().build()?;
        let environment = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(GreedyMemoryPool::new(config.memory.as_usize())))
            .with_disk_manager_builder(DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled))
            .build_arc()?;
        environment.register_object_store(store_url().as_ref(), store);
        Ok(Self { runtime: Some(runtime), environment, threads, timeout: config.timeout.0 })
    }

    /// What DataFusion needs to know of the memory and the store.
    pub(crate) fn environment(&self) -> Arc<RuntimeEnv> {
        Arc::clone(&self.environment)
    }

    /// The memory that all queries share.
    pub(crate) fn memory(&self) -> &Arc<dyn MemoryPool> {
        &self.environment.memory_pool
    }

    /// On how many threads a query runs.
    pub(crate) const fn threads(&self) -> usize {
        self.threads
    }

    /// The longest that a query may run; a client may ask for less.
    pub(crate) fn timeout(&self, asked: Option<Duration>) -> Duration {
        asked.map_or(self.timeout, |asked| asked.min(self.timeout))
    }

    /// Starts work on the queries' threads; dropping the handle aborts it.
    pub(crate) fn spawn<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> AbortOnDropHandle<T> {
        let runtime = self.runtime.as_ref().expect("the runtime is there until the engine is dropped");
        AbortOnDropHandle::new(runtime.spawn(work))
    }

    /// Runs work on the queries' threads to its end, or aborts it after `limit`.
    ///
    /// # Errors
    /// Those of the work; [`Error::TimedOut`].
    pub(crate) async fn run<T: Send + 'static>(&self, limit: Duration, work: impl Future<Output = Result<T, Error>> + Send + 'static) -> Result<T, Error> {
        match timeout(limit, self.spawn(work)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(panicked)) => Err(Error::Panicked(panicked)),
            Err(_elapsed) => Err(Error::TimedOut { after: limit }),
        }
    }

    /// How many tasks of queries are alive.
    #[cfg(test)]
    pub(crate) fn alive_tasks(&self) -> usize {
        self.runtime.as_ref().map_or(0, |runtime| runtime.metrics().num_alive_tasks())
    }
}

/// A runtime may not be dropped on a thread of another one: that would wait there for its threads.
impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
