//! An event through the door: judged only, or stored and waited for.
//!
//! The canary of a day is always the same event, with the same id and time, so however often it is sent it is one row. It is sent to
//! the journal each time, and `at_least` of its position waits for it also when it was folded.

use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, Utc};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Examination, finding::Findings};
use crate::client;

const DOOR: &str = "canary.door";
const SEEN: &str = "canary.seen";
const EVENT_NAME: &str = "tidemark.canary";
const KEY: &str = "make one with `tidemark keys new --scope ingest,query`, and set `client.api_key` to it";
/// Slower is slow for an event on its own.
const SLOW: Duration = Duration::from_secs(1);
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Accepted {
    #[serde(default)]
    position: String,
}

#[derive(Deserialize)]
struct Metrics {
    total_events: u64,
}

/// Sends the canary of today; stores it only when that is wanted.
pub(super) async fn examine(examination: &Examination, is_stored: bool, findings: &mut Findings) -> anyhow::Result<()> {
    let Examination { client, url, clock, .. } = examination;
    let today = clock.now().date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
    let post = client.post(format!("{url}/events")).json(&canary(today)).timeout(TIMEOUT);
    let post = if is_stored { post } else { post.query(&[("dry_run", "true")]) };
    let started = Instant::now();
    let answer = match post.send().await {
        Ok(answer) => answer,
        Err(error) => {
            findings.error(DOOR, client::unanswered(error, url));
            return Ok(());
        }
    };
    if !answer.status().is_success() {
        let is_key = [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&answer.status());
        let remedy = if is_key { KEY } else { "see what is said of the journal above, and the log of the door" };
        findings.problem(DOOR, format!("the door refuses an event: {}", client::refusal(answer).await), remedy);
        return Ok(());
    }
    let Accepted { position } = answer.json().await.context("the door's answer is none of Tidemark")?;
    match is_stored {
        false => {
            findings.ok(DOOR, "the door takes events (one was judged, and not stored; `--canary` stores one and waits until it is seen)")
        }
        true => {
            quick(DOOR, "an event was on disk after", started.elapsed(), findings);
            seen(examination, today, &position, findings).await;
        }
    }
    Ok(())
}

fn canary(today: DateTime<Utc>) -> Value {
    json!({
        "event_name": EVENT_NAME,
        "event_id": format!("tidemark-canary-{}", today.format("%F")),
        "user_id": "tidemark-doctor",
        "timestamp": today.to_rfc3339_opts(SecondsFormat::Secs, true),
        "metadata": {"note": "sent by `tidemark doctor --canary`; at most one a day"},
    })
}

/// Waits until a question sees it.
async fn seen(Examination { client, query_url, .. }: &Examination, today: DateTime<Utc>, position: &str, findings: &mut Findings) {
    const REMEDY: &str = "see whether the pipeline reads (`/readyz`), and its log";
    let (started, day) = (Instant::now(), today.timestamp_millis().to_string());
    let question = [("event_name", EVENT_NAME), ("from", &day), ("to", &day), ("at_least", position)];
    let request = client.get(format!("{query_url}/metrics")).query(&question).timeout(TIMEOUT);
    match client::send(request, query_url).await {
        Err(error) => findings.problem(SEEN, format!("the event was stored and is not seen: {:#}", anyhow::Error::from(error)), REMEDY),
        Ok(answer) => match answer.json::<Metrics>().await {
            Ok(Metrics { total_events: 1 }) => quick(SEEN, "and queries saw it after another", started.elapsed(), findings),
            Ok(Metrics { total_events }) => {
                findings.problem(SEEN, format!("queries count it {total_events} times, not once"), "`tidemark verify` tells more");
            }
            Err(error) => findings.error(SEEN, error),
        },
    }
}

fn quick(check: &'static str, what: &str, took: Duration, findings: &mut Findings) {
    let told = format!("{what} {} ms", took.as_millis());
    match took > SLOW {
        false => findings.ok(check, told),
        true => findings.warning(check, told, "see how busy this machine and the disk of NATS are"),
    }
}
