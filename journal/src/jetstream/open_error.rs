//! Why a JetStream journal cannot be opened, and what to do about it.

use async_nats::{ConnectError, ConnectErrorKind};

use crate::Error;

/// The oldest server that can sync each message: `sync_interval` came with it.
pub(super) const OLDEST_SERVER: (i64, i64, i64) = (2, 10, 0);

/// Why the journal did not open. Each message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Nobody listens there.
    #[error("no NATS server answers at `{url}`: start one with `./justw up`, or point `nats.url` to yours")]
    NotRunning {
        /// As it was set, without credentials.
        url: String,
        /// What the connection said.
        #[source]
        source: ConnectError,
    },
    /// The address is none.
    #[error("`nats.url` is `{url}`: write `nats://host:port`, several with commas between them")]
    BadUrl {
        /// As it was set.
        url: String,
        /// What is wrong with it.
        #[source]
        source: std::io::Error,
    },
    /// Wrong or missing credentials.
    #[error("the NATS server at `{url}` refuses the login: set `nats.user` and `nats.password`")]
    LoginRefused {
        /// As it was set, without credentials.
        url: String,
        /// What the connection said.
        #[source]
        source: ConnectError,
    },
    /// The server cannot keep the promises of the journal.
    #[error("the NATS server at `{url}` is version `{found}`: 2.10.0 or newer is needed, which can sync each message to disk")]
    TooOld {
        /// As it was set, without credentials.
        url: String,
        /// The server's version.
        found: String,
    },
    /// The server has no JetStream.
    #[error("the NATS server at `{url}` runs without JetStream: start it with `config/nats.conf`, or with `-js --store_dir FOLDER`")]
    NoJetStream {
        /// As it was set, without credentials.
        url: String,
    },
    /// The server cannot promise this much disk.
    #[error(
        "the NATS server has no room for stream `{stream}` of {max_bytes} bytes: lower `journal.max_bytes`, or give JetStream more disk"
    )]
    NoRoom {
        /// The stream.
        stream: String,
        /// `journal.max_bytes`.
        max_bytes: u64,
        /// In the server's words.
        #[source]
        source: async_nats::jetstream::Error,
    },
    /// A stream of this name exists and is another one than this journal needs.
    #[error("stream `{stream}` has `{field}` = `{found}`, but `{wanted}` is needed: {remedy}")]
    StreamDiffers {
        /// The stream.
        stream: String,
        /// The field, as the NATS API calls it.
        field: String,
        /// What it is.
        found: String,
        /// What it must be.
        wanted: String,
        /// What to do.
        remedy: String,
    },
    /// An adoption was begun and not ended.
    #[error("stream `{stream}` is being adopted: run `tidemark journal adopt` to its end first")]
    BeingAdopted {
        /// The stream.
        stream: String,
    },
    /// A setting that cannot work.
    #[error("`{setting}` cannot be used: {remedy}")]
    BadSetting {
        /// The setting.
        setting: &'static str,
        /// What to write.
        remedy: &'static str,
    },
    /// The server was reached and then failed.
    #[error("the NATS server at `{url}` was reached, but the journal could not be opened")]
    Failed {
        /// As it was set, without credentials.
        url: String,
        /// What it failed at.
        #[source]
        source: Error,
    },
}

impl OpenError {
    pub(super) fn from_connect(url: String, source: ConnectError) -> Self {
        match source.kind() {
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => Self::LoginRefused { url, source },
            _ => Self::NotRunning { url, source },
        }
    }
}
