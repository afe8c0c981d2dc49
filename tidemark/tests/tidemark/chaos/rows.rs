//! The tables as their readers see them: by `/sql`, and by DuckDB, which knows nothing of Tidemark.

use super::{journal::Place, requests::EventKey};

/// What `/sql` is asked. It invents an id for an event that was sent without one, which has 32 characters.
pub(crate) const EVENTS_SQL: &str =
    "SELECT _shard, _sequence, _index, metadata->>'n', CASE WHEN length(event_id) < 32 THEN event_id END FROM events";
/// The same for DuckDB, without its JSON extension.
pub(crate) const EVENTS_DUCKDB: &str = "SELECT _shard, _sequence, _index, regexp_extract(metadata, '[0-9]+'), event_id FROM events";
/// For both.
pub(crate) const QUARANTINE: &str = "SELECT _shard, _sequence, _index FROM quarantine";

/// A row of `events`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) place: Place,
    /// By its metadata; none when they are nobody's.
    pub(crate) key: Option<EventKey>,
    /// None when the event was sent without one.
    pub(crate) id: Option<String>,
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
    let id = Some(words[4]).filter(|id| !id.is_empty() && *id != "NULL").map(str::to_owned);
    Row { place: place(&words), key: EventKey::of_metadata(words[3]), id }
}

fn place(words: &[&str]) -> Place {
    let parsed = || Some((words[0].parse().ok()?, words[1].parse().ok()?, words[2].parse().ok()?));
    parsed().unwrap_or_else(|| panic!("no place: {words:?}"))
}
