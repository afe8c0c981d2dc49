//! What is wrong with a statement, told to the person who wrote it: message, line, column, hint.

use std::fmt;

use axum::{extract::rejection::BytesRejection, http::StatusCode};
use datafusion::{
    common::{DataFusionError, SchemaError},
    sql::sqlparser::parser::ParserError,
};
use service::problem::Problem;

use crate::{
    bytes::INSTEAD_OF_TEXT,
    error::{Error, is_of_the_store},
    session::TABLES,
    suggest::{nearest, one_of},
};

/// The statements that pass.
const READ_ONLY: &str = "SQL is read-only here: SELECT, WITH, EXPLAIN, SHOW or DESCRIBE";
/// How a statement that passes begins.
const FIRST_WORDS: [&str; 9] = ["SELECT", "WITH", "EXPLAIN", "SHOW", "DESCRIBE", "DESC", "VALUES", "TABLE", "FROM"];
/// The most columns that a hint lists.
const MOST_COLUMNS: usize = 24;

/// Why a statement is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The request around the statement is wrong.
    Request,
    /// It is too long.
    TooLong,
    /// It is no SQL, or names what there is not.
    Invalid,
    /// It would do more than read.
    ReadOnly,
    /// It is right, but these rows cannot be computed: a division by zero, a text that is no number.
    Failed,
}

/// A statement that cannot be answered as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) struct BadStatement {
    kind: Kind,
    message: String,
    /// Line and column, both from 1.
    pub(super) place: Option<(u64, u64)>,
    hint: Option<String>,
}

impl fmt::Display for BadStatement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if let Some((line, column)) = self.place {
            write!(f, " (line {line}, column {column})")?;
        }
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
    }
}

impl BadStatement {
    fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), place: None, hint: None }
    }

    /// The request around the statement is wrong.
    pub(super) fn request(message: &str) -> Self {
        Self::new(Kind::Request, message)
    }

    /// The body cannot be read.
    pub(super) fn body(rejection: &BytesRejection) -> Self {
        let is_too_long = rejection.status() == StatusCode::PAYLOAD_TOO_LARGE;
        Self::new(if is_too_long { Kind::TooLong } else { Kind::Request }, rejection.body_text())
    }

    /// The statement is longer than `query.max_sql`.
    pub(super) fn too_long(bytes: usize, most: usize) -> Self {
        Self::new(Kind::TooLong, format!("the statement has {bytes} bytes; `query.max_sql` allows {most}"))
    }

    /// The statement nests deeper, or has more parts, than anybody writes by hand.
    pub(super) fn too_complex(message: &str, hint: &str) -> Self {
        Self { hint: Some(hint.to_owned()), ..Self::new(Kind::Invalid, message) }
    }

    /// The statement would do more than read.
    pub(super) fn read_only(statement: &str) -> Self {
        let word = first_word(statement);
        let hint = nearest(&word, FIRST_WORDS).filter(|known| *known != word).map(|known| format!("did you mean `{known}`?"));
        Self { hint, ..Self::new(Kind::ReadOnly, format!("`{word}` is not possible; {READ_ONLY}")) }
    }

    /// Two columns of an answer would have one name.
    pub(super) fn same_name(name: &str) -> Self {
        let hint = Some("give one an alias with AS, or ask for csv or arrow".to_owned());
        Self { hint, ..Self::new(Kind::Invalid, format!("two columns of the answer are named `{name}`")) }
    }

    /// A time would be shown in a time zone that does not exist.
    pub(super) fn no_time_zone(name: &str) -> Self {
        let hint = Some("a time zone is a name such as `Europe/Berlin`, or an offset such as `+01:00`".to_owned());
        Self { hint, ..Self::new(Kind::Invalid, format!("`{name}` is no time zone")) }
    }

    /// The answer of the contract; `line`, `column` and `hint` are members of their own as well.
    pub(crate) fn problem(&self) -> Problem {
        let (status, code) = match self.kind {
            Kind::Request => (StatusCode::BAD_REQUEST, "invalid_request"),
            Kind::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "sql_too_long"),
            Kind::Invalid => (StatusCode::BAD_REQUEST, "invalid_sql"),
            Kind::ReadOnly => (StatusCode::BAD_REQUEST, "read_only"),
            Kind::Failed => (StatusCode::UNPROCESSABLE_ENTITY, "sql_failed"),
        };
        let mut problem = Problem::new(status, code, self.to_string());
        if let Some((line, column)) = self.place {
            problem = problem.with_extension("line", line).with_extension("column", column);
        }
        match &self.hint {
            Some(hint) => problem.with_extension("hint", hint.as_str()),
            None => problem,
        }
    }
}

