//! What holds for every journal.

use std::{collections::BTreeSet, time::Duration};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future::join_all};
use journal::{Bounds, Deliveries, Delivery, Error, Journal, MAX_ID_BYTES, MAX_TRACE_BYTES, Message, PublishError, Remedy, Trace};
use schemas::{Sequence, ShardId};
use tokio::time::timeout;

use crate::backends::{Backend, ROOM_BYTES};

const SHARD: ShardId = ShardId(0);
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn message(id: impl Into<String>, payload: impl Into<Bytes>) -> Message {
    Message { id: id.into(), payload: payload.into(), trace: None }
}

/// Publishes `1`, `2`, ... with ids of the same text.
async fn publish_numbers(journal: &dyn Journal, numbers: impl IntoIterator<Item = u64>) {
    for number in numbers {
        let sequence = journal.publish(SHARD, message(number.to_string(), number.to_string())).await.unwrap();
        assert_eq!(sequence, Sequence(number));
    }
}

pub(crate) async fn next(deliveries: &mut Deliveries) -> Result<Delivery, Error> {
    timeout(DEADLINE, deliveries.next()).await.expect("a delivery in time").expect("a stream ends only after an error")
}

/// The sequences of the next `count` deliveries; each payload must be its sequence.
async fn next_numbers(deliveries: &mut Deliveries, count: usize) -> Vec<u64> {
    let mut numbers = Vec::new();
    while numbers.len() < count {
        let delivery = next(deliveries).await.unwrap();
        assert_eq!(delivery.payload, delivery.sequence.to_string());
        numbers.push(delivery.sequence.0);
    }
    numbers
}

async fn bounds(journal: &dyn Journal) -> (u64, u64) {
    let Bounds { first, last, .. } = journal.bounds(SHARD).await.unwrap();
    (first.0, last.0)
}

/// The error of a call whose value has no `Debug`.
fn refused<T, E>(result: Result<T, E>) -> E {
    result.err().expect("an error")
}

pub(crate) async fn sequences_are_contiguous_and_start_at_one(mut backend: impl Backend) {
    let journal = backend.open(1, ROOM_BYTES).await;
    assert_eq!(bounds(&*journal).await, (1, 0));
    publish_numbers(&*journal, 1..=5).await;
    assert_eq!(bounds(&*journal).await, (1, 5));
    journal.health().await.unwrap();
}

pub(crate) async fn shards_count_for_themselves(mut backend: impl Backend) {
    let journal = backend.open(2, ROOM_BYTES).await;
    assert_eq!(journal.shards(), 2);
    let names = [0, 1, 2].map(|shard| journal.stream(ShardId(shard)));
    assert!(names[0].ends_with("-0") && names[1].ends_with("-1") && names[2] == "2", "{names:?}");
    publish_numbers(&*journal, 1..=3).await;
    let sequence = journal.publish(ShardId(1), message("1", "other")).await.unwrap();
    assert_eq!(sequence, Sequence(1));
    let delivery = next(&mut journal.read(ShardId(1), Sequence::ZERO).await.unwrap()).await.unwrap();
    assert_eq!((delivery.shard, delivery.payload), (ShardId(1), Bytes::from("other")));
}

pub(crate) async fn a_delivery_is_the_message_as_it_was_published(mut backend: impl Backend) {
    let journal = backend.open(1, ROOM_BYTES).await;
    let payloads = [Bytes::new(), Bytes::from_static(b"\0\r\n\xff"), Bytes::from(vec![7; 300_000])];
    for (id, payload) in payloads.iter().enumerate() {
        journal.publish(SHARD, message(id.to_string(), payload.clone())).await.unwrap();
    }
    let mut deliveries = journal.read(SHARD, Sequence::ZERO).await.unwrap();
    for payload in payloads {
        assert_eq!(next(&mut deliveries).await.unwrap().payload, payload);
    }
}

