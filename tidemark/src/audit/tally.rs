//! What became of the items of one shard's messages, in numbers.

use schemas::{Sequence, ShardId};
use serde::Serialize;

use super::gaps::RecordedGap;

/// The equation of a shard: accepted = rows + duplicates + quarantined + given up.
#[derive(Debug, Serialize)]
pub(crate) struct Tally {
    pub(crate) shard: ShardId,
    /// The first message that the journal still has, or would have next.
    pub(crate) first_kept: Sequence,
    /// The first and the last message that were compared; `None` when the journal has none of the table's messages.
    pub(crate) checked: Option<(Sequence, Sequence)>,
    pub(crate) accepted: u64,
    pub(crate) rows: u64,
    pub(crate) duplicates: u64,
    pub(crate) quarantined: u64,
    /// Rows that `table.retention` or `tidemark erase` took.
    pub(crate) given_up: u64,
    pub(crate) violations: u64,
    /// What `quarantine` says of messages that were gone before they were read.
    pub(crate) gaps: Vec<RecordedGap>,
}

impl Tally {
    /// Nothing counted yet of the messages `first` to `end`.
    pub(super) fn new(shard: ShardId, first: Sequence, end: Sequence, gaps: Vec<RecordedGap>) -> Self {
        let checked = (first <= end).then_some((first, end));
        Self { shard, first_kept: first, checked, accepted: 0, rows: 0, duplicates: 0, quarantined: 0, given_up: 0, violations: 0, gaps }
    }
}
