//! What a data file says about its rows without being scanned: events and users by day or hour, event name and channel.
//!
//! A summary is made from the rows that are about to be written and lies in the same Parquet file, between the row groups and the
//! footer, where other readers never look; so it cannot be out of step with them. The footer's key [`KEY`] tells where each
//! [`Level`] lies. A level is an Arrow IPC stream, its users are a CPC sketch of Apache DataSketches over the UTF-8 bytes of
//! `user_id`, so other tools can read both.
//!
//! ```text
//! PAR1 | row groups | of the day | by channel | by event | by both | by hour | by hour, channel | ... | page index | footer | PAR1
//! ```

use std::sync::Arc;

use serde::{Deserialize, Serialize};

mod directory;
mod make;
mod sketch;
mod stored;

pub use sketch::{Users, UsersUnion};
pub(crate) use {
    directory::Directory,
    make::Maker,
    stored::{decode, encode},
};

/// The entry of the Parquet footer that tells where the levels lie.
pub(crate) const KEY: &str = "tidemark.summary";

/// By what the cells of a summary are told apart. A level that would have too many cells is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing: a file is of one UTC day.
    Day,
    /// Channel.
    DayChannel,
    /// Event name.
    DayEvent,
    /// Event name and channel.
    DayEventChannel,
    /// Hour.
    Hour,
    /// Hour and channel.
    HourChannel,
    /// Hour and event name.
    HourEvent,
    /// Hour, event name and channel.
    HourEventChannel,
}

/// How much time a cell stands for, from a whole number of them since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// A UTC day.
    Day,
    /// An hour.
    Hour,
}

impl Level {
    /// The coarsest level that tells apart what must be told apart.
    #[must_use]
    pub const fn of(span: Span, event_name: bool, channel: bool) -> Self {
        match (span, event_name, channel) {
            (Span::Day, false, false) => Self::Day,
            (Span::Day, false, true) => Self::DayChannel,
            (Span::Day, true, false) => Self::DayEvent,
            (Span::Day, true, true) => Self::DayEventChannel,
            (Span::Hour, false, false) => Self::Hour,
            (Span::Hour, false, true) => Self::HourChannel,
            (Span::Hour, true, false) => Self::HourEvent,
            (Span::Hour, true, true) => Self::HourEventChannel,
        }
    }

    /// The time that each of its cells stands for.
    #[must_use]
    pub const fn span(self) -> Span {
        match self {
            Self::Day | Self::DayChannel | Self::DayEvent | Self::DayEventChannel => Span::Day,
            Self::Hour | Self::HourChannel | Self::HourEvent | Self::HourEventChannel => Span::Hour,
        }
    }

    const fn has_event_name(self) -> bool {
        matches!(self, Self::DayEvent | Self::DayEventChannel | Self::HourEvent | Self::HourEventChannel)
    }

    const fn has_channel(self) -> bool {
        matches!(self, Self::DayChannel | Self::DayEventChannel | Self::HourChannel | Self::HourEventChannel)
    }
}

impl Span {
    /// In microseconds.
    #[must_use]
    pub const fn us(self) -> i64 {
        match self {
            Self::Day => 24 * 3_600_000_000,
            Self::Hour => 3_600_000_000,
        }
    }

    /// The start of the one in which an instant is, in microseconds since 1970.
    #[must_use]
    pub const fn start_of(self, us: i64) -> i64 {
        us - us.rem_euclid(self.us())
    }
}

/// What the rows of a cell have in common, as far as the level tells them apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The first instant of the hour or the day, microseconds since 1970.
    pub start_us: i64,
    /// The event name, at a level that has one.
    pub event_name: Option<Arc<str>>,
    /// The channel; nothing for events without, and at a level that has none.
    pub channel: Option<Arc<str>>,
}

/// The rows of one place.
#[derive(Clone, Debug)]
pub struct Cell {
    /// What they have in common.
    pub place: Place,
    /// How many rows.
    pub events: u64,
    /// Their users.
    pub users: Users,
}

#[cfg(test)]
mod tests;
