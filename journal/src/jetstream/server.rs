//! The connection: made once and loudly, then kept up quietly, with the requests that the journal makes over it.

use std::{
    future::{Ready, ready},
    io::{self, ErrorKind},
    time::Duration,
};

use async_nats::{
    Client, ConnectOptions, Event, ServerAddr,
    connection::State,
    jetstream::{
        self, Context, ErrorCode,
        account::Account,
        context::{ContextBuilder, RequestError, RequestErrorKind},
        response::Response,
        stream,
    },
};
use schemas::Sequence;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio::{sync::watch, time::timeout};

use super::{ServerConfig, consumer::PULL_MESSAGES, open_error::OLDEST_SERVER, open_error::OpenError};
use crate::{Bounds, Error};

/// How every process of ours calls itself.
pub(super) const CLIENT_NAME: &str = "tidemark";
/// For one request to the JetStream API; publishing has its own time.
const API_TIMEOUT: Duration = Duration::from_secs(5);
/// A dead connection is noticed after three of them.
const PING_INTERVAL: Duration = Duration::from_secs(5);
/// Commands on their way to the socket; what waits for a place here is bounded by its own timeout (I6).
const COMMANDS_IN_FLIGHT: usize = 256;
/// How often a connection that is down is looked at, should its event get lost.
const RECHECK: Duration = Duration::from_millis(100);

/// A connection to a NATS server with JetStream.
#[derive(Clone, Debug)]
pub(super) struct Server {
    client: Client,
    context: Context,
    losses: watch::Receiver<u64>,
    url: String,
}

/// A stream as the server describes it.
#[derive(Debug, Deserialize)]
pub(super) struct StreamInfo {
    pub(super) config: stream::Config,
    /// RFC 3339 with nanoseconds, in the server's own words: the identity of the stream.
    pub(super) created: String,
    pub(super) state: StreamState,
}

impl StreamInfo {
    /// One that is not there, and so has no identity.
    pub(super) const fn missing(config: stream::Config) -> Self {
        let state = StreamState { messages: 0, bytes: 0, first_seq: 0, last_seq: 0 };
        Self { config, created: String::new(), state }
    }

    /// What the stream holds.
    pub(super) fn bounds(self, max_bytes: u64) -> Bounds {
        let last = Sequence(self.state.last_seq);
        let first = if self.state.messages == 0 { last.next() } else { Sequence(self.state.first_seq) };
        Bounds { first, last, identity: self.created, bytes: self.state.bytes, max_bytes }
    }
}

/// What a stream holds.
#[derive(Debug, Deserialize)]
pub(super) struct StreamState {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
}

/// A message, as far as it matters that it is there.
#[derive(Debug, Deserialize)]
struct FoundMessage {
    message: FoundSequence,
}

#[derive(Debug, Deserialize)]
struct FoundSequence {
    seq: u64,
}

/// Why a request to the JetStream API gave nothing.
#[derive(Debug)]
pub(super) enum CallError {
    /// No answer, or nobody there to give one.
    Away(RequestError),
    /// An answer that says no.
    Refused(jetstream::Error),
}

impl Server {
    /// Connects, once for each address: an operator who starts us without a server has to see it at once.
    pub(super) async fn connect(config: &ServerConfig) -> Result<Self, OpenError> {
        let (url, addresses) = (without_credentials(&config.url), config.addresses()?);
        let (lost, losses) = watch::channel(0);
        let mut options = ConnectOptions::new()
            .name(CLIENT_NAME)
            .connection_timeout(config.connect_timeout)
            .ping_interval(PING_INTERVAL)
            .client_capacity(COMMANDS_IN_FLIGHT)
            .subscription_capacity(2 * PULL_MESSAGES)
            .event_callback(move |event| count_losses(&event, &lost));
        if let Some(login) = &config.credentials {
            options = options.user_and_password(login.user.clone(), login.password.clone());
        }
        let client = options.connect(addresses).await.map_err(|source| OpenError::from_connect(url.clone(), source))?;
        let context = ContextBuilder::new().timeout(API_TIMEOUT).build(client.clone());
        let server = Self { client, context, losses, url };
        server.check_version()?;
        server.check_jetstream().await?;
        Ok(server)
    }

    fn check_version(&self) -> Result<(), OpenError> {
        let (major, minor, patch) = OLDEST_SERVER;
        if self.client.is_server_compatible(major, minor, patch) {
            return Ok(());
        }
        Err(OpenError::TooOld { url: self.url.clone(), found: self.client.server_info().version })
    }

    async fn check_jetstream(&self) -> Result<(), OpenError> {
        match self.call::<Account>("INFO".to_owned(), &()).await {
            Ok(_) => Ok(()),
            Err(error) if error.means_no_jetstream() => Err(OpenError::NoJetStream { url: self.url.clone() }),
            Err(error) => Err(self.failed(error.about("JetStream"))),
        }
    }

    pub(super) fn failed(&self, source: Error) -> OpenError {
        OpenError::Failed { url: self.url.clone(), source }
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) const fn client(&self) -> &Client {
        &self.client
    }

    pub(super) const fn context(&self) -> &Context {
        &self.context
    }

