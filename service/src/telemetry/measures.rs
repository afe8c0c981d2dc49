//! What a metric tells, for `# HELP` and for the test of docs/METRICS.md; and what every process measures of itself.

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

/// A metric with its name and one sentence. The name ends in the unit; counters end in `_total`.
#[derive(Clone, Copy, Debug)]
pub enum Metric {
    /// Only grows.
    Counter(&'static str, &'static str),
    /// Goes up and down.
    Gauge(&'static str, &'static str),
    /// How often which size.
    Histogram(&'static str, &'static str),
}

const MS_PER_SECOND: u64 = 1000;

/// Those of every process.
pub(super) const METRICS: [Metric; 10] = [
    Metric::Counter("http_requests_total", "Requests that were answered, by route and status; `none` is a path that does not exist."),
    Metric::Histogram("http_request_duration_seconds", "From the head of a request to the head of its answer."),
    Metric::Counter("http_connections_closed_total", "Connections that the server closed of its own accord, by reason."),
    Metric::Counter("tidemark_requests_refused_total", "Requests that were refused by keys or by limits, by the code of the answer."),
    Metric::Counter("tidemark_traces_spans_total", "Spans that were handed to the receiver of traces, by result: sent or lost."),
    Metric::Gauge("tidemark_build_info", "Always 1; the label tells the version that runs."),
    Metric::Gauge("process_resident_memory_bytes", "Memory of the process that is in RAM."),
    Metric::Counter("process_cpu_seconds_total", "CPU time of the process, user and system."),
    Metric::Gauge("process_open_fds", "Open files and connections of the process."),
    Metric::Gauge("process_start_time_seconds", "When the process started, in seconds since 1970."),
];

/// Gives metrics their help texts. Each role calls it once, when it is built.
pub fn describe(metrics: &[Metric]) {
    for metric in metrics {
        match *metric {
            Metric::Counter(name, help) => metrics::describe_counter!(name, help),
            Metric::Gauge(name, help) => metrics::describe_gauge!(name, help),
            Metric::Histogram(name, help) => metrics::describe_histogram!(name, help),
        }
    }
}

/// Says which version runs.
pub(super) fn report_build() {
    metrics::gauge!("tidemark_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

/// Looks at this process. Asked for by each scrape, so it costs nothing in between.
pub(super) fn report_process() {
    let mut system = System::new();
    let pid = Pid::from_u32(std::process::id());
    let kind = ProcessRefreshKind::nothing().with_memory().with_cpu();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, kind);
    let Some(process) = system.process(pid) else { return };
    metrics::gauge!("process_resident_memory_bytes").set(process.memory() as f64);
    metrics::counter!("process_cpu_seconds_total").absolute(process.accumulated_cpu_time() / MS_PER_SECOND);
    metrics::gauge!("process_start_time_seconds").set(process.start_time() as f64);
    if let Some(files) = process.open_files() {
        metrics::gauge!("process_open_fds").set(files as f64);
    }
}
