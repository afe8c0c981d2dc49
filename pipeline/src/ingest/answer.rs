//! The answers of the three routes, good and bad, in the shapes of the HTTP contract.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode};
use journal::PublishError;
use schemars::JsonSchema;
use schemas::{Position, Violation};
use serde::Serialize;
use service::problem::{ItemError, Problem};

use super::batcher::Refusal;

/// The header that carries the position where the answer has no body.
const POSITION: &str = "tidemark-position";
/// Most errors listed in one answer; the rest is only counted.
const MAX_ERRORS: usize = 1000;
/// The status word of both bodies.
const ACCEPTED: &str = "accepted";
const RETRY_AFTER_SECONDS: u64 = 1;

/// 202 for one event.
pub(super) struct AcceptedOne {
    pub(super) event_id: String,
    pub(super) position: Position,
}

/// 202 for the good ones of many.
pub(super) struct AcceptedMany {
    pub(super) event_ids: Vec<String>,
    pub(super) rejected: usize,
    pub(super) errors: Vec<ItemError>,
    pub(super) positions: Vec<Position>,
}

/// 204 for a page view.
pub(super) struct PageViewAccepted(pub(super) AcceptedOne);

/// The event is on disk.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AcceptedEvent")]
pub(super) struct OneBody {
    /// Always `accepted`.
    status: &'static str,
    /// The client's own id, or one that is the same for every repeat of this event. SQL shows the same.
    event_id: String,
    /// Always 1.
    accepted: usize,
    /// Where it stands in the journal: shard, sequence, index. `at_least=` of a question waits for it.
    position: String,
}

/// The good events are on disk; the others are listed.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AcceptedEvents")]
pub(super) struct ManyBody {
    /// Always `accepted`.
    status: &'static str,
    /// How many are on disk.
    accepted: usize,
    /// The same as `accepted`.
    accepted_count: usize,
    /// How many are not, because they are wrong.
    rejected: usize,
    /// Of the accepted events, in their order.
    event_ids: Vec<String>,
    /// What is wrong with the others; of very many only the first.
    errors: Vec<ItemError>,
    /// The journal's messages that hold them: shard and sequence, joined by commas.
    position: String,
}

impl IntoResponse for AcceptedOne {
    fn into_response(self) -> Response {
        let body = OneBody { status: ACCEPTED, event_id: self.event_id, accepted: 1, position: self.position.to_string() };
        (StatusCode::ACCEPTED, Json(body)).into_response()
    }
}

impl IntoResponse for AcceptedMany {
    fn into_response(mut self) -> Response {
        let accepted = self.event_ids.len();
        self.errors.truncate(MAX_ERRORS);
        let body = ManyBody {
            status: ACCEPTED,
            accepted,
            accepted_count: accepted,
            rejected: self.rejected,
            event_ids: self.event_ids,
            errors: self.errors,
            position: messages(&self.positions),
        };
        (StatusCode::ACCEPTED, Json(body)).into_response()
    }
}

impl IntoResponse for PageViewAccepted {
    fn into_response(self) -> Response {
        let position = HeaderValue::try_from(self.0.position.to_string()).expect("a position is digits and colons");
        (StatusCode::NO_CONTENT, [(POSITION, position)]).into_response()
    }
}

/// The messages that hold a request's events, `shard:sequence`, joined by commas when there are several shards.
fn messages(positions: &[Position]) -> String {
    let texts: Vec<String> = positions.iter().map(|position| Position { index: None, ..*position }.to_string()).collect();
    texts.join(",")
}

/// The violations of one event as errors of the answer.
pub(super) fn item_errors(index: Option<usize>, violations: Vec<Violation>) -> Vec<ItemError> {
    let error = |violation: Violation| ItemError {
        index,
        pointer: violation.pointer,
        code: violation.code.as_str().into(),
        message: violation.message,
    };
    violations.into_iter().map(error).collect()
}

/// How many events the errors speak of; they stand in the order of the events.
pub(super) fn distinct_items(errors: &[ItemError]) -> usize {
    errors.chunk_by(|one, next| one.index == next.index).count()
}

/// 400: nothing of the request was stored.
pub(super) fn invalid(mut errors: Vec<ItemError>) -> Problem {
    let items = distinct_items(&errors);
    let detail = match errors.first() {
        Some(ItemError { index: Some(index), pointer, message, .. }) => {
            format!("nothing was stored: {items} of the events cannot be accepted; the first is event {index}, `{pointer}`: {message}")
        }
        Some(ItemError { pointer, message, .. }) => format!("the event cannot be accepted: `{pointer}`: {message}"),
        None => "the event cannot be accepted".to_owned(),
    };
    errors.truncate(MAX_ERRORS);
    Problem::new(StatusCode::BAD_REQUEST, "invalid_event", detail).with_errors(errors)
}

/// 400 for a body that is not JSON.
pub(super) fn not_json(violation: &Violation) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, violation.code.as_str(), violation.message.clone())
}

/// 400 for an empty list.
pub(super) fn no_events() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "no_events", "the list of events is empty; send at least one")
}

/// 400 for a list where one event belongs.
pub(super) fn one_only() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "one_event_only", "`/event` takes one event; send lists to `/events/bulk`")
}

/// 413 for too many events.
pub(super) fn too_many(count: usize, max: usize) -> Problem {
    let detail = format!("the request has {count} events; at most {max} are allowed in one (setting `ingest.max_bulk_events`)");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many_events", detail)
}

/// What a client is told when its events are not, or perhaps not, on disk.
pub(super) fn not_stored(refusal: &Refusal) -> Problem {
    let unavailable = |code: &'static str, detail: &str| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, code, detail).with_retry_after(RETRY_AFTER_SECONDS)
    };
    match refusal {
        Refusal::Busy { .. } => {
            unavailable("busy", "too many events wait for the journal; nothing of this request was stored, send it again")
        }
        Refusal::Stopping => unavailable("stopping", "the server is stopping; outcome unknown, send it again with the same event_id"),
        Refusal::Journal(error) => match error.as_ref() {
            PublishError::Full { .. } => unavailable("journal_full", "the journal is full; send it again later with the same event_id"),
            PublishError::NoAnswer { .. } => {
                unavailable("journal_unavailable", "the journal did not answer; outcome unknown, send it again with the same event_id")
            }
            PublishError::Refused { .. } | PublishError::AnotherStream { .. } => {
                unavailable("journal_refused", "the journal refuses events; an operator has to look at the log; send it again later")
            }
            PublishError::TooLarge { bytes, limit_bytes } => {
                let detail =
                    format!("the events make a block of {bytes} bytes, the journal takes {limit_bytes}; send fewer in one request");
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "block_too_large", detail)
            }
        },
    }
}
