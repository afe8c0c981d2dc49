//! What the server should have, by what it has said: each request once, however often it was sent.

use std::{collections::BTreeMap, ops::RangeInclusive};

use rand::{Rng, rngs::SmallRng};
use schemas::Position;

/// A repeat is one of so many last requests of its connection.
pub(super) const REPEATED_AMONG: u64 = 1024;

/// What the server did with the events of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// So many of them are stored.
    Acknowledged(u64),
    /// All of them may be stored, or none.
    Unknown,
    /// None is stored.
    NotStored,
}

/// A request to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Choice {
    /// Its number on its connection.
    pub(super) number: u64,
    /// Whether it was sent before.
    pub(super) is_repeat: bool,
}

/// The requests of one connection, or of several.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    next: u64,
    acknowledged: u64,
    unknown: u64,
    /// What became of the requests that may be sent again and are not acknowledged.
    open: BTreeMap<u64, Fate>,
    newest: BTreeMap<u16, u64>,
}

impl Ledger {
    /// The next request, or with this probability one that was sent before.
    pub(super) fn choose(&mut self, repeats: f64, random: &mut SmallRng) -> Choice {
        let oldest = self.next.saturating_sub(REPEATED_AMONG);
        if self.next > 0 && repeats > 0.0 && random.random_bool(repeats) {
            return Choice { number: random.random_range(oldest..self.next), is_repeat: true };
        }
        while self.open.first_key_value().is_some_and(|(number, _)| *number < oldest) {
            self.open.pop_first();
        }
        self.next += 1;
        Choice { number: self.next - 1, is_repeat: false }
    }

    /// Notes what became of a request of so many events.
    pub(super) fn settle(&mut self, Choice { number, is_repeat }: Choice, events: u64, fate: Fate) {
        let before = if is_repeat { self.open.remove(&number) } else { Some(Fate::NotStored) };
        let Some(before) = before else { return };
        if before == Fate::Unknown {
            self.unknown -= events;
        }
        match if fate == Fate::NotStored { before } else { fate } {
            Fate::Acknowledged(stored) => self.acknowledged += stored,
            Fate::Unknown => {
                self.unknown += events;
                self.open.insert(number, Fate::Unknown);
            }
            Fate::NotStored => drop(self.open.insert(number, Fate::NotStored)),
        }
    }

    /// Notes where the journal has events.
    pub(super) fn saw(&mut self, position: Position) {
        let newest = self.newest.entry(position.shard.0).or_default();
        *newest = position.sequence.0.max(*newest);
    }

    /// The newest positions, as `at_least` takes them.
    pub(super) fn positions(&self) -> String {
        self.newest.iter().map(|(shard, sequence)| format!("{shard}:{sequence}")).collect::<Vec<_>>().join(",")
    }

    /// How many events must be rows, and how many may be.
    pub(super) const fn expected(&self) -> RangeInclusive<u64> {
        self.acknowledged..=self.acknowledged + self.unknown
    }

    /// Adds those of another connection.
    pub(super) fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        for (shard, sequence) in other.newest {
            let newest = self.newest.entry(shard).or_default();
            *newest = sequence.max(*newest);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn first(number: u64) -> Choice {
        Choice { number, is_repeat: false }
    }

    fn repeat(number: u64) -> Choice {
        Choice { number, is_repeat: true }
    }

    #[test]
    fn an_event_counts_once_and_an_unknown_outcome_is_zero_or_one() {
        let mut ledger = Ledger::default();
        ledger.settle(first(0), 10, Fate::Acknowledged(10));
        ledger.settle(first(1), 10, Fate::Unknown);
        ledger.settle(first(2), 10, Fate::NotStored);
        ledger.settle(first(3), 10, Fate::Acknowledged(7));
        assert_eq!(ledger.expected(), 17..=27);
        for fate in [Fate::Acknowledged(10), Fate::Unknown, Fate::NotStored] {
            ledger.settle(repeat(0), 10, fate);
            assert_eq!(ledger.expected(), 17..=27, "what is acknowledged stays so: {fate:?}");
        }
        ledger.settle(repeat(1), 10, Fate::NotStored);
        assert_eq!(ledger.expected(), 17..=27, "the first sending may still have been stored");
        ledger.settle(repeat(2), 10, Fate::Unknown);
        assert_eq!(ledger.expected(), 17..=37);
        ledger.settle(repeat(1), 10, Fate::Acknowledged(10));
        ledger.settle(repeat(2), 10, Fate::Acknowledged(10));
        assert_eq!(ledger.expected(), 37..=37);
    }

    #[test]
    fn repeats_are_as_many_as_asked_for_and_remembered_for_so_long_as_they_are_possible() {
        let (mut ledger, mut random) = (Ledger::default(), SmallRng::seed_from_u64(7));
        let mut repeats = 0;
        for _ in 0..100_000 {
            let choice = ledger.choose(0.05, &mut random);
            repeats += u64::from(choice.is_repeat);
            ledger.settle(choice, 1, Fate::Unknown);
            assert!(ledger.open.len() as u64 <= REPEATED_AMONG + 1);
        }
        assert!((4_500..5_500).contains(&repeats), "{repeats}");
        assert_eq!(ledger.expected(), 0..=100_000 - repeats);
    }
}
