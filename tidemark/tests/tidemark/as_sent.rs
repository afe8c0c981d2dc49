//! What a client sent and what SQL answers are the same, through the real binary, before the commit and after it.

mod generated;

use rand::{SeedableRng, rngs::SmallRng};
use serde_json::Value;
use testkit::NatsServer;

use crate::{chaos::variable, process::Tidemark};
use generated::Sent;

const REQUESTS: usize = 8;
const EVENTS_IN_EACH: usize = 50;
/// So many rows make a commit; nothing else does.
const COMMIT: [&str; 3] = ["pipeline.max_rows=1000", "pipeline.max_age=1h", "pipeline.max_idle=1h"];
const FILLERS: usize = 1000;
const COLUMNS: &str = "event_id, event_name, user_id, channel, campaign_id, site_id, path, tags, \
    CAST(timestamp AS BIGINT) AS timestamp, metadata";
const NO_FILLER: &str = "event_name <> 'filler'";

/// Sends a request; gives the rows that it must become and the position of the last one.
async fn send(tidemark: &Tidemark, events: &[Sent]) -> (Vec<Value>, String) {
    let bodies: Vec<&str> = events.iter().map(|sent| sent.json.as_str()).collect();
    let body = format!("{{\"events\":[{}]}}", bodies.join(","));
    let (status, answer) = tidemark.post(&reqwest::Client::new(), "/events/bulk", body.clone()).await;
    assert_eq!(status, 202, "{answer}\n{body}");
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let refused: Vec<usize> = (0..events.len()).filter(|index| events[*index].row.is_none()).collect();
    let mut told: Vec<usize> = answer["errors"].as_array().unwrap().iter().map(|error| error["index"].as_u64().unwrap() as usize).collect();
    told.dedup();
    assert_eq!(told, refused, "exactly the wrong ones are refused: {}\n{body}", answer["errors"]);
    let rows = events.iter().filter_map(|sent| sent.row.clone()).zip(answer["event_ids"].as_array().unwrap());
    let rows = rows.map(|(mut row, event_id)| {
        assert!(row.get("event_id").is_none_or(|sent| sent == event_id), "{row} got {event_id}");
        row["event_id"] = event_id.clone();
        row
    });
    (rows.collect(), answer["position"].as_str().unwrap().to_owned())
}

/// The rows of a table in the order in which they were sent; absent values are left out.
async fn rows(tidemark: &Tidemark, table: &str, at_least: &str) -> Vec<Value> {
    let statement = format!("SELECT {COLUMNS} FROM {table} WHERE {NO_FILLER} ORDER BY _sequence, _index");
    let url = format!("{}/sql?format=json&at_least={at_least}", tidemark.url);
    let answer = reqwest::Client::new().post(url).body(statement).send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert_eq!(status, 200, "{text}");
    let mut rows: Vec<Value> = serde_json::from_str(&text).unwrap();
    rows.iter_mut().for_each(|row| row.as_object_mut().unwrap().retain(|_, value| !value.is_null()));
    rows
}

fn assert_same(found: &[Value], sent: &[Value]) {
    for (found, sent) in found.iter().zip(sent) {
        assert_eq!(found, sent);
    }
    assert_eq!(found.len(), sent.len());
}

#[tokio::test]
async fn whatever_is_accepted_comes_back_by_sql_as_it_was_sent_before_and_after_the_commit() {
    let seed = variable("TIDEMARK_SEED").map_or_else(rand::random, |text| text.parse().expect("a seed is a whole number"));
    println!("seed {seed}; again with TIDEMARK_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let nats = NatsServer::start().await;
    let tidemark = Tidemark::start_with_settings(&nats, &COMMIT).await;
    let (mut sent, mut position) = (Vec::new(), String::new());
    for request in 0..REQUESTS {
        let events: Vec<Sent> = (0..EVENTS_IN_EACH).map(|index| generated::event(&mut random, request * EVENTS_IN_EACH + index)).collect();
        let (rows, last) = send(&tidemark, &events).await;
        sent.extend(rows);
        position = last;
    }
    assert_eq!(tidemark.sql("SELECT count(*) FROM events_committed"), "0");
    assert_same(&rows(&tidemark, "events", &position).await, &sent);

    let filler = |number| format!(r#"{{"event_name":"filler","user_id":"u{number}","timestamp":1795000000}}"#);
    let fillers: Vec<String> = (0..FILLERS).map(filler).collect();
    let (status, answer) = tidemark.post(&reqwest::Client::new(), "/events/bulk", format!("[{}]", fillers.join(","))).await;
    assert_eq!(status, 202, "{answer}");
    tidemark.says(&format!("SELECT count(*) FROM events_committed WHERE {NO_FILLER}"), &sent.len().to_string()).await;
    assert_same(&rows(&tidemark, "events_committed", &position).await, &sent);
    assert_same(&rows(&tidemark, "events", &position).await, &sent);
}
