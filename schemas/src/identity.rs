//! What makes two events the same event: a 128-bit hash over length-prefixed fields.
//!
//! BLAKE3, cut to 128 bits: a client cannot make its event collide with another's. Each field is hashed as
//! `[field][length][bytes]`, so no two different lists of fields give the same input. An event with an `event_id` is identified
//! by it alone, in a domain of its own; otherwise by the fields of the [`IdentityRule`], read the same way from an event at
//! the door and from a row of the table.

use std::fmt;

use arrow::{
    array::{Array, AsArray, RecordBatch, StringArray},
    datatypes::TimestampMicrosecondType,
};

use serde::Deserialize;

use crate::{event::Event, raw::Field};

const BY_EVENT_ID: u8 = 1;
const BY_FIELDS: u8 = 2;

/// The identity of an event; its text is 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(pub [u8; 16]);

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// Which fields identify an event that has no `event_id` (setting `dedup.identity`).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Vec<String>")]
pub struct IdentityRule {
    fields: Vec<Field>,
}

/// A name in `dedup.identity` that is no field of an event.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{0}` is no field of an event; `dedup.identity` takes timestamp, event_name, user_id, channel, campaign_id, site_id, path, tags, metadata"
)]
pub struct UnknownField(String);

/// Section `[dedup]` of the settings, the same for every role.
#[derive(Clone, Debug, Deserialize)]
pub struct Config {
    /// The fields that identify an event without `event_id`; an empty list means all that a client sends.
    pub identity: IdentityRule,
}

impl TryFrom<Vec<String>> for IdentityRule {
    type Error = UnknownField;

    fn try_from(names: Vec<String>) -> Result<Self, UnknownField> {
        Self::over(&names)
    }
}

impl Default for IdentityRule {
    /// All fields that a client sends, so that only a repeat in full is a repeat.
    fn default() -> Self {
        Self { fields: Field::ALL.into_iter().filter(|field| *field != Field::EventId).collect() }
    }
}

impl IdentityRule {
    /// The rule over the fields of these names; none means all.
    ///
    /// # Errors
    /// A name that is no field, or `event_id`, which always identifies.
    pub fn over<S: AsRef<str>>(names: &[S]) -> Result<Self, UnknownField> {
        if names.is_empty() {
            return Ok(Self::default());
        }
        let field = |name: &S| {
            Field::named(name.as_ref()).filter(|field| *field != Field::EventId).ok_or_else(|| UnknownField(name.as_ref().to_owned()))
        };
        let mut fields = names.iter().map(field).collect::<Result<Vec<_>, _>>()?;
        fields.sort_unstable();
        fields.dedup();
        Ok(Self { fields })
    }

    /// The fields, in the order of the table.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The identity of an event at the door.
    #[must_use]
    pub fn of(&self, event: &Event<'_>) -> Identity {
        self.of_fields(event)
    }

    fn of_fields(&self, row: &impl Fields) -> Identity {
        let mut input = Input::new();
        if let Some(event_id) = row.text(Field::EventId) {
            input.add(&[BY_EVENT_ID]);
            input.add(event_id.as_bytes());
        } else {
            input.add(&[BY_FIELDS]);
            self.fields.iter().for_each(|field| add_field(&mut input, *field, row));
        }
        input.identity()
    }
}

/// What is hashed. Most events fit the buffer and are hashed in one go, which costs half of a hasher that is fed in small pieces.
struct Input {
    buffer: [u8; 1024],
    filled: usize,
    /// Holds what came before the buffer, once an event did not fit.
    hasher: Option<Box<blake3::Hasher>>,
}

impl Input {
    fn new() -> Self {
        Self { buffer: [0; 1024], filled: 0, hasher: None }
    }

    fn add(&mut self, bytes: &[u8]) {
        if let Some(free) = self.buffer[self.filled..].get_mut(..bytes.len()) {
            free.copy_from_slice(bytes);
            self.filled += bytes.len();
            return;
        }
        let hasher = self.hasher.get_or_insert_default();
        hasher.update(&self.buffer[..self.filled]);
        hasher.update(bytes);
        self.filled = 0;
    }

