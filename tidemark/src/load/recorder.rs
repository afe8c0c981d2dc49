//! What happened so far: counts, latencies of each step, and one line for each second.
//!
//! All connections write to one recorder under a lock, which costs less than merging a histogram of each connection every second.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use serde::Serialize;

/// The longest latency that is told apart from longer ones, in microseconds.
const LONGEST_US: u64 = 600_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;
const US_PER_MS: f64 = 1000.0;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With an answer of this status.
    Answered(u16),
    /// Without one in time.
    TimedOut,
    /// The connection broke before the answer was complete.
    Broken,
    /// It was not sent, because there was no connection.
    Unreachable,
}

/// A request that was sent, and how it ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    /// Of the schedule.
    pub(super) step: usize,
    /// The time from which its latency counts.
    pub(super) intended: Instant,
    /// The time at which it was sent.
    pub(super) sent: Instant,
    /// Whether it was sent before.
    pub(super) is_repeat: bool,
    pub(super) outcome: Outcome,
    /// How many events the server has acknowledged.
    pub(super) acknowledged: u64,
}

/// Counts of requests and events.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    /// Requests that were sent.
    pub(super) sent: u64,
    /// Those of them that had been sent before.
    pub(super) repeats: u64,
    /// Requests with an answer.
    pub(super) answered: u64,
    /// Answers by their status.
    pub(super) statuses: BTreeMap<u16, u64>,
    /// Requests without an answer in time.
    pub(super) timeouts: u64,
    /// Requests whose connection broke.
    pub(super) broken: u64,
    /// Requests that were not sent, because the server could not be reached.
    pub(super) unreachable: u64,
    /// Requests that were not sent, because no connection was free in time.
    pub(super) dropped: u64,
    /// Events in good answers; a repeat counts again.
    pub(super) acknowledged_events: u64,
}

/// A step of the schedule.
#[derive(Debug)]
pub(super) struct StepTally {
    pub(super) counts: Counts,
    /// From the intended time to a 2xx, or to the moment at which a request timed out or was dropped; in microseconds.
    pub(super) latency: Histogram<u64>,
    /// From the intended time until it was sent.
    pub(super) wait: Histogram<u64>,
}

/// A second of the run, by the time at which requests ended.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Second {
    /// How many seconds after the start it began.
    pub(super) second: u64,
    pub(super) answered: u64,
    pub(super) errors: u64,
    pub(super) dropped: u64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

/// Everything that was recorded.
#[derive(Debug)]
pub(super) struct Recording {
    /// By their place in the schedule.
    pub(super) steps: Vec<StepTally>,
    /// From the start to the last one in which something ended.
    pub(super) seconds: Vec<Second>,
}

/// Written by all connections.
#[derive(Debug)]
pub(super) struct Recorder {
    start: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    recording: Recording,
    open: Second,
    open_latency: Histogram<u64>,
}

impl Recorder {
    /// Empty, from the start of the run on.
    pub(super) fn new(start: Instant, steps: usize) -> Self {
        let step = || StepTally { counts: Counts::default(), latency: histogram(), wait: histogram() };
        let recording = Recording { steps: (0..steps).map(|_| step()).collect(), seconds: Vec::new() };
        Self { start, state: Mutex::new(State { recording, open: Second::default(), open_latency: histogram() }) }
    }

    /// Notes a request that has just ended.
    pub(super) fn ended(&self, sent: &Sent, now: Instant) {
        let mut state = self.state(now);
        let latency = micros(now - sent.intended);
        let step = &mut state.recording.steps[sent.step];
        step.counts.note(sent);
        step.wait.saturating_record(micros(sent.sent - sent.intended));
        // A refusal comes fast and must not make the others look fast.
        if sent.outcome.is_good() || sent.outcome == Outcome::TimedOut {
            step.latency.saturating_record(latency);
            state.open_latency.saturating_record(latency);
        }
        state.open.answered += u64::from(matches!(sent.outcome, Outcome::Answered(_)));
        state.open.errors += u64::from(!sent.outcome.is_good());
    }

    /// Notes a request that no connection could send in time. It took at least as long as it waited.
    pub(super) fn dropped(&self, step: usize, intended: Instant, now: Instant) {
        let mut state = self.state(now);
        let waited = micros(now - intended);
        let step = &mut state.recording.steps[step];
        step.counts.dropped += 1;
        step.latency.saturating_record(waited);
        state.open_latency.saturating_record(waited);
        state.open.dropped += 1;
    }

    /// The counts of all steps, and the last whole second.
    pub(super) fn so_far(&self) -> (Counts, Option<Second>) {
        let state = self.state(Instant::now());
        (state.recording.counts(), state.recording.seconds.last().copied())
    }

    /// The end.
    pub(super) fn finish(self) -> Recording {
        let mut state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        state.close_second();
        state.recording
    }

    /// A poisoned lock is still good: what is under it are counters.
    fn state(&self, now: Instant) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let second = now.saturating_duration_since(self.start).as_secs();
        while state.open.second < second {
            state.close_second();
        }
        state
    }
}

