use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray};
use schemas::Identity;

use super::*;

/// Events as (identity, event time in minutes, has an `event_id`); they arrive in minute 1000.
fn events(events: &[(u8, i64, bool)]) -> Identified {
    let times = |minute: &dyn Fn(&(u8, i64, bool)) -> i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(events.iter().map(|event| minute(event) * MINUTE_US)))
    };
    let event_ids: StringArray = events.iter().map(|(identity, _, has_id)| has_id.then(|| identity.to_string())).collect();
    let columns: [(&str, ArrayRef); 3] =
        [("timestamp", times(&|event| event.1)), ("received_at", times(&|_| 1000)), ("event_id", Arc::new(event_ids))];
    let rows = RecordBatch::try_from_iter_with_nullable(columns.map(|(name, values)| (name, values, true))).unwrap();
    Identified { rows, identities: events.iter().map(|event| Identity([event.0; 16])).collect() }
}

/// Judges events with an index for which the table is empty.
fn admit(index: &mut Index, sequence: u64, of: &[(u8, i64, bool)]) -> Vec<bool> {
    let events = events(of);
    index.expect(&index.missing(&events));
    index.admit(&events, Sequence(sequence))
}

/// Forgets what there is to forget, and all keys of it.
fn shrink(index: &mut Index, tidemark: u64) {
    index.shrink(Sequence(tidemark));
    while index.sweeps_next.is_some() {
        index.shrink(Sequence(tidemark));
    }
}

#[test]
fn an_event_asks_for_its_minute_and_one_whose_time_may_differ_for_those_before_too() {
    let index = Index::new(1 << 20);
    let missing = |event| index.missing(&events(&[event])).into_iter().map(|minute| minute.0).collect::<Vec<_>>();
    assert_eq!(missing((1, 7, false)), [7]);
    assert_eq!(missing((1, -7, false)), [-7]);
    assert_eq!(missing((1, 7, true)), [2, 3, 4, 5, 6, 7]);
    assert_eq!(missing((1, 1000, false)), [995, 996, 997, 998, 999, 1000]);
}

#[test]
fn an_event_id_is_known_also_with_another_time() {
    let mut index = Index::new(1 << 20);
    assert_eq!(admit(&mut index, 1, &[(1, 7, true), (1, 7, true), (2, 7, true)]), [true, false, true]);
    assert_eq!(admit(&mut index, 2, &[(1, 12, true), (2, 3, true), (3, 12, true)]), [false, false, true]);
}

#[test]
fn committed_minutes_leave_least_recently_used_first_and_others_never() {
    let minutes = |index: &Index| {
        let mut known: Vec<i64> = index.minutes.keys().map(|minute| minute.0).collect();
        known.sort_unstable();
        known
    };
    let mut index = Index::new(0);
    for sequence in 1..=4 {
        admit(&mut index, sequence, &[(u8::try_from(sequence).unwrap(), i64::try_from(sequence).unwrap(), false)]);
    }
    shrink(&mut index, 2);
    assert_eq!(minutes(&index), [3, 4], "1 and 2 are committed");
    shrink(&mut index, 4);
    assert_eq!(minutes(&index), [4], "the one in use stays");
    let keys = index.size_bytes();
    index.budget_bytes = keys - 1;
    admit(&mut index, 5, &[(5, 5, false)]);
    shrink(&mut index, 5);
    assert_eq!(minutes(&index), [5]);
}

#[test]
fn a_minute_that_is_learnt_again_while_it_leaves_memory_is_known_whole() {
    let (first, second) = (Minute(1), Minute(2));
    let key = |number: u128| number.wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835);
    let learn_first = |index: &mut Index| {
        index.expect(&BTreeSet::from([first]));
        (0..10_000).for_each(|number| index.learn(first, key(number)));
    };
    let mut index = Index::new(1 << 10);
    learn_first(&mut index);
    let all_bytes = index.size_bytes();
    admit(&mut index, 1, &[(1, second.0, false)]);
    index.shrink(Sequence(1));
    assert_eq!(index.missing(&events(&[(1, first.0, false)])), BTreeSet::from([first]), "it is forgotten");
    (0..100).for_each(|_| index.shrink(Sequence(1)));
    assert!(index.size_bytes() < all_bytes, "its keys leave part by part");
    learn_first(&mut index);
    (0..200).for_each(|_| index.shrink(Sequence(0)));
    assert!((0..10_000).all(|number| !index.keys.admit(key(number), second.tag())), "each is there");
}
