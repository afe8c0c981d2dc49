//! Messages that no door of ours wrote: good events are rows, everything else is in quarantine, and the pipeline goes on.

use async_nats::jetstream;
use testkit::{NatsServer, S3Server};

use crate::{
    duckdb,
    process::{Tidemark, good},
};

/// As `nats bench` sends them.
const FILLERS: usize = 1000;
const FILLER_BYTES: usize = 128;
/// Just below what the server takes.
const HUGE_BYTES: usize = (8 << 20) - 1024;

fn event(id: &str) -> String {
    format!(r#"{{"event_id":"{id}","event_name":"foreign","user_id":"nats","timestamp":1795000000}}"#)
}

async fn are_rows_or_quarantine(s3: Option<&S3Server>) {
    let nats = NatsServer::start().await;
    let tidemark = Tidemark::start_at(&nats, s3, &[]).await;
    let stream = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let publish = async |payload: Vec<u8>| {
        stream.publish("tidemark.0", payload.into()).await.unwrap().await.unwrap();
    };
    for good in [event("one"), format!("[{},{}]", event("two"), event("three")), format!("{}\n{}", event("four"), event("one"))] {
        publish(good.into_bytes()).await;
    }
    for bad in [b"rubbish".to_vec(), vec![0xff; 64], Vec::new(), vec![b'['; HUGE_BYTES], event("").into_bytes()] {
        publish(bad).await;
    }
    let fillers = (0..FILLERS).map(|_| publish(vec![0; FILLER_BYTES]));
    futures::future::join_all(fillers).await;
    let (status, answer) = tidemark.post(&reqwest::Client::new(), "/events", event("five")).await;
    assert_eq!(status, 202, "{answer}");

    let (rows, quarantined) = ("5", (FILLERS + 5).to_string());
    tidemark.says("SELECT count(*) FROM events_committed", rows).await;
    tidemark.says("SELECT count(*) FROM quarantine", &quarantined).await;
    good(&tidemark.command(&["verify"]).output().unwrap());
    let statement = "SELECT count(*), max(octet_length(raw)) FROM quarantine";
    let by_duckdb = duckdb::rows(&tidemark.location(s3, "quarantine"), "quarantine", s3, statement);
    assert_eq!(by_duckdb.trim(), format!("{quarantined},{HUGE_BYTES}"), "the huge one is kept as it came");
}

#[tokio::test]
async fn foreign_messages_are_rows_or_in_quarantine_on_a_folder() {
    are_rows_or_quarantine(None).await;
}

#[tokio::test]
async fn foreign_messages_are_rows_or_in_quarantine_on_s3() {
    are_rows_or_quarantine(Some(&S3Server::start().await)).await;
}
