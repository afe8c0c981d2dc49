//! A valid, typed event: what the rest of Tidemark trusts.
//!
//! The field rules are those of the HTTP contract. An event whose time the server assigned has `timestamp == received_at`;
//! one whose client sent its time never has (its arrival is moved by a microsecond if they fall together), so the row alone
//! tells which it was.

use std::{borrow::Cow, collections::HashSet, fmt, time::Duration};

use crate::{
    cloud_event,
    json::{self, Reader},
    raw::{Dialect, Field, RawEvent},
    suggest::nearest,
    timestamp::{Timestamp, shortened},
    violation::{Code, Violation},
};

/// Most tags of an event.
pub const MAX_TAGS: usize = 50;

const WELL_FORMED: &str = "the grammar of a value was checked when it was read";

/// Whether an event must carry its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Absent is a violation.
    Required,
    /// Absent is fine.
    Optional,
}

/// What the operator and the route ask of an event, beyond the fixed field rules.
#[derive(Clone, Debug)]
pub struct Rules {
    /// `timestamp`; when optional and absent, the time of arrival.
    pub timestamp: Presence,
    /// `user_id`.
    pub user_id: Presence,
    /// `site_id`.
    pub site_id: Presence,
    /// How far ahead of the arrival an event time may lie.
    pub future_skew: Duration,
    /// Whether a field that no event has is refused.
    pub reject_unknown_fields: bool,
    /// The channels allowed; empty allows all.
    pub channels: HashSet<String>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            timestamp: Presence::Required,
            user_id: Presence::Required,
            site_id: Presence::Optional,
            future_skew: Duration::from_secs(300),
            reject_unknown_fields: false,
            channels: HashSet::new(),
        }
    }
}

impl Rules {
    /// The same rules for a page view (`POST /event`): site required, user and time optional.
    #[must_use]
    pub fn for_page_views(&self) -> Self {
        Self { timestamp: Presence::Optional, user_id: Presence::Optional, site_id: Presence::Required, ..self.clone() }
    }

    /// The rules for what is already in the journal without having passed our door: nothing can be sent back, so only what a row needs is asked.
    #[must_use]
    pub fn for_foreign_messages(&self) -> Self {
        Self { timestamp: Presence::Optional, user_id: Presence::Optional, ..self.clone() }
    }
}

/// A valid event, borrowing from the request where it can.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    /// Event time.
    pub timestamp: Timestamp,
    /// Arrival at the door.
    pub received_at: Timestamp,
    /// The client's own id, 1..=128 bytes.
    pub event_id: Option<Cow<'a, str>>,
    /// 1..=128 bytes.
    pub event_name: Cow<'a, str>,
    /// 1..=128 bytes.
    pub user_id: Option<Cow<'a, str>>,
    /// At most 64 bytes.
    pub channel: Option<Cow<'a, str>>,
    /// At most 64 bytes.
    pub campaign_id: Option<Cow<'a, str>>,
    /// At most 128 bytes.
    pub site_id: Option<Cow<'a, str>>,
    /// At most 2048 bytes.
    pub path: Option<Cow<'a, str>>,
    /// At most 50 texts of 1..=64 bytes.
    pub tags: Option<Vec<Cow<'a, str>>>,
    /// The JSON object as sent, byte for byte.
    pub metadata: Option<&'a str>,
}

impl<'a> Event<'a> {
    /// Judges what was sent.
    ///
    /// # Errors
    /// Every violation found, each with pointer, code and message.
    pub fn validate(mut raw: RawEvent<'a>, rules: &Rules, received_at: Timestamp) -> Result<Self, Vec<Violation>> {
        if let Some(kind) = raw.instead {
            return Err(vec![Violation::new("", Code::NotAnEvent, format!("an event is a JSON object, found {kind}"))]);
        }
        let violations = cloud_event::check(&raw);
        let mut check = Check { raw: &mut raw, violations };
        check.keys(rules);
        let (timestamp, received_at) = check.times(rules, received_at);
        let event = Self {
            timestamp,
            received_at,
            event_id: check.text(Field::EventId, 1, 128),
            event_name: check.event_name(),
            user_id: check.text_or_missing(Field::UserId, 128, rules.user_id),
            channel: check.channel(rules),
            campaign_id: check.text(Field::CampaignId, 0, 64),
            site_id: check.text_or_missing(Field::SiteId, 128, rules.site_id),
            path: check.text(Field::Path, 0, 2048),
            tags: check.tags(),
            metadata: check.metadata(),
        };
        if check.violations.is_empty() { Ok(event) } else { Err(check.violations) }
    }