    /// Counts how often the connection was lost; what was asked for before a loss is not answered after it.
    pub(super) fn losses(&self) -> watch::Receiver<u64> {
        let mut losses = self.losses.clone();
        losses.mark_unchanged();
        losses
    }

    /// Waits until there is a connection: what is sent without one would pile up in memory (I6).
    pub(super) async fn connected(&self) {
        let mut losses = self.losses();
        while self.client.connection_state() != State::Connected {
            let _ = timeout(RECHECK, losses.changed()).await;
        }
    }

    pub(super) async fn stream_info(&self, stream: &str) -> Result<StreamInfo, CallError> {
        self.call(format!("STREAM.INFO.{stream}"), &()).await
    }

    pub(super) async fn create_stream(&self, config: &stream::Config) -> Result<StreamInfo, CallError> {
        self.call(format!("STREAM.CREATE.{}", config.name), config).await
    }

    /// Changes what may be changed.
    pub(super) async fn update_stream(&self, config: &stream::Config) -> Result<StreamInfo, CallError> {
        self.call(format!("STREAM.UPDATE.{}", config.name), config).await
    }

    pub(super) async fn delete_stream(&self, stream: &str) -> Result<(), CallError> {
        self.call(format!("STREAM.DELETE.{stream}"), &json!({})).await.map(|_: stream::DeleteStatus| ())
    }

    /// The sequence of the first message at or after `sequence`, of whatever subject, in the words of the stream's leader.
    pub(super) async fn next_message(&self, stream: &str, sequence: u64) -> Result<Option<u64>, CallError> {
        let request = json!({ "seq": sequence, "next_by_subj": ">" });
        match self.call::<FoundMessage>(format!("STREAM.MSG.GET.{stream}"), &request).await {
            Ok(found) => Ok(Some(found.message.seq)),
            Err(CallError::Refused(error)) if error.error_code() == ErrorCode::NO_MESSAGE_FOUND => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes what comes before `first_kept`, which must not lie above the next sequence: the server would jump there.
    pub(super) async fn purge_before(&self, stream: &str, first_kept: u64) -> Result<(), CallError> {
        self.call(format!("STREAM.PURGE.{stream}"), &json!({ "seq": first_kept })).await.map(|_: stream::PurgeResponse| ())
    }

    /// One request to the JetStream API, asked again after a lost connection. Each of them may be executed twice.
    pub(super) async fn call<T: DeserializeOwned>(&self, subject: String, request: &(impl Serialize + Sync)) -> Result<T, CallError> {
        let answer = timeout(API_TIMEOUT, async {
            loop {
                self.connected().await;
                let mut losses = self.losses();
                tokio::select! {
                    answer = self.context.request(subject.clone(), request) => return answer,
                    Ok(()) = losses.changed() => {}
                }
            }
        });
        let answer = answer.await.unwrap_or_else(|_elapsed| Err(RequestErrorKind::TimedOut.into()));
        match answer.map_err(CallError::Away)? {
            Response::Ok(answer) => Ok(answer),
            Response::Err { error } => Err(CallError::Refused(error)),
        }
    }
}

impl CallError {
    /// As the caller's caller sees it.
    pub(super) fn about(self, stream: &str) -> Error {
        let stream = stream.to_owned();
        match self {
            Self::Refused(error) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Error::Deleted { stream },
            Self::Refused(error) if error.code() == 503 => Error::Unavailable { stream, source: error.into() },
            Self::Refused(error) => Error::Rejected { stream, source: error.into() },
            Self::Away(error) => Error::Unavailable { stream, source: error.into() },
        }
    }

    fn means_no_jetstream(&self) -> bool {
        match self {
            Self::Away(error) => error.kind() == RequestErrorKind::NoResponders,
            Self::Refused(error) => {
                [ErrorCode::JETSTREAM_NOT_ENABLED, ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT].contains(&error.error_code())
            }
        }
    }
}

fn count_losses(event: &Event, lost: &watch::Sender<u64>) -> Ready<()> {
    if *event == Event::Disconnected {
        lost.send_modify(|losses| *losses += 1);
    }
    ready(())
}

impl ServerConfig {
    pub(super) fn addresses(&self) -> Result<Vec<ServerAddr>, OpenError> {
        let addresses: io::Result<_> = self.url.split(',').map(|address| address_of(address.trim())).collect();
        addresses.map_err(|source| OpenError::BadUrl { url: without_credentials(&self.url), source })
    }
}

fn address_of(text: &str) -> io::Result<ServerAddr> {
    let address: ServerAddr = text.parse()?;
    if address.host().is_empty() { Err(io::Error::new(ErrorKind::InvalidInput, "a host is missing")) } else { Ok(address) }
}

/// The addresses as they may be printed.
fn without_credentials(url: &str) -> String {
    let addresses = url.split(',').map(|address| match (address.find("://"), address.rfind('@')) {
        (Some(scheme), Some(login)) if scheme < login => format!("{}://{}", &address[..scheme], &address[login + 1..]),
        (None, Some(login)) => address[login + 1..].to_owned(),
        _ => address.to_owned(),
    });
    addresses.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_address_has_no_password() {
        assert_eq!(without_credentials("nats://a:1,nats://user:p@ss@b:2"), "nats://a:1,nats://b:2");
        assert_eq!(without_credentials("user:secret@c:3"), "c:3");
    }
}
