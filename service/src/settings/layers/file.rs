//! The file layer: a TOML file with some of the keys. Every change knows its line.

use std::{fs, ops::Range, path::Path};

use serde_json::Value;
use toml_edit::{Document, Item, TableLike};

use super::{Change, Kind, wrong};
use crate::settings::{
    Error,
    catalogue::{Catalogue, join, json},
    origin::Origin,
};

pub(super) fn read(catalogue: &Catalogue, path: &Path) -> Result<Vec<Change>, Error> {
    let text = fs::read_to_string(path).map_err(|source| Error::Unreadable { path: path.to_owned(), source })?;
    let document = Document::parse(text.as_str()).map_err(|error| Error::Syntax {
        path: path.to_owned(),
        line: line(&text, error.span()),
        reason: error.message().to_owned(),
    })?;
    let mut reader = Reader { catalogue, path, text: &text, changes: Vec::new() };
    reader.table(document.as_table(), "")?;
    Ok(reader.changes)
}

struct Reader<'a> {
    catalogue: &'a Catalogue,
    path: &'a Path,
    text: &'a str,
    changes: Vec<Change>,
}

impl Reader<'_> {
    fn table(&mut self, table: &dyn TableLike, prefix: &str) -> Result<(), Error> {
        for (name, item) in table.iter() {
            let span = table.key(name).and_then(toml_edit::Key::span).or_else(|| item.span());
            let origin = Origin::File { path: self.path.to_owned(), line: line(self.text, span) };
            self.item(join(prefix, name), item, origin)?;
        }
        Ok(())
    }

    fn item(&mut self, key: String, item: &Item, origin: Origin) -> Result<(), Error> {
        if self.catalogue.is_section(&key) {
            let section = item.as_table_like().ok_or_else(|| not_a_section(&key, &origin))?;
            return self.table(section, &key);
        }
        match self.catalogue.default_of(&key) {
            Some(default) => {
                let value = value(item, default).map_err(|reason| wrong(&key, default, reason, &origin))?;
                self.changes.push(Change { key, value, origin });
                Ok(())
            }
            None => Err(self.catalogue.unknown(key, &origin)),
        }
    }
}

/// The item's value when it is of the same kind as the default. The reason never shows the value: it may be a secret.
fn value(item: &Item, default: &Value) -> Result<Value, String> {
    let expected = Kind::of(default);
    match item.as_value().and_then(json) {
        Some(value) if Kind::of(&value) == expected => Ok(value),
        Some(value) => Err(format!("expected {expected}, found {}", Kind::of(&value))),
        None => Err(format!("expected {expected}, found {}", item_kind(item))),
    }
}

fn item_kind(item: &Item) -> &'static str {
    if item.is_table_like() || item.is_array_of_tables() { "a table" } else { "a date, or a list of other things than text and numbers" }
}

fn not_a_section(key: &str, origin: &Origin) -> Error {
    Error::WrongValue {
        key: key.to_owned(),
        place: origin.to_string(),
        reason: "this is a section, not a key".to_owned(),
        example: format!("[{key}]"),
    }
}

/// The line, counted from 1, in which the span starts.
fn line(text: &str, span: Option<Range<usize>>) -> usize {
    let start = span.map_or(0, |span| span.start.min(text.len()));
    text.as_bytes()[..start].iter().filter(|byte| **byte == b'\n').count() + 1
}
