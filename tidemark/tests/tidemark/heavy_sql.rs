//! SQL that asks for too much, while events come in and others ask: it is refused or stopped, nobody else notices, memory returns.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};

use testkit::{NatsServer, until};

use crate::process::{Tidemark, good};

/// What statements may take together.
const SETTINGS: [&str; 1] = ["query.memory=64MiB"];
/// Above what the process had before. Rows in motion are outside of `query.memory`: at most 64 MiB for one call and one batch.
const MOST_MORE_BYTES: u64 = 384 << 20;
const EVENTS: usize = 300;
/// A client asks again after so long, as some statements are refused at once.
const BETWEEN: Duration = Duration::from_millis(50);
/// A short statement waits for its turn between the heavy ones, so it is asked now and then.
const EVENTS_FOR_A_STATEMENT: usize = 50;

/// Each asks for more than there is: of time, of memory, or of both.
const HEAVY: [&str; 14] = [
    "SELECT count(*) FROM events a, events b, events c WHERE a._index + b._index + c._index = -1",
    "SELECT a.metadata, b.metadata, count(*) FROM events a, events b GROUP BY 1, 2",
    "SELECT a.path || b.path || a._sequence AS text FROM events a, events b ORDER BY text DESC",
    "SELECT x FROM (SELECT a._sequence || b.n AS x FROM events a, (VALUES ('1'), ('2')) b(n), generate_series(1, 1000)) ORDER BY x DESC",
    "SELECT count(*) FROM generate_series(1, 10000000000) a WHERE a.value % 7 = 8",
    "SELECT length(repeat(path, 100000000)) FROM events",
    "SELECT unnest(generate_series(1, 10000000000)) FROM events",
    "WITH a AS (SELECT repeat(path, 20000) AS s FROM events), b AS (SELECT s || s || s || s AS s FROM a) SELECT max(length(s || s || s || s)) FROM b",
    "SELECT array_agg(a.metadata || b.path) FROM events a, events b",
    "SELECT a.event_name, array_agg(a.metadata || b.path) FROM events a, events b GROUP BY 1",
    "SELECT count(*) OVER () AS n, a.metadata FROM events a, events b",
    "SELECT sum(a._index) OVER (ORDER BY 1) AS n, a.metadata || b.path FROM events a, events b",
    "SELECT string_agg(metadata || path, ',') OVER (ORDER BY _index, _sequence) FROM events",
    "SELECT a.s, b.path FROM (SELECT string_agg(metadata, ',') AS s FROM events) a, events b",
];

/// What a statement that asks for too much may be answered: too many, cannot be, out of time.
const CLEAR: [u16; 4] = [400, 422, 429, 503];

/// Asks all of them, again and again, until it is enough; every answer is clear.
#[expect(clippy::disallowed_methods, reason = "a client of a real process, on the real clock")]
async fn ask_too_much(tidemark: &Tidemark, is_enough: &AtomicBool, answers: &AtomicUsize) {
    let client = reqwest::Client::new();
    let ask = async |statement: &'static str| {
        while !is_enough.load(Ordering::SeqCst) {
            let answer = client.post(format!("{}/sql?format=json&timeout_ms=2000", tidemark.url)).body(statement).send().await.unwrap();
            let (status, text) = (answer.status().as_u16(), answer.text().await.unwrap());
            assert!(CLEAR.contains(&status), "{statement}: {status} {text}");
            answers.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(BETWEEN).await;
        }
    };
    futures::future::join_all(HEAVY.map(ask)).await;
}

/// Sends events and asks for their metrics, and now and then for a count, until every heavy statement has had its turn.
async fn go_on(tidemark: &Tidemark, before: usize, is_enough: &AtomicBool, answers: &AtomicUsize) -> usize {
    let client = reqwest::Client::new();
    let mut sent = 0;
    while sent < EVENTS || answers.load(Ordering::SeqCst) < 3 * HEAVY.len() {
        let event = format!(r#"{{"event_name":"meanwhile","user_id":"u{sent}","timestamp":"2026-11-20T10:00:00Z"}}"#);
        let (status, answer) = tidemark.post(&client, "/events", event).await;
        assert_eq!(status, 202, "{answer}");
        sent += 1;
        let metrics = client.get(format!("{}/metrics?from=0&group_by=day&event_name=meanwhile", tidemark.url)).send().await.unwrap();
        assert_eq!(metrics.status(), 200, "{}", metrics.text().await.unwrap());
        if sent % EVENTS_FOR_A_STATEMENT == 0 {
            assert!(tidemark.sql("SELECT count(*) FROM events").parse::<usize>().unwrap() >= before);
        }
    }
    is_enough.store(true, Ordering::SeqCst);
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_that_asks_for_too_much_hurts_nobody_and_gives_its_memory_back() {
    let nats = NatsServer::start().await;
    let tidemark = Tidemark::start_with_settings(&nats, &SETTINGS).await;
    good(&tidemark.demo(&["--events", "20000", "--seed", "1"]).wait_with_output().unwrap());
    let (before, memory_before) = (20_000, tidemark.peak_memory_bytes());
    let (is_enough, answers) = (AtomicBool::new(false), AtomicUsize::new(0));
    let ((), sent) = tokio::join!(ask_too_much(&tidemark, &is_enough, &answers), go_on(&tidemark, before, &is_enough, &answers));

    let peak = tidemark.peak_memory_bytes();
    let mib = |bytes: u64| bytes >> 20;
    println!(
        "{} heavy answers, {sent} events; memory {} MiB before, {} MiB at the peak",
        answers.load(Ordering::SeqCst),
        mib(memory_before),
        mib(peak)
    );
    assert!(peak < memory_before + MOST_MORE_BYTES, "{} MiB, then {} MiB", mib(memory_before), mib(peak));
    tidemark.says("SELECT count(*) FROM events", &(before + sent).to_string()).await;
    let statement = "SELECT count(*) FROM (SELECT path, metadata, count(*) FROM events GROUP BY 1, 2)";
    until("the memory of SQL to be free again", Duration::from_secs(30), async || {
        let answer = reqwest::Client::new().post(format!("{}/sql", tidemark.url)).body(statement).send().await.unwrap();
        answer.status().is_success().then_some(())
    })
    .await;
}
