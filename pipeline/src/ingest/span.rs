//! The span of a publish, named as OpenTelemetry's conventions for messaging say: many requests, one message.
//!
//! It is a child of the first request in the block, so that a lone request is one trace as far as the journal, and linked to all
//! of them. Its own context goes with the message.

use journal::{Message, Trace};
use schemas::ShardId;
use service::telemetry::traces::{Links, TARGET, TraceContext};
use tracing::{Span, field};

use super::{batcher::Refusal, open_block::Outcome};

/// The requests of a block that are traced.
pub(super) type Requests = Links<16>;

/// The span of a block that goes to a stream.
pub(super) fn begin(stream: &str, shard: ShardId, requests: &Requests) -> Span {
    let span = tracing::debug_span!(
        target: TARGET,
        "publish",
        otel.name = format!("publish {stream}"),
        otel.kind = "producer",
        otel.status_code = field::Empty,
        messaging.system = "nats",
        messaging.operation.name = "publish",
        messaging.operation.type = "send",
        messaging.destination.name = stream,
        messaging.destination.partition.id = %shard,
        messaging.message.id = field::Empty,
        messaging.message.body.size = field::Empty,
        error.type = field::Empty,
        tidemark.events = field::Empty,
        tidemark.sequence = field::Empty,
    );
    if let Some(request) = requests.first() {
        request.set_parent_of(&span);
    }
    requests.link_to(&span);
    span
}

/// What a message of this span carries.
pub(super) fn trace(span: &Span) -> Option<Trace> {
    TraceContext::of(span).and_then(|context| Trace::new(&context.to_string()))
}

/// What is sent.
pub(super) fn describe(span: &Span, message: &Message, events: usize) {
    span.record("messaging.message.id", message.id.as_str());
    span.record("messaging.message.body.size", message.payload.len() as i64);
    span.record("tidemark.events", events as i64);
}

/// What it came to.
pub(super) fn end(span: &Span, outcome: &Outcome) {
    match outcome {
        Ok(sequence) => span.record("tidemark.sequence", sequence.0 as i64),
        Err(refusal) => span.record("otel.status_code", "ERROR").record("error.type", error_type(refusal)),
    };
}

/// One of few words.
fn error_type(refusal: &Refusal) -> &'static str {
    use journal::PublishError::{AnotherStream, Full, NoAnswer, Refused, TooLarge};
    match refusal {
        Refusal::Busy { .. } => "busy",
        Refusal::Stopping => "stopping",
        Refusal::Journal(error) => match error.as_ref() {
            Full { .. } => "full",
            NoAnswer { .. } => "no_answer",
            TooLarge { .. } => "too_large",
            AnotherStream { .. } => "another_stream",
            Refused { .. } => "refused",
        },
    }
}
