//! Event time: one instant in UTC microseconds, from any of the forms that clients send.
//!
//! Numbers are seconds, milliseconds or microseconds by magnitude. The borders lie at the year 5138 of the smaller unit
//! (1e11 s, 1e14 ms), so no instant between 1973 and 5138 can be misread.

use std::{fmt, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};

use crate::{
    json,
    violation::{Code, Violation},
};

/// Microseconds since 1970-01-01T00:00:00Z; negative before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// 9999-12-31T23:59:59.999999Z, the last instant that RFC 3339 can write.
pub const LATEST: Timestamp = Timestamp(253_402_300_799_999_999);
/// 0000-01-01T00:00:00Z, the first instant that RFC 3339 can write.
pub const EARLIEST: Timestamp = Timestamp(-62_167_219_200_000_000);

const SECONDS_BELOW: f64 = 1e11;
const MILLISECONDS_BELOW: f64 = 1e14;
const MICROSECONDS_BELOW: f64 = 1e17;
const FORMS: &str = "send seconds, milliseconds or microseconds since 1970 as a number, or RFC 3339 text such as `2026-11-21T09:30:00Z`";

impl Timestamp {
    /// The instant as `chrono` has it.
    #[must_use]
    pub fn to_utc(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_micros(self.0)
    }

    /// This instant moved by `duration`, saturating.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Reads the JSON text that a client sent in `field`.
    ///
    /// # Errors
    /// A violation at `/field` for a wrong type, a text that is not RFC 3339, or a number that is zero, negative or absurd.
    pub(crate) fn read(field: &str, value: &str) -> Result<Self, Violation> {
        match value.as_bytes() {
            [b'"', ..] => Self::from_text(field, &json::text(value).map_err(|reason| invalid_text(field, reason))?),
            [b'-' | b'0'..=b'9', ..] => Self::from_number(field, value),
            _ => Err(violation(field, Code::WrongType, format!("`{field}` is {}; {FORMS}", json::kind(value)))),
        }
    }

    fn from_number(field: &str, value: &str) -> Result<Self, Violation> {
        match value.parse::<i64>() {
            Ok(number) => Self::from_integer(field, number),
            Err(_) => Self::from_float(field, value.parse().unwrap_or(f64::NAN), value),
        }
    }

    fn from_integer(field: &str, number: i64) -> Result<Self, Violation> {
        #[expect(clippy::cast_precision_loss, reason = "only the magnitude is looked at")]
        let unit = unit_us(number as f64).ok_or_else(|| out_of_range(field, number))?;
        number.checked_mul(unit).map(Self).ok_or_else(|| out_of_range(field, number)).and_then(|at| at.in_years(field))
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a float has no more precision to keep; the range is checked"
    )]
    fn from_float(field: &str, number: f64, sent: &str) -> Result<Self, Violation> {
        let unit = unit_us(number).ok_or_else(|| out_of_range(field, shortened(sent)))?;
        let whole = number.trunc();
        let rest = ((number - whole) * unit as f64).round();
        Self(whole as i64 * unit + rest as i64).in_years(field)
    }

    fn from_text(field: &str, text: &str) -> Result<Self, Violation> {
        let time = DateTime::parse_from_rfc3339(text)
            .map_err(|_| violation(field, Code::InvalidTimestamp, format!("`{}` is no RFC 3339 time; {FORMS}", shortened(text))))?;
        Self(time.timestamp_micros()).in_years(field)
    }

    fn in_years(self, field: &str) -> Result<Self, Violation> {
        if (EARLIEST..=LATEST).contains(&self) { Ok(self) } else { Err(out_of_range(field, self.0)) }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_utc() {
            Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true)),
            None => write!(f, "{} us", self.0),
        }
    }
}

/// Microseconds in the unit that a number of this size is in; `None` when it is in none.
fn unit_us(number: f64) -> Option<i64> {
    if number <= 0.0 || number.is_nan() {
        None
    } else if number < SECONDS_BELOW {
        Some(1_000_000)
    } else if number < MILLISECONDS_BELOW {
        Some(1_000)
    } else {
        (number < MICROSECONDS_BELOW).then_some(1)
    }
}

/// A text cut to what fits in a message.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

fn invalid_text(field: &str, reason: json::NoText) -> Violation {
    violation(field, Code::InvalidText, format!("`{field}` {reason}"))
}

fn out_of_range(field: &str, found: impl fmt::Display) -> Violation {
    violation(
        field,
        Code::TimestampOutOfRange,
        format!("`{found}` is no time of an event; numbers must be above zero and before the year 10000; {FORMS}"),
    )
}

fn violation(field: &str, code: Code, message: String) -> Violation {
    Violation::new(format!("/{field}"), code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<i64, Code> {
        Timestamp::read("timestamp", value).map(|at| at.0).map_err(|violation| violation.code)
    }

    #[test]
    fn a_number_is_read_by_its_magnitude() {
        assert_eq!(read("1723400000"), Ok(1_723_400_000_000_000));
        assert_eq!(read("1723400000123"), Ok(1_723_400_000_123_000));
        assert_eq!(read("1723400000123456"), Ok(1_723_400_000_123_456));
        assert_eq!(read("1723400000.25"), Ok(1_723_400_000_250_000));
        assert_eq!(read("1.7234000001235e12"), Ok(1_723_400_000_123_500));
    }

    #[test]
    fn zero_negative_and_absurd_numbers_are_refused() {
        for number in ["0", "-0", "-1", "-9223372036854775808", "9223372036854775807", "9223372036854775808"] {
            assert_eq!(read(number), Err(Code::TimestampOutOfRange), "{number}");
        }
        for number in ["0.0", "-0.5", "1e300", "1e999", "-1e999", "1e-999"] {
            assert_eq!(read(number), Err(Code::TimestampOutOfRange), "{number}");
        }
    }

    #[test]
    fn text_may_lie_before_1970_and_in_any_offset() {
        assert_eq!(read("\"1969-12-31T23:59:59.999999Z\""), Ok(-1));
        assert_eq!(read("\"2026-11-21T10:30:00+01:00\""), read("\"2026-11-21T09:30:00Z\""));
        assert_eq!(read("\"2026-11-21T09:30:00\\u005a\""), read("\"2026-11-21T09:30:00Z\""));
        assert_eq!(read("\"9999-12-31T23:59:59.999999Z\""), Ok(LATEST.0));
        assert_eq!(read("\"0000-01-01T00:00:00Z\""), Ok(EARLIEST.0));
        assert_eq!(read("\"9999-12-31T23:59:59-23:00\""), Err(Code::TimestampOutOfRange));
        assert_eq!(read("\"1723400000\""), Err(Code::InvalidTimestamp));
        assert_eq!([read("\"\\ud800\""), read("true")], [Err(Code::InvalidText), Err(Code::WrongType)]);
    }
}
