//! Which part of the journal is replayed: positions, or the times at which the journal received the messages.
//!
//! A time becomes a position while the messages pass; before that a [`Range`] holds nothing.

use std::{
    collections::BTreeMap,
    fmt,
    ops::{Bound, RangeBounds},
};

use anyhow::{Context, ensure};
use chrono::{DateTime, SecondsFormat, Utc};
use journal::Delivery;
use schemas::{Position, Sequence, ShardId};
use serde::Serialize;
use table::DataFile;

use crate::metrics::when;

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A message or an item of one, itself included.
    Position(Position),
    /// Messages received then belong to it.
    Time(DateTime<Utc>),
}

impl End {
    /// Reads `0:1234`, `2026-11-21T09:30:00Z`, seconds since 1970, or `-2h`.
    pub(super) fn parse(text: &str, now: DateTime<Utc>) -> anyhow::Result<Self> {
        if let Ok(position) = text.parse() {
            return Ok(Self::Position(position));
        }
        let instant = query::parse_instant(&when::instant(text, now)?).and_then(schemas::Timestamp::to_utc);
        instant.map(Self::Time).with_context(|| {
            format!(
                "`{text}` is no position and no time; write `shard:sequence` such as `0:1234`, RFC 3339 text such as \
                 `2026-11-21T09:30:00Z`, seconds since 1970, or a time before now such as `-2h`"
            )
        })
    }

    const fn shard(self) -> Option<ShardId> {
        match self {
            Self::Position(position) => Some(position.shard),
            Self::Time(_) => None,
        }
    }
}

/// As `--from` and `--to` take it.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Position(position) => write!(f, "{position}"),
            Self::Time(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
        }
    }
}

/// A range as a report names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Asked {
    from: Option<String>,
    to: Option<String>,
    shard: Option<ShardId>,
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, shard } = self;
        let (from, to) = (from.as_deref().unwrap_or("the first message"), to.as_deref().unwrap_or("the last one that is committed"));
        write!(f, "from {from} to {to}")?;
        shard.map_or(Ok(()), |shard| write!(f, ", shard {shard}"))
    }
}

/// From one end to another; without an end, as far as the journal reaches.
#[derive(Clone, Debug)]
pub(super) struct Range {
    from: Option<End>,
    to: Option<End>,
    /// The only shard, if it is one.
    shard: Option<ShardId>,
    seen: BTreeMap<ShardId, Seen>,
}

/// What the messages of a shard have told about times.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// The first message that is new enough; zero when that is the first that there is.
    first: Option<Sequence>,
    /// The last message that is old enough.
    last: Option<Sequence>,
    any: bool,
}

/// How much of a file lies in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Nothing,
    Some,
    All,
}

/// The place of an item in its shard.
type Place = (Sequence, u32);

impl Range {
    /// # Errors
    /// When the ends and the shard contradict each other.
    pub(super) fn new(from: Option<End>, to: Option<End>, shard: Option<ShardId>) -> anyhow::Result<Self> {
        let shards: Vec<ShardId> = [from.and_then(End::shard), to.and_then(End::shard), shard].into_iter().flatten().collect();
        if let Some(pair) = shards.windows(2).find(|pair| pair[0] != pair[1]) {
            anyhow::bail!(
                "a position is of one shard, and these are of the shards {} and {}; give times to replay several",
                pair[0],
                pair[1]
            );
        }
        let is_backwards = match (from, to) {
            (Some(End::Position(from)), Some(End::Position(to))) => {
                (to.sequence, to.index.unwrap_or(u32::MAX)) < (from.sequence, from.index.unwrap_or(0))
            }
            (Some(End::Time(from)), Some(End::Time(to))) => to < from,
            _ => false,
        };
        ensure!(!is_backwards, "`--to` lies before `--from`");
        Ok(Self { from, to, shard: shards.first().copied(), seen: BTreeMap::new() })
    }

    /// What was asked for; `None` for everything.
    pub(super) fn asked(&self) -> Option<Asked> {
        let Self { from, to, shard, .. } = *self;
        let text = |end: Option<End>| end.map(|end| end.to_string());
        (from.is_some() || to.is_some() || shard.is_some()).then(|| Asked { from: text(from), to: text(to), shard })
    }

    /// The only shard, if it is one.
    pub(super) const fn shard(&self) -> Option<ShardId> {
        self.shard
    }

    /// A message passes.
    pub(super) fn see(&mut self, delivery: &Delivery) {
        let seen = self.seen.entry(delivery.shard).or_default();
        if seen.first.is_none() && matches!(self.from, Some(End::Time(from)) if delivery.published_at >= from) {
            seen.first = Some(if seen.any { delivery.sequence } else { Sequence::ZERO });
        }
        if matches!(self.to, Some(End::Time(to)) if delivery.published_at <= to) {
            seen.last = Some(delivery.sequence);
        }
        seen.any = true;
    }

    /// Whether an item lies in it.
    pub(super) fn holds(&self, position: Position) -> bool {
        let index = position.index.unwrap_or_default();
        self.places(position.shard).is_some_and(|places| places.contains(&(position.sequence, index)))
    }

    /// How much of a file lies in it, as far as the file's statistics tell.
    pub(super) fn part_of(&self, file: &DataFile) -> Part {
        let (first, last) = file.stats.shards.unwrap_or((ShardId(0), ShardId(u16::MAX)));
        let parts: Vec<Part> = (first.0..=last.0).map(|shard| self.part(ShardId(shard), file.stats.sequences)).collect();
        match parts.first() {
            Some(one) if parts.iter().all(|part| part == one) => *one,
            _ => Part::Some,
        }
    }

