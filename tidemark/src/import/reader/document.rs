//! A JSON document: a list of events, an object with the list under `events`, or one event. It is never in memory as a whole.

use std::{
    cell::Cell,
    fmt,
    io::{self, BufRead, Read},
    rc::Rc,
};

use anyhow::anyhow;
use serde::{
    Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{MAX_RECORD_BYTES, Out};
use crate::import::{format::without_mark, source::Opened};

const EVENTS: &str = "events";

pub(super) fn read(mut opened: Opened, out: &mut Out<'_>) -> anyhow::Result<()> {
    let mark = opened.head.len() - without_mark(&opened.head).len();
    opened.bytes.read_exact(&mut vec![0; mark])?;
    let is_one = is_one_event(&opened.head);
    let left = Rc::new(Cell::new(MAX_RECORD_BYTES));
    let bytes = Limited { inner: opened.bytes, left: Rc::clone(&left) };
    let mut json = serde_json::Deserializer::from_reader(bytes);
    let mut items = Items { out, left, number: 0 };
    let read = match is_one {
        true => items.one(&mut json),
        false => (&mut json).deserialize_any(&mut items).and_then(|()| json.end()),
    };
    read.map_err(told)
}

/// An object that begins without `events` is one event as a whole; what does not fit in the head is no event.
fn is_one_event(head: &[u8]) -> bool {
    match serde_json::from_slice::<crate::members::Members>(without_mark(head)) {
        Ok(members) => members.0.iter().all(|(name, _)| name != EVENTS),
        Err(_) => false,
    }
}

/// Line and column stand in the error; that of the input comes first, because it is the cause.
fn told(error: serde_json::Error) -> anyhow::Error {
    match error.is_io() {
        true => anyhow!(io::Error::from(error)),
        false => anyhow!(error).context("this is no JSON document of events"),
    }
}

/// Reads no more for one record than a record may have.
struct Limited<R> {
    inner: R,
    left: Rc<Cell<usize>>,
}

impl<R: BufRead> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.inner.read(buffer)?;
        let left = self.left.get().checked_sub(bytes);
        let too_long = || io::Error::other(format!("an event has more than {} MiB", MAX_RECORD_BYTES >> 20));
        self.left.set(left.ok_or_else(too_long)?);
        Ok(bytes)
    }
}

/// Hands on the elements of a list.
struct Items<'o, 'a> {
    out: &'o mut Out<'a>,
    left: Rc<Cell<usize>>,
    number: u64,
}

impl Items<'_, '_> {
    fn one<'de, R: serde_json::de::Read<'de>>(&mut self, json: &mut serde_json::Deserializer<R>) -> serde_json::Result<()> {
        let event: Box<RawValue> = serde::Deserialize::deserialize(&mut *json)?;
        json.end()?;
        self.take(&event)
    }

    fn take<E: Error>(&mut self, event: &RawValue) -> Result<(), E> {
        self.number += 1;
        self.left.set(MAX_RECORD_BYTES);
        self.out.record(self.number, event.get().as_bytes().to_vec()).map_err(E::custom)
    }
}

impl<'de> Visitor<'de> for &mut Items<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events, or an object with such a list under `events`")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(event) = list.next_element::<Box<RawValue>>()? {
            self.take(&event)?;
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let mut has_events = false;
        while let Some(key) = object.next_key::<String>()? {
            if key == EVENTS {
                has_events = true;
                object.next_value_seed(&mut *self)?;
            } else {
                object.next_value::<IgnoredAny>()?;
            }
        }
        if has_events { Ok(()) } else { Err(A::Error::custom("the object has no list under `events`")) }
    }
}

impl<'de> DeserializeSeed<'de> for &mut Items<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}
