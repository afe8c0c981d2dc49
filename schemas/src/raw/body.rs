//! The body of a request: one event, or many in one of three forms.

use super::{Broken, Dialect, Field, RawEvent, Syntax, read, read::EventReader};
use crate::{
    json::{self, Sent},
    violation::{Code, Violation},
};

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// The key of a list of events.
const EVENTS: &str = "events";

/// One element of a request: an event as sent, or a line that is not JSON.
pub type Item<'a> = Result<RawEvent<'a>, Violation>;

/// What the body of a request holds.
pub enum Body<'a> {
    /// One JSON object.
    One(Box<RawEvent<'a>>),
    /// An array, `{"events": [...]}`, or NDJSON.
    Many(Events<'a>),
}

/// Many events, of which none is read yet.
pub struct Events<'a> {
    bytes: &'a [u8],
    form: Form<'a>,
}

enum Form<'a> {
    /// Behind the opening bracket.
    List(EventReader<'a>),
    /// Behind the opening bracket of the list under `events`; what stood before it is in the event.
    Wrapped(EventReader<'a>, Box<RawEvent<'a>>),
    Lines,
}

/// Why a body is refused as a whole.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is not JSON.
    #[error(transparent)]
    Syntax(#[from] Syntax),
    /// It has more events than are allowed.
    #[error("more than {limit} events")]
    TooMany {
        /// How many are allowed.
        limit: usize,
    },
    /// It is JSON, and no list of events.
    #[error(transparent)]
    Wrapper(#[from] Violation),
}

impl<'a> Body<'a> {
    /// Begins to read JSON: an event, a list of events, `{"events": [...]}`, or NDJSON from a client that did not say so.
    ///
    /// # Errors
    /// What is neither, with line and column.
    pub fn of_json(bytes: &'a [u8], dialect: Dialect) -> Result<Self, Unreadable> {
        let bytes = without_mark(bytes);
        let text = match json::text_of(bytes) {
            Ok(text) => text,
            Err(_) if is_lines(bytes) => return Ok(Self::of_lines(bytes)),
            Err(broken) => return Err(Syntax::new(bytes, broken).into()),
        };
        let mut reader = EventReader::new(text, dialect);
        match begin(&mut reader) {
            Ok(Begun::List) => Ok(Self::Many(Events { bytes, form: Form::List(reader) })),
            Ok(Begun::Wrapper(event)) => Ok(Self::Many(Events { bytes, form: Form::Wrapped(reader, event) })),
            Ok(Begun::Event(event)) => Ok(Self::One(event)),
            Err(Unread::Broken(_)) if is_lines(bytes) => Ok(Self::of_lines(bytes)),
            Err(Unread::Broken(broken)) => Err(Syntax::new(bytes, broken).into()),
            Err(Unread::Wrapper(violation)) => Err(violation.into()),
        }
    }

    /// Begins to read NDJSON: one event for each line, empty lines ignored. A line that is not JSON is an item that says so.
    #[must_use]
    pub fn of_lines(bytes: &'a [u8]) -> Self {
        Self::Many(Events { bytes: without_mark(bytes), form: Form::Lines })
    }
}

/// What a document turned out to be.
enum Begun<'a> {
    /// An event, read to its end.
    Event(Box<RawEvent<'a>>),
    /// A list, read to its first bracket.
    List,
    /// An object, read to the first bracket of the list under `events`.
    Wrapper(Box<RawEvent<'a>>),
}

enum Unread {
    Broken(Broken),
    Wrapper(Violation),
}

impl From<Broken> for Unread {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

fn begin<'a>(reader: &mut EventReader<'a>) -> Result<Begun<'a>, Unread> {
    if reader.json.take(b'[') {
        return Ok(Begun::List);
    }
    if !reader.json.take(b'{') {
        let found = json::kind(reader.json.value()?);
        reader.json.end()?;
        return Err(Unread::Wrapper(Violation::new("", Code::NotAnEvent, format!("send an event or a list of events, found {found}"))));
    }
    let mut event = Box::new(RawEvent { dialect: reader.dialect, ..RawEvent::default() });
    let mut is_first = true;
    while let Some(key) = reader.json.next_key(is_first)? {
        if is_list(key) && reader.dialect == Dialect::Tidemark {
            return list(reader, event);
        }
        reader.member(&mut event, key)?;
        is_first = false;
    }
    reader.json.end()?;
    Ok(Begun::Event(event))
}

/// Whether a key is that of a list of events, also when it is written with escapes.
fn is_list(key: Sent<'_>) -> bool {
    key.text().is_ok_and(|key| key == EVENTS)
}

fn list<'a>(reader: &mut EventReader<'a>, event: Box<RawEvent<'a>>) -> Result<Begun<'a>, Unread> {
    if reader.json.take(b'[') {
        return Ok(Begun::Wrapper(event));
    }
    let found = json::kind(reader.json.value()?);
    Err(Unread::Wrapper(Violation::new("/events", Code::WrongType, format!("`events` must be a list of events, found {found}"))))
}

impl<'a> Events<'a> {
    /// Hands each item to `take`, in the order of the request, and says how many there were.
    ///
    /// # Errors
    /// The body is refused as a whole; what was handed over counts for nothing.
    pub fn for_each(self, limit: usize, reject_unknown: bool, take: impl FnMut(Item<'a>)) -> Result<usize, Unreadable> {
        let mut taker = Taker { taken: 0, limit, take };
        let read = match self.form {
            Form::Lines => return lines(self.bytes, &mut taker).map(|()| taker.taken),
            Form::List(mut reader) => elements(&mut reader, &mut taker).and_then(|()| Ok(reader.json.end()?)),
            Form::Wrapped(mut reader, mut event) => elements(&mut reader, &mut taker)
                .and_then(|()| behind(&mut reader, &mut event))
                .and_then(|()| wrapper(&event, reject_unknown).map_or(Ok(()), |violation| Err(Stop::Refused(violation.into())))),
        };
        match read {
            Ok(()) => Ok(taker.taken),
            Err(Stop::Refused(unreadable)) => Err(unreadable),
            Err(Stop::Broken(broken)) => Err(Syntax { index: Some(taker.taken), ..Syntax::new(self.bytes, broken) }.into()),
        }
    }
}

/// Counts what is handed over.
struct Taker<F> {
    taken: usize,
    limit: usize,
    take: F,
}

impl<'a, F: FnMut(Item<'a>)> Taker<F> {
    fn take(&mut self, item: Item<'a>) -> Result<(), Unreadable> {
        if self.taken == self.limit {
            return Err(Unreadable::TooMany { limit: self.limit });
        }
        (self.take)(item);
        self.taken += 1;
        Ok(())
    }
}

enum Stop {
    Broken(Broken),
    Refused(Unreadable),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

fn elements<'a>(reader: &mut EventReader<'a>, taker: &mut Taker<impl FnMut(Item<'a>)>) -> Result<(), Stop> {
    while reader.json.next_element(taker.taken == 0)? {
        let event = reader.event()?;
        taker.take(Ok(event)).map_err(Stop::Refused)?;
    }
    Ok(())
}

/// The rest of the object behind the list under `events`.
fn behind<'a>(reader: &mut EventReader<'a>, event: &mut RawEvent<'a>) -> Result<(), Stop> {
    while let Some(key) = reader.json.next_key(false)? {
        if is_list(key) {
            let violation = Violation::new("/events", Code::RepeatedField, "`events` stands more than once");
            return Err(Stop::Refused(violation.into()));
        }
        reader.member(event, key)?;
    }
    Ok(reader.json.end()?)
}

/// What else stands beside `events`, where unknown fields are refused.
fn wrapper(event: &RawEvent<'_>, reject_unknown: bool) -> Option<Violation> {
    let known = Field::ALL.into_iter().find(|field| event.get(*field).is_some()).map(Field::name);
    let found = event.unknown.first().map(AsRef::as_ref).or(known).filter(|_| reject_unknown)?;
    Some(Violation::new(
        format!("/{}", found.replace('~', "~0").replace('/', "~1")),
        Code::UnknownField,
        format!("nothing may stand beside `events`, found `{}`", crate::timestamp::shortened(found)),
    ))
}

fn lines<'a>(bytes: &'a [u8], taker: &mut Taker<impl FnMut(Item<'a>)>) -> Result<(), Unreadable> {
    let mut rest = Some(bytes);
    let mut number = 1;
    while let Some(line) = next_line(&mut rest) {
        if !line.trim_ascii().is_empty() {
            let read = read::one(line, Dialect::Tidemark);
            taker.take(read.map_err(|broken| Syntax { line: number, ..Syntax::new(line, broken) }.into()))?;
        }
        number += 1;
    }
    Ok(())
}

fn next_line<'a>(rest: &mut Option<&'a [u8]>) -> Option<&'a [u8]> {
    let bytes = (*rest)?;
    let end = memchr::memchr(b'\n', bytes);
    *rest = end.map(|end| &bytes[end + 1..]);
    Some(&bytes[..end.unwrap_or(bytes.len())])
}

/// Whether the first line is a JSON text and another line follows: then a client sends NDJSON without saying so.
fn is_lines(bytes: &[u8]) -> bool {
    let mut rest = Some(bytes);
    let mut filled = std::iter::from_fn(|| next_line(&mut rest)).filter(|line| !line.trim_ascii().is_empty());
    let is_json = |line| read::one(line, Dialect::Tidemark).is_ok();
    filled.next().is_some_and(is_json) && filled.next().is_some()
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}
