//! What got a 2xx stays, whatever is killed.

use std::time::Duration;

use testkit::{NatsServer, until};

use crate::process::{Tidemark, good};

const EVENTS: &str = "60000";

/// Waits until some of the demo is in the table, so that what follows happens in the middle of it.
async fn in_the_middle(tidemark: &Tidemark) {
    let client = reqwest::Client::new();
    until("the first commit of the demo", Duration::from_secs(20), || async {
        let answer = client.get(format!("{}/sql?format=csv&q=SELECT%20count(*)%20FROM%20events", tidemark.url)).send().await.ok()?;
        let text = answer.text().await.ok()?;
        (text.lines().nth(1)?.parse::<u64>().ok()? > 0).then_some(())
    })
    .await;
}

fn is_complete(tidemark: &Tidemark) {
    assert_eq!(tidemark.sql("SELECT count(DISTINCT event_id) FROM events"), EVENTS, "every event is there");
    assert_eq!(tidemark.sql("SELECT count(*) FROM events"), EVENTS, "and once, although some were sent again");
    let repeated = tidemark.sql("SELECT count(*) - count(DISTINCT _sequence * 100000 + _index) FROM events");
    assert_eq!(repeated, "0", "no position stands twice");
}

#[tokio::test]
async fn a_demo_survives_kill_9_of_tidemark_in_its_middle() {
    let nats = NatsServer::start().await;
    let mut tidemark = Tidemark::start(&nats).await;
    let mut demo = tidemark.demo(&["--events", EVENTS, "--batch", "20", "--connections", "4"]);
    in_the_middle(&tidemark).await;
    tidemark.kill();
    assert!(demo.try_wait().unwrap().is_none(), "the kill came in the middle");
    tidemark.restart().await;
    good(&demo.wait_with_output().unwrap());
    is_complete(&tidemark);
}

#[tokio::test]
async fn a_demo_survives_kill_9_of_nats_in_its_middle_without_a_restart_of_tidemark() {
    let mut nats = NatsServer::start().await;
    let tidemark = Tidemark::start(&nats).await;
    let mut demo = tidemark.demo(&["--events", EVENTS, "--batch", "20", "--connections", "4"]);
    in_the_middle(&tidemark).await;
    nats.kill();
    assert!(demo.try_wait().unwrap().is_none(), "the kill came in the middle");
    nats.restart().await;
    good(&demo.wait_with_output().unwrap());
    is_complete(&tidemark);
}

#[tokio::test]
async fn a_stop_under_load_is_quick_and_loses_nothing() {
    let nats = NatsServer::start().await;
    let mut tidemark = Tidemark::start(&nats).await;
    let mut demo = tidemark.demo(&["--events", EVENTS, "--batch", "20", "--connections", "4"]);
    in_the_middle(&tidemark).await;
    assert!(tidemark.terminate().await, "it ends with exit code 0");
    assert!(demo.try_wait().unwrap().is_none(), "the stop came in the middle");
    tidemark.restart().await;
    good(&demo.wait_with_output().unwrap());
    is_complete(&tidemark);
}

#[tokio::test]
async fn a_deleted_stream_is_refused_at_once_and_at_the_next_start() {
    let nats = NatsServer::start().await;
    let mut tidemark = Tidemark::start(&nats).await;
    good(&tidemark.demo(&["--events", "1000"]).wait_with_output().unwrap());
    let is_committed = async || (tidemark.sql("SELECT count(*) FROM events_committed") == "1000").then_some(());
    until("the commit of the demo", Duration::from_secs(20), is_committed).await;

    let client = async_nats::connect(nats.url()).await.unwrap();
    async_nats::jetstream::new(client).delete_stream("tidemark-0").await.unwrap();
    let (code, log) = tidemark.ended().await;
    assert_eq!(code, Some(1));
    assert!(log.contains("was deleted"), "{log}");

    tidemark.start_again();
    let (code, log) = tidemark.ended().await;
    assert_eq!(code, Some(1));
    assert!(log.contains("not the one from which the table was written") && log.contains("restore the journal's files"), "{log}");
}
