//! Deduplication: the first occurrence in journal order wins, for ever (INVARIANTS I3).
//!
//! The index knows every identity of the minutes (of event time) in which events arrive. A minute that it does not know is loaded from
//! the table, which is the index at rest: `missing` names the minutes, `expect` and `learn` take them, `admit` decides. Minutes leave
//! memory least recently used first, but never while they hold an identity that is not committed yet, for which the table
//! could not be asked.
//!
//! A repeat carries the event time of the first, so its own minute decides. Where the time may differ (the server assigned it, or the
//! client sent an `event_id` and a new time) everything in memory is looked at, the minutes before its own included.

use std::collections::{BTreeSet, HashMap, HashSet};

use arrow::{
    array::{Array, AsArray},
    datatypes::TimestampMicrosecondType,
};
use schemas::{Sequence, raw::Field};

use self::keys::{KeySet, Tag};
use super::rows::Identified;

mod keys;

const MINUTE_US: i64 = 60_000_000;
/// How many minutes before its own must be known for an event whose first occurrence may have another time.
const LOOK_BACK: i64 = 5;
/// What a key takes at most, for estimates.
pub(super) const KEY_BYTES: usize = 24;

/// A minute of event time, in minutes since 1970; negative before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Minute(i64);

impl Minute {
    /// The minute in which an instant lies.
    pub(super) const fn of(timestamp_us: i64) -> Self {
        Self(timestamp_us.div_euclid(MINUTE_US))
    }

    /// This one and the `LOOK_BACK` before it.
    fn and_before(self) -> impl Iterator<Item = Self> {
        (self.0 - LOOK_BACK..=self.0).map(Self)
    }

    /// All minutes from this one to `last`.
    pub(super) fn to(self, last: Self) -> impl Iterator<Item = Self> {
        (self.0..=last.0).map(Self)
    }

    /// Its first and its last microsecond.
    pub(super) const fn bounds_us(self) -> (i64, i64) {
        (self.0 * MINUTE_US, self.0 * MINUTE_US + MINUTE_US - 1)
    }

    fn tag(self) -> Tag {
        Tag::new(self.0.checked_add(1 << 33).and_then(|tag| u64::try_from(tag).ok()).expect("event times lie in the years 0 to 9999"))
    }
}

/// What is remembered of a minute whose identities are in memory.
#[derive(Debug, Default)]
struct Known {
    keys: usize,
    last_used: u64,
    /// The last message that added a key.
    changed_at: Sequence,
}

/// The identities of the minutes in use.
#[derive(Debug)]
pub struct Index {
    keys: KeySet,
    minutes: HashMap<Minute, Known>,
    budget_bytes: usize,
    uses: u64,
    /// The part of the set from which the keys of forgotten minutes are taken next, while there are any.
    sweeps_next: Option<usize>,
}

impl Index {
    /// Knows nothing yet, and forgets when it takes more than the budget.
    #[must_use]
    pub fn new(budget_bytes: usize) -> Self {
        Self { keys: KeySet::default(), minutes: HashMap::new(), budget_bytes, uses: 0, sweeps_next: None }
    }

    /// The minutes that must be learnt before these events can be judged.
    #[must_use]
    pub fn missing(&self, events: &Identified) -> BTreeSet<Minute> {
        needed(events).into_iter().filter(|minute| !self.minutes.contains_key(minute)).collect()
    }

    /// From here on these minutes are known: all that the table has of them is learnt next.
    pub fn expect(&mut self, minutes: &BTreeSet<Minute>) {
        for minute in minutes {
            self.minutes.entry(*minute).or_insert_with(|| Known { last_used: self.uses, ..Known::default() });
        }
    }

    /// Takes one identity as the table has it. Of a minute that is not expected it is let go.
    pub(super) fn learn(&mut self, minute: Minute, key: u128) {
        if let Some(known) = self.minutes.get_mut(&minute) {
            known.keys += usize::from(self.keys.learn(key, minute.tag()));
        }
    }

