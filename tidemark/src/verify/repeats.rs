//! Items that are nowhere: repeats, if a row that came before is the same event.

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int32Type, Int64Type},
};
use futures::TryStreamExt;
use schemas::{Identity, IdentityRule, Position, Sequence, ShardId, identity, raw::Field};

use super::{Pinned, findings::Findings};

/// An item that is no row and not in quarantine: 48 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeat {
    pub(super) identity: Identity,
    pub(super) position: Position,
    /// Whether an earlier row is the same event.
    pub(super) is_repeat: bool,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Repeats(Vec<Repeat>);

impl Repeats {
    pub(super) fn push(&mut self, repeat: Repeat) {
        self.0.push(repeat);
    }

    /// Looks for their firsts, in one pass over the table. Between shards there is no before and after, so there any row counts.
    pub(super) async fn judge(mut self, events: &Pinned, rule: &IdentityRule, findings: &Findings) -> anyhow::Result<Vec<Repeat>> {
        if self.0.is_empty() {
            return Ok(self.0);
        }
        self.0.sort_unstable_by_key(|repeat| repeat.identity);
        let columns = columns(rule);
        for file in events.snapshot.files().iter().filter(|file| !findings.is_unreadable(&file.path)) {
            let mut batches = events.table.read(file, &columns).await?;
            while let Some(batch) = batches.try_next().await? {
                self.compare(&batch, rule);
            }
        }
        self.0.sort_unstable_by_key(|repeat| repeat.position);
        Ok(self.0)
    }

    fn compare(&mut self, batch: &RecordBatch, rule: &IdentityRule) {
        let column = |name: &str| batch.column_by_name(name).expect("a column that was asked for");
        let shards = column("_shard").as_primitive::<Int32Type>().values();
        let sequences = column("_sequence").as_primitive::<Int64Type>().values();
        let indices = column("_index").as_primitive::<Int32Type>().values();
        for row in 0..batch.num_rows() {
            let identity = identity::of_row(rule, batch, row);
            let Ok(shard) = u16::try_from(shards[row]) else { continue };
            let place = (sequences[row].unsigned_abs(), indices[row].unsigned_abs());
            let from = self.0.partition_point(|repeat| repeat.identity < identity);
            for repeat in self.0[from..].iter_mut().take_while(|repeat| repeat.identity == identity) {
                repeat.is_repeat |= is_before(ShardId(shard), place, repeat.position);
            }
        }
    }
}

fn is_before(shard: ShardId, (sequence, index): (u64, u32), position: Position) -> bool {
    shard != position.shard || (Sequence(sequence), Some(index)) < (position.sequence, position.index)
}

/// What the identity of a row is made of, and its place.
fn columns(rule: &IdentityRule) -> Vec<&'static str> {
    let mut columns = vec!["_shard", "_sequence", "_index", "received_at", Field::EventId.name()];
    columns.extend(rule.fields().iter().map(|field| field.name()));
    columns
}
