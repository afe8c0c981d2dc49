//! The SQL statements that run: no more than a fixed number at once, each under an id by which it can be cancelled.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::http::{HeaderMap, HeaderName};
use service::keys::{Caller, KeyId};
use uuid::Uuid;

use crate::{cancel::Cancel, error::Error, params::BadParameter};

/// The header that carries the id, in both directions.
pub(crate) const X_QUERY_ID: HeaderName = HeaderName::from_static("x-query-id");
const LONGEST_ID: usize = 64;

/// Names a statement while it runs: a text, among those of the API key that it came with. So nobody cancels what another key has
/// started; where keys are off, all are one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct QueryId {
    text: String,
    owner: Option<KeyId>,
}

impl QueryId {
    /// The id that the client chose, so that it can cancel before the answer begins; else a new one.
    ///
    /// # Errors
    /// An id that is too long, or has other characters than letters, digits, `-` and `_`.
    pub(crate) fn of(headers: &HeaderMap, caller: Option<&Caller>) -> Result<Self, BadParameter> {
        let Some(value) = headers.get(&X_QUERY_ID) else { return Ok(Self::named(Uuid::now_v7().to_string(), caller)) };
        let is_plain = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let text = value.to_str().ok().filter(|text| (1..=LONGEST_ID).contains(&text.len())).filter(is_plain);
        let wrong = || BadParameter::new(X_QUERY_ID.as_str(), format!("must be 1 to {LONGEST_ID} letters, digits, `-` and `_`"));
        text.map(|text| Self::named(text.to_owned(), caller)).ok_or_else(wrong)
    }

    /// The id of this text, whatever it is.
    pub(crate) fn named(text: String, caller: Option<&Caller>) -> Self {
        let owner = match caller {
            Some(Caller::Key(key)) => Some(key.clone()),
            Some(Caller::Peer(_)) | None => None,
        };
        Self { text, owner }
    }

    /// As text.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

/// All statements that run.
pub(crate) struct Statements {
    most: usize,
    running: Mutex<HashMap<QueryId, Cancel>>,
}

/// A running statement's place; dropping it makes room for another.
pub(crate) struct Place {
    statements: Arc<Statements>,
    id: QueryId,
    cancel: Cancel,
}

impl Statements {
    /// Nothing runs yet, and at most so many will.
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, running: Mutex::default() })
    }

    /// A place for a statement.
    ///
    /// # Errors
    /// [`Error::TooMany`] when all are taken; an id that is in use.
    pub(crate) fn enter(self: &Arc<Self>, id: QueryId) -> Result<Place, Error> {
        let mut running = self.running();
        if running.len() >= self.most {
            return Err(Error::TooMany { most: self.most });
        }
        match running.entry(id.clone()) {
            Entry::Occupied(_) => Err(BadParameter::new(X_QUERY_ID.as_str(), format!("`{}` is running already", id.as_str())).into()),
            Entry::Vacant(place) => {
                let cancel = place.insert(Cancel::default()).clone();
                Ok(Place { statements: Arc::clone(self), id, cancel })
            }
        }
    }

    /// Ends the statement; false when there is none of that id.
    pub(crate) fn cancel(&self, id: &QueryId) -> bool {
        self.running().get(id).inspect(|cancel| cancel.give()).is_some()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<QueryId, Cancel>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// What ends the statement.
    pub(crate) fn cancel(&self) -> Cancel {
        self.cancel.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.statements.running().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_cancelled_by_the_key_that_started_it_and_by_no_other() {
        let caller = |key: &str| Caller::Key(serde_json::from_value(key.into()).unwrap());
        let id = |caller: Option<&Caller>| QueryId::named("mine".to_owned(), caller);
        let statements = Statements::new(3);
        let (one, other) = (caller("key-1"), caller("key-2"));
        let place = statements.enter(id(Some(&one))).unwrap();
        let of_nobody = statements.enter(id(None)).unwrap();
        assert!(!statements.cancel(&id(Some(&other))));
        assert!(!place.cancel().is_given());
        assert!(statements.cancel(&id(Some(&one))));
        assert!(place.cancel().is_given() && !of_nobody.cancel().is_given());
    }
}
