//! The way out when a table refuses the stream of its shard: the stream is made anew, with numbers above those that the table knows.
//!
//! ```text
//! old --freeze, copy--> helper    delete old, create new (first_seq)    helper --copy--> new    [the table accepts]    open, delete helper
//! ```
//!
//! Whatever the old stream holds was acknowledged, so it is moved, each message exactly once: a copy is stored only behind the one
//! before it (`Nats-Expected-Last-Sequence`). Each step is chosen by what stands on the server, so an adoption that was killed goes
//! on where it was. Until the end the subject has no stream, and the door answers 503.

use async_nats::jetstream::{
    ErrorCode,
    stream::{Config, DiscardPolicy, StorageType},
};
use schemas::{Sequence, ShardId};

use self::step::{Next, Standing};
use super::{
    JetStream, OpenError, ServerConfig, StreamsConfig,
    server::{CallError, Server, StreamInfo},
    stream::{self, Stream},
};
use crate::{Bounds, Error as JournalError};

mod copy;
mod inspection;
mod processes;
mod step;

pub use inspection::{ServerFacts, StreamFault};
pub use step::Step;

/// On the helper: the identity of the stream that it empties. On the new stream: that of the helper.
const OF: &str = "tidemark.adoption.of";
/// On the helper: everything is in it.
const COMPLETE: &str = "tidemark.adoption.complete";
/// The end of the subject of a stream that takes nothing from the door.
const PARKED: &str = "parked";
/// The end of the helper's name.
const HELPER: &str = "adopting";

/// Why an adoption stops. It can be run again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server fails, or refuses.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// Somebody else creates streams meanwhile.
    #[error("stream `{stream}` was created by somebody else during the adoption; what was there before is safe in `{helper}`")]
    InTheWay {
        /// The stream.
        stream: String,
        /// Where the messages are.
        helper: String,
    },
    /// A copy is not what it was copied from; nothing was deleted.
    #[error("stream `{to}` has {found} messages after all {expected} of `{from}` were copied; nothing was deleted")]
    Miscounted {
        /// What was copied.
        from: String,
        /// Where to.
        to: String,
        /// How many there were.
        expected: u64,
        /// How many there are.
        found: u64,
    },
    /// Two adoptions at the same time.
    #[error("somebody else copies messages to `{stream}` at the same time; let one adoption end first")]
    NotAlone {
        /// Where to.
        stream: String,
    },
    /// The monitoring address does not tell who is connected.
    #[error("`{url}` does not tell who is connected: set `nats.monitoring_url` to its `http_port`, or to nothing")]
    Monitoring {
        /// What was asked.
        url: String,
        /// Why there is no answer.
        #[source]
        source: reqwest::Error,
    },
}

/// The streams of a journal in the hands of an operator: looked at as they are, neither created nor verified.
#[derive(Clone, Debug)]
pub struct Streams {
    server: Server,
    config: StreamsConfig,
    monitoring_url: Option<String>,
}

impl Streams {
    /// Connects; changes nothing.
    ///
    /// # Errors
    /// [`OpenError`], with what to do.
    pub async fn connect(server: &ServerConfig, streams: &StreamsConfig) -> Result<Self, OpenError> {
        streams.check()?;
        let monitoring_url = server.monitoring_url.clone();
        Ok(Self { server: Server::connect(server).await?, config: streams.clone(), monitoring_url })
    }

    /// The name of a shard's stream.
    #[must_use]
    pub fn name(&self, shard: ShardId) -> String {
        self.config.stream_name(shard.0)
    }

    /// How many shards the settings name.
    #[must_use]
    pub const fn shards(&self) -> u16 {
        self.config.shards
    }

    /// What the stream of a shard holds; `None` when there is none.
    ///
    /// # Errors
    /// When the server does not tell.
    pub async fn bounds(&self, shard: ShardId) -> Result<Option<Bounds>, Error> {
        Ok(self.info(&self.name(shard)).await?.map(|found| found.bounds(self.config.max_bytes)))
    }

    /// Whether an adoption of this shard was begun and not ended.
    ///
    /// # Errors
    /// When the server does not tell.
    pub async fn is_adopting(&self, shard: ShardId) -> Result<bool, Error> {
        Ok(self.info(&helper_name(&self.name(shard))).await?.is_some())
    }

    /// A journal of the streams that are there now; for one that is not, every call says that it was deleted.
    ///
    /// # Errors
    /// When the server does not tell.
    pub async fn journal(&self) -> Result<JetStream, Error> {
        let mut streams = Vec::with_capacity(usize::from(self.config.shards));
        for shard in 0..self.config.shards {
            let found = self.info(&self.config.stream_name(shard)).await?;
            let missing = || StreamInfo::missing(stream::config(&self.config, shard));
            streams.push(Stream::of(&found.unwrap_or_else(missing), shard, &self.config));
        }
        let (server, publish_timeout) = (self.server.clone(), self.config.publish_timeout);
        Ok(JetStream { server, streams, publish_timeout, monitoring_url: self.monitoring_url.clone() })
    }

