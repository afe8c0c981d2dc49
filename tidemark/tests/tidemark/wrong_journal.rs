//! A journal that is not the one from which the table was written is refused, by who runs and at the next start, with what to do; with
//! the right one all goes on.

use std::{path::Path, time::Duration};

use testkit::{NatsServer, S3Server, until};

use crate::{
    process::{Tidemark, good},
    verify::copy_folder,
};

/// What became of the journal while its server was down.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    /// The server has an empty store.
    Empty,
    /// The server has an older copy.
    Backup,
}

/// Sends different events for each seed and waits until `total` are committed.
async fn send(tidemark: &Tidemark, seed: &str, total: &str) {
    good(&tidemark.demo(&["--events", "1000", "--seed", seed]).wait_with_output().unwrap());
    tidemark.says("SELECT count(*) FROM events_committed", total).await;
}

fn replace(folder: &Path, with: &Path) {
    std::fs::remove_dir_all(folder).unwrap();
    copy_folder(with, folder);
}

async fn is_refused(s3: Option<&S3Server>, wrong: Wrong) {
    let (mut nats, copies) = (NatsServer::start().await, tempfile::tempdir().unwrap());
    let [empty, backup, newest] = ["empty", "backup", "newest"].map(|name| copies.path().join(name));
    std::fs::create_dir(&empty).unwrap();
    let mut tidemark = Tidemark::start_at(&nats, s3, &[]).await;
    send(&tidemark, "1", "1000").await;
    nats.kill();
    copy_folder(&nats.streams(), &backup);
    nats.restart().await;
    send(&tidemark, "2", "2000").await;

    nats.kill();
    copy_folder(&nats.streams(), &newest);
    replace(&nats.streams(), if matches!(wrong, Wrong::Empty) { &empty } else { &backup });
    nats.restart().await;
    let (code, log) = tidemark.ended().await;
    assert_eq!(code, Some(1), "who runs notices: {log}");
    tidemark.start_again();
    let (code, log) = tidemark.ended().await;
    assert_eq!(code, Some(1));
    assert!(log.contains("not the one from which the table was written") && log.contains("restore the journal's files"), "{log}");

    nats.kill();
    replace(&nats.streams(), &newest);
    nats.restart().await;
    tidemark.restart().await;
    send(&tidemark, "3", "3000").await;
    until("verify", Duration::from_secs(10), async || tidemark.command(&["verify"]).output().unwrap().status.success().then_some(())).await;
}

#[tokio::test]
async fn a_server_that_comes_back_with_an_empty_store_is_refused_on_a_folder() {
    is_refused(None, Wrong::Empty).await;
}

#[tokio::test]
async fn a_server_that_comes_back_with_an_empty_store_is_refused_on_s3() {
    is_refused(Some(&S3Server::start().await), Wrong::Empty).await;
}

#[tokio::test]
async fn a_restored_backup_is_refused_on_a_folder() {
    is_refused(None, Wrong::Backup).await;
}

#[tokio::test]
async fn a_restored_backup_is_refused_on_s3() {
    is_refused(Some(&S3Server::start().await), Wrong::Backup).await;
}