    fn identity(mut self) -> Identity {
        let rest = &self.buffer[..self.filled];
        let hash = self.hasher.as_mut().map_or_else(|| blake3::hash(rest), |hasher| hasher.update(rest).finalize());
        let mut identity = [0; 16];
        identity.copy_from_slice(&hash.as_bytes()[..16]);
        Identity(identity)
    }
}

/// The fields of an event, wherever it lives.
trait Fields {
    /// A text field, `metadata` included.
    fn text(&self, field: Field) -> Option<&str>;
    /// The event time in microseconds, if the client sent it.
    fn timestamp_us(&self) -> Option<i64>;
    /// How many tags there are.
    fn tag_count(&self) -> Option<usize>;
    /// One of the tags.
    fn tag(&self, index: usize) -> &str;
}

fn add_field(input: &mut Input, field: Field, row: &impl Fields) {
    let tag = field as u8;
    match field {
        Field::Timestamp => {
            if let Some(us) = row.timestamp_us() {
                input.add(&[tag]);
                input.add(&us.to_le_bytes());
            }
        }
        Field::Tags => {
            if let Some(count) = row.tag_count() {
                input.add(&[tag]);
                input.add(&(count as u64).to_le_bytes());
                (0..count).for_each(|index| add_text(input, row.tag(index)));
            }
        }
        _ => {
            if let Some(text) = row.text(field) {
                input.add(&[tag]);
                add_text(input, text);
            }
        }
    }
}

fn add_text(input: &mut Input, text: &str) {
    input.add(&(text.len() as u64).to_le_bytes());
    input.add(text.as_bytes());
}

impl Fields for Event<'_> {
    fn text(&self, field: Field) -> Option<&str> {
        match field {
            Field::EventId => self.event_id.as_deref(),
            Field::EventName => Some(&self.event_name),
            Field::UserId => self.user_id.as_deref(),
            Field::Channel => self.channel.as_deref(),
            Field::CampaignId => self.campaign_id.as_deref(),
            Field::SiteId => self.site_id.as_deref(),
            Field::Path => self.path.as_deref(),
            Field::Metadata => self.metadata,
            Field::Timestamp | Field::Tags => None,
        }
    }

    fn timestamp_us(&self) -> Option<i64> {
        self.is_timestamp_sent().then_some(self.timestamp.0)
    }

    fn tag_count(&self) -> Option<usize> {
        self.tags.as_ref().map(Vec::len)
    }

    fn tag(&self, index: usize) -> &str {
        &self.tags.as_deref().unwrap_or_default()[index]
    }
}

/// One row of a batch that has the columns of `events` by name.
struct Row<'a> {
    batch: &'a RecordBatch,
    row: usize,
}

impl Row<'_> {
    fn column(&self, name: &str) -> Option<&dyn Array> {
        self.batch.column_by_name(name).map(AsRef::as_ref).filter(|column| column.is_valid(self.row))
    }

    fn us(&self, name: &str) -> Option<i64> {
        Some(self.column(name)?.as_primitive::<TimestampMicrosecondType>().value(self.row))
    }
}

impl Fields for Row<'_> {
    fn text(&self, field: Field) -> Option<&str> {
        Some(self.column(field.name())?.as_string::<i32>().value(self.row))
    }

    fn timestamp_us(&self) -> Option<i64> {
        self.us("timestamp").filter(|us| Some(*us) != self.us("received_at"))
    }

    fn tag_count(&self) -> Option<usize> {
        Some(self.column("tags")?.as_list::<i32>().value_length(self.row) as usize)
    }

    fn tag(&self, index: usize) -> &str {
        let tags = self.batch.column_by_name("tags").expect("whoever counted them has the column").as_list::<i32>();
        tags.values().as_string::<i32>().value(tags.value_offsets()[self.row] as usize + index)
    }
}

/// The identity of one row of a batch in the columns of `events`; see [`event_ids`] for what the batch must have.
#[must_use]
pub fn of_row(rule: &IdentityRule, batch: &RecordBatch, row: usize) -> Identity {
    rule.of_fields(&Row { batch, row })
}

