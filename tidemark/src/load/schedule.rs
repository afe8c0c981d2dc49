//! When each request of an open loop is meant to be sent. Pure: request `n` of some steps always has the same time.

use std::time::Duration;

use super::rate::Step;

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// The times of all requests, counted from the start.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    stages: Vec<Stage>,
}

/// A step with its place among the others.
#[derive(Clone, Copy, Debug)]
struct Stage {
    first: u64,
    count: u64,
    begin: Duration,
    step: Step,
}

impl Schedule {
    /// The steps one after the other, and no more than `most` requests.
    pub(super) fn new(steps: &[Step], most: u64) -> Self {
        let (mut first, mut begin) = (0, Duration::ZERO);
        let stage = |step: &Step| {
            let count = requests(step.length.as_nanos(), *step).min(most - first);
            let stage = Stage { first, count, begin, step: *step };
            first += count;
            begin += step.length;
            stage
        };
        let stages: Vec<Stage> = steps.iter().map(stage).collect();
        Self { stages: stages.into_iter().filter(|stage| stage.count > 0).collect() }
    }

    /// How many requests there are.
    pub(super) fn total(&self) -> u64 {
        self.stages.last().map_or(0, |stage| stage.first + stage.count)
    }

    /// From the start to the end of the last step, or to the last request when there are fewer than the steps would have.
    pub(super) fn length(&self) -> Duration {
        let end = |stage: &Stage| if stage.is_whole() { stage.begin + stage.step.length } else { stage.intended(stage.count) };
        self.stages.last().map_or(Duration::ZERO, end)
    }

    /// The steps that have requests.
    pub(super) fn steps(&self) -> impl Iterator<Item = Step> {
        self.stages.iter().map(|stage| stage.step)
    }

    /// The step of a request, and the time at which it is meant to be sent.
    pub(super) fn intended(&self, number: u64) -> (usize, Duration) {
        let step = self.stages.partition_point(|stage| stage.first <= number).saturating_sub(1);
        (step, self.stages.get(step).map_or(Duration::ZERO, |stage| stage.intended(number - stage.first)))
    }

    /// How many requests are meant to be sent up to this time, itself included.
    pub(super) fn due(&self, elapsed: Duration) -> u64 {
        let begun = self.stages.iter().take_while(|stage| stage.begin <= elapsed);
        begun.map(|stage| requests((elapsed - stage.begin).as_nanos() + 1, stage.step).min(stage.count)).sum()
    }

    /// How many requests are meant to be sent in each second.
    pub(super) fn per_second(&self) -> Vec<u64> {
        let due_before = |second| self.due((Duration::from_secs(second)).saturating_sub(Duration::from_nanos(1)));
        let seconds = self.length().as_secs() + u64::from(self.length().subsec_nanos() > 0);
        (0..seconds).map(|second| due_before(second + 1) - if second == 0 { 0 } else { due_before(second) }).collect()
    }
}

impl Stage {
    fn intended(&self, number: u64) -> Duration {
        let nanos = u128::from(number) * NANOS_PER_SECOND / u128::from(self.step.per_second.get());
        self.begin + Duration::from_nanos_u128(nanos)
    }

    fn is_whole(&self) -> bool {
        self.count == requests(self.step.length.as_nanos(), self.step)
    }
}

/// How many times `n / rate` are before so many nanoseconds.
fn requests(nanos: u128, step: Step) -> u64 {
    let requests = (nanos * u128::from(step.per_second.get())).div_ceil(NANOS_PER_SECOND);
    u64::try_from(requests).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use super::*;

    fn schedule(steps: &[(u64, u64)], most: u64) -> Schedule {
        let step =
            |(per_second, ms): &(u64, u64)| Step { per_second: NonZeroU64::new(*per_second).unwrap(), length: Duration::from_millis(*ms) };
        Schedule::new(&steps.iter().map(step).collect::<Vec<_>>(), most)
    }

    #[test]
    fn requests_are_spread_evenly_over_their_step() {
        let schedule = schedule(&[(10, 1_000), (1_000, 500)], u64::MAX);
        assert_eq!((schedule.total(), schedule.length()), (510, Duration::from_millis(1_500)));
        assert_eq!(schedule.intended(0), (0, Duration::ZERO));
        assert_eq!(schedule.intended(9), (0, Duration::from_millis(900)));
        assert_eq!(schedule.intended(10), (1, Duration::from_secs(1)));
        assert_eq!(schedule.intended(11), (1, Duration::from_millis(1_001)));
        assert_eq!(schedule.per_second(), [10, 500]);
        assert_eq!(schedule.intended(509), (1, Duration::from_millis(1_499)));
    }

    #[test]
    fn a_request_is_due_exactly_from_its_intended_time_on() {
        for steps in [&[(7, 1_300), (3, 2_100), (99_991, 30)][..], &[(20_000, 250)], &[(1, 100), (1, 100)]] {
            let schedule = schedule(steps, u64::MAX);
            for number in 0..schedule.total() {
                let (_, at) = schedule.intended(number);
                assert!(schedule.due(at) > number, "{steps:?}: {number} is due at {at:?}");
                let before = at.checked_sub(Duration::from_nanos(1));
                assert!(before.is_none_or(|before| schedule.due(before) <= number), "{steps:?}: {number} is not due before {at:?}");
            }
            assert_eq!(schedule.due(schedule.length() + Duration::from_secs(9)), schedule.total());
        }
    }

    #[test]
    fn a_total_cuts_the_schedule() {
        let cut = schedule(&[(100, 1_000), (100, 1_000)], 150);
        assert_eq!((cut.total(), cut.length(), cut.steps().count()), (150, Duration::from_millis(1_500), 2));
        let cut = schedule(&[(100, 1_000), (100, 1_000)], 40);
        assert_eq!((cut.total(), cut.length(), cut.steps().count()), (40, Duration::from_millis(400), 1));
    }
}
