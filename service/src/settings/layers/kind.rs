//! What a key takes. Its default says so.

use std::fmt;

use serde_json::{Value, json};
use toml_edit::Document;

use crate::settings::catalogue;

/// The kind of a value. Durations and sizes are text here; their own types check them in [`super::super::section`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    Boolean,
    List,
}

impl Kind {
    pub(super) const fn of(value: &Value) -> Self {
        match value {
            Value::Number(_) => Self::Number,
            Value::Bool(_) => Self::Boolean,
            Value::Array(_) => Self::List,
            Value::String(_) | Value::Null | Value::Object(_) => Self::Text,
        }
    }

    /// Reads a value of this kind from the environment or a flag, or says why it is none.
    pub(super) fn read(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Text => Ok(Value::from(text)),
            Self::Number => text.parse::<i64>().map(Value::from).map_err(|_| format!("`{text}` is not a whole number")),
            Self::Boolean => text.parse::<bool>().map(Value::from).map_err(|_| format!("`{text}` is neither `true` nor `false`")),
            Self::List => list(text).ok_or_else(|| format!("`{text}` is not a list")),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text => "text in quotes",
            Self::Number => "a number",
            Self::Boolean => "true or false",
            Self::List => "a list",
        })
    }
}

/// A value that suits the key: its default, or where that is empty the shape of one.
pub(super) fn example(default: &Value) -> Value {
    match default {
        Value::String(text) if text.is_empty() => json!("..."),
        Value::Array(items) if items.is_empty() => json!(["a", "b"]),
        other => other.clone(),
    }
}

/// `a,b` or `["a", "b"]`; an empty text is an empty list.
fn list(text: &str) -> Option<Value> {
    if text.trim_start().starts_with('[') {
        let document = Document::parse(format!("list = {text}")).ok()?;
        return document.get("list")?.as_value().and_then(catalogue::json).filter(Value::is_array);
    }
    Some(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(Value::from).collect())
}
