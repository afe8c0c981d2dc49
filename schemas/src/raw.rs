//! JSON as sent: one pass over the bytes, borrowing, keeping what a client wrote until [`crate::event`] judges it.
//!
//! Only broken JSON fails here, with line and column. A field of the wrong type is kept as it is, so that one bad item
//! of a bulk request does not take the good ones with it. What is kept is bounded: `limit` events, 64 list elements.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::violation::{Code, Violation};

mod read;

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
        if key == "event_type" {
            return Some(Self::EventName);
        }
        Self::ALL.into_iter().find(|field| field.name() == key)
    }
}

/// A JSON value of a field, before anybody judged it.
#[derive(Clone, Debug, PartialEq)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without fraction that fits in 64 bits with sign.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A text, borrowed unless it has escapes.
    Text(Cow<'a, str>),
    /// A list: its first elements, and how many there are.
    List(Vec<Self>, usize),
    /// An object whose content nobody needs.
    Object,
}

impl Value<'_> {
    /// What the value is, for a message: "a number", "a list".
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Integer(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a text",
            Self::List(..) => "a list",
            Self::Object => "an object",
        }
    }
}

/// One event as sent.
#[derive(Debug, Default)]
pub struct RawEvent<'a> {
    values: [Option<Value<'a>>; Field::ALL.len()],
    /// The JSON text of `metadata`, byte for byte.
    pub metadata: Option<&'a RawValue>,
    /// Keys that no event has.
    pub unknown: Vec<Cow<'a, str>>,
    /// Fields that stand more than once.
    pub repeated: Vec<Field>,
    /// What stands here instead of an object, if it is no object.
    pub instead: Option<&'static str>,
}

impl<'a> RawEvent<'a> {
    /// Takes the value of a field; `None` when it is absent or null.
    pub fn take(&mut self, field: Field) -> Option<Value<'a>> {
        self.values[field as usize].take().filter(|value| *value != Value::Null)
    }
}

/// What one element of a request is: an event as sent, or a line that is not JSON.
pub type Item<'a> = Result<RawEvent<'a>, Violation>;

/// What the body of a request holds.
#[derive(Debug)]
pub enum Body<'a> {
    /// One JSON object.
    One(Box<RawEvent<'a>>),
    /// An array, `{"events": [...]}`, or NDJSON: the first items up to the limit, and how many there are.
    Many(Vec<Item<'a>>, usize),
}

/// Reads one JSON document: an event, an array of events, or `{"events": [...]}`. Keeps at most `limit` events.
///
/// # Errors
/// `invalid_json` with line and column.
pub fn read_document(bytes: &[u8], limit: usize) -> Result<Body<'_>, Violation> {
    read::document(bytes, limit).map_err(|error| invalid_json(&error))
}

/// Reads NDJSON: one event for each line, empty lines ignored. A line that is not JSON is an item that says so.
#[must_use]
pub fn read_lines(bytes: &[u8], limit: usize) -> Body<'_> {
    let mut items = Vec::new();
    let mut count = 0;
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        if count < limit {
            items.push(serde_json::from_slice(line).map_err(|error| invalid_json(&error)));
        }
        count += 1;
    }
    Body::Many(items, count)
}

/// Reads a body whose sender did not say which of the two it is: a document, or else NDJSON.
///
/// # Errors
/// `invalid_json` with line and column when it is neither.
pub fn read_any(bytes: &[u8], limit: usize) -> Result<Body<'_>, Violation> {
    match read::document(bytes, limit) {
        Ok(body) => Ok(body),
        Err(error) if read::is_followed_by_more(&error, bytes) => Ok(read_lines(bytes, limit)),
        Err(error) => Err(invalid_json(&error)),
    }
}

fn invalid_json(error: &serde_json::Error) -> Violation {
    Violation::new("", Code::InvalidJson, format!("not valid JSON: {error}"))
}
