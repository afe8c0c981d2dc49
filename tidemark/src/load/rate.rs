//! What `--rate` says: `2000 for 30s, 20000 for 30s`, or `max for 60s`.

use std::{fmt, num::NonZeroU64, str::FromStr, time::Duration};

use service::settings::Interval;

/// Above it, times would not differ by a nanosecond.
const HIGHEST: u64 = 100_000_000;
const MOST_STEPS: usize = 100;
const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// How fast requests are sent, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Rate {
    /// At fixed times, whatever the server does: an open loop.
    Steps(Vec<Step>),
    /// Each connection sends its next request when it has the answer to the last: a closed loop.
    Max(Duration),
}

/// One rate for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Requests in a second.
    pub(super) per_second: NonZeroU64,
    /// For so long.
    pub(super) length: Duration,
}

/// Why a text is no rate.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum ParseRateError {
    /// Write it as the examples do.
    #[error("`{0}` is not a rate; write `2000 for 30s`, or steps such as `2000 for 30s, 20000 for 30s`, or `max for 60s`")]
    Form(String),
    /// Take a number in the range.
    #[error("`{0}` is not a number of requests in a second from 1 to {HIGHEST}, nor `max`")]
    Number(String),
    /// Take a duration in the range.
    #[error("`{0}` is not a duration such as `30s` or `5m`, above zero and at most 7 days")]
    Duration(String),
    /// Run it by itself.
    #[error("`max` has no schedule, so it cannot be one of several steps")]
    MaxAmongSteps,
    /// Use fewer steps.
    #[error("{0} steps are more than {MOST_STEPS}")]
    TooManySteps(usize),
}

impl FromStr for Rate {
    type Err = ParseRateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts: Vec<(Option<NonZeroU64>, Duration)> = text.split(',').map(step).collect::<Result<_, _>>()?;
        if parts.len() > MOST_STEPS {
            return Err(ParseRateError::TooManySteps(parts.len()));
        }
        if let [(None, length)] = parts[..] {
            return Ok(Self::Max(length));
        }
        let steps = parts.into_iter().map(|(per_second, length)| Some(Step { per_second: per_second?, length }));
        steps.collect::<Option<_>>().map(Self::Steps).ok_or(ParseRateError::MaxAmongSteps)
    }
}

/// `2000 for 30s`; no number for `max`.
fn step(text: &str) -> Result<(Option<NonZeroU64>, Duration), ParseRateError> {
    let form = || ParseRateError::Form(text.trim().to_owned());
    let (rate, length) = text.split_once(" for ").ok_or_else(form)?;
    let (rate, length) = (rate.trim(), length.trim());
    let per_second = match rate {
        "" => return Err(form()),
        "max" => None,
        number => Some(per_second(number).ok_or_else(|| ParseRateError::Number(number.to_owned()))?),
    };
    let Interval(duration) = length.parse().map_err(|_| ParseRateError::Duration(length.to_owned()))?;
    if duration.is_zero() || duration > LONGEST {
        return Err(ParseRateError::Duration(length.to_owned()));
    }
    Ok((per_second, duration))
}

fn per_second(text: &str) -> Option<NonZeroU64> {
    text.replace('_', "").parse().ok().filter(|number: &NonZeroU64| number.get() <= HIGHEST)
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.per_second, Interval(self.length))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Steps(steps) => f.write_str(&steps.iter().map(Step::to_string).collect::<Vec<_>>().join(", ")),
            Self::Max(length) => write!(f, "max for {}", Interval(*length)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(per_second: u64, seconds: u64) -> Step {
        Step { per_second: NonZeroU64::new(per_second).unwrap(), length: Duration::from_secs(seconds) }
    }

    #[test]
    fn steps_follow_each_other_and_read_back_as_they_are_shown() {
        let rate: Rate = "2000 for 30s,  20_000 for 1m 30s".parse().unwrap();
        assert_eq!(rate, Rate::Steps(vec![step(2_000, 30), step(20_000, 90)]));
        assert_eq!(rate.to_string(), "2000 for 30s, 20000 for 1m 30s");
        assert_eq!(rate.to_string().parse(), Ok(rate));
        let max = Rate::Max(Duration::from_secs(60));
        assert_eq!("max for 60s".parse(), Ok(max.clone()));
        assert_eq!(max.to_string().parse(), Ok(max));
    }

    #[test]
    fn what_is_no_rate_is_told_with_what_would_be_right() {
        let refused = |text: &str| text.parse::<Rate>().unwrap_err().to_string();
        for text in ["", "2000", "for 30s", "2000 during 30s", "2000 for 30s,"] {
            assert!(refused(text).contains("2000 for 30s, 20000 for 30s"), "{text}: {}", refused(text));
        }
        for text in ["0 for 1s", "-5 for 1s", "1.5 for 1s", "fast for 1s", "100000001 for 1s"] {
            assert!(refused(text).contains("from 1 to 100000000"), "{text}: {}", refused(text));
        }
        for text in ["1 for 0s", "1 for 8days", "1 for ever", "max for 30"] {
            assert!(refused(text).contains("is not a duration"), "{text}: {}", refused(text));
        }
        assert_eq!("1 for 1s, max for 1s".parse::<Rate>(), Err(ParseRateError::MaxAmongSteps));
        assert_eq!(vec!["1 for 1s"; 101].join(",").parse::<Rate>(), Err(ParseRateError::TooManySteps(101)));
    }
}
