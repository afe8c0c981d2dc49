//! Section `[pipeline]` of the settings.

use schemas::IdentityRule;
use serde::Deserialize;
use service::settings::{Address, ByteSize, Interval};

use super::open_batch::Limits;

/// Section `[pipeline]`; `config/tidemark.toml` explains each key.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Prometheus and health.
    pub admin_listen: Address,
    /// Rows that make a batch full.
    pub max_rows: usize,
    /// Bytes of rows that make a batch full.
    pub max_bytes: ByteSize,
    /// How long the oldest row of a batch waits at most.
    pub max_age: Interval,
    /// How long a batch waits when nothing new comes.
    pub max_idle: Interval,
    /// How far behind the journal the role may be and still be ready; zero: however far.
    pub max_lag: Interval,
}

/// What to do when messages are gone that were not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnGap {
    /// Write down in `quarantine` which ones, and go on.
    Record,
    /// End, and leave it to an operator.
    Stop,
}

/// Section `[dedup]`, as far as the writer needs it.
#[derive(Clone, Debug, Deserialize)]
pub struct Dedup {
    /// The fields that identify an event without `event_id`.
    pub identity: IdentityRule,
    /// The memory for the identities of the minutes in use, of all shards together.
    pub memory: ByteSize,
}

impl Config {
    pub(super) fn limits(&self) -> Limits {
        Limits { rows: self.max_rows, bytes: self.max_bytes.as_usize(), age: self.max_age.0, idle: self.max_idle.0 }
    }
}
