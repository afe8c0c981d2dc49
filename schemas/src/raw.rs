//! JSON as sent: one pass over the bytes, borrowing, keeping what a client wrote until [`crate::event`] judges it.
//!
//! ```text
//! bytes -> Body::One(RawEvent)              an object
//!       -> Body::Many(Events) -> Item ...   a list, {"events": [...]}, or NDJSON: one after the other, nothing is gathered
//! ```
//!
//! Only broken JSON fails here, with line and column. A field of the wrong type is kept as it is, so that one bad item
//! of a bulk request does not take the good ones with it.

use std::{borrow::Cow, fmt};

use crate::{
    cloud_event::{self, Attribute},
    json::{self, Broken, line_and_column},
    violation::{Code, Violation},
};

mod body;
mod read;

pub use body::{Body, Events, Item, Unreadable};

/// The most unknown keys that are remembered, for messages.
const UNKNOWN_KEPT: usize = 16;

/// The fields that an event may have. `event_type` is another name of `event_name`.
///
/// The order is part of every [`crate::Identity`]: fields are only ever added at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// `timestamp`, the event time.
    Timestamp,
    /// `event_id`, the client's own id.
    EventId,
    /// `event_name` or `event_type`.
    EventName,
    /// `user_id`.
    UserId,
    /// `channel`.
    Channel,
    /// `campaign_id`.
    CampaignId,
    /// `site_id`.
    SiteId,
    /// `path`.
    Path,
    /// `tags`, a list of texts.
    Tags,
    /// `metadata`, any JSON object.
    Metadata,
}

impl Field {
    /// All fields, in the order of the table.
    pub const ALL: [Self; 10] = [
        Self::Timestamp,
        Self::EventId,
        Self::EventName,
        Self::UserId,
        Self::Channel,
        Self::CampaignId,
        Self::SiteId,
        Self::Path,
        Self::Tags,
        Self::Metadata,
    ];

    /// The name in JSON and in the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Timestamp => "timestamp",
            Self::EventId => "event_id",
            Self::EventName => "event_name",
            Self::UserId => "user_id",
            Self::Channel => "channel",
            Self::CampaignId => "campaign_id",
            Self::SiteId => "site_id",
            Self::Path => "path",
            Self::Tags => "tags",
            Self::Metadata => "metadata",
        }
    }

    /// The field that a JSON key names.
    #[must_use]
    pub fn named(key: &str) -> Option<Self> {
        match key {
            "timestamp" => Some(Self::Timestamp),
            "event_id" => Some(Self::EventId),
            "event_name" | "event_type" => Some(Self::EventName),
            "user_id" => Some(Self::UserId),
            "channel" => Some(Self::Channel),
            "campaign_id" => Some(Self::CampaignId),
            "site_id" => Some(Self::SiteId),
            "path" => Some(Self::Path),
            "tags" => Some(Self::Tags),
            "metadata" => Some(Self::Metadata),
            _ => None,
        }
    }
}

/// Whose names the fields of a request have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dialect {
    /// Our own.
    #[default]
    Tidemark,
    /// The attributes of `CloudEvents` 1.0.
    CloudEvents,
}

impl Dialect {
    /// The name of a field in a request; the same in pointers and messages.
    #[must_use]
    pub fn name(self, field: Field) -> &'static str {
        match self {
            Self::Tidemark => field.name(),
            Self::CloudEvents => cloud_event::name(field).unwrap_or(field.name()),
        }
    }

    /// All names that are fields.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        Field::ALL.into_iter().filter_map(move |field| match self {
            Self::Tidemark => Some(field.name()),
            Self::CloudEvents => cloud_event::name(field),
        })
    }

    fn field(self, key: &str) -> Option<Field> {
        match self {
            Self::Tidemark => Field::named(key),
            Self::CloudEvents => Field::ALL.into_iter().find(|field| cloud_event::name(*field) == Some(key)),
        }
    }
}

/// One event as sent: the JSON text of each field.
#[derive(Debug, Default)]
pub struct RawEvent<'a> {
    pub(crate) dialect: Dialect,
    values: [Option<&'a str>; Field::ALL.len()],
    /// What is wrong inside of `metadata`, at a pointer into it.
    pub(crate) metadata_fault: Option<Violation>,
    /// What a cloud event says about itself.
    pub(crate) envelope: Vec<(Attribute, &'a str)>,
    /// The first keys that no event has.
    pub(crate) unknown: Vec<Cow<'a, str>>,
    /// Fields that stand more than once.
    pub(crate) repeated: Vec<Field>,
    /// What stands here instead of an object, if it is no object.
    pub(crate) instead: Option<&'static str>,
}

impl<'a> RawEvent<'a> {
    /// Reads one event and nothing more.
    ///
    /// # Errors
    /// `invalid_json` with line and column.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Violation> {
        read::one(bytes, Dialect::Tidemark).map_err(|broken| Syntax::new(bytes, broken).into())
    }

    /// Puts together a cloud event in binary form: `attributes` is a JSON object, `data` the body, if there is one.
    ///
    /// # Errors
    /// `invalid_json` with line and column of the body.
    pub fn of_cloud_event(attributes: &'a str, data: Option<&'a [u8]>) -> Result<Self, Syntax> {
        let mut event =
            read::one(attributes.as_bytes(), Dialect::CloudEvents).map_err(|broken| Syntax::new(attributes.as_bytes(), broken))?;
        if let Some(data) = data {
            read::metadata(&mut event, data).map_err(|broken| Syntax::new(data, broken))?;
        }
        Ok(event)
    }

    /// The JSON text of a field; `None` when it is absent or null.
    #[must_use]
    pub fn get(&self, field: Field) -> Option<&'a str> {
        self.values[field as usize].filter(|value| *value != "null")
    }

    fn put(&mut self, field: Field, value: &'a str) {
        if self.values[field as usize].replace(value).is_some() {
            self.repeated.push(field);
        }
    }

    fn put_unknown(&mut self, key: Cow<'a, str>) {
        if self.unknown.len() < UNKNOWN_KEPT {
            self.unknown.push(key);
        }
    }

    fn instead(dialect: Dialect, value: &str) -> Self {
        Self { dialect, instead: Some(json::kind(value)), ..Self::default() }
    }
}

/// Bytes that are not JSON, with the place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Syntax {
    /// The item in which it was noticed, counted from 0; none outside of a list.
    pub index: Option<usize>,
    /// The line, counted from 1.
    pub line: usize,
    /// The character in the line, counted from 1.
    pub column: usize,
    reason: Broken,
}

impl Syntax {
    fn new(bytes: &[u8], broken: Broken) -> Self {
        let (line, column) = line_and_column(bytes, broken.at);
        Self { index: None, line, column, reason: broken }
    }
}

impl fmt::Display for Syntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not valid JSON: {} at line {} column {}", self.reason, self.line, self.column)
    }
}

impl From<Syntax> for Violation {
    fn from(syntax: Syntax) -> Self {
        Self::new("", Code::InvalidJson, syntax.to_string())
    }
}

#[cfg(test)]
mod tests;
