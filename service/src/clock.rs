//! What time it is: the system's clock, or in tests a clock that a test moves.
//!
//! The only place that asks the system for the time of day (clippy.toml forbids the others).

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::sync::watch;

/// The time of day and waiting for it. Clones of a manual clock share one time.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<watch::Sender<DateTime<Utc>>>),
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn manual(start: DateTime<Utc>) -> Self {
        Self(Source::Manual(Arc::new(watch::Sender::new(start))))
    }

    /// The time now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock that the others must use")]
    pub fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Source::System => Utc::now(),
            Source::Manual(time) => *time.borrow(),
        }
    }

    /// Moves a manual clock forward and wakes those whose time has come.
    ///
    /// # Panics
    /// On the system's clock: only tests move time.
    pub fn advance(&self, by: Duration) {
        match &self.0 {
            Source::System => panic!("the system's clock cannot be advanced"),
            Source::Manual(time) => time.send_modify(|now| *now += by),
        }
    }

    /// Waits until the clock shows `deadline` or later.
    #[expect(clippy::disallowed_methods, reason = "this is the clock that the others must use")]
    pub async fn sleep_until(&self, deadline: DateTime<Utc>) {
        match &self.0 {
            Source::System => tokio::time::sleep((deadline - self.now()).to_std().unwrap_or_default()).await,
            Source::Manual(time) => {
                let reached = time.subscribe().wait_for(|now| *now >= deadline).await.is_ok();
                debug_assert!(reached, "this clock keeps the sender alive");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_moves_only_when_told_and_wakes_sleepers() {
        let start = DateTime::from_timestamp(1_000, 0).unwrap();
        let clock = Clock::manual(start);
        assert_eq!(clock.now(), start);
        let waiter = clock.clone();
        let slept = async move { waiter.sleep_until(start + Duration::from_secs(5)).await };
        let moved = async {
            clock.advance(Duration::from_secs(4));
            tokio::task::yield_now().await;
            clock.advance(Duration::from_secs(1));
        };
        tokio::join!(slept, moved);
        assert_eq!(clock.now(), start + Duration::from_secs(5));
    }

    #[tokio::test]
    async fn the_system_clock_does_not_wait_for_what_is_past() {
        let clock = Clock::system();
        clock.sleep_until(clock.now() - Duration::from_secs(60)).await;
    }
}
