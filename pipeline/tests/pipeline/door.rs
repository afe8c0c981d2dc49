//! The door: answers of the contract, and the promise behind a 2xx.

use std::collections::BTreeSet;

use futures::future::join_all;
use journal::{Journal, Memory};
use schemas::{Position, ShardId};
use serde_json::{Value, json};
use service::clock::Clock;

use crate::app::App;

const SINGLE: &str =
    r#"{"event_name":"product_view","user_id":"u1","timestamp":1723475612,"channel":"web","metadata":{"price":12345678901234567890}}"#;

fn memory() -> Memory {
    Memory::new(1, || Clock::system().now())
}

async fn last(app: &App) -> u64 {
    app.journal.bounds(ShardId(0)).await.unwrap().last.0
}

#[tokio::test]
async fn one_event_is_in_the_journal_when_its_202_comes() {
    let app = App::start().await;
    let (status, answer) = app.post("/events", SINGLE).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!((&answer["status"], &answer["accepted"], &answer["position"]), (&json!("accepted"), &json!(1), &json!("0:1:0")));
    assert_eq!(answer["event_id"].as_str().unwrap().len(), 32, "an id derived from the identity");
    assert_eq!(last(&app).await, 1);
    let (_, again) = app.post("/events", SINGLE).await;
    assert_eq!(again["event_id"], answer["event_id"], "the same for every repeat");
    let (_, named) = app.post("/events", SINGLE.replace("{\"event_name\"", "{\"event_id\":\"mine\",\"event_name\"")).await;
    assert_eq!(named["event_id"], "mine");
}

#[tokio::test]
async fn bulk_takes_the_good_ones_and_lists_the_bad_ones() {
    let app = App::start().await;
    let body = r#"{"events":[{"event_name":"a","user_id":"u","timestamp":1723475612},{"event_name":"b","user_id":"u","timestamp":"soon"},7,
        {"event_name":"c","user_id":"u","timestamp":1723475612000}]}"#;
    let (status, answer) = app.post("/events/bulk", body).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!((&answer["accepted"], &answer["accepted_count"], &answer["rejected"]), (&json!(2), &json!(2), &json!(2)));
    assert_eq!(answer["event_ids"].as_array().unwrap().len(), 2);
    assert_eq!(answer["position"], "0:1");
    let places: Vec<_> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["index"].clone(), error["pointer"].clone(), error["code"].clone()))
        .collect();
    assert_eq!(places, [(json!(1), json!("/timestamp"), json!("invalid_timestamp")), (json!(2), json!(""), json!("not_an_event"))]);

    let strict = app
        .client
        .post(format!("{}/events/bulk", app.url))
        .header("prefer", "handling=strict")
        .header("content-type", "application/json")
        .body(body);
    assert_eq!(strict.send().await.unwrap().status(), 400, "all or nothing");
    assert_eq!(last(&app).await, 1, "nothing of the strict request was stored");
    let (status, answer) = app.post("/events/bulk", r#"[{"event_name":"b"}]"#).await;
    assert_eq!((status, &answer["code"]), (400, &json!("invalid_event")));
}

#[tokio::test]
async fn arrays_lines_and_compressed_bodies_are_the_same_events() {
    let app = App::start().await;
    let line = r#"{"event_name":"a","user_id":"u","timestamp":1723475612}"#;
    let lines = format!("{line}\n\n{line}\nnot json\n");
    for (body, kind, accepted) in [
        (format!("[{line},{line}]"), "application/json", 2),
        (lines.clone(), "application/x-ndjson", 2),
        (lines, "application/json; charset=utf-8", 2),
        (format!("{{\"events\":[{line}]}}"), "application/x-www-form-urlencoded", 1),
    ] {
        let answer = app.client.post(format!("{}/events", app.url)).header("content-type", kind).body(body).send().await.unwrap();
        assert_eq!(answer.status(), 202, "{kind}");
        let answer: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!(answer["accepted"], accepted, "{kind}");
    }
}

