//! Waiting for a condition instead of sleeping.

use std::{future::Future, time::Duration};

/// Asks `condition` every 20 ms until it gives a value; panics with `what` after `deadline`.
#[expect(clippy::disallowed_methods, reason = "tests wait for real processes, on the real clock")]
pub async fn until<T, F: Future<Output = Option<T>>>(what: &str, deadline: Duration, mut condition: impl FnMut() -> F) -> T {
    let end = tokio::time::Instant::now() + deadline;
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < end, "waited {deadline:?} for: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Lets time pass, where time itself is what a test is about.
#[expect(clippy::disallowed_methods, reason = "faults last for a while on the real clock")]
pub async fn pause(duration: Duration) {
    tokio::time::sleep(duration).await;
}
