//! The open connections of a listener, at most so many. When there is no room, the oldest one without a request makes some: idle
//! and slow clients are the ones that pay for it, and not those who bring work.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::activity::Activity;

/// The open connections. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Connections {
    open: Arc<Mutex<Open>>,
    max: usize,
}

#[derive(Debug, Default)]
struct Open {
    next: u64,
    /// In the order in which they came.
    connections: BTreeMap<u64, Arc<Activity>>,
}

/// The place of one connection, given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    number: u64,
    pub(super) activity: Arc<Activity>,
    connections: Connections,
}

impl Connections {
    /// Room for `max` connections, at least one.
    pub(super) fn new(max: usize) -> Self {
        Self { open: Arc::default(), max: max.max(1) }
    }

    /// A place for a new connection; `None` when all that are open are answering a request.
    pub(super) fn admit(&self) -> Option<Place> {
        let mut open = self.open();
        if open.connections.len() >= self.max {
            let (number, activity) = open.connections.iter().find(|(_, activity)| !activity.has_request())?;
            activity.close();
            let number = *number;
            open.connections.remove(&number);
        }
        let (number, activity) = (open.next, Arc::new(Activity::new()));
        open.next += 1;
        open.connections.insert(number, Arc::clone(&activity));
        Some(Place { number, activity, connections: self.clone() })
    }

    /// Closes each as soon as it has no request.
    pub(super) fn close(&self) {
        self.open().connections.values().for_each(|activity| activity.close());
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().connections.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use http::Version;

    use super::*;

    #[tokio::test]
    async fn the_oldest_connection_without_a_request_makes_room() {
        let connections = Connections::new(3);
        let places: Vec<Place> = (0..3).map(|_| connections.admit().unwrap()).collect();
        let requests: Vec<_> = [0, 2].map(|place| places[place].activity.begin(Version::HTTP_11)).into();
        let fourth = connections.admit().unwrap();
        let fourth_request = fourth.activity.begin(Version::HTTP_11);
        assert!(connections.admit().is_none(), "all three have a request");
        drop(places);
        drop(fourth);
        assert!(connections.open().connections.is_empty());
        drop((requests, fourth_request));
    }
}
