//! A request's body: its media type, and the events in it as sent.

use std::{
    error::Error,
    future::{Ready, ready},
};

use axum::{
    body::{Body as Stream, Bytes, HttpBody},
    extract::Request,
    response::Response,
};
use bytes::BytesMut;
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use schemas::{
    RawEvent,
    raw::{Body, Dialect},
};
use service::{http::BodyTimeout, limits::Allowance, problem::Problem};
use tower::{ServiceExt, service_fn};
use tower_http::decompression::{DecompressionBody, RequestDecompression};

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

impl Events {
    /// Reads the body of a request, which may have so many bytes, before decompression and after it.
    ///
    /// # Errors
    /// A 400, 408, 413 or 415 for what did not come, is too large, or is nothing that we read.
    pub(super) async fn of(request: Request, options: Options, max_bytes: usize) -> Result<Self, Problem> {
        let format = format(request.headers())?;
        let allowance = Allowance::of(request.extensions());
        let bytes = read(request, max_bytes).await?;
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
    let essence = text.split(';').next().unwrap_or_default().trim();
    let is = |names: &[&str]| names.iter().any(|name| essence.eq_ignore_ascii_case(name));
    if is(&["application/json"]) {
        Ok(cloud_event::attributes(headers)?.map_or(Format::Json, Format::CloudEventData))
    } else if is(&["application/x-ndjson", "application/ndjson", "application/jsonl"]) {
        Ok(Format::Lines)
    } else if is(&["application/x-www-form-urlencoded"]) {
        Ok(Format::Form)
    } else if is(&["application/cloudevents+json", "application/cloudevents-batch+json"]) {
        Ok(Format::CloudEvents)
    } else {
        Err(unsupported(&format!("`{}`", essence.escape_debug())))
    }
}

/// The whole body, decompressed. One that says to be too large is not read at all.
async fn read(request: Request, max_bytes: usize) -> Result<Bytes, Problem> {
    if request.body().size_hint().lower() > max_bytes as u64 {
        return Err(too_large());
    }
    let body = match request.headers().contains_key(CONTENT_ENCODING) {
        true => Box::pin(decompressed(request, max_bytes)).await?,
        false => request.into_body(),
    };
    whole(body, max_bytes).await
}

/// All bytes of a body: axum's `to_bytes` without its list of the parts, which nearly every body would have for its only one.
async fn whole(mut body: Stream, max_bytes: usize) -> Result<Bytes, Problem> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|error| unreadable(&error))?.into_data() else { continue };
        if bytes.len() + data.len() > max_bytes {
            return Err(too_large());
        }
        if bytes.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes.freeze())
}

/// A compressed body as it was before that, of which so many bytes are taken from the wire.
async fn decompressed(request: Request, max_bytes: usize) -> Result<Stream, Problem> {
    let on_the_wire = request.map(|body| Stream::new(Limited::new(body, max_bytes)));
    let decompression = RequestDecompression::new(service_fn(understood)).pass_through_unaccepted(true);
    decompression.oneshot(on_the_wire).await.map(|response| Stream::new(response.into_body()))
}

/// What is still compressed nobody here can read.
fn understood(request: http::Request<DecompressionBody<Stream>>) -> Ready<Result<Response, Problem>> {
    ready(match request.headers().get(CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => {
            let detail = format!("the content encoding is {encoding:?}; send gzip, zstd or none");
            Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_content_encoding", detail))
        }
        _ => Ok(Response::new(Stream::new(request.into_body()))),
    })
}

fn unsupported(found: &str) -> Problem {
    Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", format!("the content type is {found}; {TYPES}"))
}

fn unreadable(error: &axum::Error) -> Problem {
    match error {
        _ if causes(error).any(|cause| cause.is::<LengthLimitError>()) => too_large(),
        _ if BodyTimeout::caused(error) => Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "body_timeout",
            "the body did not arrive within `http.body_timeout`; nothing was stored, send it again",
        ),
        _ => Problem::new(StatusCode::BAD_REQUEST, "unreadable_body", "the body did not arrive whole, or its content encoding is broken"),
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn too_large() -> Problem {
    let detail = "the body is larger than `ingest.max_body` allows, which counts before and after decompression; send less in one request";
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}