/// What is wrong with a text that does not parse. One that begins with a word of its own is a statement that is not possible.
pub(super) fn of_text(sql: &str, error: &DataFusionError) -> BadStatement {
    let word = first_word(sql);
    if word.is_empty() || FIRST_WORDS.contains(&word.as_str()) { of_statement(error) } else { BadStatement::read_only(sql) }
}

/// What is wrong with a statement that has no plan.
pub(super) fn of_statement(error: &DataFusionError) -> BadStatement {
    let diagnostic = error.diagnostic();
    let root = error.find_root();
    let (message, place) = split_place(&message(root));
    let span = diagnostic.and_then(|diagnostic| diagnostic.span).map(|span| (span.start.line, span.start.column));
    let message = diagnostic.map_or(message, |diagnostic| split_place(&diagnostic.message).0);
    BadStatement { hint: hint(root, &message), place: span.or(place), ..BadStatement::new(Kind::Invalid, message) }
}

/// What is wrong when a query that has a plan fails while it runs.
pub(super) fn of_run(error: DataFusionError) -> Error {
    let root = error.find_root();
    match root {
        DataFusionError::Execution(_) | DataFusionError::ArrowError(..) if !is_of_the_store(root) => {
            BadStatement::new(Kind::Failed, message(root)).into()
        }
        DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Configuration(_) => of_statement(&error).into(),
        _ => Error::from(error),
    }
}

fn first_word(sql: &str) -> String {
    let lines = sql.lines().map(str::trim_start).filter(|line| !line.starts_with("--"));
    let text = lines.collect::<Vec<_>>().join("\n");
    text.trim_start().chars().take_while(|character| character.is_alphanumeric() || *character == '_').collect::<String>().to_uppercase()
}

fn message(root: &DataFusionError) -> String {
    match root {
        DataFusionError::SQL(error, _) => match &**error {
            ParserError::TokenizerError(text) | ParserError::ParserError(text) => text.clone(),
            ParserError::RecursionLimitExceeded => "the statement is nested too deeply".to_owned(),
        },
        DataFusionError::SchemaError(error, _) => error.to_string(),
        other => other.message().lines().next().unwrap_or_default().trim_end_matches('.').to_owned(),
    }
}

/// A parser's message without the place that it ends with, and the place.
fn split_place(message: &str) -> (String, Option<(u64, u64)>) {
    let place = message.rsplit_once(" at Line: ").and_then(|(text, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        let column = column.split(|character: char| !character.is_ascii_digit()).next()?;
        Some((text.to_owned(), (line.parse().ok()?, column.parse().ok()?)))
    });
    match place {
        Some((text, place)) => (text, Some(place)),
        None => (message.to_owned(), None),
    }
}

fn hint(root: &DataFusionError, message: &str) -> Option<String> {
    match root {
        DataFusionError::SchemaError(error, _) => match &**error {
            SchemaError::FieldNotFound { field, valid_fields } => {
                Some(column_hint(field.name(), valid_fields.iter().map(|field| field.name())))
            }
            _ => None,
        },
        DataFusionError::Plan(text) if text.contains("Did you mean") => {
            text.split_once("Did you mean").map(|(_, hint)| format!("did you mean{}", hint.replace('\'', "`")))
        }
        _ if message.contains("received Binary") => Some(INSTEAD_OF_TEXT.to_owned()),
        _ if message.starts_with("table '") => message.split('\'').nth(1).map(table_hint),
        _ => None,
    }
}

fn column_hint<'a>(found: &str, columns: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(found, columns.clone()) {
        Some(column) => format!("did you mean `{column}`?"),
        None => format!("the columns are {}", columns.take(MOST_COLUMNS).collect::<Vec<_>>().join(", ")),
    }
}

fn table_hint(found: &str) -> String {
    let name = found.rsplit('.').next().unwrap_or(found);
    match nearest(name, TABLES) {
        Some(table) => format!("did you mean `{table}`?"),
        None => format!("the tables are {}", one_of(&TABLES).replace(" or ", " and ")),
    }
}
