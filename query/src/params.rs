//! The parameters of a URL: known names only, each at most once, read into types.
//!
//! An empty value counts as absent, because forms and generated clients send `?channel=` for "all channels".

use std::str::FromStr;

use axum::{extract::Query, http::Uri};
use chrono::DateTime;

use schemas::{
    Position, Timestamp,
    timestamp::{EARLIEST, LATEST},
};

use crate::suggest::{nearest, one_of};

/// A parameter that is unknown or has no sensible value: which, what is wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}`: {message}")]
pub(crate) struct BadParameter {
    /// The parameter.
    pub(crate) name: String,
    /// What is wrong with it, and what would be right.
    pub(crate) message: String,
}

impl BadParameter {
    pub(crate) fn new(name: &str, message: impl Into<String>) -> Self {
        Self { name: name.to_owned(), message: message.into() }
    }
}

/// The parameters of one request, all of them known.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Reads the query part of a URL.
    ///
    /// # Errors
    /// A parameter that is not in `known`, with the nearest one that is; or one that stands twice.
    pub(crate) fn read(uri: &Uri, known: &[&str]) -> Result<Self, BadParameter> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| BadParameter::new("query", "the part after `?` is not URL-encoded UTF-8 such as `channel=web&limit=10`"))?;
        for (place, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                return Err(unknown(name, known));
            }
            if pairs[..place].iter().any(|(earlier, _)| earlier == name) {
                return Err(BadParameter::new(name, "stands twice; send it once"));
            }
        }
        Ok(Self(pairs))
    }

    /// The text of a parameter that is given and not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The text as something owned.
    pub(crate) fn owned(&self, name: &str) -> Option<String> {
        self.text(name).map(str::to_owned)
    }

    /// A whole number from 1 to `most`.
    pub(crate) fn count(&self, name: &str, most: usize) -> Result<Option<usize>, BadParameter> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match usize::from_str(text) {
            Ok(number) if (1..=most).contains(&number) => Ok(Some(number)),
            _ => Err(BadParameter::new(name, format!("`{text}` is no whole number from 1 to {most}"))),
        }
    }

    /// One of a few names.
    pub(crate) fn choice<T: Copy>(&self, name: &str, choices: &[(&str, T)]) -> Result<Option<T>, BadParameter> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let choice = choices.iter().find(|(choice, _)| *choice == text).map(|(_, value)| *value);
        choice.map(Some).ok_or_else(|| not_one_of(name, text, &choices.iter().map(|(choice, _)| *choice).collect::<Vec<_>>()))
    }

    /// An instant: seconds, milliseconds or microseconds by magnitude, or RFC 3339 text.
    pub(crate) fn instant(&self, name: &str) -> Result<Option<Timestamp>, BadParameter> {
        let Some(text) = self.text(name) else { return Ok(None) };
        parse_instant(text).map(Some).ok_or_else(|| {
            BadParameter::new(
                name,
                format!("`{text}` is no time; send seconds or milliseconds since 1970, or RFC 3339 text such as `2026-11-21T09:30:00Z`"),
            )
        })
    }

    /// Positions from 2xx answers, joined by commas.
    pub(crate) fn positions(&self, name: &str) -> Result<Vec<Position>, BadParameter> {
        let texts = self.text(name).into_iter().flat_map(|text| text.split(','));
        texts
            .map(|text| {
                text.trim().parse().map_err(|error: schemas::position::ParsePositionError| BadParameter::new(name, error.to_string()))
            })
            .collect()
    }
}

/// The error for a value outside a short list, with the nearest that is in it.
pub(crate) fn not_one_of(name: &str, found: &str, choices: &[&str]) -> BadParameter {
    let hint = nearest(found, choices.iter().copied()).map(|choice| format!("did you mean `{choice}`? ")).unwrap_or_default();
    BadParameter::new(name, format!("`{found}` is not known; {hint}it is {}", one_of(choices)))
}

