//! The judgement at the end: what was acknowledged, what the journal holds and what the tables say must be one story.
//!
//! Letters as in the list of what must hold: (a) nothing acknowledged is missing, (b) no id twice, (c) nothing that nobody sent, (d) no
//! place twice, (f) accepted = rows + duplicates + quarantined, where the row of an event is its first occurrence in the journal.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt,
    hash::Hash,
};

use super::{
    journal::{Journal, Place},
    ledger::{Book, Sent},
    requests::EventKey,
    rows::Tables,
};

#[cfg(test)]
mod tests;

/// A rule that does not hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) rule: Rule,
    /// Who sees that, where readers may differ.
    seen_by: &'static str,
    count: usize,
    examples: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// (a)
    Lost,
    /// (b)
    Twice,
    /// (c)
    Invented,
    /// (d)
    SamePlace,
    /// (e)
    Unsteady,
    /// (f)
    Unbalanced,
    /// (f): a later occurrence became the row.
    NotTheFirst,
    /// (f): a message that is no event is not in quarantine, or something else is.
    Quarantine,
    /// The id of a row is not the one of its event.
    Altered,
    /// A 2xx names a place where the journal does not have the event.
    NotInTheJournal,
    /// The door said neither yes nor "later".
    Refused,
    /// `tidemark verify` says or counts something else.
    Verify,
    /// A process ended by itself after it had been ready.
    Ended,
    /// A fault that was wanted did not happen, or no merge, or no deletion.
    NoFault,
    /// A question failed although nothing was broken.
    Unanswered,
    /// Something grows that maintenance must keep small, or maintenance failed.
    Grown,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, seen_by, count, examples } = self;
        write!(f, "{rule:?}{seen_by}: {count}, such as {}", examples.join("; "))
    }
}

impl Violation {
    /// `None` when there is nothing to complain about.
    pub(crate) fn of<T: fmt::Display>(rule: Rule, found: impl IntoIterator<Item = T>) -> Option<Self> {
        let (mut count, mut examples) = (0, Vec::new());
        for one in found {
            count += 1;
            if examples.len() < 5 {
                examples.push(one.to_string());
            }
        }
        (count > 0).then_some(Self { rule, seen_by: "", count, examples })
    }

    /// The same with the name of a reader.
    pub(crate) fn seen_by(self, seen_by: &'static str) -> Self {
        Self { seen_by, ..self }
    }
}

