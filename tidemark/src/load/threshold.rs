//! What `--fail-if` says: `p99 > 30ms, errors > 0, dropped > 0`.

use std::str::FromStr;

use service::settings::Interval;

use super::report::{Latency, Report};

/// A bound that a run must not cross.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Threshold {
    measure: Measure,
    comparison: Comparison,
    bound: Bound,
    text: String,
}

/// Several, of which each one fails the run.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Thresholds(Vec<Threshold>);

/// What is measured, with its name.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Measure {
    /// A latency.
    Quantile(f64),
    Mean,
    Errors,
    Dropped,
    /// Requests with a 2xx in a second.
    Rate,
}

const MEASURES: [(&str, Measure); 10] = [
    ("p50", Measure::Quantile(0.5)),
    ("p90", Measure::Quantile(0.9)),
    ("p95", Measure::Quantile(0.95)),
    ("p99", Measure::Quantile(0.99)),
    ("p99.9", Measure::Quantile(0.999)),
    ("max", Measure::Quantile(1.0)),
    ("mean", Measure::Mean),
    ("errors", Measure::Errors),
    ("dropped", Measure::Dropped),
    ("rate", Measure::Rate),
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Comparison {
    Above,
    AtLeast,
    Below,
    AtMost,
}

/// The longer ones first, so that `>=` is not read as `>`.
const COMPARISONS: [(&str, Comparison); 4] =
    [(">=", Comparison::AtLeast), ("<=", Comparison::AtMost), (">", Comparison::Above), ("<", Comparison::Below)];

/// What a measure is compared with.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Bound {
    Ms(f64),
    Number(f64),
    /// Of all requests of the schedule.
    Percent(f64),
}

/// Why a text is no threshold.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum ParseThresholdError {
    /// Write it as the examples do.
    #[error("`{0}` is not a threshold; write a measure, one of > >= < <=, and a value, such as `p99 > 30ms` or `errors > 1%`")]
    Form(String),
    /// Take one of these.
    #[error("`{name}` is not measured; {} are", MEASURES.map(|(known, _)| known).join(", "))]
    Measure { name: String },
    /// Give it the unit of the measure.
    #[error("`{value}` does not suit `{measure}`; {right}")]
    Value { measure: String, value: String, right: &'static str },
}

impl FromStr for Threshold {
    type Err = ParseThresholdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || ParseThresholdError::Form(text.trim().to_owned());
        let split = COMPARISONS.iter().find_map(|(sign, comparison)| Some((text.split_once(sign)?, *comparison)));
        let ((name, value), comparison) = split.ok_or_else(form)?;
        let (name, value) = (name.trim(), value.trim());
        let measure = MEASURES.iter().find(|(known, _)| *known == name).map(|(_, measure)| *measure);
        let measure = measure.ok_or_else(|| ParseThresholdError::Measure { name: name.to_owned() })?;
        let (bound, right) = measure.bound(value);
        let bound = bound.ok_or_else(|| ParseThresholdError::Value { measure: name.to_owned(), value: value.to_owned(), right })?;
        Ok(Self { measure, comparison, bound, text: text.trim().to_owned() })
    }
}