#[tokio::test]
async fn a_page_view_is_answered_with_204_and_its_position() {
    let app = App::start().await;
    let body = r#"{"site_id":"site-abc-123","event_type":"page_view","path":"/pricing","user_id":"user-xyz-789","timestamp":"2025-11-12T19:30:01Z"}"#;
    let answer = app.client.post(format!("{}/event", app.url)).header("content-type", "application/json").body(body).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.headers()["tidemark-position"].to_str().unwrap()), (204, "0:1:0"));
    assert_eq!(answer.bytes().await.unwrap().len(), 0);
    let (status, _) = app.post("/event", r#"{"site_id":"s","event_type":"page_view","path":"/"}"#).await;
    assert_eq!(status, 204, "user and time are optional here");
    let (status, answer) = app.post("/event", r#"{"event_type":"page_view","path":"/"}"#).await;
    assert_eq!((status, &answer["errors"][0]["pointer"]), (400, &json!("/site_id")));
    assert_eq!(app.post("/event", "[]").await.0, 400);
}

#[tokio::test]
async fn concurrent_requests_share_blocks_and_each_event_has_its_own_position() {
    let app = App::start().await;
    let posts = (0..400).map(|number| app.post("/events", format!(r#"{{"event_name":"e{number}","user_id":"u","timestamp":1723475612}}"#)));
    let answers = join_all(posts).await;
    let positions: BTreeSet<String> = answers
        .iter()
        .map(|(status, answer)| {
            assert_eq!(*status, 202);
            answer["position"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(positions.len(), 400);
    assert!(last(&app).await < 400, "{} blocks for 400 events", last(&app).await);
}

#[tokio::test]
async fn the_events_of_a_request_are_one_block_for_each_shard() {
    let app = App::with(Memory::new(3, || Clock::system().now()), &[]).await;
    let events: Vec<Value> =
        (0..60).map(|number| json!({"event_name": "a", "user_id": format!("u{number}"), "timestamp": 1_723_475_612})).collect();
    let (status, answer) = app.post("/events/bulk", json!({"events": events}).to_string()).await;
    assert_eq!(status, 202);
    let positions: Vec<Position> = answer["position"].as_str().unwrap().split(',').map(|text| text.parse().unwrap()).collect();
    assert_eq!(positions.iter().map(|position| (position.shard.0, position.sequence.0)).collect::<Vec<_>>(), [(0, 1), (1, 1), (2, 1)]);
}

#[tokio::test]
async fn what_is_no_event_is_told_apart_and_told_what_to_do() {
    let app = App::with(memory(), &[("ingest.max_bulk_events", "3"), ("ingest.max_body", "1 KiB")]).await;
    for (route, body, status, code) in [
        ("/events", "", 400, "empty_body"),
        ("/events", "{\"event_name\":", 400, "invalid_json"),
        ("/events", "[]", 400, "no_events"),
        ("/events", "\"text\"", 400, "invalid_event"),
        ("/events", "[{},{},{},{}]", 413, "too_many_events"),
        ("/event", "[{}]", 400, "one_event_only"),
    ] {
        let (found, answer) = app.post(route, body).await;
        assert_eq!((found, &answer["code"]), (status, &json!(code)), "{body}: {answer}");
        assert!(answer["request_id"].is_string() && answer["detail"] == answer["error"], "{answer}");
    }
    let (status, answer) = app.post("/events", format!("{{\"event_name\":\"{}\"}}", "x".repeat(2000))).await;
    assert_eq!((status, &answer["code"]), (413, &json!("body_too_large")));
    let answer = app.client.post(format!("{}/events", app.url)).header("content-type", "text/xml").body("<a/>").send().await.unwrap();
    assert_eq!(answer.status(), 415);
    assert_eq!(last(&app).await, 0, "nothing was stored");
}

#[tokio::test]
async fn a_full_journal_is_503_and_heals() {
    let app = App::with(memory().with_max_bytes(6_000), &[]).await;
    let mut accepted = 0;
    let refused = loop {
        let answer =
            app.client.post(format!("{}/events", app.url)).header("content-type", "application/json").body(SINGLE).send().await.unwrap();
        if answer.status() != 202 {
            break answer;
        }
        accepted += 1;
    };
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (503, "1"));
    let problem: Value = serde_json::from_slice(&refused.bytes().await.unwrap()).unwrap();
    assert_eq!(problem["code"], "journal_full");
    assert_eq!(last(&app).await, accepted);
    app.journal.release(ShardId(0), schemas::Sequence(accepted)).await.unwrap();
    assert_eq!(app.post("/events", SINGLE).await.0, 202);
}

#[tokio::test]
async fn a_silent_journal_is_503_with_outcome_unknown() {
    let app = App::start().await;
    app.journal.silence();
    let (status, answer) = app.post("/events", SINGLE).await;
    assert_eq!((status, &answer["code"]), (503, &json!("journal_unavailable")));
    assert!(answer["detail"].as_str().unwrap().contains("same event_id"), "{answer}");
    app.journal.answer();
    assert_eq!(app.post("/events", SINGLE).await.0, 202);
}
