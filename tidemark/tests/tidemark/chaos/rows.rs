//! The tables as their readers see them: by `/sql`, and by DuckDB, which knows nothing of Tidemark.

use super::{journal::Place, requests::EventKey};

/// What `/sql` is asked.
pub(crate) const EVENTS_SQL: &str = "SELECT _shard, _sequence, _index, metadata->>'n', event_id FROM events";
/// The same for DuckDB, without its JSON extension.
pub(crate) const EVENTS_DUCKDB: &str = "SELECT _shard, _sequence, _index, regexp_extract(metadata, '[0-9]+'), event_id FROM events";
/// For both.
pub(crate) const QUARANTINE: &str = "SELECT _shard, _sequence, _index FROM quarantine";

/// A row of `events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Row {
    pub(crate) place: Place,
    /// None: an id that nobody sends.
    pub(crate) key: Option<EventKey>,
    pub(crate) counter: u64,
}

/// What one reader sees.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tables {
    pub(crate) events: Vec<Row>,
    pub(crate) quarantine: Vec<Place>,
}

impl Tables {
    /// Reads two answers in CSV without headers.
    pub(crate) fn read(events: &str, quarantine: &str) -> Self {
        Self { events: events.lines().map(row).collect(), quarantine: quarantine.lines().map(|line| place(&words(line))).collect() }
    }
}

fn words(line: &str) -> Vec<&str> {
    line.split(',').collect()
}

fn row(line: &str) -> Row {
    let words = words(line);
    Row { place: place(&words), counter: words[3].parse().unwrap_or(u64::MAX), key: words[4].parse().ok() }
}

fn place(words: &[&str]) -> Place {
    let parsed = || Some((words[0].parse().ok()?, words[1].parse().ok()?, words[2].parse().ok()?));
    parsed().unwrap_or_else(|| panic!("no place: {words:?}"))
}
