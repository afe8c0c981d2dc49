//! The memory of SQL: a part of the memory of all queries, so that the rest is always there for metrics.

use std::{fmt, sync::Arc};

use datafusion::{
    common::Result,
    execution::memory_pool::{GreedyMemoryPool, MemoryLimit, MemoryPool, MemoryReservation},
};

/// Takes from a whole, and never more than its own limit. The whole may be used up by others.
#[derive(Debug)]
pub(super) struct Part {
    own: GreedyMemoryPool,
    whole: Arc<dyn MemoryPool>,
}

impl Part {
    /// At most `most_bytes` of `whole`.
    pub(super) fn of(whole: &Arc<dyn MemoryPool>, most_bytes: usize) -> Self {
        Self { own: GreedyMemoryPool::new(most_bytes), whole: Arc::clone(whole) }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.own, self.whole)
    }
}

impl MemoryPool for Part {
    fn name(&self) -> &'static str {
        "part"
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.own.grow(reservation, additional);
        self.whole.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.own.shrink(reservation, shrink);
        self.whole.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        self.own.try_grow(reservation, additional)?;
        self.whole.try_grow(reservation, additional).inspect_err(|_| self.own.shrink(reservation, additional))
    }

    fn reserved(&self) -> usize {
        self.own.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.own.memory_limit()
    }
}

#[cfg(test)]
mod tests {
    use datafusion::execution::memory_pool::MemoryConsumer;

    use super::*;

    #[test]
    fn a_part_never_takes_more_than_its_own_and_gives_back_what_the_whole_refuses() {
        let whole: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(100));
        let part: Arc<dyn MemoryPool> = Arc::new(Part::of(&whole, 75));
        let (of_part, of_whole) = (MemoryConsumer::new("sql").register(&part), MemoryConsumer::new("metrics").register(&whole));
        assert!(of_part.try_grow(76).is_err() && of_part.try_grow(75).is_ok());
        assert!(of_whole.try_grow(25).is_ok(), "the rest is there for others");
        of_part.free();
        assert!(of_whole.try_grow(50).is_ok(), "and so is what nobody uses");
        assert!(of_part.try_grow(26).is_err(), "the whole is used up");
        assert_eq!((part.reserved(), whole.reserved()), (0, 75));
        assert!(of_part.try_grow(25).is_ok());
    }
}
