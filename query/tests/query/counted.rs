//! Counts: those of the model, and those of an answer.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, FixedOffset, SecondsFormat};
use serde_json::{Value, json};

use crate::rows::Row;

/// The model's counts: events, and different users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) total: u64,
    pub(crate) unique: u64,
}

pub(crate) fn counts<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Counts {
    let mut users = HashSet::new();
    let mut total = 0;
    for row in rows {
        total += 1;
        users.extend(row.user_id.as_deref());
    }
    Counts { total, unique: users.len() as u64 }
}

/// The model's groups. A row is in the group of each of its keys.
pub(crate) fn grouped<'a, K: Ord>(rows: impl IntoIterator<Item = &'a Row>, keys: impl Fn(&Row) -> Vec<K>) -> BTreeMap<K, Counts> {
    let mut groups: BTreeMap<K, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        for key in keys(row) {
            groups.entry(key).or_default().push(row);
        }
    }
    groups.into_iter().map(|(key, rows)| (key, counts(rows))).collect()
}

/// What an answer or a group of one counts.
pub(crate) fn totals(answer: &Value) -> Counts {
    Counts { total: answer["total_events"].as_u64().unwrap(), unique: answer["unique_users"].as_u64().unwrap() }
}

/// The groups of an answer, by the text of their key or keys.
pub(crate) fn groups(answer: &Value) -> BTreeMap<String, Counts> {
    answer["data"].as_array().unwrap().iter().map(|group| (key(group), totals(group))).collect()
}

/// The text of a group's key or keys.
pub(crate) fn key(group: &Value) -> String {
    group.get("group").or_else(|| group.get("groups")).unwrap().to_string()
}

/// A group's text or absence as [`groups`] has it.
pub(crate) fn text(value: Option<&str>) -> String {
    json!(value).to_string()
}

pub(crate) fn utc(us: i64) -> DateTime<FixedOffset> {
    DateTime::from_timestamp_micros(us).unwrap().fixed_offset()
}

/// A group's time as [`groups`] has it.
pub(crate) fn label(time: DateTime<FixedOffset>) -> String {
    text(Some(&time.to_rfc3339_opts(SecondsFormat::Secs, true)))
}
