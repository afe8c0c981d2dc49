//! Sends batches until each has its 2xx.

use std::time::{Duration, Instant};

use anyhow::bail;
use indicatif::ProgressBar;
use reqwest::{Client, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use service::clock::Clock;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What the door said of one batch.
#[derive(Debug, Deserialize)]
pub(super) struct Answer {
    pub(super) accepted: u64,
    pub(super) position: String,
}

/// Sends to one server, with patience.
pub(super) struct Sender {
    pub(super) client: Client,
    pub(super) url: String,
    pub(super) clock: Clock,
    pub(super) patience: Duration,
    pub(super) bar: ProgressBar,
}

impl Sender {
    /// Sends a batch, again and again while the server is away or busy.
    ///
    /// # Errors
    /// When the server refuses the events, or stays away longer than the patience.
    pub(super) async fn send(&self, events: Vec<Value>) -> anyhow::Result<Answer> {
        let (count, body) = (events.len() as u64, serde_json::to_vec(&json!({"events": events}))?);
        let started = Instant::now();
        let mut pause = FIRST_PAUSE;
        loop {
            let trouble = match self.try_once(body.clone()).await? {
                Ok(answer) => {
                    self.bar.inc(count);
                    self.bar.set_message("");
                    return Ok(answer);
                }
                Err(trouble) => trouble,
            };
            if started.elapsed() > self.patience {
                bail!(
                    "{trouble}; gave up after {:?} (start it with `./justw up` or `tidemark serve`, or name another address with `--url`)",
                    self.patience
                );
            }
            self.bar.set_message(format!("{trouble}; trying again"));
            self.clock.sleep_until(self.clock.now() + pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// One try: the answer, or a trouble that may pass.
    async fn try_once(&self, body: Vec<u8>) -> anyhow::Result<Result<Answer, String>> {
        let request = self.client.post(format!("{}/events/bulk", self.url)).header("content-type", "application/json").body(body);
        let Ok(response) = request.send().await else { return Ok(Err(format!("no answer from `{}`", self.url))) };
        match response.status() {
            StatusCode::ACCEPTED => Ok(response.json().await.map_err(|_| "an answer was cut off".to_owned())),
            status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => {
                Ok(Err(format!("the server answers {status}")))
            }
            status => bail!("the server refuses the events with {status}: {}", response.text().await.unwrap_or_default()),
        }
    }
}
