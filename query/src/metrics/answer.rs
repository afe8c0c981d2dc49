//! What `/metrics` answers, in the shape and the member order of the contract.

use std::{
    borrow::Cow,
    cmp::{Ordering, Reverse},
    collections::{BTreeMap, HashMap},
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use schemas::Timestamp;
use serde::{Serialize, Serializer};
use table::Users;

use super::question::{Dimension, MetricsQuestion, Order, Uniques};
use crate::{cut::Cut, params::BadParameter};

/// One part of a group's key. Absent texts come last.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// The start of a time bucket.
    Time(i64),
    /// The value of a column, or a tag.
    Text(Option<String>),
}

/// The counts of one group, or of everything when there are no keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    /// In the order of `group_by`.
    pub(crate) keys: Vec<Key>,
    /// Events.
    pub(crate) total: u64,
    /// Users.
    pub(crate) unique: u64,
}

impl Key {
    /// The memory of its text.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Text(Some(text)) => text.len(),
            Self::Text(None) | Self::Time(_) => 0,
        }
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Time(a), Self::Time(b)) => a.cmp(b),
            (Self::Text(a), Self::Text(b)) => (a.is_none(), a).cmp(&(b.is_none(), b)),
            (Self::Time(_), Self::Text(_)) => Ordering::Less,
            (Self::Text(_), Self::Time(_)) => Ordering::Greater,
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The groups of an answer: filled, ordered and limited as the question says, and whether groups had to be left out.
///
/// # Errors
/// `fill=zero` that would make more groups than an answer may have.
pub(super) fn arrange(mut groups: Vec<Measured>, question: &MetricsQuestion) -> Result<(Vec<Measured>, bool), BadParameter> {
    if let Some(buckets) = &question.fill {
        groups = filled(groups, buckets, question)?;
    }
    sort(&mut groups, question);
    let most = question.limit.unwrap_or(question.max_groups);
    let is_truncated = question.limit.is_none() && groups.len() > most;
    groups.truncate(most);
    Ok((groups, is_truncated))
}

/// Every bucket, with every value of the other dimension that occurs.
fn filled(groups: Vec<Measured>, buckets: &[i64], question: &MetricsQuestion) -> Result<Vec<Measured>, BadParameter> {
    let (place, _) = question.time().expect("a question that fills has a time dimension");
    let without_time =
        |group: &Measured| group.keys.iter().enumerate().filter(|(at, _)| *at != place).map(|(_, key)| key.clone()).collect::<Vec<_>>();
    let mut others: Vec<Vec<Key>> = groups.iter().map(without_time).collect();
    others.sort();
    others.dedup();
    if question.group_by.len() == 1 {
        others = vec![Vec::new()];
    }
    if buckets.len() * others.len() > question.max_groups {
        let message = format!(
            "{} buckets times {} values are more than {} groups; choose a longer unit or a shorter range",
            buckets.len(),
            others.len(),
            question.max_groups
        );
        return Err(BadParameter::new("fill", message));
    }
    let mut found: HashMap<Vec<Key>, Measured> = groups.into_iter().map(|group| (group.keys.clone(), group)).collect();
    let cells = buckets.iter().flat_map(|bucket| others.iter().map(|other| with_time(other, place, *bucket)));
    Ok(cells.map(|keys| found.remove(&keys).unwrap_or(Measured { keys, total: 0, unique: 0 })).collect())
}

fn with_time(other: &[Key], place: usize, bucket: i64) -> Vec<Key> {
    let mut keys = other.to_vec();
    keys.insert(place, Key::Time(bucket));
    keys
}

fn sort(groups: &mut [Measured], question: &MetricsQuestion) {
    let times = |group: &Measured| group.keys.iter().filter(|key| matches!(key, Key::Time(_))).cloned().collect::<Vec<_>>();
    match question.order {
        Order::Key => groups.sort_by(|a, b| a.keys.cmp(&b.keys)),
        Order::TotalDescending => groups.sort_by(|a, b| (Reverse(a.total), &a.keys).cmp(&(Reverse(b.total), &b.keys))),
        Order::Natural => groups.sort_by(|a, b| (times(a), Reverse(a.total), &a.keys).cmp(&(times(b), Reverse(b.total), &b.keys))),
    }
}

