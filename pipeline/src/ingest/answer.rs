//! The answers of the three routes, good and bad, in the shapes of the HTTP contract.

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE};
use journal::PublishError;
use schemars::JsonSchema;
use schemas::{
    Position, Violation,
    raw::{Syntax, Unreadable},
};
use serde::Serialize;
use service::problem::{ItemError, Problem};

use super::batcher::Refusal;

/// The header that carries the position where the answer has no body.
const POSITION: &str = "tidemark-position";
/// Most errors listed in one answer; the rest is only counted.
const MAX_ERRORS: usize = 1000;
/// For one event; a longer answer makes its buffer grow.
const TYPICAL_ANSWER_BYTES: usize = 256;
const RETRY_AFTER_SECONDS: u64 = 1;

/// The event is on disk.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AcceptedEvent")]
pub(super) struct AcceptedOne {
    /// Always `accepted`.
    status: &'static str,
    /// The client's own id, or one that is the same for every repeat of this event, unless `ingest.missing_event_id` makes it a new
    /// one. SQL shows the same.
    event_id: String,
    /// Always 1.
    accepted: usize,
    /// Where it stands in the journal: shard, sequence, index. `at_least=` of a question waits for it. Absent when nothing was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    /// Present and true when nothing was stored, because the client asked for that.
    #[serde(skip_serializing_if = "is_false")]
    dry_run: bool,
}

/// The good events are on disk; the others are listed.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "AcceptedEvents")]
pub(super) struct AcceptedMany {
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
    /// The journal's messages that hold them: shard and sequence, joined by commas. Absent when nothing was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<String>,
    /// Present and true when nothing was stored, because the client asked for that.
    #[serde(skip_serializing_if = "is_false")]
    dry_run: bool,
}

/// 204 for a page view.
#[derive(Debug)]
pub(super) struct PageViewAccepted(pub(super) AcceptedOne);

const ACCEPTED: &str = "accepted";

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl AcceptedOne {
    /// `position` is absent in a dry run.
    pub(super) fn new(event_id: String, position: Option<Position>) -> Self {
        let dry_run = position.is_none();
        Self { status: ACCEPTED, event_id, accepted: 1, position: position.map(|position| position.to_string()), dry_run }
    }
}

impl AcceptedMany {
    /// `positions` are absent in a dry run.
    pub(super) fn new(event_ids: Vec<String>, refused: Refused, positions: Option<&[Position]>) -> Self {
        Self {
            status: ACCEPTED,
            accepted: event_ids.len(),
            accepted_count: event_ids.len(),
            rejected: refused.events,
            event_ids,
            errors: refused.errors,
            position: positions.map(messages),
            dry_run: positions.is_none(),
        }
    }
}

impl IntoResponse for AcceptedOne {
    fn into_response(self) -> Response {
        accepted(&self)
    }
}

impl IntoResponse for AcceptedMany {
    fn into_response(self) -> Response {
        accepted(&self)
    }
}

/// As axum's `Json`, which takes nearly twice the instructions: it writes piece by piece into a buffer that can be shared.
fn accepted(answer: &impl Serialize) -> Response {
    let mut text = Vec::with_capacity(TYPICAL_ANSWER_BYTES);
    serde_json::to_writer(&mut text, answer).expect("texts and numbers become JSON, and a vector takes all bytes");
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::ACCEPTED;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

impl IntoResponse for PageViewAccepted {
    fn into_response(self) -> Response {
        let position = self.0.position.map(|text| HeaderValue::try_from(text).expect("a position is digits and colons"));
        let headers = HeaderMap::from_iter(position.map(|position| (HeaderName::from_static(POSITION), position)));
        (StatusCode::NO_CONTENT, headers).into_response()
    }
}

/// The events of a request that cannot be accepted.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// How many.
    pub(super) events: usize,
    errors: Vec<ItemError>,
}

impl Refused {
    /// Adds an event, at its index unless it is alone.
    pub(super) fn add(&mut self, index: Option<usize>, violations: Vec<Violation>) {
        self.events += 1;
        let room = MAX_ERRORS.saturating_sub(self.errors.len());
        self.errors.extend(violations.into_iter().take(room).map(|violation| item_error(index, violation)));
    }

    /// The refusal of an event that came alone.
    pub(super) fn one(violations: Vec<Violation>) -> Self {
        let mut refused = Self::default();
        refused.add(None, violations);
        refused
    }
}

/// The messages that hold a request's events, `shard:sequence`, joined by commas when there are several shards.
fn messages(positions: &[Position]) -> String {
    let texts: Vec<String> = positions.iter().map(|position| Position { index: None, ..*position }.to_string()).collect();
    texts.join(",")
}

fn item_error(index: Option<usize>, violation: Violation) -> ItemError {
    ItemError { index, pointer: violation.pointer, code: violation.code.as_str().into(), message: violation.message }
}

/// 400: nothing of the request was stored.
pub(super) fn invalid(refused: Refused) -> Problem {
    let events = refused.events;
    let detail = match refused.errors.first() {
        Some(error @ ItemError { index: Some(index), .. }) => {
            format!("nothing was stored: {events} of the events cannot be accepted; the first is event {index}: {}", told(error))
        }
        Some(error) => format!("the event cannot be accepted: {}", told(error)),
        None => "the event cannot be accepted".to_owned(),
    };
    Problem::new(StatusCode::BAD_REQUEST, "invalid_event", detail).with_errors(refused.errors)
}

/// The message with its place, if that is not the whole event.
fn told(error: &ItemError) -> String {
    match error.pointer.as_str() {
        "" => error.message.clone(),
        pointer => format!("`{pointer}`: {}", error.message),
    }
}

/// 400 or 413 for a body that is refused as a whole.
pub(super) fn unreadable(unreadable: Unreadable) -> Problem {
    match unreadable {
        Unreadable::Syntax(syntax) => not_json(syntax),
        Unreadable::Wrapper(violation) => invalid(Refused::one(vec![violation])),
        Unreadable::TooMany { limit } => {
            let detail = format!("the request has more than {limit} events (setting `ingest.max_bulk_events`); send them in several");
            Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too_many_events", detail)
        }
    }
}

/// 400 for a body that is not JSON; its place stands in members of its own as well.
fn not_json(syntax: Syntax) -> Problem {
    let Syntax { index, line, column, .. } = syntax;
    let errors = index.map(|index| item_error(Some(index), syntax.clone().into()));
    Problem::new(StatusCode::BAD_REQUEST, "invalid_json", syntax.to_string())
        .with_errors(errors.into_iter().collect())
        .with_extension("line", line)
        .with_extension("column", column)
}

/// 400 for an empty list.
pub(super) fn no_events() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "no_events", "the list of events is empty; send at least one")
}

/// 400 for a list where one event belongs.
pub(super) fn one_only() -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "one_event_only", "`/event` takes one event; send lists to `/events/bulk`")
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
