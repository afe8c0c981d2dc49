//! How much one caller may send and ask: events, bytes and queries per second. Off by default.
//!
//! Each rate is a token bucket (GCRA, crate `governor`) per caller that holds `limits.burst` of it. A request that finds too
//! little gets 429 and is told when there will be enough; one that is larger than a full bucket gets 413. Callers who have a full
//! bucket take no memory.
//!
//! Queries are charged before the request is looked at; events and bytes after it is parsed, because only then they are known,
//! and before anything is stored.

mod allowance;
mod meter;

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::timeout;

pub use self::allowance::Allowance;
use self::meter::{Meter, Unit};
use crate::{
    keys::Caller,
    settings::{ByteSize, Interval},
    tasks::Stop,
};

/// How often callers who send nothing any more are forgotten.
const FORGET_INTERVAL: Duration = Duration::from_secs(30);

/// The section `limits`. A rate of 0 is no limit.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Config {
    /// Events that one caller may send.
    pub events_per_second: u64,
    /// Bytes of events that one caller may send, after decompression.
    pub bytes_per_second: ByteSize,
    /// Questions that one caller may ask.
    pub queries_per_second: u64,
    /// How much of a rate may come at once.
    pub burst: Interval,
}

/// A key's own rates; those that are absent are those of the settings. 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyLimits {
    /// Events.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_per_second: Option<u64>,
    /// Bytes of events, after decompression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_per_second: Option<ByteSize>,
    /// Questions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queries_per_second: Option<u64>,
}

/// The meters of a process. Clones share them.
#[derive(Clone)]
pub struct Meters(Arc<Shared>);

struct Shared {
    config: Config,
    events: Meter,
    bytes: Meter,
    queries: Meter,
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Meters").field(&self.0.config).finish()
    }
}

impl KeyLimits {
    /// Whether all rates are those of the settings.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether one of the rates is a limit.
    fn has_any(&self) -> bool {
        let bytes_per_second = self.bytes_per_second.map(|rate| rate.0);
        [self.events_per_second, bytes_per_second, self.queries_per_second].into_iter().flatten().any(|rate| rate > 0)
    }
}

impl Meters {
    /// Meters of which nothing is used yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let meter = |unit| Meter::new(unit, config.burst.0);
        let (events, bytes, queries) = (meter(Unit::Events), meter(Unit::Bytes), meter(Unit::Queries));
        Self(Arc::new(Shared { config, events, bytes, queries }))
    }

    /// What one request of this caller may take.
    #[must_use]
    pub fn allowance(&self, caller: Caller, own: KeyLimits) -> Allowance {
        let config = &self.0.config;
        let rates = KeyLimits {
            events_per_second: own.events_per_second.or(Some(config.events_per_second)),
            bytes_per_second: own.bytes_per_second.or(Some(config.bytes_per_second)),
            queries_per_second: own.queries_per_second.or(Some(config.queries_per_second)),
        };
        Allowance::new(self.clone(), caller, rates)
    }

    /// Forgets callers who have full buckets, until a stop is requested; run it as a task.
    ///
    /// # Errors
    /// Never; the type is that of a task.
    pub async fn upkeep(self, stop: Stop) -> Result<(), Infallible> {
        while timeout(FORGET_INTERVAL, stop.requested()).await.is_err() {
            [&self.0.events, &self.0.bytes, &self.0.queries].into_iter().for_each(Meter::forget_idle);
        }
        Ok(())
    }
}
