//! The same questions to Tidemark and to DuckDB over the same Delta table: the answers are the same.

mod questions;

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use serde_json::{Value, json};
use testkit::NatsServer;

use crate::{chaos::variable, duckdb, process::Tidemark};
use questions::QUESTIONS;

/// So many rows make a commit, or the end of the process does; nothing else.
const COMMIT: [&str; 3] = ["pipeline.max_rows=3000", "pipeline.max_age=1h", "pipeline.max_idle=1h"];
const COMMITTED: usize = 3000;
const IN_TAIL: usize = 1000;
/// 2026-11-14T00:00:00Z; most events are of the week that follows, one in ten is up to ten weeks earlier.
const WEEK_BEGINS: i64 = 1_794_614_400;
const WEEK_SECONDS: i64 = 7 * 86_400;
/// Computed in another order, a sum of floats differs in its last digits.
const TOLERANCE: f64 = 1e-9;
/// Stands between two answers of DuckDB.
const NEXT: &str = "=== next ===";

fn one_of<'a>(random: &mut SmallRng, values: &[&'a str]) -> &'a str {
    values.choose(random).unwrap()
}

fn maybe(random: &mut SmallRng, values: &[&str]) -> Value {
    if random.random_bool(0.2) { Value::Null } else { json!(one_of(random, values)) }
}

/// An event with what an event may have; absent fields are left out.
fn event(random: &mut SmallRng, number: usize) -> Value {
    let lateness = if random.random_bool(0.1) { random.random_range(0..10) * WEEK_SECONDS } else { 0 };
    let ms = (WEEK_BEGINS - lateness) * 1000 + random.random_range(0..WEEK_SECONDS * 1000);
    let tags: Vec<&str> = (0..random.random_range(0..4)).map(|_| one_of(random, &["new", "sale", "vip", "größe, \"xl\""])).collect();
    let sku = one_of(random, &["a1", "b2", "ü3"]);
    let metadata = json!({
        "price": f64::from(random.random_range(0..100_000)) / 100.0,
        "currency": one_of(random, &["EUR", "USD", "JPY"]),
        "big": 9_007_199_254_740_993_i64 + i64::try_from(number).unwrap(),
        "items": [{"sku": sku, "qty": random.random_range(1..9)}],
        "note": maybe(random, &["naïve", "日本", "say \"hi\", twice"]),
    });
    let mut event = json!({
        "event_name": one_of(random, &["page_view", "page_view", "page_view", "product_view", "purchase", "anmeldung_größe"]),
        "user_id": format!("user-{}", random.random_range(0..150)),
        "timestamp": ms,
        "event_id": format!("client-{number}"),
        "channel": maybe(random, &["web", "ios", "android"]),
        "campaign_id": maybe(random, &["spring", "autumn"]),
        "site_id": maybe(random, &["shop", "blog"]),
        "path": maybe(random, &["/", "/about", "/p/1", "/p/22", "/größe", "/日本", "/a,b", "/O'Brien"]),
        "tags": tags,
        "metadata": metadata,
    });
    let event_fields = event.as_object_mut().unwrap();
    if random.random_bool(0.2) {
        event_fields.remove("tags");
    }
    if random.random_bool(0.2) {
        event_fields.remove("metadata");
    }
    event_fields.retain(|_, value| !value.is_null());
    event
}

async fn send(tidemark: &Tidemark, events: &[Value]) {
    let client = reqwest::Client::new();
    for part in events.chunks(500) {
        let (status, answer) = tidemark.post(&client, "/events/bulk", json!({"events": part}).to_string()).await;
        assert_eq!(status, 202, "{answer}");
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert_eq!(answer["accepted"], json!(part.len()), "{answer}");
    }
}

/// The cells of an answer in CSV, in their order when the question says one, else sorted.
fn cells(csv: &str, question: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(csv.as_bytes());
    let text = |cell: &str| if cell == "NULL" { String::new() } else { cell.to_owned() };
    let mut rows: Vec<Vec<String>> = reader.records().map(|row| row.unwrap().iter().map(text).collect()).collect();
    if !question.contains("-- in this order") {
        rows.sort();
    }
    rows
}

