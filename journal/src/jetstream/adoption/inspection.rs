//! What an operator wants to know of the server and its streams, beside what they hold.

use schemas::ShardId;

use super::{Error, Streams, is_parked};
use crate::jetstream::{Durability, DurabilityError, OpenError, durability, stream};

/// The server that answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFacts {
    /// Where it was reached, without credentials.
    pub url: String,
    /// Its version.
    pub version: String,
    /// The largest message that it takes, in bytes.
    pub max_payload_bytes: usize,
}

/// What is wrong with a stream, or that nobody knows.
#[derive(Debug, thiserror::Error)]
pub enum StreamFault {
    /// The journal does not open with it.
    #[error(transparent)]
    Unfit(#[from] OpenError),
    /// The server does not tell.
    #[error(transparent)]
    Unknown(#[from] Error),
}

impl Streams {
    /// The server that answered; it is new enough and has JetStream.
    #[must_use]
    pub fn server(&self) -> ServerFacts {
        let info = self.server.client().server_info();
        ServerFacts { url: self.server.url().to_owned(), version: info.version, max_payload_bytes: info.max_payload }
    }

    /// As [`crate::JetStream::durability`].
    ///
    /// # Errors
    /// As there.
    pub async fn durability(&self) -> Result<Option<Durability>, DurabilityError> {
        match &self.monitoring_url {
            Some(url) => durability::ask(url).await.map(Some),
            None => Ok(None),
        }
    }

    /// Compares the stream of a shard with what the journal needs, field by field; a stream that is not there is fine, it will be created.
    ///
    /// # Errors
    /// What [`crate::JetStream::open`] would say of it.
    pub async fn verify(&self, shard: ShardId) -> Result<(), StreamFault> {
        match self.info(&self.name(shard)).await? {
            Some(found) if is_parked(&found.config) => Err(OpenError::BeingAdopted { stream: found.config.name }.into()),
            Some(found) => Ok(stream::verify(&stream::config(&self.config, shard.0), &found.config)?),
            None => Ok(()),
        }
    }
}
