//! What became of the items of one shard's messages, in numbers.

use journal::Bounds;
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
    /// The first and the last message that were not looked at, because the table has not come to them.
    pub(crate) uncommitted: Option<(Sequence, Sequence)>,
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
    /// Nothing counted yet of the messages that the journal has and the table has come to.
    pub(super) fn new(shard: ShardId, journal: &Bounds, tidemark: Sequence, gaps: Vec<RecordedGap>) -> Self {
        let range = |first: Sequence, last: Sequence| (first <= last).then_some((first, last));
        Self {
            shard,
            first_kept: journal.first,
            checked: range(journal.first, journal.last.min(tidemark)),
            uncommitted: range(journal.first.max(tidemark.next()), journal.last),
            accepted: 0,
            rows: 0,
            duplicates: 0,
            quarantined: 0,
            given_up: 0,
            violations: 0,
            gaps,
        }
    }
}