pub(crate) async fn a_repeated_id_gives_the_first_sequence_and_one_delivery(mut backend: impl Backend) {
    let journal = backend.open(1, ROOM_BYTES).await;
    publish_numbers(&*journal, 1..=2).await;
    assert_eq!(journal.publish(SHARD, message("1", "again")).await.unwrap(), Sequence(1));
    publish_numbers(&*journal, 3..=3).await;
    let mut deliveries = journal.read(SHARD, Sequence::ZERO).await.unwrap();
    assert_eq!(next_numbers(&mut deliveries, 3).await, [1, 2, 3]);
    assert!(deliveries.next().now_or_never().is_none());
}

pub(crate) async fn a_reader_gets_what_comes_after_its_position_and_nothing_else(mut backend: impl Backend) {
    let journal = backend.open(1, ROOM_BYTES).await;
    publish_numbers(&*journal, 1..=6).await;
    for after in 0..6 {
        let mut deliveries = journal.read(SHARD, Sequence(after)).await.unwrap();
        let expected: Vec<u64> = (after + 1..=6).collect();
        assert_eq!(next_numbers(&mut deliveries, expected.len()).await, expected);
    }
}

pub(crate) async fn a_reader_waits_for_what_comes_later(mut backend: impl Backend) {
    let journal = backend.open(1, ROOM_BYTES).await;
    publish_numbers(&*journal, 1..=2).await;
    let mut deliveries = journal.read(SHARD, Sequence(2)).await.unwrap();
    for number in 3..=5 {
        let (numbers, ()) = futures::join!(next_numbers(&mut deliveries, 1), publish_numbers(&*journal, [number]));
        assert_eq!(numbers, [number]);
    }
}

pub(crate) async fn a_position_after_the_end_is_refused(mut backend: impl Backend) {
    let journal = backend.open(1, ROOM_BYTES).await;
    publish_numbers(&*journal, 1..=2).await;
    let error = refused(journal.read(SHARD, Sequence(3)).await);
    assert!(matches!(error, Error::Truncated { position: Sequence(3), last: Sequence(2), .. }), "{error}");
}

pub(crate) async fn a_released_message_is_a_gap_for_who_starts_before_it(mut backend: impl Backend) {
    let journal = backend.open(1, ROOM_BYTES).await;
    publish_numbers(&*journal, 1..=5).await;
    journal.release(SHARD, Sequence(3)).await.unwrap();
    assert_eq!(bounds(&*journal).await, (4, 5));
    let error = refused(journal.read(SHARD, Sequence(2)).await);
    assert!(matches!(error, Error::Gap { expected: Sequence(3), found: Sequence(4), .. }), "{error}");
    let mut deliveries = journal.read(SHARD, Sequence(3)).await.unwrap();
    assert_eq!(next_numbers(&mut deliveries, 2).await, [4, 5]);
}

pub(crate) async fn a_released_message_is_a_gap_for_who_was_about_to_read_it(mut backend: impl Backend) {
    let journal = backend.open(1, ROOM_BYTES).await;
    publish_numbers(&*journal, 1..=5).await;
    let mut deliveries = journal.read(SHARD, Sequence(1)).await.unwrap();
    journal.release(SHARD, Sequence(3)).await.unwrap();
    let error = next(&mut deliveries).await.unwrap_err();
    assert!(matches!(error, Error::Gap { expected: Sequence(2), found: Sequence(4), .. }), "{error}");
    assert!(deliveries.next().await.is_none());
}

pub(crate) async fn a_release_beyond_the_end_is_refused_and_moves_nothing(mut backend: impl Backend) {
    let journal = backend.open(1, ROOM_BYTES).await;
    publish_numbers(&*journal, 1..=2).await;
    let error = refused(journal.release(SHARD, Sequence(3)).await);
    assert!(matches!(error, Error::Truncated { position: Sequence(3), last: Sequence(2), .. }), "{error}");
    assert_eq!(bounds(&*journal).await, (1, 2));
}

pub(crate) async fn a_release_of_what_is_released_changes_nothing(mut backend: impl Backend) {
    let journal = backend.open(1, ROOM_BYTES).await;
    publish_numbers(&*journal, 1..=4).await;
    for up_to in [0, 2, 1, 2] {
        journal.release(SHARD, Sequence(up_to)).await.unwrap();
    }
    assert_eq!(bounds(&*journal).await, (3, 4));
}

