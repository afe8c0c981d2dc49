//! Turns: of questions that would make the same tally at the same time one makes it, and the others wait for that.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

use super::kept::Of;

/// Who makes what.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<Of, Weak<AsyncMutex<()>>>>);

/// Held while something is made. Nobody else makes the same until it is dropped.
pub(super) type Turn = OwnedMutexGuard<()>;

impl Turns {
    /// Waits until nobody makes this.
    pub(super) async fn to_make(&self, of: &Of) -> Turn {
        self.queue(of).lock_owned().await
    }

    fn queue(&self, of: &Of) -> Arc<AsyncMutex<()>> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.retain(|_, queue| queue.strong_count() > 0);
        if let Some(queue) = queues.get(of).and_then(Weak::upgrade) {
            return queue;
        }
        let queue = Arc::default();
        queues.insert(of.clone(), Arc::downgrade(&queue));
        queue
    }
}
