//! Settings in layers: embedded defaults < file < environment < flags.
//!
//! Input: the embedded `config/tidemark.toml`, which names every key, and [`Sources`]. Output: [`Settings`], from which each
//! concern takes its own struct with [`Settings::section`]. A key that the embedded file does not have, or a value of another
//! kind than its default, is an [`Error`] that names the key, the place and what would be right. No other module reads the
//! environment.

mod address;
mod catalogue;
mod error;
mod layers;
mod origin;
mod secrets;
mod section;
mod sources;
#[cfg(test)]
mod tests;
mod values;

use std::fmt;

use serde::de::DeserializeOwned;
use serde_json::Value;

pub use self::{
    address::{Address, ParseAddressError},
    error::Error,
    sources::Sources,
    values::{ByteSize, Interval, ParseByteSizeError, ParseIntervalError, Secret},
};
use self::{catalogue::Catalogue, origin::Origin};

/// The effective settings: every key of the embedded file with the value of the topmost layer that sets it.
#[derive(Clone)]
pub struct Settings {
    settings: Vec<Setting>,
}

/// One key: its default, its value in force, and where that came from.
#[derive(Clone)]
struct Setting {
    key: String,
    default: Value,
    value: Value,
    origin: Origin,
}

/// One line of `config show`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `section.key`.
    pub key: String,
    /// The value as TOML writes it; a secret that is set reads `"***"`.
    pub value: String,
    /// `default`, `file PATH:LINE`, `environment NAME` or `flag --set`.
    pub origin: String,
}

impl Settings {
    /// Reads and checks all layers.
    ///
    /// # Errors
    /// When a file cannot be read, a key is unknown or a value has the wrong kind. The first problem found is reported.
    pub fn load(sources: Sources) -> Result<Self, Error> {
        let catalogue = Catalogue::embedded();
        let mut settings = catalogue.settings();
        for change in layers::read(&catalogue, &sources)? {
            let setting = settings.iter_mut().find(|setting| setting.key == change.key).expect("layers only change keys of the catalogue");
            setting.value = change.value;
            setting.origin = change.origin;
        }
        Ok(Self { settings })
    }

    /// The settings of one section, such as `ingest`, as the struct of the module that it serves.
    ///
    /// # Errors
    /// When a value does not suit its field; the message names the key, the place and what would be right.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        section::read(&self.settings, name)
    }

    /// Every key, in the order of the embedded file, without the secrets.
    #[must_use]
    pub fn effective(&self) -> Vec<Entry> {
        self.settings.iter().map(Entry::of).collect()
    }
}

impl Entry {
    fn of(setting: &Setting) -> Self {
        let value = secrets::redacted(&setting.key, &setting.value).to_string();
        Self { key: setting.key.clone(), value, origin: setting.origin.to_string() }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.effective()).finish()
    }
}
