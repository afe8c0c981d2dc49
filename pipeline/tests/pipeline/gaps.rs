//! Messages that are gone before they were read: recorded, passed, told; and how far behind the writer says it is.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use journal::{Bounds, Deliveries, Error, Journal, Memory, Message, PublishError};
use schemas::{Sequence, ShardId};
use service::clock::Clock;
use tokio::sync::watch;

use crate::app::App;

const SHARD: ShardId = ShardId(0);
const EAGER: [(&str, &str); 1] = [("pipeline.max_idle", "50ms")];

/// An app with so many messages in its journal, each with one event of its own.
async fn app(messages: u64, set: &[(&str, &str)]) -> App {
    let app = App::with(Memory::new(1, || Clock::system().now()), set).await;
    publish(&app, 1..=messages).await;
    app
}

async fn publish(app: &App, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        let event = format!(r#"{{"event_name":"a","user_id":"u{number}","timestamp":1723475612}}"#);
        app.journal.publish(SHARD, Message { id: format!("{number}"), payload: Bytes::from(event), trace: None }).await.unwrap();
    }
}

async fn sequences(app: &App) -> Vec<i64> {
    app.rows().await.into_iter().map(|row| row.key.1).collect()
}

#[tokio::test]
async fn what_is_gone_is_recorded_once_and_everything_else_is_a_row() {
    let app = app(9, &EAGER).await;
    app.journal.release(SHARD, Sequence(2)).await.unwrap();
    for lost in [5, 6, 9] {
        app.journal.lose(SHARD, Sequence(lost));
    }
    let writer = app.writer().await;
    app.drained().await;
    publish(&app, 10..=11).await;
    app.drained().await;
    assert_eq!(sequences(&app).await, [3, 4, 7, 8, 10, 11]);
    let records = app.quarantined().await;
    let told: Vec<_> =
        records.iter().map(|(sequence, code, message)| (*sequence, code.as_str(), message.split(':').next().unwrap())).collect();
    assert_eq!(told, [(1, "journal_gap", "1 to 2"), (5, "journal_gap", "5 to 6"), (9, "journal_gap", "9 to 9")]);
    let note = writer.readiness().await["checks"]["pipeline"].as_str().unwrap().to_owned();
    assert!(note.starts_with("ok, but 5 messages of shard 0 were gone before they were read"), "{note}");
    writer.stop().await;

    let writer = app.writer().await;
    publish(&app, 12..=12).await;
    app.drained().await;
    assert_eq!(app.quarantined().await, records, "a restart records nothing again");
    writer.stop().await;
}

#[tokio::test]
async fn a_writer_that_was_told_to_stop_at_a_gap_stops_and_commits_nothing_behind_it() {
    let app = app(4, &[EAGER[0], ("journal.on_gap", "stop")]).await;
    app.journal.lose(SHARD, Sequence(3));
    let failure = app.writer().await.failure().await;
    assert!(failure.contains("`journal.on_gap`"), "{failure}");
    assert!(app.snapshot("events").await.tidemark(SHARD) < Sequence(3));
    assert!(app.quarantined().await.is_empty());
}

/// A journal whose readers have to wait, as behind a network that stalls.
struct Stalled {
    journal: Arc<Memory>,
    passes: watch::Receiver<bool>,
    asked: watch::Sender<bool>,
}

async fn pass(mut passes: watch::Receiver<bool>) {
    passes.wait_for(|passes| *passes).await.unwrap();
}

#[async_trait]
impl Journal for Stalled {
    fn shards(&self) -> u16 {
        self.journal.shards()
    }

    fn stream(&self, shard: ShardId) -> String {
        self.journal.stream(shard)
    }

    fn max_payload_bytes(&self) -> usize {
        self.journal.max_payload_bytes()
    }

    async fn publish(&self, shard: ShardId, message: Message) -> Result<Sequence, PublishError> {
        self.journal.publish(shard, message).await
    }

    async fn read(&self, shard: ShardId, after: Sequence) -> Result<Deliveries, Error> {
        self.asked.send_replace(true);
        pass(self.passes.clone()).await;
        let passes = self.passes.clone();
        let deliveries = self.journal.read(shard, after).await?;
        Ok(deliveries.then(move |delivery| pass(passes.clone()).map(|()| delivery)).boxed())
    }

    async fn bounds(&self, shard: ShardId) -> Result<Bounds, Error> {
        self.journal.bounds(shard).await
    }

    async fn release(&self, shard: ShardId, up_to: Sequence) -> Result<(), Error> {
        self.journal.release(shard, up_to).await
    }

    async fn health(&self) -> Result<(), Error> {
        self.journal.health().await
    }
}

#[tokio::test]
async fn what_another_writer_has_committed_and_released_is_no_gap() {
    let app = app(5, &EAGER).await;
    let ((pass, passes), (asked, mut is_asked)) = (watch::channel(false), watch::channel(false));
    let slow = app.writer_on(Arc::new(Stalled { journal: Arc::clone(&app.journal), passes, asked })).await;
    is_asked.wait_for(|asked| *asked).await.unwrap();
    let quick = app.writer().await;
    app.drained().await;
    quick.stop().await;
    app.journal.release(SHARD, Sequence(5)).await.unwrap();
    pass.send_replace(true);
    publish(&app, 6..=7).await;
    app.drained().await;
    assert_eq!(sequences(&app).await, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(app.quarantined().await, []);
    slow.stop().await;
}

#[tokio::test]
async fn readiness_says_how_far_behind_the_writer_is_and_is_red_above_the_limit() {
    let app = app(3, &[("pipeline.max_lag", "1s")]).await;
    let ((pass, passes), (asked, _)) = (watch::channel(true), watch::channel(false));
    let writer = app.writer_on(Arc::new(Stalled { journal: Arc::clone(&app.journal), passes, asked })).await;
    let said = async |messages: u64, what: &str| {
        testkit::until(what, Duration::from_secs(10), async || {
            let readiness = writer.readiness().await;
            let lag = &readiness["details"]["pipeline"]["shard_0"];
            let is_said = lag["lag_messages"] == messages && readiness["checks"]["pipeline"].as_str().unwrap().contains(what);
            is_said.then(|| lag["lag_seconds"].as_f64().unwrap())
        })
        .await
    };
    assert!(said(0, "ok").await.abs() < f64::EPSILON);
    pass.send_replace(false);
    publish(&app, 4..=5).await;
    assert!(said(2, "shard 0 is more than 1s behind the journal").await > 1.0);
    pass.send_replace(true);
    said(0, "ok").await;
    writer.stop().await;
}
