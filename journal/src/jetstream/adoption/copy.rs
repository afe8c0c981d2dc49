//! Copies one stream behind another, each message exactly once however often it is tried.
//!
//! The n-th message of the source is the n-th of the target: what the target holds says where to go on.

use std::time::Duration;

use async_nats::{
    HeaderMap, Request,
    header::{NATS_EXPECTED_LAST_SEQUENCE, NATS_EXPECTED_STREAM},
    jetstream::{ErrorCode, publish::PublishAck, response::Response},
};
use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use schemas::Sequence;

use super::{Error, Streams};
use crate::{
    Deliveries, Delivery, Error as JournalError,
    jetstream::{publish, reader, server::StreamInfo, stream::Stream},
};

/// Copies on their way at the same time; each may be as large as the server allows.
const IN_FLIGHT: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often a target that has grown meanwhile is looked at again.
const TRIES: usize = 5;
/// More than the three headers of a copy take.
const HEADERS_BYTES: usize = 256;

impl Streams {
    /// Copies what the target does not have yet; gives the number of messages that both have then.
    ///
    /// A process that was killed may have copies on their way that arrive only now; then the target is looked at again.
    pub(super) async fn copy_all(&self, from: &StreamInfo, to: &StreamInfo) -> Result<u64, Error> {
        let name = &to.config.name;
        let mut copied = self.copy_rest(from, to).await;
        for _ in 1..TRIES {
            let Err(Error::NotAlone { .. }) = copied else { break };
            let to = self.server.stream_info(name).await.map_err(|error| error.about(name))?;
            copied = self.copy_rest(from, &to).await;
        }
        copied?;
        self.compare(&from.config.name, name).await
    }

    async fn copy_rest(&self, from: &StreamInfo, to: &StreamInfo) -> Result<(), Error> {
        let behind = to.config.first_sequence.map_or(0, |first| first - 1);
        let copied = to.state.last_seq.saturating_sub(behind);
        let target = Stream::of(to, 0, &self.config);
        let skipped = usize::try_from(copied).expect("as many as were copied one by one");
        let rest = Source::new(self, from).deliveries().skip(skipped);
        let numbered = rest.zip(stream::iter(behind + copied..));
        let stored = numbered.map(|(delivery, last)| self.store(&target, last, delivery)).buffered(IN_FLIGHT);
        stored.try_collect().await
    }

    /// Stores a message behind the one of this number, and nowhere else.
    async fn store(&self, target: &Stream, last: u64, delivery: Result<Delivery, JournalError>) -> Result<(), Error> {
        let Delivery { payload, trace, .. } = delivery?;
        let mut headers = HeaderMap::new();
        // A foreign message may be as large as the server allows, without any header.
        if payload.len() + HEADERS_BYTES < self.server.client().max_payload() {
            headers.insert(NATS_EXPECTED_LAST_SEQUENCE, last.to_string().as_str());
            headers.insert(NATS_EXPECTED_STREAM, target.name.as_str());
            publish::carry(trace.as_ref(), &mut headers);
        }
        let request = Request::new().headers(headers).payload(payload).timeout(Some(TIMEOUT));
        let unavailable = |source| JournalError::Unavailable { stream: target.name.clone(), source };
        let answer = self.server.client().send_request(target.subject.clone(), request).await.map_err(|error| unavailable(error.into()))?;
        match serde_json::from_slice::<Response<PublishAck>>(&answer.payload) {
            Ok(Response::Ok(_)) => Ok(()),
            Ok(Response::Err { error }) if error.error_code() == ErrorCode::STREAM_WRONG_LAST_SEQUENCE => {
                Err(Error::NotAlone { stream: target.name.clone() })
            }
            Ok(Response::Err { error }) => Err(JournalError::Rejected { stream: target.name.clone(), source: error.into() }.into()),
            Err(error) => Err(unavailable(error.into()).into()),
        }
    }

    async fn compare(&self, from: &str, to: &str) -> Result<u64, Error> {
        let count = async |stream: &str| {
            let found = self.server.stream_info(stream).await.map_err(|error| error.about(stream))?;
            Ok::<u64, Error>(found.state.messages)
        };
        let (expected, found) = (count(from).await?, count(to).await?);
        if expected != found {
            return Err(Error::Miscounted { from: from.to_owned(), to: to.to_owned(), expected, found });
        }
        Ok(found)
    }
}

/// A stream that nobody writes to, from its first message to its last.
struct Source<'a> {
    streams: &'a Streams,
    stream: Stream,
    last: Sequence,
    at: Sequence,
    open: Option<Deliveries>,
}

impl<'a> Source<'a> {
    fn new(streams: &'a Streams, from: &StreamInfo) -> Self {
        let (first, last) = (from.state.first_seq, Sequence(from.state.last_seq));
        let at = if from.state.messages == 0 { last } else { Sequence(first.saturating_sub(1)) };
        Self { streams, stream: Stream::of(from, 0, &streams.config), last, at, open: None }
    }

    /// Its messages; holes are passed over, for what is not there cannot be moved.
    fn deliveries(self) -> BoxStream<'a, Result<Delivery, JournalError>> {
        stream::try_unfold(self, |mut source| async move { Ok(source.next().await?.map(|delivery| (delivery, source))) }).boxed()
    }

    async fn next(&mut self) -> Result<Option<Delivery>, JournalError> {
        while self.at < self.last {
            match self.read().await {
                Ok(delivery) => {
                    self.at = delivery.sequence;
                    return Ok(Some(delivery));
                }
                Err(JournalError::Gap { found, .. }) => (self.at, self.open) = (Sequence(found.0 - 1), None),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    async fn read(&mut self) -> Result<Delivery, JournalError> {
        if self.open.is_none() {
            self.open = Some(reader::read(self.streams.server.clone(), self.stream.clone(), self.at).await?);
        }
        let open = self.open.as_mut().expect("opened above");
        Ok(open.try_next().await?.expect("a reader ends only after an error"))
    }
}
