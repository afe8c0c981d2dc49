//! The files of a table in numbers.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemas::EventDate;
use serde::{Serialize, Serializer};
use table::DataFile;

/// A file below this is small: opening it costs more than reading it.
pub(super) const SMALL_BYTES: u64 = 32 << 20;

/// What the files of a version hold.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Files {
    pub(crate) rows: u64,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) bytes_per_row: Option<f64>,
    /// Days that have a file.
    pub(super) partitions: u64,
    #[serde(serialize_with = "day")]
    pub(super) first_day: Option<EventDate>,
    #[serde(serialize_with = "day")]
    pub(super) last_day: Option<EventDate>,
    /// Event time of the oldest and of the newest row, to two milliseconds; `None` where the files do not tell it.
    pub(super) oldest: Option<DateTime<Utc>>,
    pub(super) newest: Option<DateTime<Utc>>,
    /// Files below [`SMALL_BYTES`] that have such a neighbour in their day, so that they could be one.
    pub(crate) small_files: u64,
    pub(super) small_bytes: u64,
    small_below_bytes: u64,
}

impl Files {
    pub(super) fn of(files: &[DataFile]) -> Self {
        let sum = |value: fn(&DataFile) -> u64| files.iter().map(value).sum::<u64>();
        let (rows, bytes) = (sum(|file| file.rows), sum(|file| file.size_bytes));
        let times = || files.iter().filter_map(|file| file.stats.timestamp);
        let days = files.iter().map(|file| file.date);
        let small = small(files);
        Self {
            rows,
            files: files.len() as u64,
            bytes,
            bytes_per_row: (rows > 0).then(|| bytes as f64 / rows as f64),
            partitions: days.clone().collect::<std::collections::BTreeSet<_>>().len() as u64,
            first_day: days.clone().min(),
            last_day: days.max(),
            oldest: times().map(|(least, _)| least).min().and_then(DateTime::from_timestamp_micros),
            newest: times().map(|(_, greatest)| greatest).max().and_then(DateTime::from_timestamp_micros),
            small_files: small.len() as u64,
            small_bytes: small.iter().map(|file| file.size_bytes).sum(),
            small_below_bytes: SMALL_BYTES,
        }
    }
}

/// The small files that have a small neighbour.
fn small(files: &[DataFile]) -> Vec<&DataFile> {
    let mut days: BTreeMap<EventDate, Vec<&DataFile>> = BTreeMap::new();
    for file in files.iter().filter(|file| file.size_bytes < SMALL_BYTES) {
        days.entry(file.date).or_default().push(file);
    }
    days.into_values().filter(|day| day.len() > 1).flatten().collect()
}

fn day<S: Serializer>(day: &Option<EventDate>, serializer: S) -> Result<S::Ok, S::Error> {
    day.map(|day| day.to_string()).serialize(serializer)
}