pub(crate) async fn a_message_that_the_disk_lost_is_a_gap_and_reading_goes_on_after_it(mut backend: impl Backend) {
    let journal = backend.open(1, ROOM_BYTES).await;
    let large = vec![b'x'; 5 << 20];
    for id in 1..=6 {
        assert_eq!(journal.publish(SHARD, message(id.to_string(), large.clone())).await.unwrap(), Sequence(id));
    }
    for lost in [3, 4] {
        backend.lose(Sequence(lost)).await;
    }
    let mut deliveries = journal.read(SHARD, Sequence::ZERO).await.unwrap();
    for sequence in [1, 2] {
        assert_eq!(next(&mut deliveries).await.unwrap().sequence, Sequence(sequence));
    }
    let error = next(&mut deliveries).await.unwrap_err();
    assert!(matches!(error, Error::Gap { expected: Sequence(3), found: Sequence(5), .. }), "{error}");
    assert_eq!(error.remedy(), Remedy::Record);
    assert!(deliveries.next().await.is_none());
    let mut deliveries = journal.read(SHARD, Sequence(4)).await.unwrap();
    assert_eq!(next(&mut deliveries).await.unwrap().sequence, Sequence(5));
    assert_eq!(bounds(&*journal).await, (1, 6));
}

pub(crate) async fn numbers_go_on_after_everything_was_released(mut backend: impl Backend) {
    let journal = backend.open(1, ROOM_BYTES).await;
    publish_numbers(&*journal, 1..=3).await;
    let mut deliveries = journal.read(SHARD, Sequence(3)).await.unwrap();
    journal.release(SHARD, Sequence(3)).await.unwrap();
    assert_eq!(bounds(&*journal).await, (4, 3));
    publish_numbers(&*journal, 4..=5).await;
    assert_eq!(next_numbers(&mut deliveries, 2).await, [4, 5]);
}

pub(crate) async fn a_full_journal_refuses_and_accepts_again_after_a_release(mut backend: impl Backend) {
    let journal = backend.open(1, 100_000).await;
    let payload = Bytes::from(vec![1; 30_000]);
    for id in 1..=3 {
        journal.publish(SHARD, message(id.to_string(), payload.clone())).await.unwrap();
    }
    let error = refused(journal.publish(SHARD, message("4", payload.clone())).await);
    assert!(matches!(error, PublishError::Full { .. }), "{error}");
    let full = journal.bounds(SHARD).await.unwrap();
    assert_eq!((full.last, full.max_bytes), (Sequence(3), 100_000));
    assert!((90_000..=100_000).contains(&full.bytes), "{full:?}");

    journal.release(SHARD, Sequence(1)).await.unwrap();
    assert_eq!(journal.publish(SHARD, message("4", payload)).await.unwrap(), Sequence(4));
}

pub(crate) async fn the_largest_payload_is_stored_and_a_larger_one_refused(mut backend: impl Backend) {
    let journal = backend.open(1, ROOM_BYTES).await;
    let limit = journal.max_payload_bytes();
    assert!(limit > 8_000_000, "{limit}");
    let (id, trace) = ("i".repeat(MAX_ID_BYTES), Trace::new(&"t".repeat(MAX_TRACE_BYTES)));
    let largest = Message { trace: trace.clone(), ..message(id, vec![1; limit]) };
    assert_eq!(journal.publish(SHARD, largest).await.unwrap(), Sequence(1));
    let error = refused(journal.publish(SHARD, message("b", vec![1; limit + 1])).await);
    assert!(matches!(error, PublishError::TooLarge { bytes, limit_bytes } if bytes == limit + 1 && limit_bytes == limit), "{error}");
    let mut deliveries = journal.read(SHARD, Sequence::ZERO).await.unwrap();
    let delivery = next(&mut deliveries).await.unwrap();
    assert_eq!((delivery.payload.len(), delivery.trace), (limit, trace));
}

