//! The writer: requests on a fixed schedule, each sent again with the same ids until it has its 2xx.
//!
//! While the door is away the schedule waits in a fixed number of senders; afterwards they catch up as fast as they can.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use futures::future::join_all;
use testkit::pause;
use tokio::time::timeout;

use super::{
    ledger::Ledger,
    requests::{Request, Requests, Route},
};

const SENDERS: usize = 48;
const PAUSE_AFTER_TROUBLE: Duration = Duration::from_millis(100);

/// Sends requests and keeps the ledger.
pub(crate) struct Load<'a> {
    pub(crate) client: &'a reqwest::Client,
    pub(crate) url: &'a str,
    pub(crate) requests: Requests,
    pub(crate) ledger: &'a Ledger,
}

impl Load<'_> {
    /// Sends until `is_over`, then finishes what was begun, for at most `patience`.
    pub(crate) async fn run(&self, is_over: impl Fn() -> bool, patience: Duration) {
        let (started, next) = (Instant::now(), Cell::new(0));
        let sender = async || {
            while !is_over() {
                let request = self.requests.request(next.replace(next.get() + 1));
                let due = Duration::from_micros(self.requests.due_us(request.number));
                pause(due.saturating_sub(started.elapsed())).await;
                self.send(&request, &is_over, patience).await;
            }
        };
        join_all((0..SENDERS).map(|_| sender())).await;
    }

    /// Sends one request until it has a 2xx.
    async fn send(&self, request: &Request, is_over: impl Fn() -> bool, patience: Duration) {
        let body = self.requests.body(request);
        let mut given_up_at = None;
        while !self.try_once(request, &body).await {
            pause(PAUSE_AFTER_TROUBLE).await;
            if is_over() && *given_up_at.get_or_insert_with(|| Instant::now() + patience) < Instant::now() {
                return;
            }
        }
    }

    async fn try_once(&self, request: &Request, body: &str) -> bool {
        self.ledger.sent(request);
        let post = self.client.post(format!("{}{}", self.url, request.route.path()));
        let post = post.header("content-type", "application/json").body(body.to_owned());
        let (status, positions) = match timeout(Duration::from_secs(15), answer(request.route, post)).await {
            Ok(Some(answer)) => answer,
            _ => (0, None),
        };
        self.ledger.answered(request, status, positions.as_deref());
        (200..300).contains(&status)
    }
}

/// Status and positions; `None` when the answer did not arrive whole.
async fn answer(route: Route, post: reqwest::RequestBuilder) -> Option<(u16, Option<String>)> {
    let answer = post.send().await.ok()?;
    let status = answer.status();
    if !status.is_success() {
        return Some((status.as_u16(), None));
    }
    let positions = match route {
        Route::PageView => answer.headers().get("tidemark-position")?.to_str().ok()?.to_owned(),
        Route::Bulk | Route::Event => {
            let answer: serde_json::Value = answer.json().await.ok()?;
            answer["position"].as_str()?.to_owned()
        }
    };
    Some((status.as_u16(), Some(positions)))
}

/// Publishes messages that no door of ours wrote, until `is_over`: events and rubbish in turn, each once.
pub(crate) async fn publish_foreign(url: &str, shards: u16, ledger: &Ledger, is_over: impl Fn() -> bool) {
    for number in 0.. {
        if is_over() {
            return;
        }
        publish_one(url, number, shards, ledger).await;
        pause(Duration::from_millis(300)).await;
    }
}

async fn publish_one(url: &str, number: u64, shards: u16, ledger: &Ledger) {
    let (is_event, key) = (number.is_multiple_of(2), super::requests::EventKey::foreign(number));
    let payload = if is_event {
        format!(
            r#"{{"event_id":"{key}","event_name":"foreign","user_id":"nats","timestamp":1795000000,"metadata":{{"n":{}}}}}"#,
            key.counter()
        )
    } else {
        format!("{}{number}", super::journal::RUBBISH)
    };
    let subject = format!("tidemark.{}", number / 2 % u64::from(shards));
    ledger.publishing(is_event);
    let published = timeout(Duration::from_secs(5), testkit::publish(url, &subject, payload.into_bytes()));
    ledger.published(number, is_event, published.await.unwrap_or(false));
}
