//! Who is the same event as whom: an item that is nowhere must repeat an earlier row, and no row may.
//!
//! A repeat carries the event time of the first, so one day of rows at a time is enough to see two rows that are one event. Of items
//! that are nowhere and are one event the first is lost, and the others are its repeats.

use std::sync::Arc;

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use futures::TryStreamExt;
use pipeline::writer::Item;
use schemas::{EventDate, Identity, IdentityRule, Position, Sequence, ShardId, Timestamp, identity, raw::Field};
use table::Scan;

use super::{
    Pinned,
    findings::{Findings, Violation},
};

const MINUTE_US: i64 = 60_000_000;
const MINUTES_OF_DAY: i64 = 24 * 60;

/// An item that is no row and not in quarantine: 48 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Absent {
    /// `None` for what is no event.
    pub(crate) identity: Option<Identity>,
    pub(crate) position: Position,
    /// In which its row belongs, counted from 1970.
    minute: i32,
    pub(crate) fate: Fate,
}

/// Why an item is nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It should be a row.
    Lost,
    /// It should be a row, and a later repeat of it is one, in the same minute of event time.
    Overtaken,
    /// An earlier one is the same event.
    Repeat,
}

impl Absent {
    pub(super) fn new(item: &Item, position: Position) -> Self {
        Self { identity: item.identity, position, minute: minute(item.at), fate: Fate::Lost }
    }

    /// The partition of its row.
    pub(crate) fn date(&self) -> EventDate {
        EventDate::of(Timestamp(i64::from(self.minute) * MINUTE_US))
    }

    /// A row is the same event; true when the row is late.
    fn meet(&mut self, row: Position, at: Timestamp) -> bool {
        if row.shard != self.position.shard || row < self.position {
            self.fate = Fate::Repeat;
        } else if self.fate == Fate::Lost && minute(at) == self.minute {
            self.fate = Fate::Overtaken;
            return true;
        }
        false
    }
}

/// A row that is the same event as one before it that is lost.
#[derive(Clone, Debug)]
pub(crate) struct Late {
    pub(crate) lost: Position,
    pub(crate) row: Position,
    pub(crate) file: Arc<str>,
}

/// What became of the items that are nowhere.
#[derive(Debug)]
pub(super) struct Judged {
    /// In the order of their positions.
    pub(super) absent: Vec<Absent>,
    /// One for each that is [overtaken](Fate::Overtaken).
    pub(super) late: Vec<Late>,
}

