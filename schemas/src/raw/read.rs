//! One event: its keys are told apart, its values are kept as text.

use super::{Broken, Dialect, Field, RawEvent};
use crate::{
    cloud_event::Attribute,
    json::{self, Reader, Sent},
    metadata::Inspector,
};

/// Reads events from one text.
pub(super) struct EventReader<'a> {
    pub(super) json: Reader<'a>,
    pub(super) dialect: Dialect,
    inspector: Inspector<'a>,
}

/// A whole text that is one event.
pub(super) fn one(bytes: &[u8], dialect: Dialect) -> Result<RawEvent<'_>, Broken> {
    let mut reader = EventReader::new(json::text_of(bytes)?, dialect);
    let event = reader.event()?;
    reader.json.end()?;
    Ok(event)
}

/// A whole text that is the metadata of an event.
pub(super) fn metadata<'a>(event: &mut RawEvent<'a>, bytes: &'a [u8]) -> Result<(), Broken> {
    let mut reader = EventReader::new(json::text_of(bytes)?, event.dialect);
    reader.field(event, Field::Metadata)?;
    reader.json.end()
}

impl<'a> EventReader<'a> {
    pub(super) fn new(text: &'a str, dialect: Dialect) -> Self {
        Self { json: Reader::new(text), dialect, inspector: Inspector::default() }
    }

    /// The next value as an event; what is no object says what it is instead.
    pub(super) fn event(&mut self) -> Result<RawEvent<'a>, Broken> {
        if !self.json.take(b'{') {
            return Ok(RawEvent::instead(self.dialect, self.json.value()?));
        }
        let mut event = RawEvent { dialect: self.dialect, ..RawEvent::default() };
        let mut is_first = true;
        while let Some(key) = self.json.next_key(is_first)? {
            self.member(&mut event, key)?;
            is_first = false;
        }
        Ok(event)
    }

    /// The value of a key of an event.
    pub(super) fn member(&mut self, event: &mut RawEvent<'a>, sent: Sent<'a>) -> Result<(), Broken> {
        let Ok(key) = sent.text() else {
            event.put_unknown(sent.string.into());
            return self.json.value().map(drop);
        };
        if let Some(field) = self.dialect.field(&key) {
            return self.field(event, field);
        }
        let value = self.json.value()?;
        match Attribute::named(&key).filter(|_| self.dialect == Dialect::CloudEvents) {
            Some(attribute) => event.envelope.push((attribute, value)),
            None => event.put_unknown(key),
        }
        Ok(())
    }

    fn field(&mut self, event: &mut RawEvent<'a>, field: Field) -> Result<(), Broken> {
        if field != Field::Metadata {
            event.put(field, self.json.value()?);
            return Ok(());
        }
        let value = self.json.watched(&mut self.inspector)?;
        event.metadata_fault = self.inspector.take_fault().filter(|_| value.starts_with('{'));
        event.put(field, value);
        Ok(())
    }
}
