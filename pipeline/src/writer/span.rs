//! The span of a commit, named as OpenTelemetry's conventions for messaging say: many messages, one commit.
//!
//! It is a trace of its own, linked to the spans that published the messages.

use schemas::ShardId;
use service::telemetry::traces::{Links, TARGET};
use table::DataFile;
use tracing::{Span, field};

use super::{
    batch::Batch,
    committer::{Base, Error},
};

/// The spans that published the messages of a batch.
pub(super) type Publishes = Links<32>;

/// The span of a batch of messages of a stream.
pub(super) fn begin(stream: &str, shard: ShardId, batch: &Batch) -> Span {
    let span = tracing::debug_span!(
        target: TARGET,
        "commit",
        otel.name = format!("commit {stream}"),
        otel.kind = "consumer",
        otel.status_code = field::Empty,
        messaging.system = "nats",
        messaging.operation.name = "commit",
        messaging.operation.type = "process",
        messaging.destination.name = stream,
        messaging.destination.partition.id = %shard,
        messaging.batch.message_count = (batch.last.0 - batch.after.0) as i64,
        error.type = field::Empty,
        tidemark.tidemark = batch.last.0 as i64,
        tidemark.rows = field::Empty,
        tidemark.files = field::Empty,
        tidemark.table.version = field::Empty,
    );
    batch.publishes.link_to(&span);
    span
}

/// The files that become part of the table.
pub(super) fn describe(span: &Span, files: &[DataFile]) {
    span.record("tidemark.rows", files.iter().map(|file| file.rows as i64).sum::<i64>());
    span.record("tidemark.files", files.len() as i64);
}

/// What it came to.
pub(super) fn end(span: &Span, committed: &Result<Base, Error>) {
    match committed {
        Ok(base) => span.record("tidemark.table.version", base.events().version() as i64),
        Err(error) => span.record("otel.status_code", "ERROR").record("error.type", error_type(error)),
    };
}

/// One of few words.
fn error_type(error: &Error) -> &'static str {
    match error {
        Error::Fenced { .. } => "fenced",
        Error::Rebuilt { .. } => "rebuilt",
        Error::Unwritable { .. } => "unwritable",
    }
}
