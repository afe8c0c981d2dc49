//! `CloudEvents` 1.0: which attribute is which field, and what an event of that kind must say about itself.

use crate::{
    json,
    raw::{Dialect, Field, RawEvent},
    violation::{Code, Violation},
};

/// The version that is read, as JSON.
const VERSION: &str = "\"1.0\"";
/// The empty text, as JSON.
const EMPTY: &str = "\"\"";

/// Attributes that are no field of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attribute {
    /// `specversion`, which must be 1.0.
    SpecVersion,
    /// `datacontenttype` and `dataschema`, which say nothing that the data does not.
    AboutData,
    /// `data_base64`, which is not JSON.
    BinaryData,
}

impl Attribute {
    pub(crate) fn named(key: &str) -> Option<Self> {
        match key {
            "specversion" => Some(Self::SpecVersion),
            "datacontenttype" | "dataschema" => Some(Self::AboutData),
            "data_base64" => Some(Self::BinaryData),
            _ => None,
        }
    }
}

/// The attribute that a field comes from.
pub(crate) const fn name(field: Field) -> Option<&'static str> {
    match field {
        Field::EventId => Some("id"),
        Field::EventName => Some("type"),
        Field::Timestamp => Some("time"),
        Field::Channel => Some("source"),
        Field::UserId => Some("subject"),
        Field::Metadata => Some("data"),
        Field::CampaignId | Field::SiteId | Field::Path | Field::Tags => None,
    }
}

/// What the specification asks beyond the rules of every event.
pub(crate) fn check(event: &RawEvent<'_>) -> Vec<Violation> {
    if event.dialect != Dialect::CloudEvents {
        return Vec::new();
    }
    let required = [Field::EventId, Field::Channel].into_iter().filter(|field| event.get(*field).is_none()).map(missing);
    let binary = event
        .envelope
        .iter()
        .find(|(attribute, _)| *attribute == Attribute::BinaryData)
        .map(|_| Violation::new("/data_base64", Code::WrongType, "the data of an event is a JSON object; send it as `data`"));
    // A channel may be empty, a source may not.
    let source = (event.get(Field::Channel) == Some(EMPTY)).then(|| Violation::new("/source", Code::TooShort, "must not be empty"));
    version(event).into_iter().chain(required).chain(source).chain(binary).collect()
}

fn version(event: &RawEvent<'_>) -> Option<Violation> {
    let sent = event.envelope.iter().find(|(attribute, _)| *attribute == Attribute::SpecVersion);
    match sent {
        None => Some(Violation::new("/specversion", Code::MissingField, "`specversion` is required; `1.0` is the version that is read")),
        Some((_, value)) if *value == VERSION => None,
        Some((_, value)) => {
            let message = format!("must be {VERSION}, found {}", json::kind(value));
            Some(Violation::new("/specversion", Code::NotAllowed, message))
        }
    }
}

fn missing(field: Field) -> Violation {
    let name = Dialect::CloudEvents.name(field);
    Violation::new(format!("/{name}"), Code::MissingField, format!("`{name}` is required of a cloud event"))
}
