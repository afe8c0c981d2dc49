//! What the queries measure.

use std::{future::Future, time::Instant};

use axum::response::Response;
use service::telemetry::{Metric, traces::TARGET};
use tracing::{Instrument, field};

use crate::error::Error;

pub(crate) const METRICS: [Metric; 2] = [
    Metric::Histogram("tidemark_query_duration_seconds", "From a question to the head of its answer, by kind and result."),
    Metric::Counter("tidemark_query_files_total", "Files that metrics were counted in, by where the counts came from."),
];

/// A file was counted: from what was `kept`, from its `summary`, or from its `rows`.
pub(crate) fn file(source: &'static str) {
    metrics::counter!("tidemark_query_files_total", "source" => source).increment(1);
}

/// Answers, and measures how long that took and what came of it, for metrics and for traces. The question itself is told to neither.
pub(crate) async fn measured(kind: &'static str, answer: impl Future<Output = Result<Response, Error>>) -> Result<Response, Error> {
    let began = Instant::now();
    let span = tracing::debug_span!(
        target: TARGET,
        "query",
        otel.name = format!("query {kind}"),
        otel.kind = "internal",
        tidemark.query.kind = kind,
        tidemark.query.result = field::Empty,
    );
    let answer = answer.instrument(span.clone()).await;
    let result = answer.as_ref().map_or_else(Error::result, |_| "ok");
    span.record("tidemark.query.result", result);
    metrics::histogram!("tidemark_query_duration_seconds", "kind" => kind, "result" => result).record(began.elapsed());
    answer
}
