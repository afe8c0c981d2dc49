//! Time buckets: the minute, hour, day, week or month of an instant, in a time zone.
//!
//! A bucket is named by its first instant in UTC microseconds. Minutes and hours are cut at the offset in force, so an hour
//! that a clock change repeats is two buckets; days, weeks (from Monday) and months are cut by the local date, so a day
//! has 23, 24 or 25 hours. Everything is floor division, also before 1970. The same code decides for rows, for the hours
//! of summaries and for the empty buckets that `fill=zero` adds.

use chrono::{DateTime, Datelike, Days, Months, NaiveDate, NaiveDateTime, NaiveTime, Offset, SecondsFormat, TimeDelta, TimeZone, Utc};
use datafusion::arrow::array::timezone::Tz;

const US_PER_SECOND: i64 = 1_000_000;
const US_PER_MINUTE: i64 = 60 * US_PER_SECOND;
const US_PER_HOUR: i64 = 60 * US_PER_MINUTE;
const US_PER_DAY: i64 = 24 * US_PER_HOUR;
/// The longest stretch of local time that a zone ever left out (Samoa's 2011-12-30), with room.
const LONGEST_GAP_MINUTES: i64 = 26 * 60;

/// How long a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unit {
    Minute,
    Hour,
    Day,
    Week,
    Month,
}

impl Unit {
    /// Every unit with its name.
    pub(crate) const ALL: [(&'static str, Self); 5] =
        [("minute", Self::Minute), ("hour", Self::Hour), ("day", Self::Day), ("week", Self::Week), ("month", Self::Month)];

    /// The name in a question.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// Reads a name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().find(|(name, _)| *name == text).map(|(_, unit)| *unit)
    }

    /// A length that no bucket of this unit falls below, whatever the clock changes.
    const fn shortest_us(self) -> i64 {
        match self {
            Self::Minute => US_PER_MINUTE,
            Self::Hour => US_PER_HOUR / 2,
            Self::Day => 22 * US_PER_HOUR,
            Self::Week => 6 * US_PER_DAY,
            Self::Month => 27 * US_PER_DAY,
        }
    }
}

/// The time zone that cuts the days.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Zone {
    Utc,
    Named(Tz),
}

impl Zone {
    /// Reads an IANA name such as `Europe/Berlin`, or an offset such as `+02:00`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("utc") { Some(Self::Utc) } else { text.parse().ok().map(Self::Named) }
    }

    fn offset_us(self, us: i64) -> i64 {
        match self {
            Self::Utc => 0,
            Self::Named(zone) => i64::from(zone.offset_from_utc_datetime(&naive(us)).fix().local_minus_utc()) * US_PER_SECOND,
        }
    }

    /// The first instant at which the zone's clocks show `date` 00:00, or what follows it when they skip it.
    fn first_instant(self, date: NaiveDate) -> i64 {
        let midnight = date.and_time(NaiveTime::MIN);
        match self {
            Self::Utc => midnight.and_utc().timestamp_micros(),
            Self::Named(zone) => (0..LONGEST_GAP_MINUTES)
                .find_map(|minutes| zone.from_local_datetime(&(midnight + TimeDelta::minutes(minutes))).earliest())
                .map_or_else(|| midnight.and_utc().timestamp_micros(), |instant| instant.timestamp_micros()),
        }
    }
}

/// The cutting of time into buckets of one unit in one zone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Buckets {
    /// How long a bucket is.
    pub(crate) unit: Unit,
    /// Whose days.
    pub(crate) zone: Zone,
}

impl Buckets {
    /// The bucket in which an instant lies.
    pub(crate) fn start_of(self, us: i64) -> i64 {
        let offset = self.zone.offset_us(us);
        match self.unit {
            Unit::Minute => floor(us + offset, US_PER_MINUTE) - offset,
            Unit::Hour => floor(us + offset, US_PER_HOUR) - offset,
            Unit::Day | Unit::Week | Unit::Month => self.zone.first_instant(self.first_date(us)),
        }
    }

    /// The first local date of the bucket in which an instant lies. Meaningful for days, weeks and months.
    pub(crate) fn first_date(self, us: i64) -> NaiveDate {
        let date = naive(us + self.zone.offset_us(us)).date();
        match self.unit {
            Unit::Week => date - Days::new(date.weekday().num_days_from_monday().into()),
            Unit::Month => date.with_day(1).expect("every month has a first day"),
            Unit::Minute | Unit::Hour | Unit::Day => date,
        }
    }

    /// The first instant of the bucket that begins on a local date.
    pub(crate) fn start_on(self, date: NaiveDate) -> i64 {
        self.zone.first_instant(date)
    }

    /// Every bucket that touches `from..=to`, in order; `None` when there are more than `limit`.
    pub(crate) fn starts(self, from: i64, to: i64, limit: usize) -> Option<Vec<i64>> {
        let at_most = (to - from) / self.unit.shortest_us() + 2;
        let mut starts = Vec::with_capacity(usize::try_from(at_most).unwrap_or_default().min(limit));
        let mut start = self.start_of(from);
        while start <= to {
            if starts.len() == limit {
                return None;
            }
            starts.push(start);
            start = self.after(start);
        }
        Some(starts)
    }

    /// The bucket that follows the one that begins at `start`.
    pub(crate) fn after(self, start: i64) -> i64 {
        let date = self.first_date(start);
        match self.unit {
            Unit::Minute => self.start_of(start + US_PER_MINUTE),
            Unit::Hour => self.start_of(start + US_PER_HOUR),
            Unit::Day => self.start_on(date + Days::new(1)),
            Unit::Week => self.start_on(date + Days::new(7)),
            Unit::Month => self.start_on(date + Months::new(1)),
        }
    }

    /// The start of a bucket as RFC 3339 text in the zone.
    pub(crate) fn label(self, start: i64) -> String {
        let instant = naive(start).and_utc();
        match self.zone {
            Zone::Utc => text(&instant),
            Zone::Named(zone) => text(&instant.with_timezone(&zone)),
        }
    }
}

fn text<Z: TimeZone<Offset: std::fmt::Display>>(instant: &DateTime<Z>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn naive(us: i64) -> NaiveDateTime {
    DateTime::<Utc>::from_timestamp_micros(us).map_or(NaiveDateTime::MIN, |instant| instant.naive_utc())
}

const fn floor(us: i64, step: i64) -> i64 {
    us.div_euclid(step) * step
}

#[cfg(test)]
mod tests;
