//! What a key is for.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// One thing that a key may do. Scopes do not include each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Send events.
    Ingest,
    /// Ask for metrics, statistics and SQL.
    Query,
    /// Read the internal ports: Prometheus, and what a pipeline has not committed yet.
    Admin,
}

/// What a key may do.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Scopes(BTreeSet<Scope>);

/// Text that names no scope.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is not a scope; scopes are ingest, query and admin, several are joined by commas")]
pub struct ParseScopeError {
    text: String,
}

const ALL: [Scope; 3] = [Scope::Ingest, Scope::Query, Scope::Admin];

impl Scope {
    /// The name, as settings and answers write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingest => "ingest",
            Self::Query => "query",
            Self::Admin => "admin",
        }
    }
}

impl Scopes {
    /// Every scope.
    #[must_use]
    pub fn all() -> Self {
        Self(ALL.into())
    }

    /// Whether the scope is among them.
    #[must_use]
    pub fn has(&self, scope: Scope) -> bool {
        self.0.contains(&scope)
    }
}

impl FromStr for Scopes {
    type Err = ParseScopeError;

    fn from_str(text: &str) -> Result<Self, ParseScopeError> {
        let scope = |name: &str| {
            let found = ALL.into_iter().find(|scope| scope.as_str() == name);
            found.ok_or_else(|| ParseScopeError { text: name.to_owned() })
        };
        text.split(',').map(|name| scope(name.trim())).collect::<Result<_, _>>().map(Self)
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.0.iter().map(|scope| scope.as_str()).collect();
        f.write_str(&names.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_written() {
        assert_eq!("ingest, query".parse::<Scopes>().unwrap().to_string(), "ingest,query");
        for text in ["", "ingest,", "write", "Ingest"] {
            assert!(text.parse::<Scopes>().is_err(), "{text:?}");
        }
    }
}
