//! The state machine against a model that is a set: whatever is delivered, repeated, committed, lost or restarted, in whatever
//! order, every identity ends as one row, at its first position that could be read; what could not be read is recorded, once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrow::{
    array::{Array, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray},
    datatypes::{Int64Type, TimestampMicrosecondType},
};
use proptest::prelude::*;
use schemas::Identity;

use super::*;
use crate::writer::gap::GAP_CODE;

const LIMITS: Limits = Limits { rows: 8, bytes: usize::MAX, age: Duration::from_secs(30), idle: Duration::from_secs(30) };
const MINUTE_US: i64 = 60_000_000;

#[derive(Clone, Debug)]
enum Step {
    /// The next message comes.
    Deliver,
    /// A message that is not committed vanishes from the journal: the one at so many places after the tidemark.
    Lose(usize),
    /// A commit begins, if there is anything to commit.
    Take,
    /// The commit on its way happened, and the writer knows.
    Committed,
    /// The commit on its way happened, and the writer never hears of it: it starts again.
    CommittedUnheard,
    /// A crash, or fenced: the writer starts again from the table.
    Restart,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Deliver),
        1 => (0..8usize).prop_map(Step::Lose),
        2 => Just(Step::Take),
        2 => Just(Step::Committed),
        1 => Just(Step::CommittedUnheard),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 1..120)
}

/// Messages of events; an event is a number, and equal numbers are repeats.
fn messages() -> impl Strategy<Value = Vec<Vec<u8>>> {
    proptest::collection::vec(proptest::collection::vec(0..40u8, 0..6), 1..60)
}

/// What a number's event is: it lies in one of five minutes, two of them before 1970.
fn rows(sequence: u64, events: &[u8]) -> Rows {
    let times =
        TimestampMicrosecondArray::from_iter_values(events.iter().map(|event| (i64::from(event % 5) - 2) * MINUTE_US + i64::from(*event)));
    let arrivals = TimestampMicrosecondArray::from_value(MINUTE_US * 100, events.len());
    let sequences = Int64Array::from_value(i64::try_from(sequence).unwrap(), events.len());
    let columns: [(&str, Arc<dyn Array>); 3] =
        [("timestamp", Arc::new(times)), ("received_at", Arc::new(arrivals)), ("_sequence", Arc::new(sequences))];
    let identities = events.iter().map(|event| Identity([*event; 16])).collect();
    let events = (!events.is_empty()).then(|| Identified { rows: RecordBatch::try_from_iter(columns).unwrap(), identities });
    Rows { sequence: Sequence(sequence), message: bytes::Bytes::new(), events, quarantined: None }
}

/// The identity of the event that has this time.
fn identity(time: i64) -> u128 {
    u128::from_be_bytes([u8::try_from(time.rem_euclid(MINUTE_US)).unwrap(); 16])
}

/// (sequence, event time) of each row.
fn keys(batches: &[RecordBatch]) -> Vec<(i64, i64)> {
    let pairs = |batch: &RecordBatch| {
        let sequences = batch.column_by_name("_sequence").unwrap().as_primitive::<Int64Type>().values().to_vec();
        let times = batch.column_by_name("timestamp").unwrap().as_primitive::<TimestampMicrosecondType>().values().to_vec();
        sequences.into_iter().zip(times).collect::<Vec<_>>()
    };
    batches.iter().flat_map(pairs).collect()
}

/// The table and the writer above it.
struct World {
    messages: Vec<Vec<u8>>,
    /// Indices of messages that the journal no longer has.
    gone: BTreeSet<usize>,
    /// Of those, the ones that the writer or the table knows as gone.
    missed: BTreeSet<usize>,
    table: Vec<RecordBatch>,
    quarantine: Vec<RecordBatch>,
    tidemark: Sequence,
    taken: Option<Batch>,
    shard: Shard,
    next: usize,
}

impl World {
    fn new(messages: Vec<Vec<u8>>) -> Self {
        let (gone, missed) = (BTreeSet::new(), BTreeSet::new());
        Self {
            messages,
            gone,
            missed,
            table: Vec::new(),
            quarantine: Vec::new(),
            tidemark: Sequence::ZERO,
            taken: None,
            shard: shard(Sequence::ZERO),
            next: 0,
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Deliver if self.gone.contains(&self.next) => self.pass_gap(),
            Step::Deliver => self.deliver(),
            Step::Lose(after) => {
                let lost = usize::try_from(self.tidemark.0).unwrap() + after;
                self.gone.extend((lost < self.messages.len()).then_some(lost));
            }
            Step::Take => self.taken = self.shard.take_due(DateTime::UNIX_EPOCH, true).or_else(|| self.taken.take()),
            Step::Committed => {
                if self.commit() {
                    self.shard.committed();
                }
            }
            Step::CommittedUnheard => {
                self.commit();
                self.restart();
            }
            Step::Restart => self.restart(),
        }
    }

