//! What `quarantine` says of messages that are gone: an accounted hole is told, any other is a violation.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use futures::TryStreamExt;
use pipeline::writer::{GAP_CODE, Gap};
use schemas::{Sequence, ShardId};
use serde::Serialize;
use table::Scan;

use super::{Pinned, findings::Findings};

/// A record of messages that were gone before they were read, or of an adoption.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct RecordedGap {
    first: Sequence,
    last: Sequence,
    code: String,
    message: String,
}

impl RecordedGap {
    fn of(code: &str, message: &str) -> Option<Self> {
        let Gap { first, last } = Gap::of_record(code, message)?;
        Some(Self { first, last, code: code.to_owned(), message: message.to_owned() })
    }

    /// In words, for a person.
    pub(crate) fn text(&self) -> String {
        let Self { code, message, .. } = self;
        if code == GAP_CODE { format!("messages {message}") } else { format!("adopted, positions {message}") }
    }
}

/// Every record of a shard, in order. A file of another table is named elsewhere.
pub(super) async fn recorded(quarantine: &Pinned, shard: ShardId, findings: &Findings) -> Vec<RecordedGap> {
    let mut found = Vec::new();
    for file in quarantine.snapshot.files().iter().filter(|file| !findings.is_unreadable(&file.path)) {
        let scan = Scan { columns: &["code", "message", "_shard"], ..Scan::default() };
        let batches = match quarantine.table.scan(file, &scan).await {
            Ok(batches) => batches.try_collect::<Vec<_>>().await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        found.extend(batches.iter().flat_map(|batch| of_batch(batch, shard)));
    }
    found.sort_unstable_by_key(|gap| (gap.first, gap.last));
    found
}

fn of_batch(batch: &RecordBatch, shard: ShardId) -> Vec<RecordedGap> {
    let texts = |name: &str| batch.column_by_name(name).and_then(|column| column.as_string_opt::<i32>());
    let shards = batch.column_by_name("_shard").and_then(|column| column.as_primitive_opt::<Int32Type>());
    let (Some(codes), Some(messages), Some(shards)) = (texts("code"), texts("message"), shards) else { return Vec::new() };
    let shards = shards.values();
    let mine = (0..batch.num_rows()).filter(|row| shards[*row] == i32::from(shard.0));
    mine.filter_map(|row| RecordedGap::of(codes.value(row), messages.value(row))).collect()
}

/// Whether the records cover every position of a hole.
pub(super) fn cover(recorded: &[RecordedGap], hole: Gap) -> bool {
    let mut next = hole.first;
    for gap in recorded {
        if gap.first <= next && next <= gap.last {
            next = gap.last.next();
        }
    }
    next > hole.last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_is_accounted_for_only_as_a_whole() {
        let gap = |first, last| RecordedGap::of(GAP_CODE, &format!("{first} to {last}: gone")).unwrap();
        let hole = |first, last| Gap { first: Sequence(first), last: Sequence(last) };
        let recorded = [gap(3, 5), gap(6, 6), gap(9, 12)];
        assert!(cover(&recorded, hole(3, 6)) && cover(&recorded, hole(4, 4)) && cover(&recorded, hole(10, 12)));
        assert!(!cover(&recorded, hole(2, 3)) && !cover(&recorded, hole(5, 9)) && !cover(&recorded, hole(12, 13)));
    }
}