    /// Whether the client sent the event time; see the module's text.
    #[must_use]
    pub fn is_timestamp_sent(&self) -> bool {
        self.timestamp != self.received_at
    }
}

/// Reads the fields of a raw event and collects what is wrong with them.
struct Check<'r, 'a> {
    raw: &'r mut RawEvent<'a>,
    violations: Vec<Violation>,
}

impl<'a> Check<'_, 'a> {
    fn keys(&mut self, rules: &Rules) {
        for field in std::mem::take(&mut self.raw.repeated) {
            let also = if field == Field::EventName { " (`event_type` counts as `event_name`)" } else { "" };
            self.refuse(field, Code::RepeatedField, format!("`{}` stands more than once{also}", self.name(field)));
        }
        if rules.reject_unknown_fields {
            self.violations.extend(self.raw.unknown.iter().map(|key| unknown_field(key, self.raw.dialect)));
        }
    }

    fn name(&self, field: Field) -> &'static str {
        self.raw.dialect.name(field)
    }

    fn times(&mut self, rules: &Rules, received_at: Timestamp) -> (Timestamp, Timestamp) {
        let Some(value) = self.raw.get(Field::Timestamp) else {
            if rules.timestamp == Presence::Required {
                self.missing(Field::Timestamp);
            }
            return (received_at, received_at);
        };
        match Timestamp::read(self.name(Field::Timestamp), value) {
            Ok(timestamp) => {
                self.not_in_the_future(timestamp, received_at, rules.future_skew);
                let moved = i64::from(timestamp == received_at);
                (timestamp, Timestamp(received_at.0 + moved))
            }
            Err(violation) => {
                self.violations.push(violation);
                (received_at, received_at)
            }
        }
    }

    fn not_in_the_future(&mut self, timestamp: Timestamp, now: Timestamp, skew: Duration) {
        if timestamp > now.plus(skew) {
            let message =
                format!("`{timestamp}` lies more than {} s after the server's time `{now}` (setting `ingest.future_skew`)", skew.as_secs());
            self.refuse(Field::Timestamp, Code::TimestampInFuture, message);
        }
    }

    fn event_name(&mut self) -> Cow<'a, str> {
        self.text_or_missing(Field::EventName, 128, Presence::Required).unwrap_or_default()
    }

    fn channel(&mut self, rules: &Rules) -> Option<Cow<'a, str>> {
        let channel = self.text(Field::Channel, 0, 64)?;
        if !rules.channels.is_empty() && !rules.channels.contains(channel.as_ref()) {
            let mut allowed: Vec<&str> = rules.channels.iter().map(String::as_str).collect();
            allowed.sort_unstable();
            self.refuse(
                Field::Channel,
                Code::NotAllowed,
                format!("`{}` is none of the channels allowed here: {}", shortened(&channel), allowed.join(", ")),
            );
        }
        Some(channel)
    }

    fn text_or_missing(&mut self, field: Field, max: usize, presence: Presence) -> Option<Cow<'a, str>> {
        let before = self.violations.len();
        let text = self.text(field, 1, max);
        if text.is_none() && presence == Presence::Required && self.violations.len() == before {
            self.missing(field);
        }
        text
    }

    fn text(&mut self, field: Field, min: usize, max: usize) -> Option<Cow<'a, str>> {
        let value = self.raw.get(field)?;
        self.text_at(&format_args!("/{}", self.name(field)), value, min, max)
    }

    /// The text of a value; `pointer` says where it stands.
    fn text_at(&mut self, pointer: &dyn fmt::Display, value: &'a str, min: usize, max: usize) -> Option<Cow<'a, str>> {
        if !value.starts_with('"') {
            self.violations.push(Violation::new(
                pointer.to_string(),
                Code::WrongType,
                format!("must be a text, found {}", json::kind(value)),
            ));
            return None;
        }
        match json::text(value) {
            Ok(text) => {
                self.length(pointer, &text, min, max);
                Some(text)
            }
            Err(reason) => {
                self.violations.push(Violation::new(pointer.to_string(), Code::InvalidText, reason.to_string()));
                None
            }
        }
    }

    fn length(&mut self, pointer: &dyn fmt::Display, text: &str, min: usize, max: usize) {
        let (code, message) = match text.len() {
            length if length < min => (Code::TooShort, format!("must not be empty; at most {max} bytes")),
            length if length > max => (Code::TooLong, format!("has {length} bytes; at most {max} are allowed")),
            _ => return,
        };
        self.violations.push(Violation::new(pointer.to_string(), code, message));
    }

    fn tags(&mut self) -> Option<Vec<Cow<'a, str>>> {
        let value = self.raw.get(Field::Tags)?;
        let mut list = Reader::new(value);
        if !list.take(b'[') {
            self.refuse(Field::Tags, Code::WrongType, format!("must be a list of texts, found {}", json::kind(value)));
            return None;
        }
        let mut tags = Vec::new();
        let mut count = 0;
        while list.next_element(count == 0).expect(WELL_FORMED) {
            let value = list.value().expect(WELL_FORMED);
            if count < MAX_TAGS {
                tags.extend(self.text_at(&format_args!("/tags/{count}"), value, 1, 64));
            }
            count += 1;
        }
        if count > MAX_TAGS {
            self.refuse(Field::Tags, Code::TooMany, format!("has {count} tags; at most {MAX_TAGS} are allowed"));
        }
        Some(tags)
    }

    fn metadata(&mut self) -> Option<&'a str> {
        let value = self.raw.get(Field::Metadata)?;
        if !value.starts_with('{') {
            self.refuse(Field::Metadata, Code::WrongType, format!("must be a JSON object, found {}", json::kind(value)));
            return None;
        }
        if let Some(fault) = self.raw.metadata_fault.take() {
            let pointer = format!("/{}{}", self.name(Field::Metadata), fault.pointer);
            self.violations.push(Violation { pointer, ..fault });
        }
        Some(value)
    }

    fn missing(&mut self, field: Field) {
        let name = self.name(field);
        let alias = if name == Field::EventName.name() { " (or `event_type`)" } else { "" };
        let hint = self.misspelt(field).map(|key| format!("; did you mean it by `{key}`?")).unwrap_or_default();
        self.refuse(field, Code::MissingField, format!("`{name}`{alias} is required{hint}"));
    }

    /// The unknown key that looks most like a field.
    fn misspelt(&self, field: Field) -> Option<String> {
        let dialect = self.raw.dialect;
        let is_nearest = |key: &&str| nearest(key, dialect.names()) == Some(dialect.name(field));
        self.raw.unknown.iter().map(AsRef::as_ref).find(is_nearest).map(str::to_owned)
    }

    fn refuse(&mut self, field: Field, code: Code, message: String) {
        self.violations.push(Violation::new(format!("/{}", self.name(field)), code, message));
    }
}

fn unknown_field(key: &str, dialect: Dialect) -> Violation {
    let pointer = format!("/{}", shortened(key).replace('~', "~0").replace('/', "~1"));
    let right = match nearest(key, dialect.names()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("the fields are {}", dialect.names().collect::<Vec<_>>().join(", ")),
    };
    Violation::new(pointer, Code::UnknownField, format!("no event has a field `{}`; {right}", shortened(key)))
}

#[cfg(test)]
mod tests;
