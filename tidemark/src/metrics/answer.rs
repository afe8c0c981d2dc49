//! The members of an answer of `/metrics` that are shown.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::terminal;

/// How the value of a dimension is shown for events that have none.
const NONE: &str = "(none)";

/// Totals over everything that was asked for, and the groups.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    /// The first and the last instant, in seconds since 1970.
    pub(super) from: f64,
    pub(super) to: f64,
    pub(super) grouped_by: Option<String>,
    pub(super) total_events: u64,
    pub(super) unique_users: u64,
    /// `exact` or `approx`.
    pub(super) uniques: String,
    pub(super) data: Vec<Group>,
    /// Shard to sequence.
    pub(super) as_of: BTreeMap<u16, u64>,
    pub(super) fresh: bool,
    pub(super) took_ms: u64,
}

/// One group: the value of one dimension, or the values of two.
#[derive(Debug, Deserialize)]
pub(super) struct Group {
    group: Option<String>,
    groups: Option<Vec<Option<String>>>,
    bucket_start: Option<f64>,
    pub(super) total_events: u64,
    pub(super) unique_users: u64,
}

impl Answer {
    /// Whether the groups are times, one after the other.
    pub(super) fn is_timeline(&self) -> bool {
        let times: Option<Vec<f64>> = self.data.iter().map(|group| group.bucket_start.filter(|_| group.groups.is_none())).collect();
        times.is_some_and(|times| times.len() > 1 && times.is_sorted())
    }
}

impl Group {
    /// The values of the dimensions, fit for a terminal.
    pub(super) fn values(&self) -> Vec<String> {
        let values = self.groups.clone().unwrap_or_else(|| vec![self.group.clone()]);
        values.into_iter().map(|value| value.map_or_else(|| NONE.to_owned(), |value| terminal::visible_text(&value))).collect()
    }
}
