//! Who is the same event as whom: an item that is nowhere must repeat an earlier row, and no row may.
//!
//! A repeat carries the event time of the first, so one day of rows at a time is enough to see two rows that are one event.

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use futures::TryStreamExt;
use schemas::{Identity, IdentityRule, Position, Sequence, ShardId, identity, raw::Field};
use table::Scan;

use super::{
    Pinned,
    findings::{Findings, Violation},
};

const MINUTE_US: i64 = 60_000_000;
const MINUTES_OF_DAY: i64 = 24 * 60;

/// An item that is no row and not in quarantine: 48 bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeat {
    pub(super) identity: Identity,
    pub(super) position: Position,
    /// Whether an earlier row is the same event.
    pub(super) is_repeat: bool,
}

/// A row of the day that is being read: 32 bytes. Ordered so that the same event comes together, the earliest row first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    identity: Identity,
    shard: ShardId,
    /// Of the day.
    minute: u16,
    sequence: u64,
    index: u32,
}

/// All items that are nowhere, and the rows of a day.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    nowhere: Vec<Repeat>,
    day: Vec<Row>,
}

impl Row {
    fn is_same_event(&self, other: &Self) -> bool {
        (self.shard, self.identity, self.minute) == (other.shard, other.identity, other.minute)
    }

    fn position(&self) -> Position {
        Position { shard: self.shard, sequence: Sequence(self.sequence), index: Some(self.index) }
    }
}

impl Repeats {
    pub(super) fn push(&mut self, repeat: Repeat) {
        self.nowhere.push(repeat);
    }

    /// Looks for their firsts, in one pass over the table, day by day. Between shards there is no before and after, so there any
    /// row counts.
    pub(super) async fn judge(mut self, events: &Pinned, rule: &IdentityRule, findings: &mut Findings) -> anyhow::Result<Vec<Repeat>> {
        self.nowhere.sort_unstable_by_key(|repeat| repeat.identity);
        let columns = columns(rule);
        for day in events.snapshot.files().chunk_by(|one, next| one.date == next.date) {
            for file in day.iter().filter(|file| !findings.is_unreadable(&file.path)) {
                let mut batches = events.table.scan(file, &Scan { columns: &columns, ..Scan::default() }).await?;
                while let Some(batch) = batches.try_next().await? {
                    self.compare(&batch, rule);
                }
            }
            self.end_day(findings);
        }
        self.nowhere.sort_unstable_by_key(|repeat| repeat.position);
        Ok(self.nowhere)
    }

    /// No two rows of a minute are the same event.
    fn end_day(&mut self, findings: &mut Findings) {
        self.day.sort_unstable();
        for rows in self.day.chunk_by(Row::is_same_event) {
            let first = rows[0].position();
            for position in rows.iter().map(Row::position).filter(|position| *position != first) {
                findings.add(position.shard, Violation::SameEvent { position, first });
            }
        }
        self.day.clear();
    }

    fn compare(&mut self, batch: &RecordBatch, rule: &IdentityRule) {
        let column = |name: &str| batch.column_by_name(name).expect("a column that was asked for");
        let shards = column("_shard").as_primitive::<Int32Type>().values();
        let sequences = column("_sequence").as_primitive::<Int64Type>().values();
        let indices = column("_index").as_primitive::<Int32Type>().values();
        let times = column("timestamp").as_primitive::<TimestampMicrosecondType>().values();
        for row in 0..batch.num_rows() {
            let identity = identity::of_row(rule, batch, row);
            let Ok(shard) = u16::try_from(shards[row]).map(ShardId) else { continue };
            let minute = times[row].div_euclid(MINUTE_US).rem_euclid(MINUTES_OF_DAY);
            let minute = u16::try_from(minute).expect("a day has 1,440 minutes");
            let row = Row { identity, shard, minute, sequence: sequences[row].unsigned_abs(), index: indices[row].unsigned_abs() };
            let from = self.nowhere.partition_point(|repeat| repeat.identity < identity);
            for repeat in self.nowhere[from..].iter_mut().take_while(|repeat| repeat.identity == identity) {
                repeat.is_repeat |= shard != repeat.position.shard || row.position() < repeat.position;
            }
            self.day.push(row);
        }
    }
}

/// What the identity of a row is made of, its minute and its place.
fn columns(rule: &IdentityRule) -> Vec<&'static str> {
    let mut columns = vec!["_shard", "_sequence", "_index", "received_at", Field::Timestamp.name(), Field::EventId.name()];
    columns.extend(rule.fields().iter().filter(|field| **field != Field::Timestamp).map(|field| field.name()));
    columns
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn only_a_row_that_came_before_makes_a_repeat() {
        let (rule, position) = (IdentityRule::default(), |text: &str| text.parse::<Position>().unwrap());
        let row = RecordBatch::try_from_iter([
            ("_shard", Arc::new(Int32Array::from(vec![0])) as _),
            ("_sequence", Arc::new(Int64Array::from(vec![5])) as _),
            ("_index", Arc::new(Int32Array::from(vec![1])) as _),
            ("timestamp", Arc::new(TimestampMicrosecondArray::from(vec![-1])) as _),
            ("event_id", Arc::new(StringArray::from(vec!["x"])) as _),
        ]);
        let row = row.unwrap();
        let is_repeat = |identity, at| {
            let mut repeats = Repeats { nowhere: vec![Repeat { identity, position: position(at), is_repeat: false }], day: Vec::new() };
            repeats.compare(&row, &rule);
            repeats.nowhere[0].is_repeat
        };
        let same = identity::of_row(&rule, &row, 0);
        let repeats = ["0:4:9", "0:5:0", "0:5:2", "0:6:0", "1:1:0"].map(|at| is_repeat(same, at));
        assert_eq!(repeats, [false, false, true, true, true]);
        assert!(!is_repeat(Identity([7; 16]), "0:6:0"));
    }

    #[test]
    fn a_repeat_takes_48_bytes_and_a_row_32() {
        assert_eq!((size_of::<Repeat>(), size_of::<Row>()), (48, 32));
    }
}
