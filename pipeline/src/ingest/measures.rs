//! What the door measures.

use service::telemetry::Metric;

pub(super) const METRICS: [Metric; 5] = [
    Metric::Counter("tidemark_ingest_events_total", "Events of requests, by result: accepted is on disk, rejected was wrong."),
    Metric::Histogram("tidemark_ingest_block_events", "Events in a block: one message, one sync."),
    Metric::Histogram("tidemark_ingest_block_bytes", "Size of a block."),
    Metric::Histogram("tidemark_ingest_publish_duration_seconds", "From handing a block to the journal to its acknowledgement."),
    Metric::Counter("tidemark_ingest_publish_errors_total", "Blocks that the journal did not acknowledge; their requests got 503."),
];
