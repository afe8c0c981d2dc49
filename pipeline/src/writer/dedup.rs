//! Deduplication: the first occurrence in journal order wins, for ever (INVARIANTS I3).
//!
//! The index knows every identity of the hours (of event time) in which events arrive. An hour that it does not know is loaded from
//! the table, which is the index at rest: `missing` names the hours, `learn` takes them, `admit` decides. Hours leave memory least
//! recently used first, but never while they hold an identity that is not committed yet, for which the table could not be asked.
//!
//! A repeat carries the event time of the first. Only a time that the server assigned may differ, so such an event is looked
//! for in every hour in memory, the hour before its own included.

use std::collections::{BTreeSet, HashMap};

use arrow::{array::AsArray, datatypes::TimestampMicrosecondType};
use schemas::Sequence;

use self::keys::KeySet;
use super::rows::Identified;

pub(super) mod keys;

const HOUR_US: i64 = 3_600_000_000;

/// An hour of event time, in hours since 1970; negative before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Hour(i64);

impl Hour {
    /// The hour in which an instant lies.
    pub(super) const fn of(timestamp_us: i64) -> Self {
        Self(timestamp_us.div_euclid(HOUR_US))
    }

    const fn before(self) -> Self {
        Self(self.0 - 1)
    }
}

/// The identities of one hour.
#[derive(Debug, Default)]
struct Known {
    keys: KeySet,
    last_used: u64,
    /// The last message that added a key.
    changed_at: Sequence,
}

/// The identities of the hours in use.
#[derive(Debug)]
pub(super) struct Index {
    hours: HashMap<Hour, Known>,
    budget_bytes: usize,
    uses: u64,
}

impl Index {
    pub(super) fn new(budget_bytes: usize) -> Self {
        Self { hours: HashMap::new(), budget_bytes, uses: 0 }
    }

    /// The hours that must be learnt before these events can be judged.
    pub(super) fn missing(&self, events: &Identified) -> BTreeSet<Hour> {
        let mut missing = BTreeSet::new();
        for (timestamp, received_at) in times(events) {
            let hour = Hour::of(timestamp);
            let before = (timestamp == received_at).then(|| hour.before());
            missing.extend(before.into_iter().chain([hour]).filter(|hour| !self.hours.contains_key(hour)));
        }
        missing
    }

    /// Takes an hour's identities as the table has them.
    pub(super) fn learn(&mut self, hour: Hour, keys: KeySet) {
        self.hours.entry(hour).or_insert_with(|| Known { keys, last_used: self.uses, changed_at: Sequence::ZERO });
    }

    /// Which of the events are first occurrences; they are known from now on.
    ///
    /// # Panics
    /// When an hour is [`missing`](Self::missing): a repeat could pass.
    pub(super) fn admit(&mut self, events: &Identified, sequence: Sequence) -> Vec<bool> {
        self.uses += 1;
        let mut admitted = Vec::with_capacity(events.identities.len());
        for ((timestamp, received_at), identity) in times(events).zip(&events.identities) {
            let key = u128::from_be_bytes(identity.0);
            let is_elsewhere = timestamp == received_at && self.hours.values().any(|known| known.keys.contains(key));
            let known = self.hours.get_mut(&Hour::of(timestamp)).expect("missing hours are learnt first");
            known.last_used = self.uses;
            let is_first = !is_elsewhere && known.keys.insert(key);
            if is_first {
                known.changed_at = sequence;
            }
            admitted.push(is_first);
        }
        admitted
    }

    /// Forgets the hours that were not used for longest, as far as the budget asks and the table can tell them again.
    pub(super) fn shrink(&mut self, tidemark: Sequence) {
        while self.size_bytes() > self.budget_bytes {
            let clean = self.hours.iter().filter(|(_, known)| known.changed_at <= tidemark && known.last_used < self.uses);
            let Some(oldest) = clean.min_by_key(|(_, known)| known.last_used).map(|(hour, _)| *hour) else { return };
            self.hours.remove(&oldest);
        }
    }

    /// The memory of all keys.
    pub(super) fn size_bytes(&self) -> usize {
        self.hours.values().map(|known| known.keys.size_bytes()).sum()
    }
}

/// Event time and arrival of each event.
fn times(events: &Identified) -> impl Iterator<Item = (i64, i64)> {
    let column = |name: &str| events.rows.column_by_name(name).expect("`events` has both times").as_primitive::<TimestampMicrosecondType>();
    let (timestamps, arrivals) = (column("timestamp").values(), column("received_at").values());
    timestamps.iter().copied().zip(arrivals.iter().copied())
}