impl State {
    fn close_second(&mut self) {
        let at = |quantile| ms(self.open_latency.value_at_quantile(quantile));
        let closed = Second { p50_ms: at(0.5), p99_ms: at(0.99), max_ms: ms(self.open_latency.max()), ..self.open };
        self.recording.seconds.push(closed);
        self.open = Second { second: closed.second + 1, ..Second::default() };
        if !self.open_latency.is_empty() {
            self.open_latency.reset();
        }
    }
}

impl Recording {
    /// Those of all steps.
    pub(super) fn counts(&self) -> Counts {
        self.steps.iter().fold(Counts::default(), |sum, step| sum.plus(&step.counts))
    }

    /// The latencies and the waits of all steps.
    pub(super) fn histograms(&self) -> (Histogram<u64>, Histogram<u64>) {
        let (mut latency, mut wait) = (histogram(), histogram());
        for step in &self.steps {
            latency.add(&step.latency).expect("they have the same bounds");
            wait.add(&step.wait).expect("they have the same bounds");
        }
        (latency, wait)
    }
}

impl Counts {
    fn note(&mut self, sent: &Sent) {
        match sent.outcome {
            Outcome::Answered(status) => {
                self.answered += 1;
                *self.statuses.entry(status).or_default() += 1;
            }
            Outcome::TimedOut => self.timeouts += 1,
            Outcome::Broken => self.broken += 1,
            Outcome::Unreachable => self.unreachable += 1,
        }
        if sent.outcome != Outcome::Unreachable {
            self.sent += 1;
            self.repeats += u64::from(sent.is_repeat);
        }
        self.acknowledged_events += sent.acknowledged;
    }

    /// Requests that got a 2xx.
    pub(super) fn accepted(&self) -> u64 {
        self.statuses.iter().filter(|(status, _)| Outcome::Answered(**status).is_good()).map(|(_, count)| count).sum()
    }

    /// Requests that did not get a 2xx, those that were dropped apart.
    pub(super) fn errors(&self) -> u64 {
        self.answered - self.accepted() + self.timeouts + self.broken + self.unreachable
    }

    fn plus(mut self, other: &Self) -> Self {
        self.sent += other.sent;
        self.repeats += other.repeats;
        self.answered += other.answered;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.timeouts += other.timeouts;
        self.broken += other.broken;
        self.unreachable += other.unreachable;
        self.dropped += other.dropped;
        self.acknowledged_events += other.acknowledged_events;
        self
    }
}

impl Outcome {
    /// Whether it is a 2xx.
    pub(super) fn is_good(self) -> bool {
        matches!(self, Self::Answered(200..=299))
    }
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, SIGNIFICANT_DIGITS).expect("the bounds are fixed")
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(LONGEST_US)
}

/// Milliseconds of microseconds.
#[expect(clippy::cast_precision_loss, reason = "a latency has fewer than 53 bits")]
pub(super) fn ms(micros: u64) -> f64 {
    micros as f64 / US_PER_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_counts_from_the_intended_time_and_a_silent_second_is_a_line() {
        let start = Instant::now();
        let recorder = Recorder::new(start, 2);
        let at = |ms| start + Duration::from_millis(ms);
        let sent = |step, intended, sent, outcome| Sent {
            step,
            intended: at(intended),
            sent: at(sent),
            is_repeat: false,
            outcome,
            acknowledged: 1,
        };
        recorder.ended(&sent(0, 100, 100, Outcome::Answered(202)), at(110));
        recorder.ended(&sent(0, 200, 1_200, Outcome::TimedOut), at(2_200));
        recorder.ended(&sent(1, 2_250, 2_250, Outcome::Answered(503)), at(2_251));
        recorder.ended(&sent(1, 2_300, 2_300, Outcome::Unreachable), at(2_300));
        recorder.dropped(1, at(2_310), at(2_400));
        let recording = recorder.finish();
        let seconds: Vec<_> =
            recording.seconds.iter().map(|second| (second.answered, second.errors, second.dropped, second.max_ms.round())).collect();
        assert_eq!(seconds, [(1, 0, 0, 10.0), (0, 0, 0, 0.0), (1, 3, 1, 2_001.0)]);
        let (latency, wait) = recording.histograms();
        assert_eq!((latency.len(), wait.len()), (3, 4), "what was refused, or found no server, has no latency");
        assert!((89_000..91_000).contains(&recording.steps[1].latency.max()), "what was dropped has waited");
        assert!((1_999_000..2_002_000).contains(&latency.max()) && (999_000..1_001_000).contains(&wait.max()));
        let counts = recording.counts();
        assert_eq!((counts.sent, counts.answered, counts.unreachable, counts.dropped), (3, 2, 1, 1));
        assert_eq!((counts.accepted(), counts.errors()), (1, 3));
        assert_eq!(counts.statuses, BTreeMap::from([(202, 1), (503, 1)]));
    }
}
