use std::{convert::Infallible, future::pending, io};

use super::*;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn tasks_that_end_well_are_joined() {
    let tasks = Tasks::new();
    tasks.spawn("one", async { Ok::<_, Infallible>(()) });
    tasks.spawn("two", async { Ok::<_, Infallible>(()) });
    tasks.join(SOON).await.unwrap();
}

#[tokio::test]
async fn the_first_failure_is_seen_while_other_tasks_run() {
    let tasks = Tasks::new();
    tasks.spawn("forever", pending::<Result<(), Infallible>>());
    tasks.spawn("broken", async { Err(io::Error::other("disk on fire")) });
    let failure = tasks.failed().await;
    assert_eq!(failure.to_string(), "the task `broken` failed");
    assert_eq!(failure.source.to_string(), "disk on fire");
}

#[tokio::test]
async fn a_panic_is_a_failure_with_its_message() {
    let tasks = Tasks::new();
    tasks.spawn("shaky", async {
        if true {
            panic!("lost {}", "balance");
        }
        Ok::<_, Infallible>(())
    });
    let failure = tasks.failed().await;
    assert_eq!((failure.task.as_str(), failure.source.to_string().as_str()), ("shaky", "panicked: lost balance"));
}

#[tokio::test]
async fn join_tells_a_failure_that_happened_before() {
    let tasks = Tasks::new();
    tasks.spawn("broken", async { Err("no") });
    tasks.failed().await;
    let error = tasks.join(SOON).await.unwrap_err();
    assert!(matches!(error, JoinError::Failed(failure) if failure.task == "broken"));
}

#[tokio::test]
async fn what_does_not_end_in_time_is_named_and_aborted() {
    struct Dropped(watch::Sender<bool>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.send_replace(true);
        }
    }
    let (sender, mut dropped) = watch::channel(false);
    let guard = Dropped(sender);
    let tasks = Tasks::new();
    tasks.spawn("quick", async { Ok::<_, Infallible>(()) });
    tasks.spawn("stuck", async move {
        let _guard = guard;
        pending::<Result<(), Infallible>>().await
    });
    let error = tasks.join(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.to_string(), "these tasks did not end within 50ms and were aborted: stuck");
    let _closed_after_value = timeout(SOON, dropped.wait_for(|dropped| *dropped)).await.unwrap();
}

#[tokio::test]
async fn ended_tasks_are_forgotten_when_others_start() {
    let tasks = Tasks::new();
    for _ in 0..100 {
        tasks.spawn("short", async { Ok::<_, Infallible>(()) });
        tokio::task::yield_now().await;
    }
    let running = tasks.running();
    assert!(running.names.len() < 100);
    assert_eq!(running.names.len(), running.tasks.len());
}

#[tokio::test]
async fn every_clone_sees_a_stop() {
    let (handle, stop) = Stop::pair();
    let clone = stop.clone();
    assert!(!clone.is_requested());
    handle.stop();
    timeout(SOON, clone.requested()).await.unwrap();
    assert!(clone.is_requested() && stop.is_requested());
}

#[tokio::test]
async fn dropping_the_handle_is_a_stop() {
    let (handle, stop) = Stop::pair();
    drop(handle);
    timeout(SOON, stop.requested()).await.unwrap();
    assert!(stop.is_requested());
}
