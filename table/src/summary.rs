//! What a data file says about its rows without being scanned: events and users by hour, event name and channel.
//!
//! A summary is made from the rows that are about to be written and lies in the same Parquet file, between the row groups and the
//! footer, where other readers never look; so it cannot be out of step with them. The footer's key [`KEY`] tells where each
//! [`Level`] lies. A level is an Arrow IPC stream, its users are a CPC sketch of Apache DataSketches over the UTF-8 bytes of
//! `user_id`, so other tools can read both.
//!
//! ```text
//! PAR1 | row groups | by hour | by hour, channel | by hour, event | by hour, event, channel | page index | footer | PAR1
//! ```

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

mod make;
mod sketch;
mod stored;

pub(crate) use make::Maker;
pub use sketch::{Users, UsersUnion};
pub(crate) use stored::{decode, encode};

/// The entry of the Parquet footer that tells where the levels lie.
pub(crate) const KEY: &str = "tidemark.summary";
const VERSION: u32 = 1;
pub(crate) const US_PER_HOUR: i64 = 3_600_000_000;

/// By what the cells of a summary are told apart, besides the hour. A level that would have too many cells is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing else.
    Hour,
    /// Channel.
    HourChannel,
    /// Event name.
    HourEvent,
    /// Both.
    HourEventChannel,
}

impl Level {
    /// All, the coarsest first.
    pub(crate) const ALL: [Self; 4] = [Self::Hour, Self::HourChannel, Self::HourEvent, Self::HourEventChannel];

    /// The coarsest level that tells apart what must be told apart.
    #[must_use]
    pub const fn of(event_name: bool, channel: bool) -> Self {
        match (event_name, channel) {
            (false, false) => Self::Hour,
            (false, true) => Self::HourChannel,
            (true, false) => Self::HourEvent,
            (true, true) => Self::HourEventChannel,
        }
    }

    const fn has_event_name(self) -> bool {
        matches!(self, Self::HourEvent | Self::HourEventChannel)
    }

    const fn has_channel(self) -> bool {
        matches!(self, Self::HourChannel | Self::HourEventChannel)
    }
}

/// The rows of one hour, event name and channel, as far as the level tells these apart.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The hour's first instant, microseconds since 1970.
    pub start_us: i64,
    /// The event name, at a level that has one.
    pub event_name: Option<Arc<str>>,
    /// The channel; nothing for events without, and at a level that has none.
    pub channel: Option<Arc<str>>,
    /// How many rows.
    pub events: u64,
    /// Their users.
    pub users: Users,
}

impl Cell {
    /// The hour's last instant.
    #[must_use]
    pub const fn last_us(&self) -> i64 {
        self.start_us + (US_PER_HOUR - 1)
    }
}

/// Where the levels of a summary lie in their file: the value of [`KEY`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Directory {
    version: u32,
    levels: BTreeMap<Level, Place>,
}

/// Where a level lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    /// Of those bytes: the first half of BLAKE3, in hexadecimal.
    checksum: String,
}

impl Directory {
    /// Of levels that are written one after the other from `offset`.
    pub(crate) fn new(offset: u64, levels: &[(Level, Vec<u8>)]) -> Self {
        let mut next = offset;
        let mut place = |bytes: &[u8]| {
            let place = Place { offset: next, bytes: bytes.len() as u64, checksum: checksum(bytes) };
            next += place.bytes;
            place
        };
        Self { version: VERSION, levels: levels.iter().map(|(level, bytes)| (*level, place(bytes))).collect() }
    }

    /// Where a level lies; `None` when the file has none, or this program does not know its form.
    pub(crate) fn place(text: &str, level: Level) -> Option<Place> {
        let directory: Self = serde_json::from_str(text).ok()?;
        directory.levels.get(&level).filter(|_| directory.version == VERSION).cloned()
    }

    /// The value of [`KEY`].
    pub(crate) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("numbers and texts are JSON")
    }
}

impl Place {
    /// Whether these are the bytes that were written there.
    pub(crate) fn holds(&self, bytes: &[u8]) -> bool {
        bytes.len() as u64 == self.bytes && checksum(bytes) == self.checksum
    }
}

fn checksum(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests;
