//! Times as people tell them on a command line: `-7d` is seven days ago.

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use service::settings::Interval;

/// The instant as the server reads it. A minus and a duration is a time before now, to the second; everything else is passed on.
///
/// # Errors
/// What begins like a time before now and is none.
pub(crate) fn instant(text: &str, now: DateTime<Utc>) -> anyhow::Result<String> {
    let Some(back) = text.strip_prefix('-').filter(|back| back.contains(char::is_alphabetic)) else { return Ok(text.to_owned()) };
    let wrong = || format!("`{text}` is no time before now; that is a minus and a duration, such as -7d, -3h or -1h30m");
    let Interval(back) = back.parse().with_context(wrong)?;
    let then = TimeDelta::from_std(back).ok().and_then(|back| now.checked_sub_signed(back)).with_context(wrong)?;
    Ok(then.to_rfc3339_opts(SecondsFormat::Secs, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minus_and_a_duration_is_a_time_before_now() {
        let now: DateTime<Utc> = "2026-11-21T12:00:00.5Z".parse().unwrap();
        let told = |text| instant(text, now);
        for (text, then) in [("-7d", "2026-11-14T12:00:00Z"), ("-1h30m", "2026-11-21T10:30:00Z"), ("-0s", "2026-11-21T12:00:00Z")] {
            assert_eq!(told(text).unwrap(), then);
        }
        for text in ["1723400000", "-1.5", "2026-11-21T09:30:00Z", "yesterday", ""] {
            assert_eq!(told(text).unwrap(), text, "the server judges it");
        }
        for text in ["-7x", "-d", "-999999999y"] {
            assert!(told(text).unwrap_err().to_string().contains("such as -7d"), "{text}");
        }
    }
}
