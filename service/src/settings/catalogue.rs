//! The known keys: those of the embedded `config/tidemark.toml`, with their defaults.

use serde_json::Value;
use toml_edit::{Document, TableLike};

use super::{
    Error, Setting,
    origin::{Origin, variable},
};

pub(super) const EMBEDDED: &str = include_str!("../../../config/tidemark.toml");

/// A suggestion below this similarity (0 = nothing in common, 1 = equal) confuses more than it helps.
const LEAST_SIMILARITY: f64 = 0.6;

/// Every known key and section, in the order of the embedded file.
pub(super) struct Catalogue {
    defaults: Vec<(String, Value)>,
    sections: Vec<String>,
}

impl Catalogue {
    pub(super) fn embedded() -> Self {
        let document = Document::parse(EMBEDDED).expect("the embedded settings are valid TOML; a test reads them");
        let mut catalogue = Self { defaults: Vec::new(), sections: Vec::new() };
        catalogue.add(document.as_table(), "");
        catalogue
    }

    fn add(&mut self, table: &dyn TableLike, prefix: &str) {
        for (name, item) in table.iter() {
            let key = join(prefix, name);
            if let Some(section) = item.as_table_like() {
                self.sections.push(key.clone());
                self.add(section, &key);
            } else if let Some(value) = item.as_value().and_then(json) {
                self.defaults.push((key, value));
            }
        }
    }

    /// Every key with its default in force.
    pub(super) fn settings(&self) -> Vec<Setting> {
        let setting = |(key, default): &(String, Value)| Setting {
            key: key.clone(),
            default: default.clone(),
            value: default.clone(),
            origin: Origin::Default,
        };
        self.defaults.iter().map(setting).collect()
    }

    pub(super) fn default_of(&self, key: &str) -> Option<&Value> {
        self.defaults.iter().find(|(known, _)| known == key).map(|(_, default)| default)
    }

    /// The key whose environment variable this is, and its default.
    pub(super) fn of_variable(&self, name: &str) -> Option<(&str, &Value)> {
        self.defaults.iter().find(|(key, _)| variable(key) == name).map(|(key, default)| (key.as_str(), default))
    }

    pub(super) fn is_section(&self, key: &str) -> bool {
        self.sections.iter().any(|section| section == key)
    }

    /// The error for a key that is not here, with the known key that resembles it most.
    pub(super) fn unknown(&self, key: String, origin: &Origin) -> Error {
        let known = self.defaults.iter().map(|(known, _)| known).chain(&self.sections);
        let similarity = |known: &String| strsim::normalized_damerau_levenshtein(&key, &origin.name(known));
        let best = known.map(|known| (similarity(known), known)).max_by(|(a, _), (b, _)| a.total_cmp(b));
        let nearest = best.filter(|(similarity, _)| *similarity >= LEAST_SIMILARITY).map(|(_, known)| origin.name(known));
        Error::UnknownKey { key, place: origin.to_string(), nearest }
    }
}

pub(super) fn join(prefix: &str, name: &str) -> String {
    if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") }
}

/// A TOML value as JSON; `None` for what no setting is: dates, tables, and lists of these.
pub(super) fn json(value: &toml_edit::Value) -> Option<Value> {
    match value {
        toml_edit::Value::String(text) => Some(Value::from(text.value().as_str())),
        toml_edit::Value::Integer(number) => Some(Value::from(*number.value())),
        toml_edit::Value::Float(number) => Some(Value::from(*number.value())),
        toml_edit::Value::Boolean(truth) => Some(Value::from(*truth.value())),
        toml_edit::Value::Array(items) => items.iter().map(json).collect::<Option<Vec<_>>>().map(Value::from),
        toml_edit::Value::Datetime(_) | toml_edit::Value::InlineTable(_) => None,
    }
}
