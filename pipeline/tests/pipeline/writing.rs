//! The writer: what is in the journal is in the table, once, in the partition of its own day.

use std::{collections::BTreeMap, time::Duration};

use arrow::array::AsArray;
use bytes::Bytes;
use journal::{Journal, Memory, Message};
use schemas::{Sequence, ShardId};
use serde_json::{Value, json};
use service::clock::Clock;
use table::{TailPart, Tails};

use crate::app::App;

async fn send(app: &App, first: u64, count: u64) {
    let times = ["1969-12-31T23:59:59.999999Z", "1970-01-01T00:00:00Z", "2026-11-20T12:00:00+02:00", "2026-11-20T23:59:59.9Z"];
    let event = |number: u64| {
        json!({"event_id": format!("e{number}"), "event_name": format!("name{}", number % 3), "user_id": "u", "timestamp": times[(number % 4) as usize],
            "tags": ["x", "y"], "metadata": {"n": number}})
    };
    let events: Vec<Value> = (first..first + count).map(event).collect();
    let (status, answer) = app.post("/events/bulk", json!({"events": events}).to_string()).await;
    assert_eq!(status, 202, "{answer}");
}

async fn ids(app: &App) -> Vec<String> {
    let mut ids: Vec<String> = app.rows().await.into_iter().map(|row| row.event_id.unwrap()).collect();
    ids.sort_by_key(|id| id[1..].parse::<u64>().unwrap());
    ids
}

fn memory() -> Memory {
    Memory::new(1, || Clock::system().now())
}

/// Commits so often that a test need not wait.
const EAGER: [(&str, &str); 1] = [("pipeline.max_idle", "50ms")];

fn expected(count: u64) -> Vec<String> {
    (0..count).map(|number| format!("e{number}")).collect()
}

