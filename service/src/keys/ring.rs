//! The keys in force, and the judgement of a request.

use std::{
    convert::Infallible,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header::WWW_AUTHENTICATE};
use serde::Deserialize;
use subtle::ConditionallySelectable;
use tokio::time::timeout;

use super::{KeyFile, KeyFileError, KeyId, KeyRecord, Scope, credentials::presented};
use crate::{clock::Clock, file_watch::FileWatch, problem::Problem, settings::Secret, tasks::Stop};

/// How often the file is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// A root key shorter than this could be guessed.
const SHORTEST_ROOT_KEY: usize = 32;

/// The section `keys`.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// The file of keys.
    pub file: PathBuf,
    /// A key with every scope, beside those of the file; empty = none.
    pub root_key: Secret,
}

/// The keys in force. Clones share them.
///
/// Keys are off while there is neither a file nor a root key. Once there was a file, they stay on: a file that goes away or is
/// damaged while the process runs leaves the keys that were in it in force.
#[derive(Clone, Debug)]
pub struct KeyRing(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: KeyFile,
    root: Option<KeyRecord>,
    watch: Mutex<FileWatch>,
    keys: RwLock<Option<Arc<[KeyRecord]>>>,
    clock: Clock,
}

/// Why the keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// Choose a longer one.
    #[error(
        "`keys.root_key` has {length} characters; it must be random and have at least {SHORTEST_ROOT_KEY}, for example from `openssl rand -hex 32`"
    )]
    ShortRootKey {
        /// What it has.
        length: usize,
    },
}

/// Why a request is not let in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Bring a key.
    #[error(
        "this route needs an API key: send it as `X-API-Key`, as `Authorization: Bearer`, or as the password of `Authorization: Basic`"
    )]
    Missing,
    /// Bring another key.
    #[error("the API key is not known here; it may have been revoked")]
    Unknown,
    /// Bring a newer key.
    #[error("the API key `{0}` has expired")]
    Expired(KeyId),
    /// Bring a key for this.
    #[error("the API key `{id}` may not do this; it needs the scope `{}`", needed.as_str())]
    OtherScope {
        /// The key.
        id: KeyId,
        /// What the route needs.
        needed: Scope,
    },
}

impl KeyRing {
    /// Reads the file, when there is one.
    ///
    /// # Errors
    /// When the file cannot be read, or the root key is too short.
    pub fn open(config: Config, clock: Clock) -> Result<Self, KeysError> {
        let length = config.root_key.expose().len();
        if (1..SHORTEST_ROOT_KEY).contains(&length) {
            return Err(KeysError::ShortRootKey { length });
        }
        let root = (length > 0).then(|| KeyRecord::of_root(&config.root_key));
        let file = KeyFile::new(config.file);
        let watch = Mutex::new(FileWatch::new([file.path()]));
        let keys = RwLock::new(file.read()?.map(Arc::from));
        Ok(Self(Arc::new(Shared { file, root, watch, keys, clock })))
    }

    /// Whether requests need a key.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.root.is_some() || self.keys().is_some()
    }

    /// Whether any key opens anything now.
    #[must_use]
    pub fn has_valid_key(&self) -> bool {
        let now = self.0.clock.now();
        self.0.root.is_some() || self.keys().is_some_and(|keys| keys.iter().any(|key| !key.has_expired(now)))
    }

    /// Where the keys are kept.
    #[must_use]
    pub fn file(&self) -> &KeyFile {
        &self.0.file
    }

    /// The record of the key that a request brings, when it may do what the scope says. Takes the same time for every known key.
    ///
    /// # Errors
    /// When there is no key, or it is unknown, expired or for something else.
    pub fn check(&self, headers: &HeaderMap, needed: Scope) -> Result<KeyRecord, Refusal> {
        let key = presented(headers).ok_or(Refusal::Missing)?;
        let record = self.find(&key).ok_or(Refusal::Unknown)?;
        if record.has_expired(self.0.clock.now()) {
            return Err(Refusal::Expired(record.id));
        }
        if record.may(needed) { Ok(record) } else { Err(Refusal::OtherScope { id: record.id, needed }) }
    }

    /// Compares with every record, also after a match.
    fn find(&self, key: &[u8]) -> Option<KeyRecord> {
        let hash = blake3::hash(key);
        let keys = self.keys().unwrap_or_default();
        let all = || self.0.root.iter().chain(keys.iter());
        let mut place = u64::MAX;
        for (at, record) in (0_u64..).zip(all()) {
            place.conditional_assign(&at, record.is_of(&hash));
        }
        all().nth(usize::try_from(place).ok()?).cloned()
    }

    fn keys(&self) -> Option<Arc<[KeyRecord]>> {
        self.0.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file again whenever it changes, until a stop is requested; run it as a task.
    ///
    /// # Errors
    /// Never; the type is that of a task.
    pub async fn watch(self, stop: Stop) -> Result<(), Infallible> {
        while timeout(WATCH_INTERVAL, stop.requested()).await.is_err() {
            self.refresh();
        }
        Ok(())
    }

    fn refresh(&self) {
        if !self.0.watch.lock().unwrap_or_else(PoisonError::into_inner).has_changed() {
            return;
        }
        match self.0.file.read() {
            Ok(Some(keys)) => {
                tracing::info!(keys = keys.len(), "the file of keys has changed and is in force");
                *self.0.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(keys.into());
            }
            Ok(None) => tracing::warn!("the file of keys is gone; the keys that were in it stay in force until the next start"),
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "the file of keys cannot be used; the keys that were in it stay in force");
            }
        }
    }
}

impl Refusal {
    const fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Missing => (StatusCode::UNAUTHORIZED, "key_missing"),
            Self::Unknown => (StatusCode::UNAUTHORIZED, "key_unknown"),
            Self::Expired(_) => (StatusCode::UNAUTHORIZED, "key_expired"),
            Self::OtherScope { .. } => (StatusCode::FORBIDDEN, "key_scope"),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        metrics::counter!("tidemark_requests_refused_total", "code" => code).increment(1);
        let mut response = Problem::new(status, code, self.to_string()).into_response();
        if status == StatusCode::UNAUTHORIZED {
            for challenge in ["Bearer realm=\"tidemark\"", "Basic realm=\"tidemark\", charset=\"UTF-8\""] {
                response.headers_mut().append(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
        }
        response
    }
}

#[cfg(test)]
mod tests;
