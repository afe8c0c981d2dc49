//! The partition of a row: the UTC day of its event time (INVARIANTS I4).

use std::fmt;

use chrono::NaiveDate;

use crate::timestamp::Timestamp;

const US_PER_DAY: i64 = 86_400_000_000;

/// A UTC day, in days since 1970-01-01; negative before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventDate(pub i32);

impl EventDate {
    /// The day in which an instant lies: floor division, also before 1970.
    #[must_use]
    pub fn of(timestamp: Timestamp) -> Self {
        Self(i32::try_from(timestamp.0.div_euclid(US_PER_DAY)).expect("an i64 of microseconds is fewer than 2^31 days"))
    }

    /// The first instant of the day.
    #[must_use]
    pub const fn start(self) -> Timestamp {
        Timestamp(self.0 as i64 * US_PER_DAY)
    }

    /// The day after.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Reads `YYYY-MM-DD`; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
        Some(Self(date.to_epoch_days()))
    }
}

impl fmt::Display for EventDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NaiveDate::from_epoch_days(self.0) {
            Some(date) => date.format("%Y-%m-%d").fmt(f),
            None => write!(f, "day {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::timestamp::{EARLIEST, LATEST};

    proptest! {
        #[test]
        fn an_instant_lies_in_its_day(us in EARLIEST.0..=LATEST.0) {
            let date = EventDate::of(Timestamp(us));
            let start = date.start().0;
            prop_assert!(start <= us && us < start + US_PER_DAY);
            prop_assert_eq!(EventDate::parse(&date.to_string()), Some(date));
            prop_assert_eq!(date.to_string(), Timestamp(us).to_utc().unwrap().format("%Y-%m-%d").to_string());
        }
    }

    #[test]
    fn the_last_microsecond_before_1970_is_in_1969() {
        assert_eq!(EventDate::of(Timestamp(-1)).to_string(), "1969-12-31");
        assert_eq!(EventDate::of(Timestamp(0)).to_string(), "1970-01-01");
    }
}
