//! One thing that is limited, for all callers.

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::HashMapStateStore,
};

use crate::keys::Caller;

/// Above this many callers, those with full buckets are forgotten at once and not only now and then.
const MANY_CALLERS: usize = 100_000;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Events,
    Bytes,
    Queries,
}

impl Unit {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Bytes => "bytes",
            Self::Queries => "queries",
        }
    }
}

/// How a caller stands after a request: for the answer's header fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) unit: Unit,
    /// What a full bucket holds.
    pub(super) quota: u32,
    /// In how many seconds an empty bucket is full.
    pub(super) window_seconds: u64,
    /// What is left of it.
    pub(super) remaining: u32,
    /// When the bucket is full, or after a refusal has enough for the request.
    pub(super) reset_seconds: u64,
}

/// Why a request may not be served now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// Send it again then.
    TooSoon(Standing),
    /// Send less at once.
    TooLarge(Standing),
}

type Store = HashMapStateStore<Caller>;
type Limiter<C> = RateLimiter<Caller, Store, C, StateInformationMiddleware>;

/// The buckets of all callers: one limiter for each rate that is in force, which is one unless keys have their own.
pub(super) struct Meter<C: Clock = DefaultClock> {
    unit: Unit,
    burst: Duration,
    clock: C,
    limiters: Mutex<HashMap<NonZeroU32, Arc<Limiter<C>>>>,
}

impl Meter {
    pub(super) fn new(unit: Unit, burst: Duration) -> Self {
        Self::with_clock(unit, burst, DefaultClock::default())
    }
}

impl<C: Clock + Clone> Meter<C> {
    fn with_clock(unit: Unit, burst: Duration, clock: C) -> Self {
        Self { unit, burst, clock, limiters: Mutex::default() }
    }

    /// Takes `amount` from the caller's bucket; nothing is taken when there is too little. A rate or an amount of 0 is not counted.
    pub(super) fn take(&self, caller: &Caller, per_second: u64, amount: u64) -> Result<Option<Standing>, Excess> {
        let (Some(rate), Some(amount)) = (cells(per_second), cells(amount)) else { return Ok(None) };
        let limiter = self.limiter(rate);
        match limiter.check_key_n(caller, amount) {
            Ok(Ok(state)) => Ok(Some(self.standing(rate, state.remaining_burst_capacity()))),
            Ok(Err(not_until)) => {
                let wait = not_until.wait_time_from(self.clock.now());
                Err(Excess::TooSoon(Standing { reset_seconds: ceil(wait).max(1), ..self.standing(rate, 0) }))
            }
            Err(_insufficient) => Err(Excess::TooLarge(self.standing(rate, 0))),
        }
    }

    /// Forgets who has a full bucket, and rates that nobody has any more.
    pub(super) fn forget_idle(&self) {
        self.limiters().retain(|_, limiter| {
            forget(limiter);
            !limiter.is_empty()
        });
    }

    fn limiter(&self, rate: NonZeroU32) -> Arc<Limiter<C>> {
        let mut limiters = self.limiters();
        let limiter = limiters.entry(rate).or_insert_with(|| {
            let quota = Quota::per_second(rate).allow_burst(self.quota(rate));
            Arc::new(RateLimiter::hashmap_with_clock(quota, self.clock.clone()).with_middleware())
        });
        if limiter.len() > MANY_CALLERS {
            forget(limiter);
        }
        Arc::clone(limiter)
    }

    /// What a full bucket holds: as much as comes in the burst's time.
    fn quota(&self, rate: NonZeroU32) -> NonZeroU32 {
        let burst = f64::from(rate.get()) * self.burst.as_secs_f64();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` keeps a float inside the range of u32")]
        NonZeroU32::new(burst as u32).unwrap_or(NonZeroU32::MIN)
    }

    fn standing(&self, rate: NonZeroU32, remaining: u32) -> Standing {
        let quota = self.quota(rate).get();
        let window_seconds = u64::from(quota.div_ceil(rate.get()));
        let reset_seconds = u64::from(quota.saturating_sub(remaining).div_ceil(rate.get()));
        Standing { unit: self.unit, quota, window_seconds, remaining, reset_seconds }
    }

    fn limiters(&self) -> std::sync::MutexGuard<'_, HashMap<NonZeroU32, Arc<Limiter<C>>>> {
        self.limiters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn forget<C: Clock>(limiter: &Limiter<C>) {
    limiter.retain_recent();
    limiter.shrink_to_fit();
}

/// Beyond `u32::MAX` a second nothing is limited in practice, so that is where a rate ends.
fn cells(amount: u64) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(amount).unwrap_or(u32::MAX))
}

fn ceil(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn meter(burst_seconds: u64) -> (Meter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Meter::with_clock(Unit::Events, Duration::from_secs(burst_seconds), clock.clone()), clock)
    }

    fn caller(number: u8) -> Caller {
        Caller::Peer([10, 0, 0, number].into())
    }

    #[test]
    fn a_bucket_holds_the_burst_and_fills_at_the_rate() {
        let (meter, clock) = meter(10);
        let left = meter.take(&caller(1), 5, 30).unwrap().unwrap();
        assert_eq!(left, Standing { unit: Unit::Events, quota: 50, window_seconds: 10, remaining: 20, reset_seconds: 6 });
        assert!(matches!(meter.take(&caller(1), 5, 31), Err(Excess::TooSoon(Standing { reset_seconds: 3, .. }))));
        assert_eq!(meter.take(&caller(1), 5, 20).unwrap().unwrap().remaining, 0, "a refusal takes nothing");
        clock.advance(Duration::from_secs(1));
        assert!(meter.take(&caller(1), 5, 6).is_err());
        assert_eq!(meter.take(&caller(1), 5, 5).unwrap().unwrap().remaining, 0);
    }

    #[test]
    fn callers_do_not_share_and_what_exceeds_a_full_bucket_never_fits() {
        let (meter, clock) = meter(1);
        assert!(meter.take(&caller(1), 5, 5).is_ok() && meter.take(&caller(2), 5, 5).is_ok());
        clock.advance(Duration::from_secs(100));
        assert!(matches!(meter.take(&caller(1), 5, 6), Err(Excess::TooLarge(Standing { quota: 5, .. }))));
        assert_eq!(meter.take(&caller(1), 0, 1_000), Ok(None), "0 is no limit");
    }

    #[test]
    fn callers_with_a_full_bucket_are_forgotten() {
        let (meter, clock) = meter(1);
        for number in 0..100 {
            meter.take(&caller(number), 5, 5).unwrap();
        }
        clock.advance(Duration::from_millis(500));
        meter.take(&caller(0), 5, 1).unwrap();
        meter.forget_idle();
        assert_eq!(meter.limiter(cells(5).unwrap()).len(), 100, "none is full yet");
        clock.advance(Duration::from_secs(5));
        meter.forget_idle();
        assert!(meter.limiters().is_empty());
    }
}
