//! Section `[maintenance]` of the settings, and what of others it must suit.

use std::time::Duration;

use serde::Deserialize;
use service::settings::{self, ByteSize, Interval, Settings};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Checkpoints of a table name removed files for two days.
const LONGEST_KEEP: Duration = DAY;

/// Section `[maintenance]`, and `table.retention`; `config/tidemark.toml` explains each key.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// Whether this process does it.
    pub enabled: bool,
    /// Between two rounds.
    pub interval: Interval,
    /// What small files grow to.
    pub target_file: ByteSize,
    /// When an hour is over.
    pub grace: Interval,
    /// What nobody added to for so long is merged whatever its sizes.
    pub rest: Interval,
    /// How long what was replaced stays.
    pub keep: Interval,
    /// How long events stay; zero: for ever.
    #[serde(skip)]
    pub retention: Duration,
}

/// Settings that do not suit each other.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// One of them is wrong by itself.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// Files could be deleted while a query reads them.
    #[error(
        "`maintenance.keep` = {keep} is shorter than twice `query.timeout` = {timeout}: a query could lose the files that it reads; set \
         `maintenance.keep` to {right} or more"
    )]
    KeepTooShort {
        /// How long they stay.
        keep: Interval,
        /// The longest query.
        timeout: Interval,
        /// What would be right.
        right: Interval,
    },
    /// Longer than the tables remember what was removed.
    #[error("`maintenance.keep` = {keep} is longer than a day; set it to 1day or less")]
    KeepTooLong {
        /// How long they stay.
        keep: Interval,
    },
    /// Days are given up as a whole.
    #[error("`table.retention` = {retention} is shorter than a day; set it to 1day or more, or to 0s to keep events for ever")]
    RetentionTooShort {
        /// The setting.
        retention: Interval,
    },
}

#[derive(Deserialize)]
struct OfTable {
    retention: Interval,
}

#[derive(Deserialize)]
struct OfQuery {
    timeout: Interval,
}

impl Config {
    /// Reads the settings and compares them.
    ///
    /// # Errors
    /// One that says which settings do not suit each other, and what would be right.
    pub fn load(settings: &Settings) -> Result<Self, ConfigError> {
        let OfTable { retention } = settings.section("table")?;
        let OfQuery { timeout } = settings.section("query")?;
        let config = Self { retention: retention.0, ..settings.section("maintenance")? };
        let keep = config.keep;
        if keep.0 < timeout.0 * 2 {
            return Err(ConfigError::KeepTooShort { keep, timeout, right: Interval(timeout.0 * 2) });
        }
        if keep.0 > LONGEST_KEEP {
            return Err(ConfigError::KeepTooLong { keep });
        }
        if retention.0 > Duration::ZERO && retention.0 < DAY {
            return Err(ConfigError::RetentionTooShort { retention });
        }
        Ok(config)
    }

    /// How many days stay beside today; nothing when all do.
    pub(super) fn retention_days(&self) -> Option<i32> {
        let days = self.retention.as_secs().div_ceil(DAY.as_secs());
        (days > 0).then(|| i32::try_from(days).unwrap_or(i32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use service::settings::Sources;

    use super::*;

    fn load(set: &[(&str, &str)]) -> Result<Config, String> {
        let flags = set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let settings = Settings::load(Sources { flags, ..Sources::default() }).unwrap();
        Config::load(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn the_defaults_keep_events_for_ever() {
        assert_eq!(load(&[]).unwrap().retention_days(), None);
        assert_eq!(load(&[("table.retention", "90days")]).unwrap().retention_days(), Some(90));
        assert_eq!(load(&[("table.retention", "25h")]).unwrap().retention_days(), Some(2), "a day that is touched stays");
    }

    #[test]
    fn settings_that_would_take_files_from_queries_are_refused_with_what_would_be_right() {
        let error = load(&[("maintenance.keep", "59s")]).unwrap_err();
        assert!(error.contains("`maintenance.keep` = 59s") && error.ends_with("to 1m or more"), "{error}");
        assert!(load(&[("maintenance.keep", "25h")]).unwrap_err().contains("1day or less"));
        assert!(load(&[("table.retention", "3h")]).unwrap_err().contains("1day or more"));
    }
}
