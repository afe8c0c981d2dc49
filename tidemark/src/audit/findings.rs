//! What is wrong, counted in full and kept in part.

use std::{collections::BTreeMap, sync::Arc};

use schemas::{EventDate, Position, ShardId};
use serde::{Serialize, Serializer};

/// So many violations are kept to be shown.
const SHOWN: usize = 20;

/// A rule that does not hold, and where.
#[derive(Debug, Serialize, thiserror::Error)]
#[serde(tag = "code", rename_all = "snake_case")]
pub(crate) enum Violation {
    #[error("{position} is lost: it is no row, it is not in quarantine, and no earlier row is the same event")]
    Lost {
        #[serde(serialize_with = "text")]
        position: Position,
    },
    #[error("{position} is no row, although a later repeat of it is one")]
    Overtaken {
        #[serde(serialize_with = "text")]
        position: Position,
    },
    #[error("{position} is a row and in quarantine")]
    InBoth {
        #[serde(serialize_with = "text")]
        position: Position,
    },
    #[error("{position} stands twice in `{table}`: in `{}` and in `{}`", files[0], files[1])]
    Twice {
        #[serde(serialize_with = "text")]
        position: Position,
        table: &'static str,
        files: [Arc<str>; 2],
    },
    #[error("{position} is the same event as {first}, in the same minute of event time; it should have been folded")]
    SameEvent {
        #[serde(serialize_with = "text")]
        position: Position,
        #[serde(serialize_with = "text")]
        first: Position,
    },
    #[error("{position} stands in `{table}`, and the journal's message has no such item")]
    NotInJournal {
        #[serde(serialize_with = "text")]
        position: Position,
        table: &'static str,
    },
    #[error("{position} lies in the partition {partition}, and its time in {day}: `{file}`")]
    WrongPartition {
        #[serde(serialize_with = "text")]
        position: Position,
        file: Arc<str>,
        #[serde(serialize_with = "text")]
        partition: EventDate,
        #[serde(serialize_with = "text")]
        day: EventDate,
    },
    #[error("{position} stands in `{file}`, above the tidemark {tidemark} of its table")]
    AboveTidemark {
        #[serde(serialize_with = "text")]
        position: Position,
        file: Arc<str>,
        tidemark: u64,
    },
    #[error("the file `{file}` is missing")]
    FileMissing { file: Arc<str> },
    #[error("the file `{file}` has {found_bytes} bytes, and the log says {logged_bytes}")]
    FileSize { file: Arc<str>, logged_bytes: u64, found_bytes: u64 },
    #[error("the file `{file}` cannot be read: {reason}")]
    FileUnreadable { file: Arc<str>, reason: String },
    #[error("the file `{file}` has {found} rows, and the log says {logged}")]
    RowCount { file: Arc<str>, logged: u64, found: u64 },
    #[error("{rows} rows of the file `{file}` lie outside of the shards and sequences that the log says")]
    OutsideStatistics { file: Arc<str>, rows: u64 },
    #[error("messages {first} to {last} of shard {shard} are missing in the journal, and `quarantine` has no record of that")]
    Hole { shard: ShardId, first: u64, last: u64 },
    #[error("the journal of shard {shard} ends at {last}, and the table has rows up to {tidemark}: it is another stream, or it was cut")]
    JournalEndsEarly { shard: ShardId, last: u64, tidemark: u64 },
}

/// All that is wrong.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) shown: Vec<Violation>,
    pub(crate) counts: BTreeMap<ShardId, u64>,
    /// Files that cannot be read, and why.
    unreadable: BTreeMap<Arc<str>, String>,
}

impl Findings {
    pub(crate) fn add(&mut self, shard: ShardId, violation: Violation) {
        *self.counts.entry(shard).or_default() += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(violation);
        }
    }

    /// As [`add`](Self::add), for a file that will not be read again.
    pub(crate) fn add_unreadable(&mut self, shard: ShardId, file: &Arc<str>, violation: Violation) {
        self.unreadable.insert(Arc::clone(file), violation.to_string());
        self.add(shard, violation);
    }

    /// What is wrong with a file; `None` when it can be read.
    pub(crate) fn why_unreadable(&self, file: &Arc<str>) -> Option<&str> {
        self.unreadable.get(file).map(String::as_str)
    }

    pub(crate) fn is_unreadable(&self, file: &Arc<str>) -> bool {
        self.unreadable.contains_key(file)
    }
}

fn text<T: std::fmt::Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
