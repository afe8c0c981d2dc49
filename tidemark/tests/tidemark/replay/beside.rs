//! A replay beside a pipeline, beside another replay, and one that dies.

use std::{
    future::ready,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use testkit::until;

use super::{BATCH, EVENTS, Story, numbers};
use crate::process::{good, text};

/// A replay that is stopped or ended at a point.
fn replay_until(story: &Story, failpoint: &str) -> Child {
    let mut command = story.command(&["--set", "pipeline.max_rows=30"]);
    command.env("TIDEMARK_FAILPOINT", failpoint).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// Removes all files of `events` but not from its log.
fn delete_files(story: &Story) {
    story.files("events").keys().for_each(|name| std::fs::remove_file(story.path_of("events", name)).unwrap());
}

/// Takes all files of `events` out of its log.
fn take_files_out(story: &Story) {
    let names = story.files("events").into_keys();
    let removed =
        names.map(|name| serde_json::json!({"remove": {"path": name, "deletionTimestamp": 1_795_000_000_000_u64, "dataChange": true}}));
    story.commit("events", &removed.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_replay_that_dies_leaves_nothing_twice_and_the_next_one_completes_it() {
    let deaths = [
        (delete_files as fn(&Story), "rebuild-written:1"),
        (delete_files, "rebuild-committed:1"),
        (take_files_out, "rebuild-written:1"),
        (take_files_out, "rebuild-committed:1"),
        (take_files_out, "rebuild-written:3"),
    ];
    for (lose, failpoint) in deaths {
        let story = Story::tell().await;
        lose(&story);
        let died = replay_until(&story, failpoint).wait_with_output().unwrap();
        assert!(!died.status.success(), "{failpoint}: {}", text(&died.stdout));
        story.replay(&[]);
        story.is_whole();
        assert_eq!(numbers(&story.replay(&[]), "events"), [0, 0, 0]);
    }
}

#[tokio::test]
async fn of_two_replays_at_the_same_time_only_one_writes() {
    let story = Story::tell().await;
    take_files_out(&story);
    let mut slow = replay_until(&story, "rebuild-written:1:stop");
    let state = format!("/proc/{}/stat", slow.id());
    until("the first replay to stop before its commit", Duration::from_secs(30), || {
        assert!(slow.try_wait().unwrap().is_none(), "it has ended");
        ready(is_stopped(Path::new(&state)).then_some(()))
    })
    .await;
    assert_eq!(numbers(&story.replay(&[]), "events"), [EVENTS, EVENTS, 0]);
    assert!(Command::new("sh").args(["-c", &format!("kill -CONT {}", slow.id())]).status().unwrap().success());
    let report = serde_json::from_str(&good(&slow.wait_with_output().unwrap())).unwrap();
    assert_eq!(numbers(&report, "events"), [0, 0, 0], "it has looked again");
    story.is_whole();
}

fn is_stopped(stat: &Path) -> bool {
    std::fs::read_to_string(stat).is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
}

#[tokio::test]
async fn a_pipeline_goes_on_beside_it_and_what_stopped_it_is_mended() {
    let settings = ["maintenance.enabled=true", "maintenance.interval=50ms", "maintenance.grace=0s"];
    let story = Story::tell_on(&settings).await;
    let before: u64 = story.tidemark.sql("SELECT count(*) FROM events").parse().unwrap();
    assert_eq!(before, EVENTS);
    let mut demo = story.tidemark.demo(&["--events", "30000", "--batch", "50", "--connections", "4", "--end", "2026-11-20T12:00:00Z"]);
    let mut replayed = 0;
    while demo.try_wait().unwrap().is_none() {
        let name = story.files("events").into_keys().next_back().unwrap();
        // Maintenance may have replaced it already.
        if std::fs::remove_file(story.path_of("events", &name)).is_ok() {
            story.replay(&[]);
            replayed += 1;
        }
    }
    demo.wait_with_output().unwrap();
    assert!(replayed > 0, "the demo was still running");
    let all = (before + 30_000).to_string();
    story.replay(&[]);
    story.says("SELECT count(*) FROM events", &all).await;
    story.send(0..BATCH).await;
    until("the last repeat to be committed", Duration::from_secs(30), async || {
        let (is_whole, [_, rows, duplicates, ..]) = story.verify();
        (is_whole && rows == before + 30_000 && duplicates == EVENTS + BATCH).then_some(())
    })
    .await;
    story.says("SELECT count(*) FROM events_committed", &all).await;
}

#[tokio::test]
async fn a_pipeline_that_looked_while_rows_were_lost_does_not_take_their_repeats_for_new() {
    let mut story = Story::tell().await;
    take_files_out(&story);
    story.tidemark.restart().await;
    // In the minutes of the lost rows, which the pipeline knows from now on without them.
    story.send(EVENTS..EVENTS + BATCH).await;
    story.says("SELECT count(*) FROM events_committed", &BATCH.to_string()).await;
    assert_eq!(numbers(&story.replay(&[]), "events"), [EVENTS, EVENTS, 0]);
    story.send(0..EVENTS + BATCH).await;
    until("the repeats to be judged", Duration::from_secs(30), async || {
        (story.verify().1[..3] == [3 * EVENTS + 2 * BATCH + 2, EVENTS + BATCH, 2 * EVENTS + BATCH]).then_some(())
    })
    .await;
    assert!(story.verify().0, "{}", story.tidemark.log());
    assert!(story.tidemark.log().contains("lost rows came back"), "{}", story.tidemark.log());
    story.says("SELECT count(*) FROM events", &(EVENTS + BATCH).to_string()).await;
}