pub(crate) async fn a_trace_is_delivered_with_its_message_and_with_no_other(mut backend: impl Backend) {
    let journal = backend.open(1, ROOM_BYTES).await;
    let traces = [Trace::new("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), None, Trace::new("t")];
    for (id, trace) in traces.iter().enumerate() {
        journal.publish(SHARD, Message { trace: trace.clone(), ..message(id.to_string(), "x") }).await.unwrap();
    }
    let mut deliveries = journal.read(SHARD, Sequence::ZERO).await.unwrap();
    for trace in traces {
        assert_eq!(next(&mut deliveries).await.unwrap().trace, trace);
    }
    for text in ["", "a b", "a\r\nNats-Rollup: all", &"t".repeat(MAX_TRACE_BYTES + 1)] {
        assert_eq!(Trace::new(text), None, "{text}");
    }
}

pub(crate) async fn concurrent_messages_are_all_stored_once_and_contiguous(mut backend: impl Backend) {
    const MESSAGES: usize = 200;
    let journal = backend.open(1, ROOM_BYTES).await;
    let publishes = (0..MESSAGES).map(|id| journal.publish(SHARD, message(id.to_string(), id.to_string())));
    let acknowledged = join_all(publishes).await.into_iter().map(Result::unwrap);
    let acknowledged: Vec<(String, Sequence)> = (0..MESSAGES).map(|id| id.to_string()).zip(acknowledged).collect();

    let mut deliveries = journal.read(SHARD, Sequence::ZERO).await.unwrap();
    let mut delivered = Vec::new();
    for _ in 0..MESSAGES {
        let delivery = next(&mut deliveries).await.unwrap();
        delivered.push((String::from_utf8(delivery.payload.to_vec()).unwrap(), delivery.sequence));
    }
    let sequences: Vec<u64> = delivered.iter().map(|(_, sequence)| sequence.0).collect();
    assert_eq!(sequences, (1..=MESSAGES as u64).collect::<Vec<_>>());
    assert_eq!(delivered.into_iter().collect::<BTreeSet<_>>(), acknowledged.into_iter().collect());
}

pub(crate) async fn a_message_without_an_answer_may_be_sent_again(mut backend: impl Backend) {
    let journal = backend.open(1, ROOM_BYTES).await;
    publish_numbers(&*journal, 1..=1).await;
    backend.silence();
    let error = refused(journal.publish(SHARD, message("2", "2")).await);
    assert!(matches!(error, PublishError::NoAnswer { .. }), "{error}");
    backend.answer();
    publish_numbers(&*journal, 2..=3).await;
    let mut deliveries = journal.read(SHARD, Sequence::ZERO).await.unwrap();
    assert_eq!(next_numbers(&mut deliveries, 3).await, [1, 2, 3]);
}

pub(crate) async fn an_id_that_cannot_be_sent_is_refused(mut backend: impl Backend) {
    let journal = backend.open(1, ROOM_BYTES).await;
    for id in ["", "a b", "a\r\nNats-Rollup: all", "ä", &"i".repeat(MAX_ID_BYTES + 1)] {
        let error = refused(journal.publish(SHARD, message(id, "x")).await);
        assert!(matches!(error, PublishError::Refused { .. }), "{error}");
    }
    assert_eq!(bounds(&*journal).await, (1, 0));
}

pub(crate) async fn a_shard_that_does_not_exist_is_refused(mut backend: impl Backend) {
    let journal = backend.open(1, ROOM_BYTES).await;
    let missing = ShardId(1);
    assert!(matches!(refused(journal.bounds(missing).await), Error::NoSuchShard { shards: 1, .. }));
    assert!(matches!(refused(journal.read(missing, Sequence::ZERO).await), Error::NoSuchShard { .. }));
    assert!(matches!(refused(journal.release(missing, Sequence(1)).await), Error::NoSuchShard { .. }));
    let error = refused(journal.publish(missing, message("1", "x")).await);
    assert_eq!(error.to_string(), "the journal refuses the message: shard `1` does not exist; there are 1, counted from 0");
}
