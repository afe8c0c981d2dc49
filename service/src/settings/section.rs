//! One section as a struct: a serde deserializer over the effective settings.
//!
//! It exists so that an error in one value knows its key, and through it the place and an example; nested sections become
//! nested structs. The values themselves are read by `serde_json`.

use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, Visitor};

use super::{Error, Setting, catalogue::join, layers, secrets::is_secret};

pub(super) fn read<T: DeserializeOwned>(settings: &[Setting], name: &str) -> Result<T, Error> {
    T::deserialize(Section { settings, name }).map_err(|misfit| misfit.explain(settings, name))
}

/// The settings whose keys start with `name.`.
struct Section<'a> {
    settings: &'a [Setting],
    name: &'a str,
}

impl<'a> Section<'a> {
    /// The names directly below this section: of keys, and of sections inside it.
    fn fields(&self) -> Vec<&'a str> {
        let inside = |setting: &'a Setting| setting.key.strip_prefix(self.name)?.strip_prefix('.');
        let mut fields: Vec<_> =
            self.settings.iter().filter_map(inside).map(|rest| rest.split_once('.').map_or(rest, |(section, _)| section)).collect();
        fields.dedup();
        fields
    }
}

impl<'de> de::Deserializer<'de> for Section<'_> {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_map(Fields { fields: self.fields().into_iter(), section: self, current: String::new() })
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Fields<'a> {
    section: Section<'a>,
    fields: std::vec::IntoIter<&'a str>,
    current: String,
}

impl<'de> MapAccess<'de> for Fields<'_> {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        let Some(field) = self.fields.next() else { return Ok(None) };
        self.current = join(self.section.name, field);
        seed.deserialize(field.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        match self.section.settings.iter().find(|setting| setting.key == self.current) {
            Some(setting) => seed.deserialize(setting.value.clone()).map_err(|error| Misfit::of(&setting.key, &error)),
            None => seed.deserialize(Section { settings: self.section.settings, name: &self.current }),
        }
    }
}

/// What serde says, and the key it says it of; no key when the struct itself does not fit the section.
#[derive(Debug)]
struct Misfit {
    key: Option<String>,
    reason: String,
}

impl Misfit {
    fn of(key: &str, error: &serde_json::Error) -> Self {
        let reason = if is_secret(key) { "the value does not suit".to_owned() } else { error.to_string() };
        Self { key: Some(key.to_owned()), reason }
    }

    fn explain(self, settings: &[Setting], section: &str) -> Error {
        match settings.iter().find(|setting| Some(&setting.key) == self.key.as_ref()) {
            Some(setting) => layers::wrong(&setting.key, &setting.default, self.reason, &setting.origin),
            None => Error::Section { section: section.to_owned(), reason: self.reason },
        }
    }
}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(reason: T) -> Self {
        Self { key: None, reason: reason.to_string() }
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Misfit {}
