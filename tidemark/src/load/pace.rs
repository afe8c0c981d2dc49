//! Who may send the next request, and when it was meant to be sent.
//!
//! In an open loop the requests are released at their times, and whichever connection is free takes the next one. What waits for a
//! connection is a number, so a backlog takes no memory.

use std::{
    io,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tokio::sync::Semaphore;

use super::{rate::Rate, schedule::Schedule, timer::Timer};

/// Requests are not released more often than this: one may be late by so much, which its latency then includes.
const QUANTUM: Duration = Duration::from_micros(250);
/// Nor less often, so that a stop is heard.
const LONGEST_SLEEP: Duration = Duration::from_millis(50);

/// A request that may be sent now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    /// The step that it belongs to.
    pub(super) step: usize,
    /// The time from which its latency counts.
    pub(super) intended: Instant,
}

/// The pace of a run that has begun.
#[derive(Debug)]
pub(super) struct Pace {
    start: Instant,
    plan: Plan,
    taken: AtomicU64,
    is_stopped: AtomicBool,
}

#[derive(Debug)]
enum Plan {
    Open(Open),
    Closed { length: Duration, most: u64 },
}

#[derive(Debug)]
struct Open {
    schedule: Schedule,
    /// As many as requests are released and not taken.
    released: Semaphore,
    /// How many there will have been, once that is known.
    total: AtomicU64,
}

impl Pace {
    /// Begins now. An open loop needs [`release`](Self::release) meanwhile.
    pub(super) fn start(rate: &Rate, most: u64) -> Self {
        let plan = match rate {
            Rate::Steps(steps) => {
                Plan::Open(Open { schedule: Schedule::new(steps, most), released: Semaphore::new(0), total: AtomicU64::new(u64::MAX) })
            }
            Rate::Max(length) => Plan::Closed { length: *length, most },
        };
        Self { start: Instant::now(), plan, taken: AtomicU64::new(0), is_stopped: AtomicBool::new(false) }
    }

    /// When it began.
    pub(super) const fn began(&self) -> Instant {
        self.start
    }

    /// How long it takes if nobody stops it.
    pub(super) fn length(&self) -> Duration {
        match &self.plan {
            Plan::Open(open) => open.schedule.length(),
            Plan::Closed { length, .. } => *length,
        }
    }

    /// The schedule of an open loop.
    pub(super) const fn schedule(&self) -> Option<&Schedule> {
        match &self.plan {
            Plan::Open(open) => Some(&open.schedule),
            Plan::Closed { .. } => None,
        }
    }

    /// How many requests there were, after the end.
    pub(super) fn scheduled(&self) -> u64 {
        match &self.plan {
            Plan::Open(open) => open.total.load(Ordering::Acquire),
            Plan::Closed { most, .. } => self.taken.load(Ordering::Acquire).min(*most),
        }
    }

    /// No further request.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
    }

    /// Whether somebody stopped it.
    pub(super) fn is_stopped(&self) -> bool {
        self.is_stopped.load(Ordering::Acquire)
    }

    /// Waits for the next request; `None` after the last one.
    pub(super) async fn next(&self) -> Option<Ticket> {
        match &self.plan {
            Plan::Open(open) => open.next(&self.taken, self.start).await,
            Plan::Closed { length, most } => {
                let intended = Instant::now();
                let is_over = intended - self.start >= *length || self.is_stopped() || self.taken.load(Ordering::Acquire) >= *most;
                (!is_over && self.taken.fetch_add(1, Ordering::AcqRel) < *most).then_some(Ticket { step: 0, intended })
            }
        }
    }

    /// Releases the requests of an open loop at their times; ends after the last one, or after a stop. A closed loop has none.
    pub(super) async fn release(&self) -> io::Result<()> {
        let Plan::Open(open) = &self.plan else { return Ok(()) };
        let (timer, total, mut released) = (Timer::new()?, open.schedule.total(), 0);
        while released < total && !self.is_stopped() {
            let due = open.schedule.due(self.start.elapsed());
            open.released.add_permits(usize::try_from(due - released).unwrap_or(Semaphore::MAX_PERMITS));
            released = due;
            let (_, next) = open.schedule.intended(released.min(total - 1));
            timer.wait(next.saturating_sub(self.start.elapsed()).clamp(QUANTUM, LONGEST_SLEEP)).await?;
        }
        open.total.store(released, Ordering::Release);
        open.released.add_permits(1);
        Ok(())
    }
}

impl Open {
    async fn next(&self, taken: &AtomicU64, start: Instant) -> Option<Ticket> {
        self.released.acquire().await.expect("nobody closes it").forget();
        let number = taken.fetch_add(1, Ordering::AcqRel);
        if number >= self.total.load(Ordering::Acquire) {
            // There is one permit more than there are requests: it tells one connection after the other that this is the end.
            self.released.add_permits(1);
            return None;
        }
        let (step, after) = self.schedule.intended(number);
        Some(Ticket { step, intended: start + after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The requests that one connection gets.
    async fn tickets(pace: &Pace) -> Vec<Ticket> {
        let taken = async {
            let mut tickets = Vec::new();
            while let Some(ticket) = pace.next().await {
                assert!(ticket.intended <= Instant::now(), "{:?} is before its time", ticket.intended);
                tickets.push(ticket);
            }
            tickets
        };
        let (released, tickets) = tokio::join!(pace.release(), taken);
        released.unwrap();
        assert!(pace.next().await.is_none(), "the end is told to everybody");
        tickets
    }

    #[tokio::test]
    async fn each_request_comes_once_and_never_before_its_time() {
        let rate = "1000 for 100ms, 5000 for 20ms".parse().unwrap();
        let pace = Pace::start(&rate, u64::MAX);
        let start = pace.began();
        let tickets = tickets(&pace).await;
        assert_eq!((tickets.len(), pace.scheduled()), (200, 200));
        assert_eq!(tickets[99].intended - start, Duration::from_millis(99));
        assert_eq!(tickets.iter().filter(|ticket| ticket.step == 1).count(), 100);
        assert!(start.elapsed() >= Duration::from_millis(119));
    }

    #[tokio::test]
    async fn a_closed_loop_ends_with_its_time_or_its_total() {
        let pace = Pace::start(&"max for 1h".parse().unwrap(), 50);
        assert_eq!((tickets(&pace).await.len(), pace.scheduled()), (50, 50));
        let pace = Pace::start(&"max for 20ms".parse().unwrap(), u64::MAX);
        let start = pace.began();
        assert!(tickets(&pace).await.len() as u64 == pace.scheduled() && start.elapsed() >= Duration::from_millis(20));
    }

    #[tokio::test]
    async fn a_stop_leaves_out_what_was_not_released() {
        let pace = Pace::start(&"10 for 1h".parse().unwrap(), u64::MAX);
        pace.stop();
        assert_eq!((tickets(&pace).await.len(), pace.scheduled()), (0, 0));
    }
}
