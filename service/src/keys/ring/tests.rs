use std::{fs, time::Duration};

use chrono::DateTime;
use tempfile::TempDir;

use super::*;
use crate::{keys::NewKey, limits::KeyLimits};

const START: DateTime<chrono::Utc> = DateTime::UNIX_EPOCH;
const ROOT: &str = "0123456789abcdef0123456789abcdef";

struct Fixture {
    folder: TempDir,
    clock: Clock,
}

impl Fixture {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), clock: Clock::manual(START) }
    }

    fn file(&self) -> KeyFile {
        KeyFile::new(self.folder.path().join("keys.json"))
    }

    fn ring(&self, root_key: &str) -> Result<KeyRing, KeysError> {
        let config = Config { file: self.file().path().to_owned(), root_key: Secret::new(root_key) };
        KeyRing::open(config, self.clock.clone())
    }

    fn add(&self, scopes: &str, lifetime: Option<Duration>) -> (String, KeyId) {
        let new = NewKey { name: String::new(), scopes: scopes.parse().unwrap(), lifetime, limits: KeyLimits::default() };
        let (key, record) = self.file().add(new, self.clock.now()).unwrap();
        (key.expose().to_owned(), record.id)
    }
}

fn check(ring: &KeyRing, key: &str, needed: Scope) -> Result<KeyId, Refusal> {
    let headers = HeaderMap::from_iter([(http::HeaderName::from_static("x-api-key"), HeaderValue::from_str(key).unwrap())]);
    ring.check(&headers, needed).map(|record| record.id)
}

#[test]
fn several_keys_are_valid_at_once_each_for_its_scopes() {
    let fixture = Fixture::new();
    let (first, first_id) = fixture.add("ingest", None);
    let (second, second_id) = fixture.add("ingest,query", None);
    let ring = fixture.ring(ROOT).unwrap();
    assert_eq!(check(&ring, &first, Scope::Ingest).unwrap(), first_id);
    assert_eq!(check(&ring, &second, Scope::Ingest).unwrap(), second_id);
    assert_eq!(check(&ring, &second, Scope::Query).unwrap(), second_id);
    assert_eq!(check(&ring, &first, Scope::Query), Err(Refusal::OtherScope { id: first_id, needed: Scope::Query }));
    for scope in [Scope::Ingest, Scope::Query, Scope::Admin] {
        assert_eq!(check(&ring, ROOT, scope).unwrap().to_string(), "root");
    }
    for wrong in ["", "tm_", &first[..first.len() - 1], &format!("{first}0"), &first.to_uppercase()] {
        assert_eq!(check(&ring, wrong, Scope::Ingest), Err(Refusal::Unknown), "{wrong}");
    }
    assert_eq!(ring.check(&HeaderMap::new(), Scope::Ingest).unwrap_err(), Refusal::Missing);
}

#[test]
fn a_key_ends_at_its_expiry() {
    let fixture = Fixture::new();
    let (key, id) = fixture.add("ingest", Some(Duration::from_secs(60)));
    let ring = fixture.ring("").unwrap();
    fixture.clock.advance(Duration::from_secs(59));
    assert_eq!(check(&ring, &key, Scope::Ingest), Ok(id.clone()));
    assert!(ring.has_valid_key());
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(check(&ring, &key, Scope::Ingest), Err(Refusal::Expired(id)));
    assert!(ring.is_on() && !ring.has_valid_key());
}

#[test]
fn keys_are_on_once_there_was_a_file_and_a_lost_or_damaged_one_changes_nothing() {
    let fixture = Fixture::new();
    let ring = fixture.ring("").unwrap();
    assert!(!ring.is_on());
    let (key, id) = fixture.add("ingest", None);
    ring.refresh();
    assert_eq!(check(&ring, &key, Scope::Ingest), Ok(id.clone()));
    fs::write(fixture.file().path(), "{").unwrap();
    ring.refresh();
    assert_eq!(check(&ring, &key, Scope::Ingest), Ok(id.clone()));
    fs::remove_file(fixture.file().path()).unwrap();
    ring.refresh();
    assert_eq!(check(&ring, &key, Scope::Ingest), Ok(id));
}

#[test]
fn a_revoked_key_is_unknown_and_an_empty_file_lets_nobody_in() {
    let fixture = Fixture::new();
    let (key, id) = fixture.add("ingest", None);
    let ring = fixture.ring("").unwrap();
    fixture.file().revoke(&id.to_string()).unwrap();
    ring.refresh();
    assert_eq!(check(&ring, &key, Scope::Ingest), Err(Refusal::Unknown));
    assert!(ring.is_on() && !ring.has_valid_key());
}

#[test]
fn a_short_root_key_is_refused() {
    let error = Fixture::new().ring("secret").unwrap_err().to_string();
    assert!(error.starts_with("`keys.root_key` has 6 characters; it must be random") && !error.contains("secret"), "{error}");
}