fn unknown(name: &str, known: &[&str]) -> BadParameter {
    let hint = nearest(name, known.iter().copied()).map(|known| format!("did you mean `{known}`? ")).unwrap_or_default();
    BadParameter::new(name, format!("is no parameter of this route; {hint}it has {}", one_of(known).replace(" or ", " and ")))
}

/// An instant as people and parameters tell it: seconds, milliseconds or microseconds since 1970 by magnitude, or RFC 3339 text.
#[must_use]
pub fn parse_instant(text: &str) -> Option<Timestamp> {
    let us = if let Ok(number) = text.parse::<i64>() {
        number.checked_mul(unit_us(number.unsigned_abs() as f64)?)?
    } else if let Ok(number) = text.parse::<f64>() {
        float_us(number)?
    } else {
        DateTime::parse_from_rfc3339(text).or_else(|_| DateTime::parse_from_rfc3339(&plus_restored(text))).ok()?.timestamp_micros()
    };
    Some(Timestamp(us)).filter(|instant| (EARLIEST..=LATEST).contains(instant))
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "a float has no more precision to keep; the range is checked"
)]
fn float_us(number: f64) -> Option<i64> {
    let unit = unit_us(number.abs())?;
    let whole = number.trunc();
    Some(whole as i64 * unit + ((number - whole) * unit as f64).round() as i64)
}

/// Microseconds in the unit that a number of this size is in: the same borders as an event's timestamp has, and zero.
fn unit_us(magnitude: f64) -> Option<i64> {
    if magnitude < 1e11 {
        Some(1_000_000)
    } else if magnitude < 1e14 {
        Some(1_000)
    } else {
        (magnitude < 1e17).then_some(1)
    }
}

/// An unescaped `+` of an offset arrives as a space.
fn plus_restored(text: &str) -> String {
    text.rsplit_once(' ').map_or_else(|| text.to_owned(), |(time, offset)| format!("{time}+{offset}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Params, BadParameter> {
        Params::read(&format!("/metrics?{query}").parse().unwrap(), &["from", "channel", "limit"])
    }

    #[test]
    fn an_unknown_parameter_is_refused_with_the_nearest_known_one() {
        let error = read("chanel=web").unwrap_err().to_string();
        assert!(error.contains("`chanel`") && error.contains("did you mean `channel`?"), "{error}");
    }

    #[test]
    fn a_parameter_that_stands_twice_is_refused() {
        assert!(read("limit=1&limit=2").unwrap_err().to_string().contains("stands twice"));
    }

    #[test]
    fn an_empty_value_is_an_absent_one() {
        assert_eq!(read("channel=&from=").unwrap().text("channel"), None);
    }

    #[test]
    fn an_instant_is_read_by_its_magnitude() {
        assert_eq!(parse_instant("1723400000"), Some(Timestamp(1_723_400_000_000_000)));
        assert_eq!(parse_instant("1723400000.5"), Some(Timestamp(1_723_400_000_500_000)));
        assert_eq!(parse_instant("1723400000123"), Some(Timestamp(1_723_400_000_123_000)));
        assert_eq!(parse_instant("0"), Some(Timestamp(0)));
        assert_eq!(parse_instant("-1.5"), Some(Timestamp(-1_500_000)));
        assert_eq!(parse_instant("1e300"), None);
        assert_eq!(parse_instant("nan"), None);
    }

    #[test]
    fn an_offset_whose_plus_was_not_escaped_is_understood() {
        assert_eq!(parse_instant("2026-11-21T10:30:00 01:00"), parse_instant("2026-11-21T09:30:00Z"));
        assert_eq!(parse_instant("yesterday"), None);
    }

    #[test]
    fn a_count_outside_its_range_names_the_range() {
        assert_eq!(read("limit=10").unwrap().count("limit", 10), Ok(Some(10)));
        for bad in ["limit=0", "limit=11", "limit=-1", "limit=ten"] {
            assert!(read(bad).unwrap().count("limit", 10).unwrap_err().message.contains("from 1 to 10"), "{bad}");
        }
    }
}
