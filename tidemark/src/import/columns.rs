//! An event made of named cells: what CSV and Parquet have in common.
//!
//! A column with the name of a field is that field. Columns that only Tidemark's own tables have are left out. The others become
//! members of `metadata`, unless that has a member of this name already.

use std::borrow::Cow;

use anyhow::ensure;
use schemas::raw::Field;
use serde_json::{Value, value::RawValue};

use super::Others;
use crate::members::Members;

/// Columns of the tables that no client sends.
const OF_THE_TABLE: [&str; 5] = ["event_date", "received_at", "_shard", "_sequence", "_index"];
const SEPARATOR_OF_TAGS: char = ',';

/// What the cells of a column become.
#[derive(Debug, PartialEq, Eq)]
enum Role {
    Field(Field),
    /// A member of `metadata`, under this name.
    Member(String),
    Nothing,
}

/// The columns of a file.
#[derive(Debug)]
pub(super) struct Columns(Vec<Role>);

/// What stands in a cell.
#[derive(Clone, Debug)]
pub(super) enum Cell<'a> {
    /// A text, of which nobody knows whether it is meant as a number.
    Text(Cow<'a, str>),
    /// A JSON value that means what it is.
    Json(&'a str),
}

impl Columns {
    /// The columns of these names.
    ///
    /// # Errors
    /// When no column can be the name of the event, or two are the same field.
    pub(super) fn new<'n>(names: impl IntoIterator<Item = &'n str>, others: Others) -> anyhow::Result<Self> {
        let roles: Vec<Role> = names.into_iter().map(|name| Role::of(name.trim(), others)).collect();
        for field in Field::ALL {
            let times = roles.iter().filter(|role| **role == Role::Field(field)).count();
            ensure!(times < 2, "{times} columns are `{}`", field.name());
        }
        ensure!(
            roles.contains(&Role::Field(Field::EventName)),
            "no column is called `event_name` or `event_type`; columns have the names of the fields of an event, in CSV in the first line"
        );
        Ok(Self(roles))
    }

    /// The number of columns.
    pub(super) const fn len(&self) -> usize {
        self.0.len()
    }

    /// The field that a column is.
    pub(super) fn field(&self, column: usize) -> Option<Field> {
        match self.0.get(column) {
            Some(Role::Field(field)) => Some(*field),
            _ => None,
        }
    }

    /// The event of one row, as JSON; a cell without a value is `None`.
    pub(super) fn event<'a>(&self, cells: impl IntoIterator<Item = Option<Cell<'a>>>) -> Vec<u8> {
        let (mut members, mut metadata, mut others) = (Vec::new(), None, Vec::new());
        for (role, cell) in self.0.iter().zip(cells) {
            match (role, cell) {
                (_, None) | (Role::Nothing, _) => {}
                (Role::Field(Field::Metadata), Some(cell)) => metadata = Some(cell.as_object()),
                (Role::Field(field), Some(cell)) => members.push(format!("\"{}\":{}", field.name(), cell.as_field(*field))),
                (Role::Member(name), Some(cell)) => others.push((name.as_str(), cell.as_member())),
            }
        }
        members.extend(with_others(metadata, &others).map(|metadata| format!("\"metadata\":{metadata}")));
        format!("{{{}}}", members.join(",")).into_bytes()
    }
}

impl Role {
    fn of(name: &str, others: Others) -> Self {
        let field = Field::named(&name.to_ascii_lowercase());
        match (field, others) {
            (Some(field), _) => Self::Field(field),
            (None, _) if OF_THE_TABLE.contains(&name) || name.is_empty() => Self::Nothing,
            (None, Others::Metadata) => Self::Member(name.to_owned()),
            (None, Others::Ignore) => Self::Nothing,
        }
    }
}

impl Cell<'_> {
    /// As the JSON that the door expects of a field, or that it refuses.
    fn as_field(&self, field: Field) -> String {
        match (field, self) {
            (Field::Timestamp, Self::Text(text)) if is_number(text) => text.trim().to_owned(),
            (Field::Tags, Self::Text(text)) => tags(text),
            (_, Self::Text(text)) => quoted(text),
            (Field::Timestamp | Field::Tags, Self::Json(json)) => (*json).to_owned(),
            (_, Self::Json(json)) if is_number(json) => quoted(json),
            (_, Self::Json(json)) => (*json).to_owned(),
        }
    }

    /// As the value of `metadata`: an object where it is one, also when it comes as a text.
    fn as_object(&self) -> String {
        match self {
            Self::Json(json) => (*json).to_owned(),
            Self::Text(text) if serde_json::from_str::<Members>(text).is_ok() => text.trim().to_owned(),
            Self::Text(text) => quoted(text),
        }
    }

    /// As a member of `metadata`: numbers and truth values are such, digit by digit.
    fn as_member(&self) -> String {
        match self {
            Self::Json(json) => (*json).to_owned(),
            Self::Text(text) if is_number(text) || matches!(text.as_ref(), "true" | "false") => text.trim().to_owned(),
            Self::Text(text) => quoted(text),
        }
    }
}