    fn deliver(&mut self) {
        let Some(events) = self.messages.get(self.next) else { return };
        let rows = rows(self.next as u64 + 1, events);
        let missing = self.shard.missing(&rows);
        self.shard.expect(&missing);
        let stored = keys(&self.table).into_iter().map(|(_, time)| (Minute::of(time), identity(time))).collect();
        self.shard.learn(stored);
        self.shard.push(rows, DateTime::UNIX_EPOCH).unwrap();
        self.next += 1;
    }

    fn pass_gap(&mut self) {
        let after = (self.next..).find(|index| !self.gone.contains(index)).unwrap();
        let gap = Gap { first: Sequence(self.next as u64 + 1), last: Sequence(after as u64) };
        let record = gap.record((ShardId(0), gap.first), GAP_CODE, "gone", DateTime::UNIX_EPOCH);
        self.shard.push_gap(gap, record, DateTime::UNIX_EPOCH).unwrap();
        self.missed.extend(self.next..after);
        self.next = after;
    }

    /// The indices of messages that table and tail together say are gone; each is said once.
    fn recorded(&self) -> Vec<usize> {
        let view = self.shard.view();
        let records = self.quarantine.iter().chain(&view.quarantined);
        let texts = records.flat_map(|rows| rows.column_by_name("message").unwrap().as_string::<i32>().iter().flatten());
        let gaps = texts.map(|text| Gap::of_record(GAP_CODE, text).unwrap());
        let mut recorded: Vec<usize> = gaps.flat_map(|gap| gap.first.0 as usize - 1..gap.last.0 as usize).collect();
        recorded.sort_unstable();
        recorded
    }

    fn commit(&mut self) -> bool {
        let Some(batch) = self.taken.take() else { return false };
        assert_eq!(batch.after, self.tidemark, "a commit begins where the table ends (I2)");
        self.table.extend(batch.events.batches().iter().cloned());
        self.quarantine.extend(batch.quarantined.batches().iter().cloned());
        self.tidemark = batch.last;
        true
    }

    fn restart(&mut self) {
        self.taken = None;
        self.shard = shard(self.tidemark);
        self.next = usize::try_from(self.tidemark.0).unwrap();
        self.missed.retain(|index| *index < self.next);
    }

    /// Table and tail together, as a query sees them.
    fn seen(&self) -> Vec<(i64, i64)> {
        let mut all = keys(&self.table);
        all.extend(keys(&table::rows_above(&self.shard.view().events, self.tidemark)));
        all.sort_unstable();
        all
    }

    /// What a query must see: of everything that could be read, each event at its first position.
    fn expected(&self) -> Vec<(i64, i64)> {
        let reach = self.next.max(usize::try_from(self.tidemark.0).unwrap());
        let mut first = BTreeMap::new();
        let read = (1..).zip(&self.messages[..reach]).filter(|(sequence, _)| !self.missed.contains(&(*sequence as usize - 1)));
        for (sequence, events) in read {
            for time in events.iter().map(|event| (i64::from(event % 5) - 2) * MINUTE_US + i64::from(*event)) {
                first.entry(time).or_insert(sequence);
            }
        }
        let mut all: Vec<(i64, i64)> = first.into_iter().map(|(time, sequence)| (sequence, time)).collect();
        all.sort_unstable();
        all
    }
}

fn shard(tidemark: Sequence) -> Shard {
    // A budget of a few hundred bytes: minutes are forgotten and learnt again all the time.
    Shard::new(ShardId(0), 1, tidemark, LIMITS, 600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_event_is_seen_once_at_its_first_position_whatever_happens(messages in messages(), steps in steps()) {
        let mut world = World::new(messages);
        for step in &steps {
            world.step(step);
            prop_assert_eq!(world.seen(), world.expected(), "after {:?}", step);
            prop_assert_eq!(world.recorded(), world.missed.iter().copied().collect::<Vec<_>>(), "after {:?}", step);
        }
    }
}
