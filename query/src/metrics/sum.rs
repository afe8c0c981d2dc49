//! The sum of what was counted, day by day.

use std::sync::Arc;

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use schemas::EventDate;

use super::{
    answer::{Key, Measured},
    files::FileTallies,
    shape::Shape,
    tally::Tally,
};
use crate::error::Error;

/// How many tallies are put together at once: sets of users grow together faster than one after the other.
pub(super) const TALLIES_TOGETHER: usize = 16;

/// The sum of what was counted so far.
pub(super) struct Sum {
    shape: Arc<Shape>,
    open: Tally,
    waiting: Vec<Arc<Tally>>,
    reservation: MemoryReservation,
}

impl Sum {
    pub(super) fn new(shape: &Arc<Shape>, tallies: &FileTallies) -> Self {
        let reservation = MemoryConsumer::new("metrics").register(tallies.memory());
        Self { shape: Arc::clone(shape), open: Tally::new(shape.uniques), waiting: Vec::new(), reservation }
    }

    /// Adds a day, or what has none; days come in their order.
    pub(super) fn add(&mut self, tallies: Vec<Arc<Tally>>, day: Option<EventDate>) -> Result<(), Error> {
        self.waiting.extend(tallies);
        if self.waiting.len() >= TALLIES_TOGETHER {
            self.add_up();
            self.close_until(day);
        }
        Ok(self.reservation.try_resize(self.open.bytes() + self.waiting.iter().map(|tally| tally.bytes()).sum::<usize>())?)
    }

    fn add_up(&mut self) {
        self.open.add_all(&std::mem::take(&mut self.waiting));
    }

    /// All files of this day and of those before it are added.
    fn close_until(&mut self, day: Option<EventDate>) {
        let Some((day, (place, buckets))) = day.zip(self.shape.times().next()) else { return };
        let end = day.next().start().0;
        self.open.close(|keys| matches!(keys[place], Key::Time(bucket) if buckets.after(bucket) <= end));
    }

    /// The numbers of everything and of the groups, those of another tally included.
    pub(super) fn finish(mut self, with: Option<&Tally>) -> (Measured, Vec<Measured>) {
        self.add_up();
        match with {
            Some(other) => self.open.measured_with(other),
            None => (self.open.total(), self.open.into_groups()),
        }
    }
}