impl FromStr for Thresholds {
    type Err = ParseThresholdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl Measure {
    /// The bound that a text is for this measure, and what it should be.
    fn bound(self, text: &str) -> (Option<Bound>, &'static str) {
        let number = |text: &str| text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
        match self {
            Self::Quantile(_) | Self::Mean => {
                let duration = text.parse().ok().map(|Interval(duration)| Bound::Ms(duration.as_secs_f64() * 1000.0));
                (duration, "a latency is a duration such as `30ms`")
            }
            Self::Rate => (number(text).map(Bound::Number), "it is a number of requests in a second"),
            Self::Errors | Self::Dropped => {
                let percent = text.strip_suffix('%').map(|percent| number(percent.trim_end()).map(Bound::Percent));
                (
                    percent.unwrap_or_else(|| number(text).map(Bound::Number)),
                    "it is a number of requests such as `0`, or a part of them such as `1%`",
                )
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "requests are fewer than 2^53")]
    fn of(self, report: &Report) -> f64 {
        match self {
            Self::Quantile(quantile) => slowest(report, |latency| latency.at(quantile)),
            Self::Mean => slowest(report, |latency| latency.mean),
            Self::Errors => report.errors as f64,
            Self::Dropped => report.counts.dropped as f64,
            Self::Rate => report.accepted_per_second,
        }
    }
}

/// The measure of the slowest step: what is easy before must not hide it.
fn slowest(report: &Report, measure: impl Fn(&Latency) -> f64) -> f64 {
    report.steps.iter().map(|step| measure(&step.latency_ms)).fold(0.0, f64::max)
}

impl Threshold {
    /// What was measured, when it is not as it must be.
    #[expect(clippy::cast_precision_loss, reason = "requests are fewer than 2^53")]
    fn crossed(&self, report: &Report) -> Option<String> {
        let measured = self.measure.of(report);
        let (measured, bound, unit) = match self.bound {
            Bound::Ms(ms) => (measured, ms, " ms"),
            Bound::Number(number) => (measured, number, ""),
            Bound::Percent(percent) => (100.0 * measured / (report.scheduled as f64).max(1.0), percent, "%"),
        };
        let is_crossed = match self.comparison {
            Comparison::Above => measured > bound,
            Comparison::AtLeast => measured >= bound,
            Comparison::Below => measured < bound,
            Comparison::AtMost => measured <= bound,
        };
        is_crossed.then(|| format!("{} ({}{unit})", self.text, (measured * 1000.0).round() / 1000.0))
    }
}

impl Thresholds {
    /// Those that a run has crossed, each with what was measured.
    pub(super) fn crossed(&self, report: &Report) -> Vec<String> {
        self.0.iter().filter_map(|threshold| threshold.crossed(report)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use chrono::DateTime;

    use super::{
        super::{
            recorder::{Outcome, Recorder, Sent},
            report::Asked,
        },
        *,
    };

    #[test]
    fn thresholds_are_read_as_people_write_them() {
        let thresholds: Thresholds = "p99 > 30ms, errors>=1 %,dropped > 0, rate < 1900, max <= 1s".parse().unwrap();
        let read: Vec<_> = thresholds.0.iter().map(|threshold| (threshold.measure, threshold.comparison, threshold.bound)).collect();
        assert_eq!(
            read,
            [
                (Measure::Quantile(0.99), Comparison::Above, Bound::Ms(30.0)),
                (Measure::Errors, Comparison::AtLeast, Bound::Percent(1.0)),
                (Measure::Dropped, Comparison::Above, Bound::Number(0.0)),
                (Measure::Rate, Comparison::Below, Bound::Number(1900.0)),
                (Measure::Quantile(1.0), Comparison::AtMost, Bound::Ms(1000.0)),
            ]
        );
    }

    /// A hundred requests in a second: 99 of the first step that take 1 ms, one of the second that takes 100 ms; and one that was refused.
    fn two_steps() -> Report {
        let start = Instant::now();
        let recorder = Recorder::new(start, 2);
        let end = |step, ms, status| {
            let sent = Sent { step, intended: start, sent: start, is_repeat: false, outcome: Outcome::Answered(status), acknowledged: 1 };
            recorder.ended(&sent, start + Duration::from_millis(ms));
        };
        (0..99).for_each(|_| end(0, 1, 202));
        end(1, 100, 202);
        end(1, 2, 503);
        let asked = Asked {
            run: String::new(),
            url: String::new(),
            rate: String::new(),
            connections: 1,
            batch: 1,
            body: String::new(),
            ids: String::new(),
            repeats_percent: 0.0,
            span_s: None,
            began: DateTime::UNIX_EPOCH,
            steps: vec!["easy".to_owned(), "hard".to_owned()],
            schedule: Vec::new(),
        };
        Report::new(asked, 101, recorder.finish(), 1.0, 0.0)
    }

    #[test]
    fn each_step_is_judged_and_a_refusal_is_neither_fast_nor_throughput() {
        let crossed = |text: &str| !text.parse::<Thresholds>().unwrap().crossed(&two_steps()).is_empty();
        assert!(crossed("p90 > 50ms"), "of the second step, although it is one request of a hundred");
        assert!(!crossed("p50 < 50ms"), "the refusal has no latency");
        assert!(crossed("rate < 101") && !crossed("rate < 100"), "the refusal does not count");
        assert!(crossed("errors > 0"));
    }

    #[test]
    fn what_is_no_threshold_is_told_with_what_would_be_right() {
        let refused = |text: &str| text.parse::<Thresholds>().unwrap_err().to_string();
        assert!(refused("p99 = 3ms").contains("`p99 > 30ms`"));
        assert!(refused("p98 > 3ms").contains("p95, p99, p99.9"));
        assert!(refused("p99 > 30").contains("such as `30ms`"));
        assert!(refused("errors > 3ms").contains("`1%`"));
        assert!(refused("errors > 0,").contains("not a threshold"));
    }
}
