//! Publishing: one message, one answer, and what the answer means.
//!
//! A try ends with the answer, with the loss of the connection, or with the patience for a lost answer;
//! the next try has the same `Nats-Msg-Id`, so the server stores one of them (I3). Nothing is sent
//! without a connection, and nobody waits longer than the publish timeout.
//! A stream counts upwards: a new message with a number that was there before proves that this is another stream, or an older state
//! of it. Its acknowledgement is worth nothing, and nothing more is sent (I8).

use std::time::Duration;

use async_nats::{
    HeaderMap, Request, RequestError, RequestErrorKind,
    header::{NATS_EXPECTED_STREAM, NATS_MESSAGE_ID},
    jetstream::{self, ErrorCode, publish::PublishAck, response::Response},
};
use bytes::Bytes;
use schemas::Sequence;
use tokio::time::{sleep, timeout};

use super::{server::Server, stream::Stream, watermark::Break};
use crate::{Error, MAX_ID_BYTES, MAX_TRACE_BYTES, Message, PublishError, Remedy, Trace};

/// The header of a [`Trace`], which other programs understand as well.
pub(super) const TRACE_HEADER: &str = "traceparent";

/// Between an answer that asks for patience and the next try.
const PAUSE: Duration = Duration::from_millis(50);

/// What a stream answers when it, or the disk it may use, is full.
const FULL: [ErrorCode; 5] = [
    ErrorCode::STREAM_STORE_FAILED,
    ErrorCode::INSUFFICIENT_RESOURCES,
    ErrorCode::STORAGE_RESOURCES_EXCEEDED,
    ErrorCode::ACCOUNT_RESOURCES_EXCEEDED,
    ErrorCode::STREAM_MAX_STREAM_BYTES_EXCEEDED,
];

/// The bytes that the largest headers take of the server's `max_payload`.
pub(super) const fn header_bytes(stream: &str) -> usize {
    const FRAME: &str = "NATS/1.0\r\nNats-Msg-Id: \r\nNats-Expected-Stream: \r\ntraceparent: \r\n\r\n";
    FRAME.len() + MAX_ID_BYTES + stream.len() + MAX_TRACE_BYTES
}

/// Stores `message`, which was checked, in `stream`.
pub(super) async fn publish(server: &Server, stream: &Stream, message: Message, within: Duration) -> Result<Sequence, PublishError> {
    let publication = Publication { server, stream, headers: headers(&message, &stream.name), payload: message.payload };
    let outcome = timeout(within, publication.try_until_answered(within / 2)).await;
    outcome.unwrap_or_else(|_elapsed| Err(PublishError::NoAnswer { stream: stream.name.clone(), timeout: within }))
}

fn headers(message: &Message, stream: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, message.id.as_str());
    headers.insert(NATS_EXPECTED_STREAM, stream);
    carry(message.trace.as_ref(), &mut headers);
    headers
}

/// Puts a trace, if there is one, where a reader finds it.
pub(super) fn carry(trace: Option<&Trace>, headers: &mut HeaderMap) {
    if let Some(trace) = trace {
        headers.insert(TRACE_HEADER, trace.as_str());
    }
}

struct Publication<'a> {
    server: &'a Server,
    stream: &'a Stream,
    headers: HeaderMap,
    payload: Bytes,
}

/// What one try came to.
enum Outcome {
    Stored(Sequence),
    Failed(PublishError),
    /// Unknown, or not yet: try again.
    Open,
}

impl Publication<'_> {
    #[expect(clippy::disallowed_methods, reason = "a pause between tries of a real server, on the clock of its timeouts")]
    async fn try_until_answered(&self, patience: Duration) -> Result<Sequence, PublishError> {
        loop {
            match self.try_once(patience).await {
                Outcome::Stored(sequence) => return Ok(sequence),
                Outcome::Failed(error) => return Err(error),
                Outcome::Open => sleep(PAUSE).await,
            }
        }
    }

    async fn try_once(&self, patience: Duration) -> Outcome {
        let mut losses = self.server.losses();
        self.server.connected().await;
        let before = self.stream.watermark.seen();
        if let Some(broken) = self.stream.watermark.broken() {
            return self.another_stream(broken);
        }
        let request = Request::new().headers(self.headers.clone()).payload(self.payload.clone()).timeout(Some(patience));
        tokio::select! {
            biased;
            answer = self.server.client().send_request(self.stream.subject.clone(), request) => match answer {
                Ok(answer) => self.read_answer(&answer.payload, before).await,
                Err(error) => self.read_failure(&error).await,
            },
            _ = losses.changed() => Outcome::Open,
        }
    }

    async fn read_answer(&self, answer: &[u8], before: Sequence) -> Outcome {
        match serde_json::from_slice::<Response<PublishAck>>(answer) {
            Ok(Response::Ok(ack)) => self.read_acknowledgement(&ack, before).await,
            Ok(Response::Err { error }) => self.read_refusal(&error),
            Err(error) => {
                tracing::warn!(stream = self.stream.name, %error, "the answer to a publish is no acknowledgement");
                Outcome::Open
            }
        }
    }

    /// What was stored after the request was sent lies above all that was acknowledged before. A repeat has the number of its first
    /// time, so there the stream itself is asked.
    async fn read_acknowledgement(&self, ack: &PublishAck, before: Sequence) -> Outcome {
        let (watermark, found) = (&self.stream.watermark, Sequence(ack.sequence));
        if !ack.duplicate {
            return watermark.stored(before, found).map_or_else(|broken| self.another_stream(broken), |()| Outcome::Stored(found));
        }
        match self.stream.same_bounds(self.server, before).await {
            Ok(_) => Outcome::Stored(found),
            Err(error) if error.remedy() == Remedy::Retry => Outcome::Open,
            Err(_) => self.another_stream(watermark.distrust(before, found)),
        }
    }

    fn another_stream(&self, Break { seen, found }: Break) -> Outcome {
        Outcome::Failed(PublishError::AnotherStream { stream: self.stream.name.clone(), seen, found })
    }

    fn read_refusal(&self, error: &jetstream::Error) -> Outcome {
        let (stream, reason) = (self.stream.name.clone(), error.to_string());
        match error.error_code() {
            code if FULL.contains(&code) => Outcome::Failed(PublishError::Full { stream, reason }),
            // The first try of this id is still being stored.
            ErrorCode::STREAM_DUPLICATE_MESSAGE_CONFLICT => Outcome::Open,
            _ if [429, 503].contains(&error.code()) => Outcome::Open,
            _ => Outcome::Failed(PublishError::Refused { reason }),
        }
    }

    async fn read_failure(&self, error: &RequestError) -> Outcome {
        match error.kind() {
            RequestErrorKind::NoResponders if self.stream_is_deleted().await => {
                Outcome::Failed(PublishError::Refused { reason: Error::Deleted { stream: self.stream.name.clone() }.to_string() })
            }
            RequestErrorKind::MaxPayloadExceeded => {
                let limit_bytes = self.server.client().max_payload().saturating_sub(header_bytes(&self.stream.name));
                Outcome::Failed(PublishError::TooLarge { bytes: self.payload.len(), limit_bytes })
            }
            RequestErrorKind::InvalidSubject => Outcome::Failed(PublishError::Refused { reason: error.to_string() }),
            RequestErrorKind::NoResponders | RequestErrorKind::TimedOut | RequestErrorKind::Other => Outcome::Open,
        }
    }

    async fn stream_is_deleted(&self) -> bool {
        matches!(self.stream.bounds(self.server).await, Err(Error::Deleted { .. }))
    }
}
