//! What a reader says of the table.

use std::collections::BTreeMap;

/// Above every sequence of a test.
pub(super) const END: u64 = 1 << 40;

/// What [`statement`] asks for: all rows, those of each channel and of each day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Numbers(BTreeMap<String, Counts>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Counts {
    rows: u64,
    users: u64,
    /// Different places in the journal.
    places: u64,
    /// The highest sequence.
    up_to: u64,
}

/// The numbers of the rows up to a sequence, for Tidemark and for DuckDB, in one pass over one version of the table.
pub(super) fn statement(up_to: u64) -> String {
    format!(
        "SELECT coalesce('channel ' || channel, 'day ' || CAST(event_date AS VARCHAR), 'all'), count(*), count(DISTINCT user_id), \
         count(DISTINCT _sequence * 100000 + _index), max(_sequence) FROM events WHERE _sequence <= {up_to} \
         GROUP BY GROUPING SETS ((), (channel), (event_date))"
    )
}

impl Numbers {
    /// The answer to [`statement`].
    pub(super) fn of_csv(answer: &str) -> Self {
        let counts = |line: &str| {
            let words: Vec<&str> = line.split(',').collect();
            let [rows, users, places, up_to] = [1, 2, 3, 4].map(|word| words[word].parse().unwrap());
            (words[0].to_owned(), Counts { rows, users, places, up_to })
        };
        Self(answer.lines().map(counts).collect())
    }

    /// The same from Polars.
    pub(super) fn of_json(answer: &str) -> Self {
        let groups: Vec<(String, u64, u64, u64, u64)> = serde_json::from_str(answer).unwrap();
        Self(groups.into_iter().map(|(what, rows, users, places, up_to)| (what, Counts { rows, users, places, up_to })).collect())
    }

    pub(super) fn rows(&self) -> u64 {
        self.0["all"].rows
    }

    pub(super) fn up_to(&self) -> u64 {
        self.0["all"].up_to
    }

    pub(super) fn has_each_place_once(&self) -> bool {
        self.0.values().all(|counts| counts.rows == counts.places)
    }
}
