//! What is kept of a key, and how a new one is made.

use std::{fmt, time::Duration};

use blake3::Hash;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use subtle::{Choice, ConstantTimeEq};

use super::{Scope, Scopes};
use crate::{limits::KeyLimits, settings::Secret};

/// What every key begins with, so that people and secret scanners know one when they see it.
const PREFIX: &str = "tm_";
const RANDOM_BYTES: usize = 32;
const ID_DIGITS: usize = 8;
/// How many of a key's last characters are kept for people to recognise it.
const ENDING: usize = 4;

/// The name of a key in lists and logs: eight hex digits, which tell nothing about the key itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(transparent)]
pub struct KeyId(String);

/// What is kept of a key: everything but the key.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRecord {
    /// Names the key.
    pub id: KeyId,
    /// What its owner calls it; may be empty.
    #[serde(default)]
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// When it was made.
    pub created: DateTime<Utc>,
    /// When it ends; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<DateTime<Utc>>,
    /// Its last characters.
    pub ends_with: String,
    /// Its own rates, in place of those of the section `limits`.
    #[serde(default, skip_serializing_if = "KeyLimits::is_empty")]
    pub limits: KeyLimits,
    #[serde(with = "hex_hash")]
    hash: Hash,
}

/// What a new key shall be.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// What its owner calls it.
    pub name: String,
    /// What it may do.
    pub scopes: Scopes,
    /// How long it is valid; for ever when absent.
    pub lifetime: Option<Duration>,
    /// Its own rates.
    pub limits: KeyLimits,
}

impl NewKey {
    /// Makes the key, and the record of it. The key itself is kept nowhere.
    pub(super) fn make(self, now: DateTime<Utc>) -> Result<(Secret, KeyRecord), getrandom::Error> {
        let mut random = [0; RANDOM_BYTES];
        getrandom::fill(&mut random)?;
        let key = format!("{PREFIX}{}", Hash::from_bytes(random).to_hex());
        let record = KeyRecord {
            id: KeyId::of(&key),
            name: self.name,
            scopes: self.scopes,
            created: now,
            expires: self.lifetime.and_then(|lifetime| now.checked_add_signed(chrono::Duration::from_std(lifetime).ok()?)),
            ends_with: key[key.len() - ENDING..].to_owned(),
            limits: self.limits,
            hash: blake3::hash(key.as_bytes()),
        };
        Ok((Secret::new(key), record))
    }
}

impl KeyRecord {
    /// The record of the key that the settings bring, which may do everything.
    pub(super) fn of_root(key: &Secret) -> Self {
        Self {
            id: KeyId("root".to_owned()),
            name: "keys.root_key".to_owned(),
            scopes: Scopes::all(),
            created: DateTime::UNIX_EPOCH,
            expires: None,
            ends_with: String::new(),
            limits: KeyLimits::default(),
            hash: blake3::hash(key.expose().as_bytes()),
        }
    }

    /// Whether this is the record of the key with this hash, in the same time whatever the answer.
    pub(super) fn is_of(&self, hash: &Hash) -> Choice {
        self.hash.as_bytes().ct_eq(hash.as_bytes())
    }

    /// Whether the key opens nothing any more.
    #[must_use]
    pub fn has_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    pub(super) fn may(&self, scope: Scope) -> bool {
        self.scopes.has(scope)
    }
}

impl KeyId {
    /// Of a hash of the key under another name, so that the id says nothing about the hash that is kept.
    fn of(key: &str) -> Self {
        let hash = blake3::derive_key("tidemark 2026 id of an API key", key.as_bytes());
        Self(Hash::from_bytes(hash).to_hex()[..ID_DIGITS].to_owned())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for KeyId {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

/// A hash as 64 hex digits.
mod hex_hash {
    use blake3::Hash;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(hash: &Hash, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hash.to_hex())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = String::deserialize(deserializer)?;
        Hash::from_hex(text).map_err(|_| D::Error::custom("a hash is 64 hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_of_a_key_does_not_contain_it() {
        let new = NewKey { name: "web".into(), scopes: Scopes::all(), lifetime: None, limits: KeyLimits::default() };
        let (key, record) = new.make(DateTime::UNIX_EPOCH).unwrap();
        assert_eq!(key.expose().len(), PREFIX.len() + 2 * RANDOM_BYTES);
        assert!(bool::from(record.is_of(&blake3::hash(key.expose().as_bytes()))));
        let kept = serde_json::to_string(&record).unwrap();
        let random = &key.expose()[PREFIX.len()..];
        assert!((0..random.len() - ENDING).all(|start| !kept.contains(&random[start..start + ENDING + 1])), "{kept}");
    }
}