/// Our answer; one that is refused differs from every answer of DuckDB.
async fn ours(tidemark: &Tidemark, question: &str) -> Vec<Vec<String>> {
    let answer = reqwest::Client::new().post(format!("{}/sql?format=csv", tidemark.url)).body(question.to_owned()).send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    if !status.is_success() {
        return vec![vec![text]];
    }
    cells(text.split_once('\n').unwrap().1, question)
}

/// The answers to all questions over the committed table, which has this name in them.
fn theirs(tidemark: &Tidemark, table: &str) -> Vec<String> {
    let script: Vec<String> = QUESTIONS.iter().map(|question| asked_of(question, table)).collect();
    let script = script.join(&format!("\n; SELECT '{NEXT}';\n"));
    let answers = duckdb::rows(&tidemark.location(None, "events"), table, None, &format!("{script}\n"));
    answers.split(&format!("{NEXT}\n")).map(str::to_owned).collect()
}

fn asked_of(question: &str, table: &str) -> String {
    question.replace("{events}", table)
}

fn is_same(ours: &str, theirs: &str) -> bool {
    if ours == theirs {
        return true;
    }
    let is_float = |text: &str| text.contains(['.', 'e', 'E']);
    match (ours.parse::<f64>(), theirs.parse::<f64>()) {
        (Ok(a), Ok(b)) if is_float(ours) || is_float(theirs) => (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()).max(1.0),
        _ => false,
    }
}

/// Asks both; gives what differs.
async fn differences(tidemark: &Tidemark, table: &str) -> Vec<String> {
    let mut differences = Vec::new();
    let answers = theirs(tidemark, table);
    assert_eq!(answers.len(), QUESTIONS.len());
    for (question, theirs) in QUESTIONS.iter().zip(answers) {
        let (ours, theirs) = (ours(tidemark, &asked_of(question, table)).await, cells(&theirs, question));
        let is_same = ours.len() == theirs.len()
            && ours.iter().zip(&theirs).all(|(a, b)| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b)));
        assert!(!ours.is_empty(), "a question without an answer tells nothing: {question}");
        if !is_same {
            differences.push(format!("{question}\n  ours: {ours:?}\n  DuckDB's: {theirs:?}"));
        }
    }
    differences
}

/// Our answers over all events, whether they are committed or not.
async fn over_all(tidemark: &Tidemark) -> Vec<Vec<Vec<String>>> {
    let mut answers = Vec::new();
    for question in QUESTIONS {
        answers.push(ours(tidemark, &asked_of(question, "events")).await);
    }
    answers
}

#[tokio::test]
async fn duckdb_gives_the_same_answers_over_the_same_table() {
    let seed = variable("TIDEMARK_SEED").map_or_else(rand::random, |text| text.parse().expect("a seed is a whole number"));
    println!("seed {seed}; again with TIDEMARK_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let events: Vec<Value> = (0..COMMITTED + IN_TAIL).map(|number| event(&mut random, number)).collect();
    let nats = NatsServer::start().await;
    let mut tidemark = Tidemark::start_with_settings(&nats, &COMMIT).await;

    send(&tidemark, &events[..COMMITTED]).await;
    tidemark.says("SELECT count(*) FROM events_committed", &COMMITTED.to_string()).await;
    send(&tidemark, &events[COMMITTED..]).await;
    tidemark.says("SELECT count(*) FROM events", &events.len().to_string()).await;
    assert_eq!(tidemark.sql("SELECT count(*) FROM events_committed"), COMMITTED.to_string(), "the rest waits in the tail");
    let differences_before = differences(&tidemark, "events_committed").await;
    assert!(differences_before.is_empty(), "seed {seed}, a part committed:\n{}", differences_before.join("\n"));

    let in_two_parts = over_all(&tidemark).await;
    assert!(tidemark.terminate().await, "the end of the process commits the rest");
    tidemark.restart().await;
    tidemark.says("SELECT count(*) FROM events_committed", &events.len().to_string()).await;
    let differences_after = differences(&tidemark, "events").await;
    assert!(differences_after.is_empty(), "seed {seed}, all committed:\n{}", differences_after.join("\n"));
    for ((question, before), after) in QUESTIONS.iter().zip(in_two_parts).zip(over_all(&tidemark).await) {
        let is_same = before.iter().flatten().zip(after.iter().flatten()).all(|(a, b)| is_same(a, b)) && before.len() == after.len();
        assert!(is_same, "table and tail, then the table alone: {question}\n{before:?}\n{after:?}");
    }
}
