//! The place that a value came from, and how one writes a value there.

use std::{fmt, path::PathBuf};

use serde_json::Value;

/// The place that set a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    File { path: PathBuf, line: usize },
    Environment { variable: String },
    Flag,
}

impl Origin {
    /// `key` set to `value`, as one would write it in this place.
    pub(super) fn assignment(&self, key: &str, value: &Value) -> String {
        match self {
            Self::Default | Self::File { .. } => format!("{} = {value}", last_segment(key)),
            Self::Environment { .. } => format!("{}={}", variable(key), bare(value)),
            Self::Flag => format!("--set {key}={}", bare(value)),
        }
    }

    /// A known key, as one would name it in this place.
    pub(super) fn name(&self, key: &str) -> String {
        match self {
            Self::Environment { .. } => variable(key),
            Self::Default | Self::File { .. } | Self::Flag => key.to_owned(),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "file {}:{line}", path.display()),
            Self::Environment { variable } => write!(f, "environment {variable}"),
            Self::Flag => f.write_str("flag --set"),
        }
    }
}

/// The environment variable of a key: `table.s3.endpoint` is `TIDEMARK__TABLE__S3__ENDPOINT`.
pub(super) fn variable(key: &str) -> String {
    format!("TIDEMARK__{}", key.to_uppercase().replace('.', "__"))
}

/// The key's own name, without its section.
pub(super) fn last_segment(key: &str) -> &str {
    key.rsplit('.').next().unwrap_or(key)
}

/// A value as environment and flags take it: text without quotes, a list as TOML.
fn bare(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(_) => format!("'{value}'"),
        other => other.to_string(),
    }
}
