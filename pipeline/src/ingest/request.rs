//! A request's body: its media type, and the events in it as sent.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request, rejection::BytesRejection},
};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use schemas::{
    Violation,
    raw::{self, Body},
};
use service::{
    http::{BodyTimeout, WireLimit, body_too_large},
    limits::Allowance,
    problem::Problem,
};

use super::answer::not_json;

const TYPES: &str = "send `application/json`, or `application/x-ndjson` with one event for each line";

/// How a body is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// One JSON document, or NDJSON from a client that did not say so.
    Json,
    /// One event for each line.
    Lines,
    /// What `curl -d` says of everything: JSON if it begins like JSON.
    Form,
}

/// A whole body whose media type is one of ours.
pub(super) struct Events {
    bytes: Bytes,
    format: Format,
    allowance: Allowance,
    /// `Prefer: handling=strict`: all or nothing.
    pub(super) is_strict: bool,
}

impl<S: Send + Sync> FromRequest<S> for Events {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let format = format(request.headers())?;
        let is_strict = is_strict(request.headers());
        let allowance = Allowance::of(request.extensions());
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| unreadable(&rejection))?;
        match (format, bytes.trim_ascii_start().first()) {
            (_, None) => Err(Problem::new(StatusCode::BAD_REQUEST, "empty_body", "the body is empty; send an event as a JSON object")),
            (Format::Form, Some(first)) if !matches!(first, b'{' | b'[') => Err(unsupported("a form")),
            _ => Ok(Self { bytes, format, allowance, is_strict }),
        }
    }
}

impl Events {
    /// The events as sent, at most `limit` of them.
    ///
    /// # Errors
    /// A 400 with line and column for what is not JSON.
    pub(super) fn read(&self, limit: usize) -> Result<Body<'_>, Problem> {
        let read: Result<Body<'_>, Violation> = match self.format {
            Format::Lines => Ok(raw::read_lines(&self.bytes, limit)),
            Format::Json | Format::Form => raw::read_any(&self.bytes, limit),
        };
        read.map_err(|violation| not_json(&violation))
    }

    /// Takes so many events from what the client may send.
    ///
    /// # Errors
    /// 429 when the client sends too much; nothing may be stored then.
    pub(super) fn charge(&self, events: usize) -> Result<(), Problem> {
        self.allowance.take_events(events, self.bytes.len())
    }
}

fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Format::Json) };
    let text = value.to_str().unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Ok(Format::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Format::Lines),
        "application/x-www-form-urlencoded" => Ok(Format::Form),
        _ => Err(unsupported(&format!("`{}`", essence.escape_debug()))),
    }
}

fn is_strict(headers: &HeaderMap) -> bool {
    let preferences = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    preferences.map(str::trim).any(|preference| preference.eq_ignore_ascii_case("handling=strict"))
}

fn unsupported(found: &str) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", format!("the content type is {found}; {TYPES}"))
}

fn unreadable(rejection: &BytesRejection) -> Problem {
    match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => body_too_large("ingest.max_body"),
        _ if WireLimit::caused(rejection) => body_too_large("ingest.max_body"),
        _ if BodyTimeout::caused(rejection) => Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            "the body did not arrive within `http.body_timeout`; nothing was stored, send it again",
        ),
        status if status.is_server_error() => Problem::internal(rejection),
        _ => Problem::new(StatusCode::BAD_REQUEST, "unreadable_body", "the body did not arrive whole, or its content encoding is broken"),
    }
}
