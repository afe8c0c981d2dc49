//! Where an event stands in the journal: (shard, sequence, index).
//!
//! A shard is one stream, so its sequences are contiguous and start at 1. The index counts the events inside one message.
//! The three together are the natural key of a row (INVARIANTS I2, I3).

use std::{fmt, num::ParseIntError, str::FromStr};

use serde::{Deserialize, Serialize};

/// One shard of the journal, counted from 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ShardId(pub u16);

/// A message's number in its shard. The first message has 1; [`Sequence::ZERO`] stands before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Before the first message: "nothing yet".
    pub const ZERO: Self = Self(0);

    /// The sequence that must follow this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// Where an event, or a whole message when `index` is absent, stands: `shard:sequence[:index]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The shard.
    pub shard: ShardId,
    /// The message in the shard.
    pub sequence: Sequence,
    /// The event in the message, counted from 0.
    pub index: Option<u32>,
}

/// A position that is not `shard:sequence` or `shard:sequence:index`.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is no position; write `shard:sequence` or `shard:sequence:index`, for example `0:1234`")]
pub struct ParsePositionError {
    text: String,
    #[source]
    source: Option<ParseIntError>,
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.shard, self.sequence)?;
        self.index.map_or(Ok(()), |index| write!(f, ":{index}"))
    }
}

impl FromStr for Position {
    type Err = ParsePositionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let broken = |source| ParsePositionError { text: text.to_owned(), source };
        let parts: Vec<&str> = text.split(':').collect();
        let (shard, sequence, index) = match parts[..] {
            [shard, sequence] => (shard, sequence, None),
            [shard, sequence, index] => (shard, sequence, Some(index)),
            _ => return Err(broken(None)),
        };
        let broken = |source| broken(Some(source));
        Ok(Self {
            shard: ShardId(shard.parse().map_err(broken)?),
            sequence: Sequence(sequence.parse().map_err(broken)?),
            index: index.map(str::parse).transpose().map_err(broken)?,
        })
    }
}
