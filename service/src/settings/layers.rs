//! The layers above the defaults: file, environment, flags. Each becomes a list of checked [`Change`]s.

mod environment;
mod file;
mod kind;

use serde_json::Value;

use self::kind::Kind;
use super::{Error, Sources, catalogue::Catalogue, origin::Origin};

/// One layer sets one known key to a value of the right kind.
pub(super) struct Change {
    pub(super) key: String,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// All changes, lowest layer first, so that applying them in order lets the topmost layer win.
pub(super) fn read(catalogue: &Catalogue, sources: &Sources) -> Result<Vec<Change>, Error> {
    let mut changes = match &sources.file {
        Some(path) => file::read(catalogue, path)?,
        None => Vec::new(),
    };
    changes.extend(environment::read(catalogue, &sources.environment)?);
    for (key, text) in &sources.flags {
        changes.push(flag(catalogue, key, text)?);
    }
    Ok(changes)
}

fn flag(catalogue: &Catalogue, key: &str, text: &str) -> Result<Change, Error> {
    match catalogue.default_of(key) {
        Some(default) => Change::from_text(key, default, text, Origin::Flag),
        None => Err(catalogue.unknown(key.to_owned(), &Origin::Flag)),
    }
}

impl Change {
    /// The change that `text`, from the environment or a flag, asks for. The default says how to read it.
    fn from_text(key: &str, default: &Value, text: &str, origin: Origin) -> Result<Self, Error> {
        match Kind::of(default).read(text) {
            Ok(value) => Ok(Self { key: key.to_owned(), value, origin }),
            Err(reason) => Err(wrong(key, default, reason, &origin)),
        }
    }
}

/// The error for a value that does not suit its key. `reason` must not contain a secret.
pub(super) fn wrong(key: &str, default: &Value, reason: String, origin: &Origin) -> Error {
    let example = origin.assignment(key, &kind::example(default));
    Error::WrongValue { key: key.to_owned(), place: origin.to_string(), reason, example }
}
