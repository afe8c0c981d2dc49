//! A batch: the rows of a contiguous run of deliveries, the unit of commit, and its sorting into days.

use std::{collections::HashMap, sync::Arc};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Date32Type, TimestampMicrosecondType},
};
use foldhash::fast::RandomState;
use schemas::{EventDate, Sequence, tables};
use table::{Fingerprint, Picked};

use super::{runs::Runs, span::Publishes};

/// The rows of the sequences after `after` up to and including `last`.
#[derive(Clone, Debug)]
pub(super) struct Batch {
    pub(super) after: Sequence,
    pub(super) last: Sequence,
    pub(super) events: Runs,
    pub(super) quarantined: Runs,
    /// The payload of the last message, as the table will remember it.
    pub(super) last_message: Fingerprint,
    pub(super) publishes: Publishes,
}

/// The rows of one partition, in the order of its file.
#[derive(Debug)]
pub(super) struct Day {
    pub(super) date: EventDate,
    pub(super) rows: Picked,
}

/// The order of a file. Rows that it does not tell apart stay as the journal has them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// What queries ask for first, `event_name`, and then `timestamp`: the order of `events`.
    NameAndTime,
    /// That of the journal: the order of `quarantine`.
    Journal,
}

/// Rows of one name and one day.
type Group<'a> = (i32, &'a str);

/// A row, and the time by which it is ordered in its group.
#[derive(Clone, Copy)]
struct Place {
    time: i64,
    batch: u32,
    row: u32,
}

/// Cuts rows, which come in the order of the journal, into days and puts each in order.
///
/// Names are few, and the rows of one arrive nearly in the order of their times: so rows are told apart by name and day first, and
/// each group is sorted by a sort that is quick where there is already order.
pub(super) fn days(rows: &[RecordBatch], order: Order) -> Vec<Day> {
    let mut groups: Vec<(Group<'_>, Vec<Place>)> = grouped(rows, order).into_iter().collect();
    groups.sort_unstable_by_key(|(group, _)| *group);
    groups.iter_mut().for_each(|(_, places)| places.sort_by_key(|place| place.time));
    let batches: Arc<[RecordBatch]> = rows.into();
    let days = groups.chunk_by(|((date, _), _), ((other, _), _)| date == other);
    days.map(|day| {
        let ((date, _), _) = day[0];
        let places = day.iter().flat_map(|(_, places)| places).map(|place| (place.batch as usize, place.row as usize)).collect();
        Day { date: EventDate(date), rows: Picked::new(Arc::clone(&batches), places) }
    })
    .collect()
}

/// The rows of each name and day, in the order of the journal.
fn grouped(rows: &[RecordBatch], order: Order) -> HashMap<Group<'_>, Vec<Place>, RandomState> {
    let mut groups: HashMap<Group<'_>, Vec<Place>, RandomState> = HashMap::default();
    for (batch, rows) in (0..).zip(rows) {
        let column = |name: &str| rows.column_by_name(name).expect("the order is by columns of the table");
        let dates = column(tables::EVENT_DATE).as_primitive::<Date32Type>().values();
        let keys = match order {
            Order::NameAndTime => {
                Some((column("event_name").as_string::<i32>(), column("timestamp").as_primitive::<TimestampMicrosecondType>()))
            }
            Order::Journal => None,
        };
        for (row, date) in (0..).zip(dates) {
            let (name, time) = keys.map_or(("", 0), |(names, times)| (names.value(row as usize), times.value(row as usize)));
            groups.entry((*date, name)).or_default().push(Place { time, batch, row });
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{ArrayRef, Date32Array, Int64Array, StringArray, TimestampMicrosecondArray},
        compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch},
    };
    use proptest::prelude::*;

    use super::*;

    /// A row: day, name, time.
    type Row = (i32, String, i64);

    const KEYS: [&str; 4] = [tables::EVENT_DATE, "event_name", "timestamp", "_sequence"];

    fn rows() -> impl Strategy<Value = Vec<Vec<Row>>> {
        let row = (0..3, prop_oneof![4 => "[a-c]", 1 => ".{0,3}"], prop_oneof![-2..3i64, any::<i64>()]);
        proptest::collection::vec(proptest::collection::vec(row, 0..20), 0..8)
    }

    fn batches(rows: &[Vec<Row>]) -> Vec<RecordBatch> {
        let mut next = 0..;
        let batch = |rows: &Vec<Row>| {
            let columns: [ArrayRef; 4] = [
                Arc::new(Date32Array::from_iter_values(rows.iter().map(|row| row.0))),
                Arc::new(rows.iter().map(|row| Some(row.1.as_str())).collect::<StringArray>()),
                Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.2))),
                Arc::new(next.by_ref().take(rows.len()).collect::<Int64Array>()),
            ];
            RecordBatch::try_from_iter(KEYS.into_iter().zip(columns)).unwrap()
        };
        rows.iter().map(batch).collect()
    }

    proptest! {
        #[test]
        fn days_are_the_rows_in_the_order_of_all_keys(sent in rows(), order in prop_oneof![Just(Order::NameAndTime), Just(Order::Journal)]) {
            let batches = batches(&sent);
            prop_assume!(!batches.is_empty());
            let whole = concat_batches(&batches[0].schema(), &batches).unwrap();
            let keys = match order {
                Order::NameAndTime => &KEYS[..],
                Order::Journal => &[tables::EVENT_DATE, "_sequence"],
            };
            let key = |name: &&str| SortColumn { values: Arc::clone(whole.column_by_name(name).unwrap()), options: None };
            let keys: Vec<SortColumn> = keys.iter().map(key).collect();
            let expected = take_record_batch(&whole, &lexsort_to_indices(&keys, None).unwrap()).unwrap();
            let days = days(&batches, order);
            prop_assert!(days.is_sorted_by(|one, next| one.date < next.date));
            let chunks: Vec<_> = days.iter().flat_map(|day| day.rows.chunks(7).map(|rows| (day.date, rows.unwrap()))).collect();
            let is_of = |(date, rows): &(EventDate, RecordBatch)| rows.column(0).as_primitive::<Date32Type>().values().iter().all(|day| *day == date.0);
            prop_assert!(chunks.iter().all(is_of));
            let found = concat_batches(&whole.schema(), chunks.iter().map(|(_, rows)| rows)).unwrap();
            prop_assert_eq!(found, expected);
        }
    }
}