    /// Takes one step of the adoption: `None` when the new stream holds everything, with numbers above `above + 1`, and waits to be
    /// opened. The number before its first is for the record of the adoption.
    ///
    /// # Errors
    /// See [`Error`]. The same call later goes on.
    pub async fn step(&self, shard: ShardId, above: Sequence) -> Result<Option<Step>, Error> {
        let name = self.name(shard);
        let (stream, helper) = (self.info(&name).await?, self.info(&helper_name(&name)).await?);
        let next = Standing { stream: stream.as_ref(), helper: helper.as_ref() }.next(above);
        match (next, stream, helper) {
            (Next::InTheWay, ..) => Err(Error::InTheWay { helper: helper_name(&name), stream: name }),
            (Next::Ready, ..) => Ok(None),
            (Next::Take(Step::Begin), stream, _) => self.begin(shard, stream).await.map(Some),
            (Next::Take(Step::CopyOut { .. }), stream, Some(helper)) => self.copy_out(stream, helper).await.map(Some),
            (Next::Take(step @ (Step::DeleteOld | Step::DeleteNew)), ..) => {
                self.server.delete_stream(&name).await.map_err(|error| error.about(&name))?;
                Ok(Some(step))
            }
            (Next::Take(step @ Step::CreateNew { first }), _, Some(helper)) => {
                self.create_new(shard, first, &helper).await.map(|()| Some(step))
            }
            (Next::Take(Step::CopyBack { .. }), Some(stream), Some(helper)) => {
                let messages = self.copy_all(&helper, &stream).await?;
                Ok(Some(Step::CopyBack { messages }))
            }
            (Next::Take(step), ..) => unreachable!("{step:?} is chosen by the streams that it needs"),
        }
    }

    /// Gives the new stream its subject, and deletes the helper.
    ///
    /// # Errors
    /// As for [`step`](Self::step).
    pub async fn open(&self, shard: ShardId) -> Result<(), Error> {
        let (name, wanted) = (self.name(shard), stream::config(&self.config, shard.0));
        if let Some(StreamInfo { config, .. }) = self.info(&name).await?.filter(|found| is_parked(&found.config)) {
            self.update(Config { subjects: wanted.subjects, ..config }).await?;
        }
        let helper = helper_name(&name);
        match self.server.delete_stream(&helper).await {
            Err(CallError::Refused(error)) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(()),
            deleted => Ok(deleted.map_err(|error| error.about(&helper))?),
        }
    }

    /// The helper first: from here on an adoption is under way, and nobody creates the stream.
    async fn begin(&self, shard: ShardId, old: Option<StreamInfo>) -> Result<Step, Error> {
        let name = self.name(shard);
        let helper = Config {
            name: helper_name(&name),
            subjects: vec![format!("{}-{HELPER}.{shard}", self.config.stream)],
            storage: StorageType::File,
            discard: DiscardPolicy::New,
            deny_delete: true,
            num_replicas: usize::from(self.config.replicas),
            metadata: [(OF.to_owned(), old.map(|old| old.created).unwrap_or_default())].into(),
            ..Config::default()
        };
        self.server.create_stream(&helper).await.map_err(|error| error.about(&helper.name))?;
        Ok(Step::Begin)
    }

    /// Freezes the old stream, empties it into the helper, and says on the helper that this is all.
    async fn copy_out(&self, old: Option<StreamInfo>, helper: StreamInfo) -> Result<Step, Error> {
        let mut messages = helper.state.messages;
        if let Some(old) = old {
            let frozen = match is_parked(&old.config) {
                true => old,
                false => self.update(Config { subjects: vec![parked(&old.config.name)], ..old.config }).await?,
            };
            messages = self.copy_all(&frozen, &helper).await?;
        }
        let mut config = helper.config;
        config.metadata.insert(COMPLETE.to_owned(), "true".to_owned());
        self.update(config).await?;
        Ok(Step::CopyOut { messages })
    }

    async fn create_new(&self, shard: ShardId, first: Sequence, helper: &StreamInfo) -> Result<(), Error> {
        let wanted = stream::config(&self.config, shard.0);
        let new = Config {
            subjects: vec![parked(&wanted.name)],
            first_sequence: Some(first.0),
            metadata: [(OF.to_owned(), helper.created.clone())].into(),
            ..wanted
        };
        self.server.create_stream(&new).await.map_err(|error| error.about(&new.name))?;
        Ok(())
    }

    async fn update(&self, config: Config) -> Result<StreamInfo, Error> {
        Ok(self.server.update_stream(&config).await.map_err(|error| error.about(&config.name))?)
    }

    async fn info(&self, stream: &str) -> Result<Option<StreamInfo>, Error> {
        match self.server.stream_info(stream).await {
            Err(CallError::Refused(error)) if error.error_code() == ErrorCode::STREAM_NOT_FOUND => Ok(None),
            found => Ok(Some(found.map_err(|error| error.about(stream))?)),
        }
    }
}

/// Where the messages are while the stream is made anew.
pub(super) fn helper_name(stream: &str) -> String {
    format!("{stream}-{HELPER}")
}

/// Whether an adoption has taken the stream from the door.
pub(super) fn is_parked(config: &Config) -> bool {
    config.subjects == [parked(&config.name)]
}

fn parked(stream: &str) -> String {
    format!("{stream}-{PARKED}")
}