#[tokio::test]
async fn rows_lie_in_the_day_of_their_own_time_as_they_were_sent() {
    let app = App::with(memory(), &EAGER).await;
    send(&app, 0, 8).await;
    let writer = app.writer().await;
    app.drained().await;
    let rows = app.rows().await;
    let days: BTreeMap<&str, usize> = rows.iter().fold(BTreeMap::new(), |mut days, row| {
        *days.entry(row.date.as_str()).or_default() += 1;
        days
    });
    assert_eq!(days, BTreeMap::from([("1969-12-31", 2), ("1970-01-01", 2), ("2026-11-20", 4)]));
    let fifth = rows.iter().find(|row| row.key == (0, 1, 5)).unwrap();
    assert_eq!((fifth.event_name.as_str(), fifth.metadata.as_deref(), fifth.tags.len()), ("name2", Some(r#"{"n":5}"#), 2));
    writer.stop().await;
}

#[tokio::test]
async fn files_are_sorted_by_name_then_time() {
    let app = App::with(memory(), &EAGER).await;
    send(&app, 0, 300).await;
    let writer = app.writer().await;
    app.drained().await;
    for (_, batch) in app.batches("events").await {
        let names = batch.column_by_name("event_name").unwrap().as_string::<i32>();
        let times = batch.column_by_name("timestamp").unwrap().as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        assert!((1..batch.num_rows()).all(|row| (names.value(row - 1), times.value(row - 1)) <= (names.value(row), times.value(row))));
    }
    writer.stop().await;
}

#[tokio::test]
async fn a_restart_goes_on_after_the_tidemark() {
    let app = App::with(memory(), &EAGER).await;
    for round in 0..4 {
        send(&app, round * 50, 50).await;
        let writer = app.writer().await;
        app.drained().await;
        send(&app, 200 + round * 10, 10).await;
        writer.stop().await;
    }
    let writer = app.writer().await;
    app.drained().await;
    assert_eq!(ids(&app).await, expected(240));
    assert_eq!(app.snapshot("events").await.tidemark(ShardId(0)), app.journal.bounds(ShardId(0)).await.unwrap().last);
    writer.stop().await;
}

#[tokio::test]
async fn a_stop_commits_what_was_read() {
    let app = App::with(memory(), &[("pipeline.max_age", "1h"), ("pipeline.max_idle", "1h")]).await;
    send(&app, 0, 20).await;
    let writer = app.writer().await;
    let started = async || (app.snapshot("events").await.tidemark(ShardId(0)) == Sequence::ZERO).then_some(());
    testkit::until("the writer to start", Duration::from_secs(5), started).await;
    tokio::time::timeout(Duration::from_millis(300), app.drained()).await.expect_err("an hour has not passed");
    writer.stop().await;
    assert_eq!(ids(&app).await, expected(20));
}

#[tokio::test]
async fn two_writers_on_one_shard_never_add_a_row_twice() {
    let app = App::with(memory(), &[("pipeline.max_age", "10ms")]).await;
    let (one, other) = (app.writer().await, app.writer().await);
    for round in 0..30 {
        send(&app, round * 10, 10).await;
    }
    app.drained().await;
    one.stop().await;
    other.stop().await;
    assert_eq!(ids(&app).await, expected(300));
}

#[tokio::test]
async fn foreign_messages_are_rows_or_quarantine_and_stop_nothing() {
    let app = App::with(memory(), &EAGER).await;
    let good = |user: &str| format!(r#"{{"event_name":"foreign","user_id":"{user}","timestamp":1723475612}}"#);
    let messages = [
        good("a"),
        format!("[{},{{\"user_id\":\"u\"}},{}]", good("b"), good("c")),
        format!("{}\nrubbish\n", good("d")),
        "nats bench filler".to_owned(),
        "TMB1 damaged".to_owned(),
        String::new(),
    ];
    for (number, text) in messages.iter().enumerate() {
        let message = Message { id: format!("foreign-{number}"), payload: Bytes::from(text.clone()), trace: None };
        app.journal.publish(ShardId(0), message).await.unwrap();
    }
    send(&app, 0, 1).await;
    let writer = app.writer().await;
    app.drained().await;
    let keys: Vec<_> = app.rows().await.into_iter().map(|row| row.key).collect();
    assert_eq!(keys, [(0, 1, 0), (0, 2, 0), (0, 2, 2), (0, 3, 0), (0, 7, 0)]);
    let mut quarantined = Vec::new();
    for (_, batch) in app.batches("quarantine").await {
        let text = |name: &str, row: usize| batch.column_by_name(name).unwrap().as_string::<i32>().value(row).to_owned();
        let raw = batch.column_by_name("raw").unwrap().as_binary::<i32>();
        quarantined.extend((0..batch.num_rows()).map(|row| (text("code", row), String::from_utf8(raw.value(row).to_vec()).unwrap())));
    }
    let expected = [
        ("missing_field", r#"{"user_id":"u"}"#),
        ("invalid_json", "rubbish"),
        ("invalid_json", "nats bench filler"),
        ("broken_block", "TMB1 damaged"),
        ("invalid_json", ""),
    ];
    assert_eq!(quarantined, expected.map(|(code, raw)| (code.to_owned(), raw.to_owned())));
    writer.stop().await;
}

#[tokio::test]
async fn a_repeat_is_never_a_row_whether_at_once_or_after_a_restart_or_by_all_its_fields() {
    let app = App::with(memory(), &EAGER).await;
    let unnamed = r#"{"event_name":"same","user_id":"u","timestamp":"1969-06-01T00:00:00Z","metadata":{"a":1}}"#;
    for _ in 0..2 {
        send(&app, 0, 30).await;
        assert_eq!(app.post("/events", unnamed).await.0, 202);
    }
    let writer = app.writer().await;
    app.drained().await;
    writer.stop().await;
    send(&app, 20, 20).await;
    assert_eq!(app.post("/events", unnamed).await.0, 202);
    assert_eq!(app.post("/events", unnamed.replace("1}", "2}")).await.0, 202);
    let writer = app.writer().await;
    app.drained().await;
    let rows = app.rows().await;
    let named: Vec<&str> = rows.iter().filter_map(|row| row.event_id.as_deref()).collect();
    assert_eq!(named.len(), 40, "each of e0..e39 once: {named:?}");
    let unnamed: Vec<_> = rows.iter().filter(|row| row.event_id.is_none()).map(|row| (row.key.1, row.metadata.clone().unwrap())).collect();
    assert_eq!(unnamed, [(2, r#"{"a":1}"#.to_owned()), (7, r#"{"a":2}"#.to_owned())], "the first occurrence, and the one that differs");
    writer.stop().await;
}

#[tokio::test]
async fn an_event_without_a_time_is_a_repeat_of_its_earlier_self() {
    let app = App::with(memory(), &EAGER).await;
    let view = r#"{"site_id":"s","event_type":"page_view","path":"/","user_id":"u"}"#;
    for _ in 0..3 {
        assert_eq!(app.post("/event", view).await.0, 204);
        let writer = app.writer().await;
        app.drained().await;
        writer.stop().await;
    }
    assert_eq!(app.rows().await.len(), 1);
}

/// A message published past the door.
async fn publish(journal: &Memory, number: u64) {
    let event = format!(r#"{{"event_name":"a","user_id":"u{number}","timestamp":1723475612}}"#);
    journal.publish(ShardId(0), Message { id: format!("{number}"), payload: Bytes::from(event), trace: None }).await.unwrap();
}

#[tokio::test]
async fn a_journal_that_was_created_again_is_refused_however_long_it_has_become() {
    let mut app = App::with(memory(), &EAGER).await;
    send(&app, 0, 5).await;
    let writer = app.writer().await;
    app.drained().await;
    writer.stop().await;
    app.replace_journal(memory());
    for number in 0..3 {
        publish(&app.journal, number).await;
    }
    let failure = app.writer().await.failure().await;
    assert!(failure.contains("not the one from which the table was written") && failure.contains("table.url"), "{failure}");
    assert_eq!(app.rows().await.len(), 5, "nothing was written");
}

#[tokio::test]
async fn a_full_journal_releases_what_is_committed_and_takes_more() {
    let app = App::with(memory().with_max_bytes(20_000), &EAGER).await;
    let writer = app.writer().await;
    for round in 0..30 {
        send(&app, round * 10, 10).await;
        app.drained().await;
        let has_room = async || (app.journal.bounds(ShardId(0)).await.unwrap().bytes < 15_000).then_some(());
        testkit::until("the writer to release what is committed", Duration::from_secs(5), has_room).await;
    }
    assert!(app.journal.bounds(ShardId(0)).await.unwrap().first > Sequence(1), "something was released");
    assert_eq!(ids(&app).await, expected(300));
    writer.stop().await;
}

#[tokio::test]
async fn a_tail_with_rows_of_both_tables_goes_over_http_as_it_is() {
    let app = App::with(memory(), &[("pipeline.max_age", "1h"), ("pipeline.max_idle", "1h")]).await;
    let writer = app.writer().await;
    send(&app, 0, 10).await;
    app.journal
        .publish(ShardId(0), Message { id: "rubbish".to_owned(), payload: Bytes::from_static(b"rubbish"), trace: None })
        .await
        .unwrap();
    let reached = async || {
        let views = writer.tails.views().await.ok()?;
        (views[0].head == Sequence(2)).then_some(views)
    };
    let shown = testkit::until("the tail to reach the journal's end", Duration::from_secs(5), reached).await;

    let listener = service::http::bind("127.0.0.1:0", "pipeline.admin_listen").await.unwrap();
    let url = format!("http://{}", listener.address());
    let (_handle, stop) = service::tasks::Stop::pair();
    let tasks = service::tasks::Tasks::new();
    let limits = service::settings::Settings::load(service::settings::Sources::default()).unwrap().section("http").unwrap();
    tasks.spawn("http", service::http::serve(listener, writer.tails.router(), stop, limits));
    let ask = async |question: String| {
        let answer = app.client.get(format!("{url}/tail{question}")).send().await.unwrap();
        let parts = TailPart::decode_all(&answer.bytes().await.unwrap()).unwrap();
        parts.iter().map(|part| part.whole().expect("it is small").clone()).collect::<Vec<_>>()
    };
    let told = ask(String::new()).await;
    assert_eq!((told.len(), told[0].head, told[0].tidemark, told[0].run), (1, Sequence(2), Sequence::ZERO, shown[0].run));
    assert_eq!((&told[0].events, &told[0].quarantined), (&shown[0].events, &shown[0].quarantined));
    assert_eq!(told[0].events.iter().map(|rows| rows.num_rows()).sum::<usize>(), 10);

    let rest = ask(format!("?known=0:{}:1", shown[0].run)).await;
    assert_eq!((rest[0].events.len(), &rest[0].quarantined), (0, &shown[0].quarantined), "only what is above");
    let other_run = ask("?known=0:1:1".to_owned()).await;
    assert_eq!(other_run[0].events, shown[0].events, "everything, for a reader of another run");
    for wrong in ["known=0:1", "known=zero:1:1", "at_least=0"] {
        let answer = app.client.get(format!("{url}/tail?{wrong}")).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().contains("invalid_parameter")), (400, true), "{wrong}");
    }
    writer.stop().await;
}
