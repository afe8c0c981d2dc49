//! A request's body: its media type, and the events in it as sent.

use axum::{
    body::Bytes,
    extract::{FromRequest, Request, rejection::BytesRejection},
};
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use schemas::{
    RawEvent,
    raw::{Body, Dialect},
};
use service::{
    http::{BodyTimeout, WireLimit, body_too_large},
    limits::Allowance,
    problem::Problem,
};

use super::{answer, cloud_event, options::Options};

const TYPES: &str = "send `application/json`, `application/x-ndjson` with one event for each line, or `application/cloudevents+json`";

/// How a body is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Format {
    /// One JSON document, or NDJSON from a client that did not say so.
    Json,
    /// One event for each line.
    Lines,
    /// What `curl -d` says of everything: JSON if it begins like JSON.
    Form,
    /// One cloud event, or a batch of them.
    CloudEvents,
    /// The data of a cloud event whose attributes, as a JSON object, stood in the headers.
    CloudEventData(String),
}

/// A whole body whose media type is one of ours.
pub(super) struct Events {
    bytes: Bytes,
    format: Format,
    allowance: Allowance,
    /// What the client asked for beside.
    pub(super) options: Options,
}

impl<S: Send + Sync> FromRequest<S> for Events {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let format = format(request.headers())?;
        understood(request.headers())?;
        let options = *request.extensions().get().expect("the layer that reads the options stands before the routes");
        let allowance = Allowance::of(request.extensions());
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| unreadable(&rejection))?;
        match (&format, bytes.trim_ascii_start().first()) {
            (Format::CloudEventData(_), _) => {}
            (_, None) => {
                return Err(Problem::new(StatusCode::BAD_REQUEST, "empty_body", "the body is empty; send an event as a JSON object"));
            }
            (Format::Form, Some(first)) if !matches!(first, b'{' | b'[') => return Err(unsupported("a form")),
            _ => {}
        }
        Ok(Self { bytes, format, allowance, options })
    }
}

impl Events {
    /// Begins to read the events as sent.
    ///
    /// # Errors
    /// A 400 with line and column for what is not JSON.
    pub(super) fn read(&self) -> Result<Body<'_>, Problem> {
        match &self.format {
            Format::Lines => Ok(Body::of_lines(&self.bytes)),
            Format::Json | Format::Form => Body::of_json(&self.bytes, Dialect::Tidemark).map_err(answer::unreadable),
            Format::CloudEvents => Body::of_json(&self.bytes, Dialect::CloudEvents).map_err(answer::unreadable),
            Format::CloudEventData(attributes) => {
                let data = (!self.bytes.is_empty()).then_some(self.bytes.as_ref());
                let event = RawEvent::of_cloud_event(attributes, data).map_err(|syntax| answer::unreadable(syntax.into()))?;
                Ok(Body::One(Box::new(event)))
            }
        }
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
    let text = headers.get(CONTENT_TYPE).map_or("application/json", |value| value.to_str().unwrap_or_default());
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/cloudevents+json" | "application/cloudevents-batch+json" => Ok(Format::CloudEvents),
        "application/json" => Ok(cloud_event::attributes(headers)?.map_or(Format::Json, Format::CloudEventData)),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Format::Lines),
        "application/x-www-form-urlencoded" => Ok(Format::Form),
        _ => Err(unsupported(&format!("`{}`", essence.escape_debug()))),
    }
}

/// What the layer before did not decompress, nobody here can read.
fn understood(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => {
            let detail = format!("the content encoding is {encoding:?}; send gzip, zstd or none");
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding", detail))
        }
        _ => Ok(()),
    }
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
