//! JSON as it lies in memory: a reader that checks the grammar of RFC 8259 and hands out the text of values, never a copy.
//!
//! It differs from a general parser where the door needs it: a value that no field can take (`1e999`, half a surrogate pair, a
//! thousand brackets) is still read to its end, so that one event is refused and not its whole request; [`Watch`] looks
//! into a value while it is read; and what breaks the grammar is told with its place. It never recurses, however deep a text nests.

use std::{borrow::Cow, fmt};

mod scan;

/// Where and how a text breaks the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// The byte where it was noticed.
    pub(crate) at: usize,
    reason: &'static str,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)
    }
}

/// Line and column of a byte, both counted from 1, the column in characters.
pub(crate) fn line_and_column(bytes: &[u8], at: usize) -> (usize, usize) {
    let before = &bytes[..at.min(bytes.len())];
    let line_start = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
    (memchr::memchr_iter(b'\n', before).count() + 1, String::from_utf8_lossy(&before[line_start..]).chars().count() + 1)
}

/// The bytes as text.
pub(crate) fn text_of(bytes: &[u8]) -> Result<&str, Broken> {
    std::str::from_utf8(bytes).map_err(|error| Broken { at: error.valid_up_to(), reason: "a byte that is not UTF-8" })
}

/// A string as sent, without its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sent<'a> {
    pub(crate) string: &'a str,
    /// Whether it stands for itself, because it has no escapes.
    is_plain: bool,
}

impl<'a> Sent<'a> {
    /// The text that it stands for.
    #[inline]
    pub(crate) fn text(self) -> Result<Cow<'a, str>, NoText> {
        if self.is_plain { Ok(Cow::Borrowed(self.string)) } else { unescape(self.string) }
    }
}