/// The id of each row: the client's own where it sent one, else the text of the identity, the same that the 2xx carried.
///
/// `batch` has the columns of `events` by name, as plain (`Utf8`) arrays: `event_id`, those of the rule, and `received_at`
/// with `timestamp` when the rule has it. An absent column counts as null.
#[must_use]
pub fn event_ids(rule: &IdentityRule, batch: &RecordBatch) -> StringArray {
    let id = |row: usize| {
        let row = Row { batch, row };
        row.text(Field::EventId).map_or_else(|| rule.of_fields(&row).to_string(), str::to_owned)
    };
    StringArray::from_iter_values((0..batch.num_rows()).map(id))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::timestamp::Timestamp;

    fn event<'a>(event_name: &'a str, user_id: &'a str) -> Event<'a> {
        Event {
            timestamp: Timestamp(1),
            received_at: Timestamp(2),
            event_id: None,
            event_name: event_name.into(),
            user_id: Some(user_id.into()),
            channel: None,
            campaign_id: None,
            site_id: None,
            path: None,
            tags: None,
            metadata: None,
        }
    }

    #[test]
    fn fields_never_run_into_each_other() {
        let rule = IdentityRule::default();
        assert_ne!(rule.of(&event("a|b", "c")), rule.of(&event("a", "b|c")));
        assert_ne!(rule.of(&event("ab", "c")), rule.of(&event("a", "bc")));
        let tags = |tags: &[&'static str]| Event { tags: Some(tags.iter().map(|tag| (*tag).into()).collect()), ..event("a", "b") };
        assert_ne!(rule.of(&tags(&["ab"])), rule.of(&tags(&["a", "b"])));
        assert_ne!(rule.of(&tags(&[])), rule.of(&event("a", "b")));
    }

    #[test]
    fn an_event_id_identifies_alone_and_in_a_domain_of_its_own() {
        let rule = IdentityRule::default();
        let named = |id: &'static str, name: &'static str| Event { event_id: Some(id.into()), ..event(name, "u") };
        assert_eq!(rule.of(&named("x", "a")), rule.of(&named("x", "b")));
        assert_ne!(rule.of(&named("x", "a")), rule.of(&named("y", "a")));
        assert_ne!(rule.of(&named("", "a")), IdentityRule { fields: Vec::new() }.of(&event("a", "u")));
    }

    #[test]
    fn a_time_that_the_server_assigned_is_no_part_of_it() {
        let rule = IdentityRule::default();
        let arrived = |us: i64| Event { timestamp: Timestamp(us), received_at: Timestamp(us), ..event("a", "u") };
        assert_eq!(rule.of(&arrived(5)), rule.of(&arrived(6)));
        assert_ne!(rule.of(&arrived(1)), rule.of(&event("a", "u")));
    }

    #[test]
    fn it_is_the_hash_of_its_fields_whatever_their_length() {
        for length in [0, 1, 900, 1000, 1001, 1002, 1003, 1024, 5000] {
            let user_id = "u".repeat(length);
            let mut bytes = vec![BY_FIELDS];
            for (field, text) in [(Field::EventName, "a"), (Field::UserId, &user_id), (Field::Path, "/p")] {
                bytes.extend([&[field as u8][..], &(text.len() as u64).to_le_bytes(), text.as_bytes()].concat());
            }
            let event = Event { path: Some("/p".into()), ..event("a", &user_id) };
            let rule = IdentityRule::over(&["event_name", "user_id", "path"]).unwrap();
            assert_eq!(rule.of(&event).0, blake3::hash(&bytes).as_bytes()[..16], "{length}");
        }
    }

    #[test]
    fn a_rule_takes_names_of_fields_only() {
        assert_eq!(IdentityRule::over(&["user_id", "event_type"]).unwrap().fields(), [Field::EventName, Field::UserId]);
        assert!(IdentityRule::over(&["user"]).unwrap_err().to_string().contains("`user`"));
        assert!(IdentityRule::over(&["event_id"]).is_err());
    }

    proptest! {
        #[test]
        fn different_fields_have_different_identities(a in ".{0,6}", b in ".{0,6}", c in ".{0,6}", d in ".{0,6}") {
            let rule = IdentityRule::default();
            prop_assert_eq!((&a, &b) == (&c, &d), rule.of(&event(&a, &b)) == rule.of(&event(&c, &d)));
        }
    }
}
