//! The types that settings are written in: sizes, durations, secrets.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// A number of bytes, written as a whole number and a unit: `64 KiB` (1024-based) or `64 KB` (1000-based).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct ByteSize(pub u64);

/// Unit names, largest first, with the bytes that they stand for.
const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// Text that is no size.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a size; a size is a whole number and one of B, KB, KiB, MB, MiB, GB, GiB, TB, TiB")]
pub struct ParseByteSizeError {
    text: String,
}

impl ByteSize {
    /// The size as a length in memory; on a 32-bit machine at most `usize::MAX`.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = ParseByteSizeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse_bytes(text).map(Self).ok_or_else(|| ParseByteSizeError { text: text.to_owned() })
    }
}

/// `None` when the number or the unit is missing or unknown, or the product does not fit.
fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits_end = text.find(|character: char| !character.is_ascii_digit() && character != '_')?;
    let number: u64 = text[..digits_end].replace('_', "").parse().ok()?;
    let unit = text[digits_end..].trim_start();
    let (_, factor) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*factor)
}

impl TryFrom<String> for ByteSize {
    type Error = ParseByteSizeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<ByteSize> for String {
    fn from(size: ByteSize) -> Self {
        size.to_string()
    }
}

/// In the largest unit that divides the size, so that the text reads back as the same size.
impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(&str, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        let (unit, factor) = UNITS.iter().find(fits).unwrap_or(&("B", 1));
        write!(f, "{} {unit}", self.0 / factor)
    }
}

/// A duration, written as numbers and units: `500ms`, `30s`, `1h 30m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Interval(pub Duration);

/// Text that is no duration.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is not a duration; a duration is a number and one of ms, s, m, h, days")]
pub struct ParseIntervalError {
    text: String,
    source: humantime::DurationError,
}

impl FromStr for Interval {
    type Err = ParseIntervalError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        humantime::parse_duration(text).map(Self).map_err(|source| ParseIntervalError { text: text.to_owned(), source })
    }
}

impl TryFrom<String> for Interval {
    type Error = ParseIntervalError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Interval> for String {
    fn from(interval: Interval) -> Self {
        interval.to_string()
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

/// Text that must not be shown. Only [`Secret::expose`] gives it out.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A secret from its text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one place that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether no secret is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "Secret(empty)" } else { "Secret(***)" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(text: &str) -> Option<u64> {
        text.parse().ok().map(|ByteSize(bytes)| bytes)
    }

    #[test]
    fn sizes_tell_1024_from_1000() {
        assert_eq!(bytes("128 MiB"), Some(128 << 20));
        assert_eq!(bytes("128MB"), Some(128_000_000));
        assert_eq!(bytes(" 10 gib "), Some(10 << 30));
        assert_eq!(bytes("1_000 B"), Some(1_000));
    }

    #[test]
    fn a_size_needs_a_whole_number_and_a_known_unit_and_must_fit() {
        for text in ["", "128", "MiB", "1.5 MiB", "-1 B", "1 MiBi", "1 megabyte", "99999999999 TiB"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn a_size_reads_back_from_its_own_text() {
        for size in [0, 1, 999, 1_000, 1_024, 1_500, 8 << 20, 10_000_000_000, u64::MAX].map(ByteSize) {
            assert_eq!(size.to_string().parse(), Ok(size));
        }
        assert_eq!(ByteSize(128 << 20).to_string(), "128 MiB");
    }

    #[test]
    fn intervals_are_read_and_written_as_text() {
        let interval: Interval = "1h 30m".parse().unwrap();
        assert_eq!(interval, Interval(Duration::from_secs(5_400)));
        assert_eq!(interval.to_string(), "1h 30m");
        assert_eq!(
            "30".parse::<Interval>().unwrap_err().to_string(),
            "`30` is not a duration; a duration is a number and one of ms, s, m, h, days"
        );
    }

    #[test]
    fn debug_never_shows_a_secret() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?}"), "Secret(***)");
        assert_eq!(secret.expose(), "hunter2");
    }
}