    fn part(&self, shard: ShardId, sequences: Option<(Sequence, Sequence)>) -> Part {
        let (first, last) = sequences.unwrap_or((Sequence::ZERO, Sequence(u64::MAX)));
        let Some(places) = self.places(shard) else { return Part::Nothing };
        if places.contains(&(first, 0)) && places.contains(&(last, u32::MAX)) {
            return Part::All;
        }
        let is_before = match places.1 {
            Bound::Included(end) => end < (first, 0),
            _ => false,
        };
        let is_after = match places.0 {
            Bound::Included(start) => start > (last, u32::MAX),
            _ => false,
        };
        if is_before || is_after { Part::Nothing } else { Part::Some }
    }

    /// The places of a shard; `None` when it is not replayed.
    fn places(&self, shard: ShardId) -> Option<(Bound<Place>, Bound<Place>)> {
        if self.shard.is_some_and(|only| only != shard) {
            return None;
        }
        let seen = self.seen.get(&shard).copied().unwrap_or_default();
        let from = match self.from {
            None => Bound::Unbounded,
            Some(End::Position(from)) => Bound::Included((from.sequence, from.index.unwrap_or(0))),
            Some(End::Time(_)) => Bound::Included((seen.first?, 0)),
        };
        let to = match self.to {
            None => Bound::Unbounded,
            Some(End::Position(to)) => Bound::Included((to.sequence, to.index.unwrap_or(u32::MAX))),
            Some(End::Time(_)) => Bound::Included((seen.last?, u32::MAX)),
        };
        Some((from, to))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn end(text: &str) -> End {
        End::parse(text, "2026-11-21T12:00:00Z".parse().unwrap()).unwrap()
    }

    fn range(from: Option<&str>, to: Option<&str>) -> Range {
        Range::new(from.map(end), to.map(end), None).unwrap()
    }

    fn message(sequence: u64, at: &str) -> Delivery {
        let published_at = at.parse().unwrap();
        Delivery { shard: ShardId(0), sequence: Sequence(sequence), payload: Bytes::new(), trace: None, published_at }
    }

    fn holds(range: &Range, position: &str) -> bool {
        range.holds(position.parse().unwrap())
    }

    #[test]
    fn an_end_is_a_position_or_a_time_and_anything_else_is_told_what_would_be_right() {
        assert_eq!(end("0:1234"), End::Position("0:1234".parse().unwrap()));
        for time in ["2026-11-21T10:00:00Z", "-2h", "1795255200", "1795255200000"] {
            assert_eq!(end(time), End::Time("2026-11-21T10:00:00Z".parse().unwrap()), "{time}");
        }
        let error = End::parse("yesterday", DateTime::<Utc>::MIN_UTC).unwrap_err().to_string();
        assert!(error.contains("`0:1234`") && error.contains("`2026-11-21T09:30:00Z`") && error.contains("`-2h`"), "{error}");
    }

    #[test]
    fn positions_hold_both_ends_and_name_their_shard() {
        let some = range(Some("0:5:2"), Some("0:7"));
        assert_eq!(["0:5:1", "0:5:2", "0:7:999", "0:8:0", "1:6:0"].map(|at| holds(&some, at)), [false, true, true, false, false]);
        let all = range(None, None);
        assert!(holds(&all, "0:1:0") && holds(&all, "9:1:0"));
        assert!(Range::new(Some(end("0:1")), Some(end("1:2")), None).unwrap_err().to_string().contains("of the shards 0 and 1"));
        assert!(Range::new(Some(end("0:1")), None, Some(ShardId(3))).is_err());
        assert!(Range::new(Some(end("0:2")), Some(end("0:1")), None).unwrap_err().to_string().contains("lies before"));
    }

    #[test]
    fn a_report_names_the_range_that_was_asked_for() {
        let named = |from, to| range(from, to).asked().map(|asked| asked.to_string());
        assert_eq!(named(None, None), None);
        assert_eq!(named(Some("0:5:2"), Some("-2h")).as_deref(), Some("from 0:5:2 to 2026-11-21T10:00:00Z, shard 0"));
        assert_eq!(named(Some("-1h"), None).as_deref(), Some("from 2026-11-21T11:00:00Z to the last one that is committed"));
    }

    #[test]
    fn a_time_is_that_of_the_message() {
        let mut some = range(Some("2026-11-21T10:00:00Z"), Some("2026-11-21T11:00:00Z"));
        assert!(!holds(&some, "0:5:0"), "nothing has passed");
        for (sequence, at) in
            [(4, "2026-11-21T09:59:59Z"), (5, "2026-11-21T10:00:00Z"), (6, "2026-11-21T11:00:00Z"), (7, "2026-11-21T11:00:01Z")]
        {
            some.see(&message(sequence, at));
        }
        assert_eq!(["0:4:0", "0:5:0", "0:6:9", "0:7:0"].map(|at| holds(&some, at)), [false, true, true, false]);
        let mut early = range(Some("2026-11-20T00:00:00Z"), None);
        early.see(&message(4, "2026-11-21T09:59:59Z"));
        assert!(holds(&early, "0:1:0"), "what the journal no longer has is not later than what it has");
    }
}