/// `metadata` with the other columns behind its own members; it stays as it is when there are none, or when it is no object.
fn with_others(metadata: Option<String>, others: &[(&str, String)]) -> Option<String> {
    let own = match &metadata {
        Some(metadata) if others.is_empty() => return Some(metadata.clone()),
        Some(metadata) => match serde_json::from_str::<Members>(metadata) {
            Ok(Members(members)) => members,
            Err(_) => return Some(metadata.clone()),
        },
        None => Vec::new(),
    };
    let new = others.iter().filter(|(name, _)| own.iter().all(|(own, _)| own != name));
    let new = new.map(|(name, value)| format!("{}:{value}", quoted(name)));
    let all: Vec<String> = own.iter().map(|(name, value)| format!("{}:{value}", quoted(name))).chain(new).collect();
    (metadata.is_some() || !all.is_empty()).then(|| format!("{{{}}}", all.join(",")))
}

/// A JSON list of texts, or texts with commas between them.
fn tags(text: &str) -> String {
    let is_list = text.trim_start().starts_with('[') && serde_json::from_str::<&RawValue>(text).is_ok();
    match is_list {
        true => text.trim().to_owned(),
        false => {
            let tags = text.split(SEPARATOR_OF_TAGS).map(str::trim).filter(|tag| !tag.is_empty());
            Value::from(tags.collect::<Vec<_>>()).to_string()
        }
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Whether a text is a number as JSON writes it: no leading zero, so that a postal code stays a text.
fn is_number(text: &str) -> bool {
    let text = text.trim();
    text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) && serde_json::from_str::<&RawValue>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(names: &[&str], cells: &[&str]) -> String {
        let columns = Columns::new(names.iter().copied(), Others::Metadata).unwrap();
        let cells = cells.iter().map(|cell| (!cell.is_empty()).then_some(Cell::Text(Cow::Borrowed(*cell))));
        String::from_utf8(columns.event(cells)).unwrap()
    }

    #[test]
    fn a_column_is_the_field_of_its_name_and_every_other_one_a_member_of_metadata() {
        assert_eq!(
            event(
                &["Event_Type", "user_id", "timestamp", "tags", "price", "zip", "ok", "note", "_index"],
                &["a", "42", "1795000000", "x, y", "19.90", "01234", "true", "\"hi\"", "7"]
            ),
            r#"{"event_name":"a","user_id":"42","timestamp":1795000000,"tags":["x","y"],"metadata":{"price":19.90,"zip":"01234","ok":true,"note":"\"hi\""}}"#
        );
        assert_eq!(
            event(&["event_name", "timestamp", "tags", "channel"], &["a", "2026-11-21T09:30:00Z", r#"["x,y"]"#, ""]),
            r#"{"event_name":"a","timestamp":"2026-11-21T09:30:00Z","tags":["x,y"]}"#
        );
    }

    #[test]
    fn metadata_stays_as_it_is_and_wins_over_a_column_of_the_same_name() {
        let own = r#"{"n": 1.50,"a":[1, 2]}"#;
        assert_eq!(event(&["event_name", "metadata"], &["a", own]), format!(r#"{{"event_name":"a","metadata":{own}}}"#));
        assert_eq!(
            event(&["event_name", "n", "metadata", "m"], &["a", "7", own, "8"]),
            r#"{"event_name":"a","metadata":{"n":1.50,"a":[1, 2],"m":8}}"#
        );
        assert_eq!(event(&["event_name", "metadata"], &["a", "oops"]), r#"{"event_name":"a","metadata":"oops"}"#);
    }

    #[test]
    fn a_header_without_a_name_or_with_a_field_twice_is_refused() {
        let refused = |names: &[&str]| Columns::new(names.iter().copied(), Others::Ignore).unwrap_err().to_string();
        assert!(refused(&["a", "b"]).contains("no column is called `event_name`"));
        assert!(refused(&["event_name", "event_type"]).contains("2 columns are `event_name`"));
    }
}