/// Judges what one reader of the tables sees.
pub(crate) fn judge(book: &Book, journal: &Journal, tables: &Tables) -> Vec<Violation> {
    let keys: HashMap<EventKey, Place> = tables.events.iter().filter_map(|row| Some((row.key?, row.place))).collect();
    let rows = || tables.events.iter();
    let foreign = book.foreign_events.iter().filter(|(_, is_stored)| **is_stored).map(|(number, _)| EventKey::foreign(*number));
    let acknowledged =
        book.requests.iter().filter(|(_, sent)| !sent.acknowledged.is_empty()).flat_map(|(origin, sent)| keys_of(*origin, sent));
    let altered = rows().filter(|row| row.key.is_some_and(|key| book.was_sent(key) && book.id_of(key) != row.id));
    let unsent = rows().filter(|row| row.key.is_none_or(|key| !book.was_sent(key)));
    [
        Violation::of(Rule::Lost, acknowledged.chain(foreign).filter(|key| !keys.contains_key(key))),
        Violation::of(Rule::Twice, repeated(rows().filter_map(|row| row.key))),
        Violation::of(Rule::Invented, unsent.map(|row| text(row.place))),
        Violation::of(Rule::SamePlace, repeated(rows().map(|row| row.place)).into_iter().map(text)),
        Violation::of(Rule::NotTheFirst, not_the_first(journal, &keys)),
        Violation::of(Rule::Unbalanced, unbalanced(journal, tables)),
        Violation::of(Rule::Quarantine, quarantine(book, journal, tables)),
        Violation::of(Rule::Altered, altered.map(|row| text(row.place))),
        Violation::of(Rule::NotInTheJournal, not_in_the_journal(book, journal)),
        Violation::of(Rule::Refused, &book.refusals),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn keys_of(origin: u64, sent: &Sent) -> impl Iterator<Item = EventKey> + use<> {
    (0..sent.events).map(move |index| EventKey::new(origin, index))
}

fn repeated<T: Copy + Eq + Hash>(all: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = HashSet::new();
    all.filter(|one| !seen.insert(*one)).collect()
}

fn text((shard, sequence, index): Place) -> String {
    format!("{shard}:{sequence}:{index}")
}

/// Where each event stands for the first time. An id has one shard, whichever way it came.
fn first_occurrences(journal: &Journal) -> BTreeMap<EventKey, Place> {
    let mut first = BTreeMap::new();
    for (place, key) in &journal.events {
        first.entry(*key).or_insert(*place);
    }
    first
}

fn not_the_first(journal: &Journal, keys: &HashMap<EventKey, Place>) -> Vec<String> {
    let wrong = |(key, place): (&EventKey, &Place)| {
        let found = keys.get(key)?;
        (found != place).then(|| format!("{key} stands at {} first and its row is {}", text(*place), text(*found)))
    };
    first_occurrences(journal).iter().filter_map(wrong).collect()
}

/// Accepted and duplicates are counted in the journal, the rest in the tables, each shard for itself.
fn unbalanced(journal: &Journal, tables: &Tables) -> Vec<String> {
    let first = first_occurrences(journal);
    let of = |shard: u16| {
        let events = journal.events.iter().filter(|(place, _)| place.0 == shard).count();
        let rubbish = journal.rubbish.values().filter(|place| place.0 == shard).count();
        let duplicates = events - first.values().filter(|place| place.0 == shard).count();
        let rows = tables.events.iter().filter(|row| row.place.0 == shard).count();
        let quarantined = tables.quarantine.iter().filter(|place| place.0 == shard).count();
        let (accepted, told) = (events + rubbish, rows + duplicates + quarantined);
        (accepted != told).then(|| {
            format!("shard {shard}: {accepted} accepted, and {rows} rows + {duplicates} duplicates + {quarantined} quarantined = {told}")
        })
    };
    journal.last.keys().filter_map(|shard| of(*shard)).collect()
}

fn quarantine(book: &Book, journal: &Journal, tables: &Tables) -> Vec<String> {
    let wanted: BTreeSet<Place> = journal.rubbish.values().copied().collect();
    let found: BTreeSet<Place> = tables.quarantine.iter().copied().collect();
    let stored = book.rubbish.iter().filter(|(number, is_stored)| **is_stored && !journal.rubbish.contains_key(number));
    let lost = stored.map(|(number, _)| format!("rubbish {number} was stored and is not in the journal"));
    let differing = wanted.symmetric_difference(&found).map(|place| format!("{} is in one of journal and quarantine", text(*place)));
    lost.chain(differing).collect()
}

/// Every event of an acknowledged request stands in one of the messages that its answer names.
fn not_in_the_journal(book: &Book, journal: &Journal) -> Vec<String> {
    let both = |((shard, sequence, index), key): &(Place, EventKey)| [None, Some(*index)].map(|index| (*key, *shard, *sequence, index));
    let stands: HashSet<_> = journal.events.iter().flat_map(both).collect();
    let mut missing = Vec::new();
    for (origin, sent) in &book.requests {
        for positions in &sent.acknowledged {
            let is_there = |key: &EventKey| positions.iter().any(|at| stands.contains(&(*key, at.shard.0, at.sequence.0, at.index)));
            missing
                .extend(keys_of(*origin, sent).filter(|key| !is_there(key)).map(|key| format!("{key} was acknowledged at {positions:?}")));
        }
    }
    missing
}
