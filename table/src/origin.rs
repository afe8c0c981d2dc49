//! Where the rows of a shard came from: the stream, and the last message of it that is in the table (INVARIANTS I8).
//!
//! Kept beside the tidemark, in the same commits, as two more `txn` actions: app ids `tidemark/<shard>/stream` and
//! `tidemark/<shard>/last_message`, version = fingerprint. A stream that was deleted and created again, restored from a backup, or cut
//! and written anew has the same name and the same numbers, and is told apart by them.

use deltalake_core::kernel::Transaction;
use schemas::ShardId;

use crate::log::{Mark, Marks};

/// 63 bits of a BLAKE3, which is what a `txn` version holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint(i64);

/// The stream of a shard and the message at its tidemark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The identity of the stream.
    pub stream: Fingerprint,
    /// The payload of the message at the tidemark.
    pub last_message: Fingerprint,
}

impl Fingerprint {
    /// The fingerprint of some bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let mut first = [0; 8];
        first.copy_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
        Self(i64::from_le_bytes(first) & i64::MAX)
    }
}

impl Origin {
    pub(crate) fn of_shard(shard: ShardId, marks: &Marks) -> Option<Self> {
        let mark = |mark| marks.get(&mark).copied().map(Fingerprint);
        Some(Self { stream: mark(Mark::Stream(shard))?, last_message: mark(Mark::LastMessage(shard))? })
    }

    pub(crate) fn actions(&self, shard: ShardId) -> [Transaction; 2] {
        [Mark::Stream(shard).action(self.stream.0), Mark::LastMessage(shard).action(self.last_message.0)]
    }
}
