//! What maintenance measures.

use service::telemetry::Metric;

pub(super) const METRICS: [Metric; 4] = [
    Metric::Counter("tidemark_maintenance_merged_files_total", "Small files that became part of a larger one."),
    Metric::Counter("tidemark_maintenance_deleted_files_total", "Files deleted because no version of the tables needs them."),
    Metric::Counter("tidemark_maintenance_errors_total", "Rounds that failed; each is followed by another."),
    Metric::Gauge("tidemark_maintenance_unreadable_files", "Files that cannot be merged because they cannot be read."),
];
