//! What can go wrong with an open journal, named by what the caller does next.

use std::time::Duration;

use schemas::{Sequence, ShardId};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why a message has no sequence.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Not stored. Send it again later, when something was released.
    #[error("stream `{stream}` is full: {reason}")]
    Full {
        /// The stream of the shard.
        stream: String,
        /// In the journal's words.
        reason: String,
    },
    /// Stored or not, nobody knows. Send it again with the same id.
    #[error("stream `{stream}` did not answer within {timeout:?}; the message may have been stored")]
    NoAnswer {
        /// The stream of the shard.
        stream: String,
        /// How long the answer was waited for, tries included.
        timeout: Duration,
    },
    /// Not stored, nor ever will be. Make it smaller.
    #[error("a payload of {bytes} bytes is larger than the journal's limit of {limit_bytes} bytes")]
    TooLarge {
        /// The payload.
        bytes: usize,
        /// [`Journal::max_payload_bytes`](crate::Journal::max_payload_bytes).
        limit_bytes: usize,
    },
    /// Not stored where it belongs: the stream is not the one into which was published before. No later message is taken either.
    #[error(
        "stream `{stream}` was created again or set back: it calls a new message {found}, and {seen} was there before; stop Tidemark, \
         then run `tidemark journal adopt`"
    )]
    AnotherStream {
        /// The stream of the shard.
        stream: String,
        /// A sequence that the stream once had.
        seen: Sequence,
        /// What it said of a message that was new.
        found: Sequence,
    },
    /// Not stored, and a repeat will not help. An operator has to look.
    #[error("the journal refuses the message: {reason}")]
    Refused {
        /// What is wrong, and with what.
        reason: String,
    },
}

/// Why a shard cannot be read, looked at or released.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server is away, or too busy to answer.
    #[error("stream `{stream}` is not available")]
    Unavailable {
        /// The stream of the shard.
        stream: String,
        /// What was tried.
        #[source]
        source: Source,
    },
    /// The server answered, with a refusal.
    #[error("the server refuses a request about stream `{stream}`")]
    Rejected {
        /// The stream of the shard.
        stream: String,
        /// In the server's words.
        #[source]
        source: Source,
    },
    /// The server answers, and stores nothing: its disk may be full.
    #[error("the journal stores nothing now: {reason}")]
    Refusing {
        /// What the last publish came to.
        reason: String,
    },
    /// Messages that were to be read next are gone; the server was asked for them and has none.
    #[error("stream `{stream}` has a gap: `{expected}` is next, but the first message there is `{found}`")]
    Gap {
        /// The stream of the shard.
        stream: String,
        /// The sequence that had to come.
        expected: Sequence,
        /// The first that is there, or that will be; reading goes on after the one before it.
        found: Sequence,
    },
    /// The stream ends before a message that it once had, as after a restored backup or a power cut.
    #[error("stream `{stream}` ends at `{last}`, but `{position}` was seen in it; stop Tidemark, then run `tidemark journal adopt`")]
    Truncated {
        /// The stream of the shard.
        stream: String,
        /// What the caller has seen.
        position: Sequence,
        /// What the stream has.
        last: Sequence,
    },
    /// Another stream stands under the name of the one that was opened.
    #[error(
        "stream `{stream}` was created again: it is that of `{found}`, the one opened was that of `{opened}`; stop Tidemark, then run \
         `tidemark journal adopt`"
    )]
    Recreated {
        /// The stream of the shard.
        stream: String,
        /// The identity when the journal was opened.
        opened: String,
        /// The identity now.
        found: String,
    },
    /// The stream is gone.
    #[error("stream `{stream}` was deleted; stop Tidemark, then restore its files or run `tidemark journal adopt`")]
    Deleted {
        /// The stream of the shard.
        stream: String,
    },
    /// A mistake of the caller.
    #[error("shard `{shard}` does not exist; there are {shards}, counted from 0")]
    NoSuchShard {
        /// The shard asked for.
        shard: ShardId,
        /// How many there are.
        shards: u16,
    },
}

/// What helps against an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The same call later.
    Retry,
    /// Write down what is gone, then read on after it.
    Record,
    /// Nothing that a program may do: stop, and tell an operator.
    Stop,
}

impl Error {
    /// What helps.
    #[must_use]
    pub const fn remedy(&self) -> Remedy {
        match self {
            Self::Unavailable { .. } | Self::Rejected { .. } | Self::Refusing { .. } => Remedy::Retry,
            Self::Gap { .. } => Remedy::Record,
            Self::Truncated { .. } | Self::Recreated { .. } | Self::Deleted { .. } | Self::NoSuchShard { .. } => Remedy::Stop,
        }
    }
}
