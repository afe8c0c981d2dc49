//! The same event again is no row: at once, when its hour has left the memory, and after a restart of everything.

use testkit::{NatsServer, S3Server};

use crate::process::{Tidemark, good};

const EVENTS: &str = "20000";
/// Room for a few hundred of the identities, which spread over a day.
const LITTLE_MEMORY: &str = "dedup.memory=16KiB";

async fn are_folded(mut s3: Option<S3Server>) {
    let mut nats = NatsServer::start().await;
    let mut tidemark = Tidemark::start_at(&nats, s3.as_ref(), &[LITTLE_MEMORY]).await;
    let send = async |tidemark: &Tidemark| {
        good(&tidemark.demo(&["--events", EVENTS, "--seed", "7", "--end", "2026-11-20T12:00:00Z"]).wait_with_output().unwrap());
        tidemark.says("SELECT count(*) || ' ' || count(DISTINCT event_id) FROM events", &format!("{EVENTS} {EVENTS}")).await;
    };
    send(&tidemark).await;
    send(&tidemark).await;
    assert!(tidemark.terminate().await);
    nats.restart().await;
    if let Some(s3) = &mut s3 {
        s3.restart().await;
    }
    tidemark.restart().await;
    send(&tidemark).await;
    good(&tidemark.command(&["verify"]).output().unwrap());
}

#[tokio::test]
async fn repeats_are_no_rows_at_once_cold_or_after_a_restart_of_everything_on_a_folder() {
    are_folded(None).await;
}

#[tokio::test]
async fn repeats_are_no_rows_at_once_cold_or_after_a_restart_of_everything_on_s3() {
    are_folded(Some(S3Server::start().await)).await;
}
