//! The store is away until the journal is full, then it comes back, on S3 slow and failing at first: the door says "later" and nothing
//! that it took is lost.

use std::{cell::Cell, path::PathBuf, time::Duration};

use rand::{Rng, SeedableRng, distr::Alphanumeric, rngs::SmallRng};
use testkit::{NatsServer, Outcome, Proxy, Rule, S3Server, until};

use crate::{
    duckdb,
    process::{Tidemark, good},
};

const EVENTS: u64 = 100;
/// What compresses badly, so that few requests fill the journal.
const FILLER_BYTES: usize = 2048;
/// The journal takes 24 MiB and the pipeline 2; an idle process needs 100 to 150.
const MOST_MEMORY_BYTES: u64 = 512 << 20;
const SETTINGS: [&str; 4] = ["journal.max_bytes=24MiB", "journal.publish_timeout=2s", "pipeline.max_bytes=2MiB", "pipeline.max_idle=300ms"];
/// Every answer comes within this time, whatever it is.
const ANSWER: Duration = Duration::from_secs(10);

/// A store that can be taken away.
enum Store {
    Folder(PathBuf),
    S3(Proxy),
}

impl Store {
    fn away(&self) {
        match self {
            // A file in its place refuses everything.
            Self::Folder(lake) => {
                std::fs::rename(lake, lake.with_extension("away")).unwrap();
                std::fs::write(lake, "").unwrap();
            }
            Self::S3(proxy) => proxy.cut(),
        }
    }

    fn back(&self) {
        match self {
            Self::Folder(lake) => {
                std::fs::remove_file(lake).unwrap();
                std::fs::rename(lake.with_extension("away"), lake).unwrap();
            }
            Self::S3(proxy) => {
                let failing = Outcome::Answer { status: 503, is_executed: false };
                let slow = Outcome::Delay(Duration::from_millis(100));
                proxy.add(Rule { method: "", path: &[], one_in: 20, times: u32::MAX, outcome: failing });
                proxy.add(Rule { method: "", path: &[], one_in: 1, times: u32::MAX, outcome: slow });
                proxy.pass();
            }
        }
    }
}

/// Sends requests with ever new events.
struct Sender<'a> {
    tidemark: &'a Tidemark,
    client: reqwest::Client,
    /// Requests that were acknowledged; the next has this number.
    acknowledged: Cell<u64>,
}

impl Sender<'_> {
    /// The next request, which is the same until it is acknowledged: status and `Retry-After`.
    async fn send(&self) -> (u16, Option<String>) {
        let post = self.client.post(format!("{}/events/bulk", self.tidemark.url)).header("content-type", "application/json");
        let answer = post.body(body(self.acknowledged.get())).timeout(ANSWER).send().await.expect("an answer, whatever it is, and in time");
        let retry_after = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        self.acknowledged.set(self.acknowledged.get() + u64::from(answer.status() == 202));
        (answer.status().as_u16(), retry_after)
    }

    async fn accepted(&self, requests: u64) {
        for _ in 0..requests {
            assert_eq!(self.send().await.0, 202);
        }
    }

    /// Sends until the door refuses; what it says.
    async fn until_refused(&self) -> (u16, Option<String>) {
        loop {
            let answer = self.send().await;
            if answer.0 != 202 {
                return answer;
            }
            assert!(self.acknowledged.get() < 1000, "the journal takes more than it may");
        }
    }

    async fn readiness(&self) -> (u16, String) {
        let answer = self.client.get(format!("{}/readyz", self.tidemark.url)).timeout(ANSWER).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }
}

fn body(request: u64) -> String {
    let mut random = SmallRng::seed_from_u64(request);
    let mut event = |index| {
        let filler: String = (&mut random).sample_iter(Alphanumeric).take(FILLER_BYTES).map(char::from).collect();
        format!(r#"{{"event_id":"{request}.{index}","event_name":"a","user_id":"u","timestamp":1795000000,"metadata":{{"f":"{filler}"}}}}"#)
    };
    format!("[{}]", (0..EVENTS).map(&mut event).collect::<Vec<_>>().join(","))
}

async fn fills_and_drains(s3: Option<&S3Server>) {
    let nats = NatsServer::start().await;
    let proxy = s3.map(|s3| Proxy::http(s3.endpoint().trim_start_matches("http://")));
    let endpoint = proxy.iter().map(|proxy| format!("table.s3.endpoint=http://{}", proxy.address()));
    let settings: Vec<String> = SETTINGS.map(str::to_owned).into_iter().chain(endpoint).collect();
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let tidemark = Tidemark::start_at(&nats, s3, &settings).await;
    let store = proxy.map_or_else(|| Store::Folder(tidemark.lake()), Store::S3);
    // The server closes an idle connection while this test waits for something else.
    let client = reqwest::Client::builder().pool_max_idle_per_host(0).build().unwrap();
    let sender = Sender { tidemark: &tidemark, client, acknowledged: Cell::new(0) };
    sender.accepted(20).await;

    store.away();
    let (status, retry_after) = sender.until_refused().await;
    assert!(sender.acknowledged.get() > 60, "the door goes on without the store: {} requests", sender.acknowledged.get());
    assert!(status == 503 && retry_after.is_some(), "{status} {retry_after:?}");
    let names_both = |text: &str| text.contains("is full") && text.contains("commits wait");
    let is_red = async || Some(sender.readiness().await).filter(|(status, text)| *status == 503 && names_both(text));
    until("readiness to name the full journal and the store", ANSWER, is_red).await;
    // What was committed before has been released meanwhile, because the journal is full; the rest may not.
    sender.until_refused().await;

    store.back();
    until("the door to open again", Duration::from_secs(60), async || (sender.send().await.0 == 202).then_some(())).await;
    sender.accepted(5).await;
    let events = (sender.acknowledged.get() * EVENTS).to_string();
    tidemark.says("SELECT count(*) FROM events_committed", &events).await;
    if let Store::S3(proxy) = &store {
        assert!(proxy.seen().ruled > 20, "the store was slow and failing meanwhile: {:?}", proxy.seen());
        proxy.forget_rules();
    }
    tidemark.says("SELECT count(DISTINCT event_id) FROM events", &events).await;
    assert_eq!(duckdb::ask(&tidemark.location(s3, "events"), s3, "SELECT count(DISTINCT event_id) FROM events"), events);
    until("readiness", ANSWER, async || (sender.readiness().await.0 == 200).then_some(())).await;
    assert!(tidemark.peak_memory_bytes() < MOST_MEMORY_BYTES, "{} bytes", tidemark.peak_memory_bytes());
    println!("{events} events, at most {} MiB of memory", tidemark.peak_memory_bytes() >> 20);
    good(&tidemark.command(&["verify"]).output().unwrap());
}

#[tokio::test]
async fn a_folder_that_is_away_fills_the_journal_and_all_drains_afterwards() {
    fills_and_drains(None).await;
}

#[tokio::test]
async fn an_s3_that_is_away_and_then_slow_fills_the_journal_and_all_drains_afterwards() {
    fills_and_drains(Some(&S3Server::start().await)).await;
}
