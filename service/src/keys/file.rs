//! The file of keys: read whole, replaced whole, readable by its owner only.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::{KeyRecord, NewKey};
use crate::settings::Secret;

/// The file `keys.file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    path: PathBuf,
}

/// Why the file of keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// Look at the file, its folder and their owner.
    #[error("the file of keys `{}` cannot be read or written; see the setting `keys.file`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Repair the file, or remove it and make new keys.
    #[error("the file of keys `{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandom(#[source] getrandom::Error),
    /// No such key: `tidemark keys list` shows them.
    #[error("there is no key `{id}` in `{}`; `tidemark keys list` shows them", path.display())]
    Unknown {
        /// What was asked for.
        id: String,
        /// The file.
        path: PathBuf,
    },
}

#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Content {
    keys: Vec<KeyRecord>,
}

impl KeyFile {
    /// The file at this path, which need not exist.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The records in it; `None` when there is no such file.
    ///
    /// # Errors
    /// When it cannot be read, or is no file of keys.
    pub fn read(&self) -> Result<Option<Vec<KeyRecord>>, KeyFileError> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.failed(error)),
        };
        let content: Result<Content, _> = serde_json::from_slice(&text);
        content.map(|content| Some(content.keys)).map_err(|source| KeyFileError::Damaged { path: self.path.clone(), source })
    }

    /// Makes a key and adds its record; the key is in the answer and nowhere else.
    ///
    /// # Errors
    /// When the file cannot be read or written.
    pub fn add(&self, new: NewKey, now: DateTime<Utc>) -> Result<(Secret, KeyRecord), KeyFileError> {
        let (key, record) = new.make(now).map_err(KeyFileError::NoRandom)?;
        let added = record.clone();
        self.change(|keys| {
            keys.push(added);
            Ok(())
        })?;
        Ok((key, record))
    }

    /// Removes the record of a key: it opens nothing any more.
    ///
    /// # Errors
    /// When there is no such key, or the file cannot be read or written.
    pub fn revoke(&self, id: &str) -> Result<KeyRecord, KeyFileError> {
        self.change(|keys| {
            let found = keys.iter().position(|key| key.id == *id);
            found.map(|place| keys.remove(place)).ok_or_else(|| KeyFileError::Unknown { id: id.to_owned(), path: self.path.clone() })
        })
    }

    /// The folder is locked meanwhile, so that two changes at once do not undo each other.
    fn change<T>(&self, change: impl FnOnce(&mut Vec<KeyRecord>) -> Result<T, KeyFileError>) -> Result<T, KeyFileError> {
        let folder = self.folder();
        let lock = fs::create_dir_all(folder).and_then(|()| File::open(folder)).map_err(|error| self.failed(error))?;
        lock.lock().map_err(|error| self.failed(error))?;
        let mut keys = self.read()?.unwrap_or_default();
        let result = change(&mut keys)?;
        self.write(&Content { keys }).and_then(|()| lock.sync_all()).map_err(|error| self.failed(error))?;
        Ok(result)
    }

    /// A temporary file is readable by its owner only, and takes the place of the old one at once.
    fn write(&self, content: &Content) -> io::Result<()> {
        let mut file = NamedTempFile::new_in(self.folder())?;
        serde_json::to_writer_pretty(&mut file, content)?;
        file.write_all(b"\n")?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }

    fn folder(&self) -> &Path {
        self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
    }

    fn failed(&self, source: io::Error) -> KeyFileError {
        KeyFileError::Io { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, thread};

    use super::*;
    use crate::{keys::Scopes, limits::KeyLimits};

    fn new(name: &str) -> NewKey {
        NewKey { name: name.to_owned(), scopes: Scopes::all(), lifetime: None, limits: KeyLimits::default() }
    }

    #[test]
    fn keys_made_at_the_same_time_are_all_there_and_only_the_owner_can_read_them() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("new/keys.json"));
        assert!(file.read().unwrap().is_none());
        thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let file = file.clone();
                scope.spawn(move || (0..8).for_each(|_| drop(file.add(new(name), DateTime::UNIX_EPOCH).unwrap())));
            }
        });
        assert_eq!(file.read().unwrap().unwrap().len(), 32);
        assert_eq!(fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 1, "nothing is left over");
    }

    #[test]
    fn a_revoked_key_is_gone_and_an_unknown_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json"));
        let (_, record) = file.add(new("a"), DateTime::UNIX_EPOCH).unwrap();
        let id = record.id.to_string();
        file.revoke(&id).unwrap();
        assert_eq!(file.read().unwrap().unwrap().len(), 0);
        assert!(file.revoke(&id).unwrap_err().to_string().starts_with(&format!("there is no key `{id}` in `")));
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_no_keys() {
        let folder = tempfile::tempdir().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json"));
        fs::write(file.path(), r#"{"keys": [{"id": "x"}]}"#).unwrap();
        assert!(matches!(file.read(), Err(KeyFileError::Damaged { .. })));
    }
}
