//! `tidemark quarantine`: what was durable but no event gets another try at the door, exactly once.
//!
//! A record keeps its bytes. It is sent with an `event_id` made from its position and the time of its arrival where it has none of
//! its own, so whatever was stored by an earlier replay is a repeat and adds nothing. The record itself stays in quarantine.

use std::fmt;

use anyhow::{Context, anyhow, bail};
use clap::{Args, Subcommand};
use futures::{StreamExt, TryStreamExt, stream};
use http::{StatusCode, header::CONTENT_TYPE};
use indicatif::HumanCount;
use reqwest::Client;
use serde::Deserialize;
use service::settings::Settings;

use self::record::Record;
use crate::{client, output};

mod record;

/// Records in one question.
const PAGE: usize = 500;
/// Requests at the same time.
const CONNECTIONS: usize = 8;
/// So many refusals are shown.
const SHOWN: usize = 20;

/// What to do with the quarantine.
#[derive(Subcommand)]
pub(crate) enum QuarantineCommand {
    /// Send quarantined records through the door again; a second time adds nothing.
    Replay(ReplayOptions),
}

/// Options of `tidemark quarantine replay`.
#[derive(Args)]
pub(crate) struct ReplayOptions {
    /// Which records, as a SQL condition on the columns of `quarantine`; all unless given.
    #[arg(long = "where", value_name = "CONDITION", default_value = "true")]
    condition: String,
    /// Print what would be sent, and send nothing.
    #[arg(long)]
    dry_run: bool,
    /// Where Tidemark takes events; the address of `serve.listen` unless given.
    #[arg(long)]
    url: Option<String>,
    /// Where Tidemark answers questions, if that is another address.
    #[arg(long)]
    query_url: Option<String>,
}

/// What the door said.
enum Answer {
    Accepted,
    Refused { code: String, message: String },
}

/// What became of all records so far.
#[derive(Default)]
struct Counts {
    records: u64,
    accepted: u64,
    refused: Vec<String>,
}

/// The members of a problem that are shown.
#[derive(Deserialize)]
struct Problem {
    code: String,
    detail: String,
    #[serde(default)]
    errors: Vec<ItemError>,
}

#[derive(Deserialize)]
struct ItemError {
    code: String,
    message: String,
}

/// Does it and says what came of it.
pub(crate) async fn run(command: QuarantineCommand, settings: &Settings) -> anyhow::Result<()> {
    let QuarantineCommand::Replay(ReplayOptions { condition, dry_run, url, query_url }) = command;
    let url = client::server(url, settings)?;
    let replay = Replay { client: client::client(settings)?, query_url: query_url.unwrap_or_else(|| url.clone()), url, condition };
    if dry_run { replay.show().await } else { replay.send_all().await }
}

struct Replay {
    client: Client,
    url: String,
    query_url: String,
    condition: String,
}

impl Replay {
    /// Prints the body of every record that would be sent, behind its position.
    async fn show(&self) -> anyhow::Result<()> {
        let mut last = None;
        loop {
            let page = self.page(last.as_ref()).await?;
            for record in &page {
                let body = record.body().unwrap_or_else(|| format!("not sent: {}", record.message));
                output::print(&format!("{}\t{body}", record.position()))?;
            }
            last = page.into_iter().next_back();
            if last.is_none() {
                return Ok(());
            }
        }
    }

    async fn send_all(&self) -> anyhow::Result<()> {
        let (mut last, mut counts) = (None, Counts::default());
        loop {
            let page = self.page(last.as_ref()).await?;
            let mut answers =
                stream::iter(&page).map(|record| async move { anyhow::Ok((record, self.send(record).await?)) }).buffered(CONNECTIONS);
            while let Some((record, answer)) = answers.try_next().await.map_err(|error| anyhow!("{error:#}; {}", counts.interrupted()))? {
                counts.add(record, answer);
            }
            drop(answers);
            last = page.into_iter().next_back();
            if last.is_none() {
                return Ok(output::print(&counts.to_string())?);
            }
        }
    }

    /// The next records after one, in the order of the journal.
    async fn page(&self, after: Option<&Record>) -> anyhow::Result<Vec<Record>> {
        let url = format!("{}/sql", self.query_url);
        let request = self.client.post(&url).query(&[("format", "jsonl")]).header(CONTENT_TYPE, "application/sql");
        let answer = client::send(request.body(record::question(&self.condition, after, PAGE)), &self.query_url).await?;
        let lines = answer.text().await.context("the quarantine could not be read to its end")?;
        lines.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no record of quarantine: {line}"))).collect()
    }

    /// One record through the door.
    ///
    /// # Errors
    /// When the door is away or busy: nothing is known of the record then, and a repeat of the whole replay is safe.
    async fn send(&self, record: &Record) -> anyhow::Result<Answer> {
        let Some(body) = record.body() else {
            return Ok(Answer::Refused { code: record.code.clone(), message: record.message.clone() });
        };
        let request = self.client.post(format!("{}/events", self.url)).header(CONTENT_TYPE, "application/json").body(body);
        let answer = request.send().await.map_err(|error| client::unanswered(error, &self.url))?;
        match answer.status() {
            status if status.is_success() => Ok(Answer::Accepted),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => refusal(&answer.text().await?),
            status => bail!("the door answers {status}: {}", answer.text().await.unwrap_or_default().trim()),
        }
    }
}

/// Why the door does not want a record: the first error, or the whole.
fn refusal(body: &str) -> anyhow::Result<Answer> {
    let problem: Problem = serde_json::from_str(body).with_context(|| format!("the door's answer is no problem: {body}"))?;
    let Problem { code, detail, errors } = problem;
    let first = errors.into_iter().next().unwrap_or(ItemError { code, message: detail });
    Ok(Answer::Refused { code: first.code, message: first.message })
}

impl Counts {
    fn add(&mut self, record: &Record, answer: Answer) {
        self.records += 1;
        match answer {
            Answer::Accepted => self.accepted += 1,
            Answer::Refused { code, message } if self.refused.len() < SHOWN => {
                self.refused.push(format!("{} [{code}] {message}", record.position()));
            }
            Answer::Refused { .. } => {}
        }
    }

    fn interrupted(&self) -> String {
        format!(
            "stopped after {} records, {} of them accepted; replay again: what is stored is not stored twice",
            self.records, self.accepted
        )
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refused = self.records - self.accepted;
        let [records, accepted, refused_text] = [self.records, self.accepted, refused].map(|count| HumanCount(count).to_string());
        write!(f, "{records} records of quarantine: {accepted} accepted by the door, {refused_text} refused again")?;
        self.refused.iter().try_for_each(|refusal| write!(f, "\n  {refusal}"))?;
        match refused - self.refused.len() as u64 {
            0 => Ok(()),
            more => write!(f, "\n  and {} more", HumanCount(more)),
        }
    }
}