/// What looks into a value while it is read.
pub(crate) trait Watch<'a> {
    /// An object or a list begins.
    fn open(&mut self, is_object: bool);
    /// A key of the innermost object.
    fn key(&mut self, key: Sent<'a>);
    /// An element of the innermost list begins.
    fn element(&mut self);
    /// A text.
    fn text(&mut self, text: Sent<'a>);
    /// The innermost object or list ends.
    fn close(&mut self);
}

/// Looks at nothing.
pub(crate) struct Unwatched;

impl Watch<'_> for Unwatched {
    fn open(&mut self, _: bool) {}
    fn key(&mut self, _: Sent<'_>) {}
    fn element(&mut self) {}
    fn text(&mut self, _: Sent<'_>) {}
    fn close(&mut self) {}
}

/// Reads a text from its front.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// The brackets that are open in the value being read.
    open: Vec<u8>,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0, open: Vec::new() }
    }

    /// The next byte that is no white space.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(byte) = self.byte() {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Takes this byte if it is the next.
    #[inline]
    pub(crate) fn take(&mut self, wanted: u8) -> bool {
        let is_next = self.peek() == Some(wanted);
        self.at += usize::from(is_next);
        is_next
    }

    /// Nothing but white space may follow.
    pub(crate) fn end(&mut self) -> Result<(), Broken> {
        self.peek().map_or(Ok(()), |_| Err(self.broken("something follows the end of the JSON text")))
    }

    /// The next key of an object; `None` behind its last.
    pub(crate) fn next_key(&mut self, is_first: bool) -> Result<Option<Sent<'a>>, Broken> {
        if self.take(b'}') {
            return Ok(None);
        }
        if !is_first && !self.take(b',') {
            return Err(self.broken("expected `,` or `}`"));
        }
        self.key().map(Some)
    }

    /// Whether a list has another element.
    pub(crate) fn next_element(&mut self, is_first: bool) -> Result<bool, Broken> {
        match self.take(b']') {
            true => Ok(false),
            false if is_first || self.take(b',') => Ok(true),
            false => Err(self.broken("expected `,` or `]`")),
        }
    }

    /// The next value, as sent.
    pub(crate) fn value(&mut self) -> Result<&'a str, Broken> {
        self.watched(&mut Unwatched)
    }

    /// The next value, as sent; `watch` sees what is in it.
    pub(crate) fn watched(&mut self, watch: &mut impl Watch<'a>) -> Result<&'a str, Broken> {
        self.peek();
        let start = self.at;
        self.open.clear();
        let mut is_whole = self.begin(watch)?;
        loop {
            is_whole = match self.open.last().copied() {
                _ if !is_whole => self.begin(watch)?,
                Some(open) => self.go_on(open, watch)?,
                None => return Ok(&self.text[start..self.at]),
            };
        }
    }

    /// Reads a scalar, or the beginning of a value that has more in it; says whether the value is whole.
    fn begin(&mut self, watch: &mut impl Watch<'a>) -> Result<bool, Broken> {
        match self.peek() {
            Some(b'"') => watch.text(self.string()?),
            Some(b'{') => return self.enter(b'{', b'}', watch),
            Some(b'[') => return self.enter(b'[', b']', watch),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b't') => self.word("true")?,
            Some(b'f') => self.word("false")?,
            Some(b'n') => self.word("null")?,
            Some(_) => return Err(self.broken("expected a value")),
            None => return Err(self.broken("the text ends where a value is expected")),
        }
        Ok(true)
    }

    /// Reads an opening bracket and what leads to the first value behind it; says whether there was none.
    fn enter(&mut self, open: u8, close: u8, watch: &mut impl Watch<'a>) -> Result<bool, Broken> {
        self.at += 1;
        watch.open(open == b'{');
        if self.take(close) {
            watch.close();
            return Ok(true);
        }
        self.open.push(open);
        self.lead(open, watch).map(|()| false)
    }

    /// Behind a value in an open object or list: what leads to the next value, or its end; says whether it was the end.
    fn go_on(&mut self, open: u8, watch: &mut impl Watch<'a>) -> Result<bool, Broken> {
        match (self.peek(), open) {
            (Some(b','), _) => {
                self.at += 1;
                self.lead(open, watch).map(|()| false)
            }
            (Some(b'}'), b'{') | (Some(b']'), b'[') => {
                self.at += 1;
                self.open.pop();
                watch.close();
                Ok(true)
            }
            (_, b'{') => Err(self.broken("expected `,` or `}`")),
            _ => Err(self.broken("expected `,` or `]`")),
        }
    }

    fn lead(&mut self, open: u8, watch: &mut impl Watch<'a>) -> Result<(), Broken> {
        match open {
            b'{' => watch.key(self.key()?),
            _ => watch.element(),
        }
        Ok(())
    }

    fn key(&mut self) -> Result<Sent<'a>, Broken> {
        if self.peek() != Some(b'"') {
            return Err(self.broken("expected a key in double quotes"));
        }
        let key = self.string()?;
        if self.take(b':') { Ok(key) } else { Err(self.broken("expected `:`")) }
    }

    /// What is between the quotes, the first of which is the next byte.
    fn string(&mut self) -> Result<Sent<'a>, Broken> {
        let start = self.at + 1;
        let mut is_plain = true;
        self.at = start;
        loop {
            self.at += scan::plain(&self.text.as_bytes()[self.at..]);
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    is_plain = false;
                    self.escape()?;
                }
                Some(_) => return Err(self.broken("a control character in a text must be escaped")),
                None => return Err(self.broken("the text ends within a string")),
            }
        }
        self.at += 1;
        Ok(Sent { string: &self.text[start..self.at - 1], is_plain })
    }

    fn escape(&mut self) -> Result<(), Broken> {
        let rest = &self.text.as_bytes()[self.at + 1..];
        match rest {
            [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => self.at += 2,
            [b'u', a, b, c, d, ..] if [a, b, c, d].into_iter().all(u8::is_ascii_hexdigit) => self.at += 6,
            _ => return Err(self.broken("an escape that JSON does not have")),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Broken> {
        match scan::number(&self.text.as_bytes()[self.at..]) {
            Ok(length) => self.at += length,
            Err(length) => {
                self.at += length;
                return Err(self.broken("a number that JSON does not have"));
            }
        }
        Ok(())
    }

    fn word(&mut self, word: &str) -> Result<(), Broken> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return Err(self.broken("expected a value"));
        }
        self.at += word.len();
        Ok(())
    }

    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn broken(&self, reason: &'static str) -> Broken {
        Broken { at: self.at, reason }
    }
}

/// What a value is, for a message.
pub(crate) fn kind(value: &str) -> &'static str {
    match value.as_bytes().first() {
        Some(b'n') => "null",
        Some(b't' | b'f') => "a boolean",
        Some(b'"') => "a text",
        Some(b'[') => "a list",
        Some(b'{') => "an object",
        _ => "a number",
    }
}

/// Why a string of JSON is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoText {
    /// No character has this code.
    #[error("has half of a surrogate pair (`\\ud800` to `\\udfff` come in pairs)")]
    LoneSurrogate,
    /// Many programs end a text there.
    #[error("has the character NUL (`\\u0000`)")]
    Nul,
}

/// The text that a value stands for which is a string.
pub(crate) fn text(value: &str) -> Result<Cow<'_, str>, NoText> {
    let string = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or_default();
    Sent { string, is_plain: scan::plain(string.as_bytes()) == string.len() }.text()
}

fn unescape(string: &str) -> Result<Cow<'_, str>, NoText> {
    let text: String = serde_json::from_str(&format!("\"{string}\"")).map_err(|_| NoText::LoneSurrogate)?;
    if text.contains('\0') { Err(NoText::Nul) } else { Ok(Cow::Owned(text)) }
}

#[cfg(test)]
mod tests;
