//! A Parquet file of a table, with what a query needs to skip it.

use std::{collections::HashMap, sync::Arc};

use chrono::DateTime;
use deltalake_core::kernel::{Add, LogicalFileView, Remove};
use schemas::{EventDate, Sequence, ShardId, tables::EVENT_DATE};
use serde::Deserialize;
use serde_json::{Map, Value};

/// A Parquet file. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// Relative to the store: `events/event_date=2026-11-21/….parquet`.
    pub path: Arc<str>,
    /// The partition in which all its rows lie. The column `event_date` is not in the file.
    pub date: EventDate,
    /// Size of the file.
    pub size_bytes: u64,
    /// Number of rows.
    pub rows: u64,
    /// When the file was written, milliseconds since 1970.
    pub written_at_ms: i64,
    /// Ranges of its values.
    pub stats: Arc<FileStats>,
}

/// Inclusive ranges that hold all values of a file; `None` when unknown. A range may be wider than the values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStats {
    /// Event time, microseconds since 1970.
    pub timestamp: Option<(i64, i64)>,
    /// Names of events; long ones are cut, the upper bound rounded up.
    pub event_name: Option<(String, String)>,
    /// Shards of the journal.
    pub shards: Option<(ShardId, ShardId)>,
    /// Sequences in those shards.
    pub sequences: Option<(Sequence, Sequence)>,
    /// As in the Delta log, with every column.
    json: String,
}

/// Delta cuts times to milliseconds; the greatest value may lie anywhere in its millisecond.
const LAST_US_OF_MS: i64 = 999;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    num_records: u64,
    #[serde(default)]
    min_values: Map<String, Value>,
    #[serde(default)]
    max_values: Map<String, Value>,
}

impl Json {
    fn range<'a, T>(&'a self, column: &str, value: impl Fn(&'a Value) -> Option<T>) -> Option<(T, T)> {
        Some((value(self.min_values.get(column)?)?, value(self.max_values.get(column)?)?))
    }
}

/// Rows and ranges from the statistics of the Delta log, or `None` when they do not even tell the number of rows.
pub(crate) fn parse_stats(json: String) -> Option<(u64, FileStats)> {
    let parsed: Json = serde_json::from_str(&json).ok()?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let shard = |value: &Value| value.as_u64().and_then(|shard| u16::try_from(shard).ok()).map(ShardId);
    let stats = FileStats {
        timestamp: parsed.range("timestamp", time_us).map(|(least, greatest)| (least, greatest + LAST_US_OF_MS)),
        event_name: parsed.range("event_name", text),
        shards: parsed.range("_shard", shard),
        sequences: parsed.range("_sequence", |value| value.as_u64().map(Sequence)),
        json,
    };
    Some((parsed.num_records, stats))
}

fn time_us(value: &Value) -> Option<i64> {
    Some(DateTime::parse_from_rfc3339(value.as_str()?).ok()?.timestamp_micros())
}

impl DataFile {
    /// A file of the table's current version, or what is wrong with it.
    pub(crate) fn from_log(table: &str, file: &LogicalFileView) -> Result<Self, String> {
        let path = file.path();
        let broken = |what: &str| format!("file `{path}` {what}");
        if path.contains("://") || file.deletion_vector_descriptor().is_some() {
            return Err(broken("lies elsewhere or has a deletion vector"));
        }
        let partition = file.partition_values_map();
        let date = partition.get(EVENT_DATE).and_then(Option::as_deref).and_then(EventDate::parse);
        let (rows, stats) = file.stats().and_then(parse_stats).ok_or_else(|| broken("has no statistics"))?;
        Ok(Self {
            path: format!("{table}/{path}").into(),
            date: date.ok_or_else(|| broken("has no event_date"))?,
            size_bytes: u64::try_from(file.size()).map_err(|_| broken("has a negative size"))?,
            rows,
            written_at_ms: file.modification_time(),
            stats: Arc::new(stats),
        })
    }

    /// The action that puts the file into the table.
    pub(crate) fn to_add(&self, table: &str) -> Add {
        Add {
            path: self.path_in(table).to_owned(),
            partition_values: HashMap::from([(EVENT_DATE.to_owned(), Some(self.date.to_string()))]),
            size: i64::try_from(self.size_bytes).expect("a file has fewer than 2^63 bytes"),
            modification_time: self.written_at_ms,
            data_change: true,
            stats: Some(self.stats.json.clone()),
            ..Add::default()
        }
    }

    /// The action that takes the file out of the table.
    pub(crate) fn to_remove(&self, table: &str, deleted_at_ms: i64) -> Remove {
        let Add { path, partition_values, size, .. } = self.to_add(table);
        Remove {
            path,
            data_change: true,
            deletion_timestamp: Some(deleted_at_ms),
            extended_file_metadata: Some(true),
            partition_values: Some(partition_values),
            size: Some(size),
            ..Remove::default()
        }
    }

    /// The path relative to the table's folder.
    pub(crate) fn path_in(&self, table: &str) -> &str {
        self.path.strip_prefix(table).and_then(|path| path.strip_prefix('/')).unwrap_or(&self.path)
    }
}
