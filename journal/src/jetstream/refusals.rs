//! Whether a stream stores what it is given. A server with a full disk answers every question about its streams, so only a
//! publish can tell.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use schemas::Sequence;
use tokio::time::Instant;

use crate::PublishError;

/// So long a refusal counts when no other publish comes: whoever looks at the readiness may send nothing while it is red.
const REMEMBERED: Duration = Duration::from_secs(10);

/// The last publish, if it failed.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<Option<(Instant, String)>>);

impl Refusals {
    /// Takes what a publish came to.
    pub(super) fn remember(&self, outcome: &Result<Sequence, PublishError>, now: Instant) {
        match outcome {
            Ok(_) => *self.last() = None,
            Err(PublishError::TooLarge { .. }) => {}
            Err(error) => *self.last() = Some((now, error.to_string())),
        }
    }

    /// Why the last publish failed, if that is not long ago.
    pub(super) fn recent(&self, now: Instant) -> Option<String> {
        self.last().as_ref().filter(|(at, _)| now.duration_since(*at) < REMEMBERED).map(|(_, reason)| reason.clone())
    }

    fn last(&self) -> MutexGuard<'_, Option<(Instant, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Result<Sequence, PublishError> {
        Err(PublishError::Refused { reason: "no space left".to_owned() })
    }

    #[test]
    fn a_refusal_counts_until_a_publish_succeeds_or_for_ten_seconds() {
        let (refusals, now) = (Refusals::default(), Instant::now());
        assert_eq!(refusals.recent(now), None);
        refusals.remember(&refused(), now);
        refusals.remember(&Err(PublishError::TooLarge { bytes: 2, limit_bytes: 1 }), now);
        assert!(refusals.recent(now).unwrap().contains("no space left"));
        refusals.remember(&Ok(Sequence(1)), now);
        assert_eq!(refusals.recent(now), None);
        refusals.remember(&refused(), now);
        assert_eq!(refusals.recent(now + REMEMBERED), None);
    }
}