    /// Which of the events are first occurrences; they are known from now on.
    ///
    /// # Panics
    /// When a minute is [`missing`](Self::missing): a repeat could pass.
    pub fn admit(&mut self, events: &Identified, sequence: Sequence) -> Vec<bool> {
        self.uses += 1;
        for minute in needed(events) {
            self.minutes.get_mut(&minute).expect("missing minutes are learnt first").last_used = self.uses;
        }
        let mut admitted = Vec::with_capacity(events.identities.len());
        for ((minute, _), identity) in minutes(events).zip(&events.identities) {
            let is_first = self.keys.admit(u128::from_be_bytes(identity.0), minute.tag());
            if is_first {
                let known = self.minutes.get_mut(&minute).expect("an event's own minute is needed");
                known.keys += 1;
                known.changed_at = sequence;
            }
            admitted.push(is_first);
        }
        admitted
    }

    /// Above the budget: forgets the minutes that were not used for longest, down to four fifths of it, as far as the table can
    /// tell them again. Their keys leave memory a part of the set at each call: all at once would hold up the events for a second.
    pub(super) fn shrink(&mut self, tidemark: Sequence) {
        if let Some(part) = self.sweeps_next.take() {
            let known: HashSet<Tag> = self.minutes.keys().map(|minute| minute.tag()).collect();
            self.sweeps_next = self.keys.sweep(part, |tag| known.contains(&tag));
        } else if self.size_bytes() > self.budget_bytes {
            let forgotten = self.least_used(tidemark, self.size_bytes() - self.budget_bytes / 5 * 4);
            for minute in &forgotten {
                self.minutes.remove(minute);
            }
            self.sweeps_next = (!forgotten.is_empty()).then_some(0);
        }
    }

    /// Committed minutes that were not used for longest, as many as take about `bytes`.
    fn least_used(&self, tidemark: Sequence, bytes: usize) -> Vec<Minute> {
        let clean = self.minutes.iter().filter(|(_, known)| known.changed_at <= tidemark && known.last_used < self.uses);
        let mut clean: Vec<(u64, Minute, usize)> = clean.map(|(minute, known)| (known.last_used, *minute, known.keys)).collect();
        clean.sort_unstable();
        let mut excess = bytes;
        let is_excess = |(_, _, keys): &(u64, Minute, usize)| {
            let is_excess = excess > 0;
            excess = excess.saturating_sub(keys * KEY_BYTES + MINUTE_BYTES);
            is_excess
        };
        clean.into_iter().take_while(is_excess).map(|(_, minute, _)| minute).collect()
    }

    /// What is left of the budget.
    pub(super) fn room_bytes(&self) -> usize {
        self.budget_bytes.saturating_sub(self.size_bytes())
    }

    /// The memory of all keys.
    pub(super) fn size_bytes(&self) -> usize {
        self.keys.size_bytes() + self.minutes.len() * MINUTE_BYTES
    }
}

/// What a known minute takes beside its keys.
const MINUTE_BYTES: usize = size_of::<(Minute, Known)>() * 2;

/// The minutes that must be known to judge these events, each once.
fn needed(events: &Identified) -> Vec<Minute> {
    let mut needed = Vec::new();
    let mut last = None;
    for (minute, may_differ) in minutes(events) {
        if last.replace((minute, may_differ)) == Some((minute, may_differ)) {
            continue;
        }
        if may_differ { needed.extend(minute.and_before()) } else { needed.push(minute) }
    }
    needed.sort_unstable();
    needed.dedup();
    needed
}

/// The minute of each event, and whether its first occurrence may have another time.
fn minutes(events: &Identified) -> impl Iterator<Item = (Minute, bool)> {
    let column = |name: &str| events.rows.column_by_name(name).expect("`events` has both times").as_primitive::<TimestampMicrosecondType>();
    let (timestamps, arrivals) = (column("timestamp").values(), column("received_at").values());
    let event_ids = events.rows.column_by_name(Field::EventId.name());
    (0..events.rows.num_rows()).map(move |row| {
        let has_event_id = event_ids.is_some_and(|ids| ids.is_valid(row));
        (Minute::of(timestamps[row]), has_event_id || timestamps[row] == arrivals[row])
    })
}

#[cfg(test)]
mod tests;
