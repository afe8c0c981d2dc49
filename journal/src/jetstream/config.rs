//! What the JetStream journal has to be told, and what of it cannot work.

use std::{fmt, time::Duration};

use super::OpenError;

/// How long a stream remembers message ids. A try and its repeat lie within `publish_timeout`, far below this.
pub(super) const DUPLICATE_WINDOW: Duration = Duration::from_secs(120);

/// Where the server is.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// `nats://host:port`, several with commas between them.
    pub url: String,
    /// Absent where the server asks for none.
    pub credentials: Option<Credentials>,
    /// `http://host:port` of the server's monitoring; absent: durability cannot be checked.
    pub monitoring_url: Option<String>,
    /// For one address.
    pub connect_timeout: Duration,
}

/// Who connects.
#[derive(Clone)]
pub struct Credentials {
    /// The user.
    pub user: String,
    /// Never printed.
    pub password: String,
}

/// What the streams are.
#[derive(Clone, Debug)]
pub struct StreamsConfig {
    /// The name; shard 0 is the stream `<stream>-0` on the subject `<stream>.0`.
    pub stream: String,
    /// At least 1. Never fewer than before: the streams above would be forgotten.
    pub shards: u16,
    /// Copies of each message: 1, 3 or 5.
    pub replicas: u16,
    /// Where one shard starts to refuse messages.
    pub max_bytes: u64,
    /// From the call to its answer, tries included.
    pub publish_timeout: Duration,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl StreamsConfig {
    pub(super) fn check(&self) -> Result<(), OpenError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        if self.stream.is_empty() || self.stream.len() > 64 || !self.stream.chars().all(plain) {
            return bad("journal.stream", "write 1 to 64 letters, digits, `-` or `_`");
        }
        if self.shards == 0 {
            return bad("journal.shards", "there must be at least 1");
        }
        if ![1, 3, 5].contains(&self.replicas) {
            return bad("journal.replicas", "write 1, 3 or 5");
        }
        if i64::try_from(self.max_bytes).map_or(true, |bytes| bytes == 0) {
            return bad("journal.max_bytes", "write a size above 0 and below 8 EiB");
        }
        if self.publish_timeout.is_zero() || self.publish_timeout > DUPLICATE_WINDOW / 2 {
            return bad("journal.publish_timeout", "write a time above 0s and up to 60s, for the streams remember message ids for 120s");
        }
        Ok(())
    }

    pub(super) fn stream_name(&self, shard: u16) -> String {
        format!("{}-{shard}", self.stream)
    }

    pub(super) fn subject(&self, shard: u16) -> String {
        format!("{}.{shard}", self.stream)
    }
}

fn bad(setting: &'static str, remedy: &'static str) -> Result<(), OpenError> {
    Err(OpenError::BadSetting { setting, remedy })
}
