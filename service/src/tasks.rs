//! Background tasks with names, and the signal that asks them to stop.
//!
//! Every task of a process is spawned through [`Tasks`]: it has a name, its failure or panic is seen at once through
//! [`Tasks::failed`], and [`Tasks::join`] waits for all of them with a deadline. When the last clone of [`Tasks`] is dropped,
//! what still runs is aborted, so nothing is ever detached. Only sources watch [`Stop`]; later stages end with their input.

mod stop;
#[cfg(test)]
mod tests;

use std::{
    any::Any,
    collections::HashMap,
    error::Error,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt;
use tokio::{
    sync::watch,
    task::{Id, JoinSet},
    time::timeout,
};

pub use self::stop::{Stop, StopHandle};

type BoxError = Box<dyn Error + Send + Sync>;

/// The tasks of a process. Clones share them.
#[derive(Clone, Debug)]
pub struct Tasks {
    running: Arc<Mutex<Running>>,
    failure: Arc<watch::Sender<Option<Failure>>>,
}

#[derive(Debug, Default)]
struct Running {
    tasks: JoinSet<()>,
    names: HashMap<Id, String>,
}

/// A task ended with an error or a panic.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the task `{task}` failed")]
pub struct Failure {
    /// The task's name.
    pub task: String,
    /// Its error; for a panic, its message.
    pub source: Arc<dyn Error + Send + Sync>,
}

/// Why tasks did not end well.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The first task that failed.
    #[error(transparent)]
    Failed(Failure),
    /// These tasks still ran at the deadline and were aborted.
    #[error("these tasks did not end within {deadline:?} and were aborted: {}", tasks.join(", "))]
    Unfinished {
        /// How long they were given.
        deadline: Duration,
        /// Their names.
        tasks: Vec<String>,
    },
}

impl Default for Tasks {
    fn default() -> Self {
        Self { running: Arc::default(), failure: Arc::new(watch::Sender::new(None)) }
    }
}

impl Tasks {
    /// No tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task. Its first error, or its panic, becomes the failure that [`Tasks::failed`] tells.
    pub fn spawn<F, E>(&self, name: impl Into<String>, task: F)
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxError>,
    {
        let name = name.into();
        let failure = Arc::clone(&self.failure);
        let mut running = self.running();
        running.forget_ended();
        let task_name = name.clone();
        let handle = running.tasks.spawn(async move {
            if let Err(error) = outcome(task).await {
                report(&failure, Failure { task: task_name, source: Arc::from(error) });
            }
        });
        running.names.insert(handle.id(), name);
    }

    /// Waits for the first failure of any task; for ever when none fails.
    pub async fn failed(&self) -> Failure {
        let mut failures = self.failure.subscribe();
        let failure = failures.wait_for(Option::is_some).await.expect("self keeps the sender alive");
        failure.clone().expect("waited for a failure")
    }

    /// Waits until every task has ended; those that still run at the deadline are aborted.
    ///
    /// # Errors
    /// When a task failed at any time, or did not end in time.
    pub async fn join(self, deadline: Duration) -> Result<(), JoinError> {
        let Running { mut tasks, mut names } = std::mem::take(&mut *self.running());
        let all_ended = async {
            while let Some(ended) = tasks.join_next_with_id().await {
                names.remove(&id_of(&ended));
            }
        };
        let in_time = timeout(deadline, all_ended).await.is_ok();
        if let Some(failure) = self.failure.borrow().clone() {
            return Err(JoinError::Failed(failure));
        }
        let mut unfinished: Vec<_> = names.into_values().collect();
        unfinished.sort();
        if in_time { Ok(()) } else { Err(JoinError::Unfinished { deadline, tasks: unfinished }) }
    }

    /// A poisoned lock is still good: no code under it leaves the registry half changed.
    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn forget_ended(&mut self) {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.names.remove(&id_of(&ended));
        }
    }
}

fn id_of(ended: &Result<(Id, ()), tokio::task::JoinError>) -> Id {
    match ended {
        Ok((id, ())) => *id,
        Err(error) => error.id(),
    }
}

/// Runs the task to its end and makes a panic an error.
async fn outcome<F, E>(task: F) -> Result<(), BoxError>
where
    F: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    match AssertUnwindSafe(task).catch_unwind().await {
        Ok(result) => result.map_err(Into::into),
        Err(panic) => Err(format!("panicked: {}", panic_message(panic.as_ref())).into()),
    }
}

/// The first failure counts; those that follow from it are only logged.
fn report(first: &watch::Sender<Option<Failure>>, failure: Failure) {
    let is_first = first.send_if_modified(|slot| {
        let is_empty = slot.is_none();
        slot.get_or_insert_with(|| failure.clone());
        is_empty
    });
    if !is_first {
        tracing::error!(task = failure.task, error = %failure.source, "another task failed");
    }
}

/// What a panic said.
pub(crate) fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&'static str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}
