//! The rows of the two tables, as Arrow schemas. The order of the fields is the order in Parquet.

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

/// The partition column of both tables: the UTC day of the event time (`quarantine`: of the arrival).
pub const EVENT_DATE: &str = "event_date";

/// The version of both row schemas; kept in the table's properties and in every block.
pub const SCHEMA_VERSION: u32 = 1;

/// UTC microseconds, the only time type in Tidemark.
#[must_use]
pub fn timestamp_type() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// The type of `tags`.
#[must_use]
pub fn tags_type() -> DataType {
    DataType::List(Arc::new(Field::new("element", DataType::Utf8, true)))
}

/// `events`: one row for each event.
#[must_use]
pub fn events() -> SchemaRef {
    static EVENTS: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("timestamp", timestamp_type(), false),
            Field::new(EVENT_DATE, DataType::Date32, false),
            Field::new("event_id", DataType::Utf8, true),
            Field::new("event_name", DataType::Utf8, false),
            Field::new("user_id", DataType::Utf8, true),
            Field::new("channel", DataType::Utf8, true),
            Field::new("campaign_id", DataType::Utf8, true),
            Field::new("site_id", DataType::Utf8, true),
            Field::new("path", DataType::Utf8, true),
            Field::new("tags", tags_type(), true),
            Field::new("metadata", DataType::Utf8, true),
            Field::new("received_at", timestamp_type(), false),
            Field::new("_shard", DataType::Int32, false),
            Field::new("_sequence", DataType::Int64, false),
            Field::new("_index", DataType::Int32, false),
        ]))
    });
    Arc::clone(&EVENTS)
}

/// `quarantine`: one row for each thing that was durable but is no event.
#[must_use]
pub fn quarantine() -> SchemaRef {
    static QUARANTINE: LazyLock<SchemaRef> = LazyLock::new(|| {
        Arc::new(Schema::new(vec![
            Field::new("received_at", timestamp_type(), false),
            Field::new(EVENT_DATE, DataType::Date32, false),
            Field::new("code", DataType::Utf8, false),
            Field::new("message", DataType::Utf8, false),
            Field::new("raw", DataType::Binary, false),
            Field::new("_shard", DataType::Int32, false),
            Field::new("_sequence", DataType::Int64, false),
            Field::new("_index", DataType::Int32, false),
        ]))
    });
    Arc::clone(&QUARANTINE)
}