/// Counted from 1970.
fn minute(at: Timestamp) -> i32 {
    i32::try_from(at.0.div_euclid(MINUTE_US)).expect("event times lie in the years 0 to 9999")
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
    nowhere: Vec<Absent>,
    day: Vec<Row>,
    late: Vec<Late>,
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
    pub(super) fn push(&mut self, absent: Absent) {
        self.nowhere.push(absent);
    }

    /// Looks for their firsts, in one pass over the table, day by day. Between shards there is no before and after, so there any
    /// row counts.
    pub(super) async fn judge(mut self, events: &Pinned, rule: &IdentityRule, findings: &mut Findings) -> anyhow::Result<Judged> {
        self.nowhere.sort_unstable_by_key(|absent| (absent.identity, absent.position));
        let columns = columns(rule);
        for day in events.snapshot.files().chunk_by(|one, next| one.date == next.date) {
            for file in day.iter().filter(|file| !findings.is_unreadable(&file.path)) {
                let mut batches = events.table.scan(file, &Scan { columns: &columns, ..Scan::default() }).await?;
                while let Some(batch) = batches.try_next().await? {
                    self.compare(&batch, rule, &file.path);
                }
            }
            self.end_day(findings);
        }
        self.nowhere.chunk_by_mut(|one, next| one.identity == next.identity).for_each(fold);
        self.nowhere.sort_unstable_by_key(|absent| absent.position);
        let fate = |lost| self.nowhere.binary_search_by_key(&lost, |absent| absent.position).map(|place| self.nowhere[place].fate);
        self.late.retain(|late| fate(late.lost) == Ok(Fate::Overtaken));
        Ok(Judged { absent: self.nowhere, late: self.late })
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

    fn compare(&mut self, batch: &RecordBatch, rule: &IdentityRule, file: &Arc<str>) {
        let column = |name: &str| batch.column_by_name(name).expect("a column that was asked for");
        let shards = column("_shard").as_primitive::<Int32Type>().values();
        let sequences = column("_sequence").as_primitive::<Int64Type>().values();
        let indices = column("_index").as_primitive::<Int32Type>().values();
        let times = column("timestamp").as_primitive::<TimestampMicrosecondType>().values();
        for row in 0..batch.num_rows() {
            let identity = identity::of_row(rule, batch, row);
            let Ok(shard) = u16::try_from(shards[row]).map(ShardId) else { continue };
            let at = Timestamp(times[row]);
            let minute = at.0.div_euclid(MINUTE_US).rem_euclid(MINUTES_OF_DAY);
            let minute = u16::try_from(minute).expect("a day has 1,440 minutes");
            let row = Row { identity, shard, minute, sequence: sequences[row].unsigned_abs(), index: indices[row].unsigned_abs() };
            let from = self.nowhere.partition_point(|absent| absent.identity < Some(identity));
            for absent in self.nowhere[from..].iter_mut().take_while(|absent| absent.identity == Some(identity)) {
                if absent.meet(row.position(), at) {
                    self.late.push(Late { lost: absent.position, row: row.position(), file: Arc::clone(file) });
                }
            }
            self.day.push(row);
        }
    }
}

/// Of one event: what comes after the first that should be a row repeats it.
fn fold(event: &mut [Absent]) {
    if event[0].identity.is_some() {
        event.iter_mut().filter(|absent| absent.fate != Fate::Repeat).skip(1).for_each(|absent| absent.fate = Fate::Repeat);
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
        let same = identity::of_row(&rule, &row, 0);
        let fate = |identity, at: &str, timestamp| {
            let item = Item { index: 0, identity: Some(identity), at: Timestamp(timestamp) };
            let mut repeats = Repeats { nowhere: vec![Absent::new(&item, position(at))], ..Repeats::default() };
            repeats.compare(&row, &rule, &"file".into());
            repeats.nowhere[0].fate
        };
        let fates = ["0:4:9", "0:5:0", "0:5:2", "0:6:0", "1:1:0"].map(|at| fate(same, at, -1));
        assert_eq!(fates, [Fate::Overtaken, Fate::Overtaken, Fate::Repeat, Fate::Repeat, Fate::Repeat]);
        assert_eq!(fate(same, "0:4:9", 0), Fate::Lost, "in another minute a later row may be another");
        assert_eq!(fate(Identity([7; 16]), "0:6:0", -1), Fate::Lost);
    }

    #[test]
    fn of_an_event_that_is_nowhere_the_first_is_lost_and_the_others_repeat_it() {
        let absent = |at: &str, fate| Absent { identity: Some(Identity([7; 16])), position: at.parse().unwrap(), minute: 0, fate };
        let mut event = [absent("0:1:0", Fate::Repeat), absent("0:2:0", Fate::Lost), absent("0:3:0", Fate::Lost)];
        fold(&mut event);
        assert_eq!(event.map(|absent| absent.fate), [Fate::Repeat, Fate::Lost, Fate::Repeat]);
        let mut others = [absent("0:1:0", Fate::Lost), absent("0:2:0", Fate::Lost)].map(|absent| Absent { identity: None, ..absent });
        fold(&mut others);
        assert_eq!(others.map(|absent| absent.fate), [Fate::Lost; 2], "what is no event repeats nothing");
    }

    #[test]
    fn what_is_nowhere_takes_48_bytes_and_a_row_32() {
        assert_eq!((size_of::<Absent>(), size_of::<Row>()), (48, 32));
    }
}
