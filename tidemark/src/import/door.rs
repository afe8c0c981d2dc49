//! Batches through the door, again and again until each has its answer.
//!
//! An answer names the records that are wrong. Where it refuses a request as a whole, or lists only a part of what is wrong, the
//! records are sent in halves: whatever was stored by the first request is folded.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use http::{
    HeaderMap, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use reqwest::Client;
use serde::Deserialize;
use service::clock::Clock;

use super::batch::{Batch, Record, Refusal};
use crate::client;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// For one request: longer than the door itself waits for anything.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A door, and how patiently to knock.
pub(super) struct Door {
    pub(super) client: Client,
    pub(super) url: String,
    pub(super) clock: Clock,
    pub(super) patience: Duration,
    pub(super) is_dry_run: bool,
}

/// A batch of which everything is answered.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) batch: Batch,
    pub(super) accepted: u64,
    pub(super) refused: Vec<Refusal>,
}

/// What a 2xx says.
#[derive(Debug, Deserialize)]
struct Accepted {
    accepted: u64,
    rejected: u64,
    errors: Vec<ItemError>,
}

/// What a refusal of the whole request says.
#[derive(Debug, Deserialize)]
struct Problem {
    code: String,
    detail: String,
    #[serde(default)]
    errors: Vec<ItemError>,
}

#[derive(Debug, Deserialize)]
struct ItemError {
    index: Option<usize>,
    pointer: String,
    code: String,
    message: String,
}

enum Answer {
    Accepted(Accepted),
    Refused(Problem),
}

/// No answer that says what became of the records.
struct Trouble {
    what: String,
    /// What the server asks for.
    pause: Option<Duration>,
}

impl Door {
    /// Sends a batch until each of its records is stored or refused.
    ///
    /// # Errors
    /// When the door stays away longer than the patience, or wants nothing from us at all.
    pub(super) async fn send(&self, mut batch: Batch) -> anyhow::Result<Answered> {
        let (records, mut refused) = (std::mem::take(&mut batch.records), std::mem::take(&mut batch.refused));
        let (accepted, more) = self.settle(&records, batch.is_lines).await?;
        refused.extend(more);
        refused.sort_by_key(|refusal| refusal.record.number);
        Ok(Answered { batch, accepted, refused })
    }

    /// How many of the records are stored, and which are refused.
    fn settle<'a>(&'a self, records: &'a [Record], is_lines: bool) -> BoxFuture<'a, anyhow::Result<(u64, Vec<Refusal>)>> {
        async move {
            if records.is_empty() {
                return Ok((0, Vec::new()));
            }
            let (accepted, wrong, errors) = match self.ask(body(records, is_lines).into(), is_lines).await? {
                Answer::Accepted(Accepted { accepted, rejected, errors }) => (accepted, rejected, errors),
                Answer::Refused(Problem { errors, .. }) if names_all(&errors, records.len()) => (0, records.len() as u64, errors),
                Answer::Refused(Problem { code, detail, .. }) if records.len() == 1 => {
                    (0, 1, vec![ItemError { index: Some(0), pointer: String::new(), code, message: detail }])
                }
                Answer::Refused(_) => return self.settle_halves(records, is_lines).await,
            };
            let refused = refusals(records, errors, is_lines);
            if refused.len() as u64 == wrong { Ok((accepted, refused)) } else { self.settle_halves(records, is_lines).await }
        }
        .boxed()
    }

    async fn settle_halves(&self, records: &[Record], is_lines: bool) -> anyhow::Result<(u64, Vec<Refusal>)> {
        let (left, right) = records.split_at(records.len() / 2);
        let (mut accepted, mut refused) = self.settle(left, is_lines).await?;
        let (more, others) = self.settle(right, is_lines).await?;
        accepted += more;
        refused.extend(others);
        Ok((accepted, refused))
    }

    async fn ask(&self, body: Bytes, is_lines: bool) -> anyhow::Result<Answer> {
        let (started, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            let trouble = match self.try_once(body.clone(), is_lines).await? {
                Ok(answer) => return Ok(answer),
                Err(trouble) => trouble,
            };
            if started.elapsed() > self.patience {
                bail!("{}; gave up after {:?}", trouble.what, self.patience);
            }
            self.clock.sleep_until(self.clock.now() + trouble.pause.unwrap_or(pause)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One request: its answer, or a trouble that may pass.
    async fn try_once(&self, body: Bytes, is_lines: bool) -> anyhow::Result<Result<Answer, Trouble>> {
        let kind = if is_lines { "application/x-ndjson" } else { "application/json" };
        let post = self.client.post(format!("{}/events/bulk", self.url)).header(CONTENT_TYPE, kind).timeout(REQUEST_TIMEOUT);
        let post = if self.is_dry_run { post.query(&[("dry_run", "true")]) } else { post };
        let response = match post.body(body).send().await {
            Ok(response) => response,
            Err(error) => return Ok(Err(Trouble { what: client::unanswered(error, &self.url).to_string(), pause: None })),
        };
        match response.status() {
            status if status.is_success() => Ok(response.json().await.map(Answer::Accepted).map_err(|_| Trouble::cut_off())),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                let text = response.text().await.unwrap_or_default();
                Ok(Ok(Answer::Refused(serde_json::from_str(&text).with_context(|| format!("the door's answer is no problem: {text}"))?)))
            }
            status if status.is_server_error() || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT].contains(&status) => {
                let what = format!("the server answers {status}");
                Ok(Err(Trouble { what, pause: retry_after(response.headers()) }))
            }
            _ => Err(client::refusal(response).await.into()),
        }
    }
}

impl Trouble {
    fn cut_off() -> Self {
        Self { what: "an answer was cut off".to_owned(), pause: None }
    }
}

fn body(records: &[Record], is_lines: bool) -> Vec<u8> {
    let records: Vec<&[u8]> = records.iter().map(|record| record.json.as_slice()).collect();
    match is_lines {
        true => records.join(&b'\n'),
        false => [b"[", records.join(&b',').as_slice(), b"]"].concat(),
    }
}

/// Whether a refusal says what is wrong with each record.
fn names_all(errors: &[ItemError], records: usize) -> bool {
    let mut named: Vec<usize> = errors.iter().filter_map(|error| error.index).collect();
    named.dedup();
    named.len() == records
}

/// The records that an answer names, each with the first thing that is wrong with it.
fn refusals(records: &[Record], errors: Vec<ItemError>, is_lines: bool) -> Vec<Refusal> {
    let mut refused: Vec<Refusal> = Vec::new();
    for ItemError { index, pointer, code, message } in errors {
        let Some(record) = index.and_then(|index| records.get(index)) else { continue };
        let message = if is_lines { without_line(message) } else { message };
        match refused.last_mut() {
            Some(last) if last.record.number == record.number => {
                last.message = format!("{}; {pointer} {message}", last.message);
            }
            _ => refused.push(Refusal { record: record.clone(), code, pointer, message }),
        }
    }
    refused
}

/// The door counts the lines of the request, of which nobody knows.
fn without_line(message: String) -> String {
    match message.rsplit_once(" at line ").and_then(|(what, place)| Some((what, place.split_once(" column ")?.1))) {
        Some((what, column)) => format!("{what} at column {column}"),
        None => message,
    }
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok().map(Duration::from_secs)
}