/// Totals over everything that was asked for, and one entry for each group.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Metrics")]
pub(crate) struct MetricsAnswer {
    /// The filter, as asked.
    event_name: Option<String>,
    /// The first instant, in seconds since 1970.
    from: Seconds,
    /// The last instant, itself included, in seconds since 1970.
    to: Seconds,
    /// As asked.
    grouped_by: Option<String>,
    /// The same as `grouped_by`.
    group_by: Option<String>,
    /// Events, never the sum of the groups.
    total_events: u64,
    /// Different users, never the sum of the groups.
    unique_users: u64,
    /// How users were counted: `exact` or `approx`.
    uniques: &'static str,
    /// Of approximate numbers of users: the relative error that they keep in 95 of 100 cases.
    #[serde(skip_serializing_if = "Option::is_none")]
    uniques_error: Option<f64>,
    /// The groups; empty without `group_by`.
    data: Vec<GroupAnswer>,
    /// Shard to sequence: up to where the journal's events are in the answer.
    as_of: BTreeMap<u16, u64>,
    /// Whether events that are not committed yet are in the answer.
    fresh: bool,
    /// How long it took.
    took_ms: u64,
}

/// One group: `group` with one dimension, `groups` with two.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Group")]
struct GroupAnswer {
    /// The value of the dimension; null for events without. Of time: RFC 3339 text of the bucket's start.
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Option<String>>,
    /// The values of both dimensions, as named in `group_by`.
    #[serde(skip_serializing_if = "Option::is_none")]
    groups: Option<Vec<Option<String>>>,
    /// The start of the time bucket, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    bucket_start: Option<Seconds>,
    /// Events of the group.
    total_events: u64,
    /// Different users of the group.
    unique_users: u64,
}

/// Microseconds, written as seconds since 1970: a whole number where it is one.
#[derive(Clone, Copy, Debug)]
struct Seconds(i64);

impl Serialize for Seconds {
    #[expect(
        clippy::cast_precision_loss,
        reason = "microseconds of the years 0 to 9999 need at most 58 bits; a double is off by less than 32 us at the far end"
    )]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 1_000_000 == 0 { serializer.serialize_i64(self.0 / 1_000_000) } else { serializer.serialize_f64(self.0 as f64 / 1e6) }
    }
}

impl JsonSchema for Seconds {
    fn schema_name() -> Cow<'static, str> {
        "Seconds".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "number"})
    }
}

impl From<Timestamp> for Seconds {
    fn from(timestamp: Timestamp) -> Self {
        Self(timestamp.0)
    }
}

impl MetricsAnswer {
    /// The answer to a question from one cut.
    pub(super) fn new(question: &MetricsQuestion, cut: &Cut, totals: &Measured, groups: &[Measured], took_ms: u64) -> Self {
        Self {
            event_name: question.filters.event_name().map(str::to_owned),
            from: question.from.into(),
            to: question.to.into(),
            grouped_by: question.grouped_by.clone(),
            group_by: question.grouped_by.clone(),
            total_events: totals.total,
            unique_users: totals.unique,
            uniques: match question.uniques {
                Uniques::Exact => "exact",
                Uniques::Approximate => "approx",
            },
            uniques_error: (question.uniques == Uniques::Approximate).then_some(Users::ERROR),
            data: groups.iter().map(|group| GroupAnswer::new(group, question)).collect(),
            as_of: cut.as_of(),
            fresh: cut.is_fresh(),
            took_ms,
        }
    }
}

impl GroupAnswer {
    fn new(group: &Measured, question: &MetricsQuestion) -> Self {
        let mut texts: Vec<Option<String>> =
            group.keys.iter().zip(&question.group_by).map(|(key, dimension)| text(key, *dimension, question)).collect();
        let bucket_start = question.time().map(|(place, _)| &group.keys[place]).and_then(|key| match key {
            Key::Time(start) => Some(Seconds(*start)),
            Key::Text(_) => None,
        });
        let single = (texts.len() == 1).then(|| texts.remove(0));
        let groups = single.is_none().then_some(texts);
        Self { group: single, groups, bucket_start, total_events: group.total, unique_users: group.unique }
    }
}

fn text(key: &Key, dimension: Dimension, question: &MetricsQuestion) -> Option<String> {
    match (key, dimension) {
        (Key::Time(start), Dimension::Time(unit)) => Some(question.buckets(unit).label(*start)),
        (Key::Text(text), _) => text.clone(),
        (Key::Time(_), _) => None,
    }
}

#[cfg(test)]
mod tests;
