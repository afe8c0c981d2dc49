//! What the writers measure.

use service::telemetry::Metric;

pub(super) const METRICS: [Metric; 15] = [
    Metric::Counter("tidemark_pipeline_events_total", "Events read from the journal, by what became of them: row, duplicate, quarantined."),
    Metric::Gauge("tidemark_pipeline_lag_messages", "Messages in the journal that were not read yet."),
    Metric::Gauge("tidemark_pipeline_lag_seconds", "How far reading is behind publishing, in time; 0 when everything is read."),
    Metric::Gauge("tidemark_pipeline_uncommitted_messages", "Messages that were read and are not in the table yet."),
    Metric::Gauge("tidemark_pipeline_tail_bytes", "Memory of the rows that are not in the table yet."),
    Metric::Gauge("tidemark_pipeline_dedup_bytes", "Memory of the identities of events."),
    Metric::Gauge("tidemark_pipeline_tidemark", "The last sequence that is in the table."),
    Metric::Histogram("tidemark_pipeline_commit_duration_seconds", "From a full batch to its commit, waiting for the store included."),
    Metric::Histogram("tidemark_pipeline_commit_rows", "Rows of a commit."),
    Metric::Histogram("tidemark_pipeline_commit_bytes", "Size of the Parquet files of a commit."),
    Metric::Counter("tidemark_pipeline_store_errors_total", "Tries to write or commit that failed; each is followed by another."),
    Metric::Counter("tidemark_pipeline_restarts_total", "Writers that started again from the table."),
    Metric::Gauge("tidemark_journal_bytes", "What the journal's messages take on disk."),
    Metric::Counter("tidemark_journal_gap_messages_total", "Messages that were gone from the journal before they were read."),
    Metric::Counter("tidemark_journal_consumer_restarts_total", "Consumers that were replaced by a new one, by reason."),
];
