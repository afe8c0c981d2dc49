//! What `metadata` may not have, noticed while it is read: a key twice in one object, a text that is none, too many levels.
//!
//! Metadata is kept byte for byte, so whoever reads it later sees what the client wrote. These three are what readers disagree
//! about, or choke on: which of two equal keys counts, half a surrogate pair, a thousand brackets.

use std::borrow::Cow;

use crate::{
    json::{Sent, Watch},
    violation::{Code, Violation},
};

/// The most levels of objects and lists, `metadata` itself included.
pub const MAX_DEPTH: usize = 64;
/// Objects with no more keys than this are compared key by key.
const FEW_KEYS: usize = 16;
/// A pointer that would be longer names the nearest part around the place instead.
const LONGEST_POINTER: usize = 256;

/// Follows one metadata after the other; the memory is used again.
#[derive(Debug, Default)]
pub(crate) struct Inspector<'a> {
    /// The keys seen so far of every object that is open, outermost first.
    keys: Vec<Cow<'a, str>>,
    open: Vec<Open>,
    fault: Option<Violation>,
}

/// An object or a list that is open.
#[derive(Debug)]
struct Open {
    is_object: bool,
    /// Where its keys begin.
    first_key: usize,
    /// Elements that have begun.
    elements: usize,
}

impl Inspector<'_> {
    /// What was wrong with the metadata that was just read, at a pointer into it. Ready for the next.
    pub(crate) fn take_fault(&mut self) -> Option<Violation> {
        self.keys.clear();
        self.open.clear();
        self.fault.take()
    }

    fn refuse(&mut self, pointer: String, code: Code, message: String) {
        self.fault.get_or_insert_with(|| Violation::new(pointer, code, message));
    }

    /// The pointer to the part that is being read in the first `levels` levels, and `key` in it.
    fn pointer(&self, levels: usize, key: Option<&str>) -> String {
        let mut pointer = String::new();
        for (level, open) in self.open[..levels].iter().enumerate() {
            let next_key = self.open.get(level + 1).map_or(self.keys.len(), |inner| inner.first_key);
            let step = match open.is_object {
                true => self.keys[open.first_key..next_key].last().map(|key| Cow::Borrowed(key.as_ref())),
                false => open.elements.checked_sub(1).map(|index| Cow::Owned(index.to_string())),
            };
            if !step.is_none_or(|step| push(&mut pointer, &step)) {
                return pointer;
            }
        }
        if let Some(key) = key {
            push(&mut pointer, key);
        }
        pointer
    }

    fn repeated_key(&mut self) -> Option<String> {
        let first_key = self.open.last()?.first_key;
        let keys = &mut self.keys[first_key..];
        if keys.len() <= FEW_KEYS {
            let repeated = (1..keys.len()).find(|index| keys[..*index].contains(&keys[*index]))?;
            return Some(keys[repeated].to_string());
        }
        keys.sort_unstable();
        keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].to_string())
    }
}

/// Adds a step to a pointer (RFC 6901); `false` when it would be too long.
fn push(pointer: &mut String, step: &str) -> bool {
    let fits = pointer.len() + step.len() < LONGEST_POINTER;
    if fits {
        pointer.push('/');
        pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
    }
    fits
}

impl<'a> Watch<'a> for Inspector<'a> {
    fn open(&mut self, is_object: bool) {
        if self.fault.is_some() {
            return;
        }
        if self.open.len() == MAX_DEPTH {
            let pointer = self.pointer(MAX_DEPTH, None);
            return self.refuse(pointer, Code::TooDeep, format!("nests deeper than {MAX_DEPTH} levels"));
        }
        self.open.push(Open { is_object, first_key: self.keys.len(), elements: 0 });
    }

    fn key(&mut self, key: Sent<'a>) {
        if self.fault.is_some() {
            return;
        }
        match key.text() {
            Ok(key) => self.keys.push(key),
            Err(reason) => self.refuse(self.pointer(self.open.len() - 1, None), Code::InvalidText, format!("a key {reason}")),
        }
    }

    fn element(&mut self) {
        if let (None, Some(list)) = (&self.fault, self.open.last_mut()) {
            list.elements += 1;
        }
    }

    fn text(&mut self, text: Sent<'a>) {
        if self.fault.is_some() {
            return;
        }
        if let Err(reason) = text.text() {
            self.refuse(self.pointer(self.open.len(), None), Code::InvalidText, reason.to_string());
        }
    }

    fn close(&mut self) {
        if self.fault.is_some() {
            return;
        }
        if let Some(key) = self.repeated_key() {
            let pointer = self.pointer(self.open.len() - 1, Some(&key));
            return self.refuse(pointer, Code::RepeatedField, "stands more than once in its object".to_owned());
        }
        let closed = self.open.pop().expect("what closes was open: the fault that skips an opening ends the inspection");
        self.keys.truncate(closed.first_key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Reader;

    fn fault(text: &str) -> Option<(String, Code)> {
        let mut inspector = Inspector::default();
        Reader::new(text).watched(&mut inspector).expect("the test sends JSON");
        inspector.take_fault().map(|violation| (violation.pointer, violation.code))
    }

    #[test]
    fn a_key_twice_in_one_object_is_named_however_it_is_written() {
        let repeated = |pointer: &str| Some((pointer.to_owned(), Code::RepeatedField));
        assert_eq!(fault(r#"{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}"#), None, "once in each object");
        assert_eq!(fault(r#"{"a":1,"b":2,"a":3}"#), repeated("/a"));
        assert_eq!(fault(r#"{"x":[0,{"y":{"a/b":1,"a\/b":2}}]}"#), repeated("/x/1/y/a~1b"));
        let many = |last: &str| {
            format!("{{\"o\":{{{},\"{last}\":0}}}}", (0..100).map(|key| format!("\"k{key}\":0")).collect::<Vec<_>>().join(","))
        };
        assert_eq!(fault(&many("k100")), None);
        assert_eq!(fault(&many("k57")), repeated("/o/k57"));
    }

    #[test]
    fn a_text_that_is_none_is_named() {
        let invalid = |pointer: &str| Some((pointer.to_owned(), Code::InvalidText));
        assert_eq!(fault(r#"{"a":["ok","\ud800"]}"#), invalid("/a/1"));
        assert_eq!(fault(r#"{"a":{"b":"\u0000"}}"#), invalid("/a/b"));
        assert_eq!(fault(r#"{"a":{"\udc00":1}}"#), invalid("/a"));
        assert_eq!(fault(r#"{"a":"\ud83d\ude00\n"}"#), None);
    }

    #[test]
    fn levels_are_limited_and_a_pointer_stays_short() {
        let nested = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
        assert_eq!(fault(&nested(MAX_DEPTH)), None);
        assert_eq!(fault(&nested(MAX_DEPTH + 1)), Some(("/a".repeat(MAX_DEPTH), Code::TooDeep)));
        assert_eq!(fault(&nested(10_000)), Some(("/a".repeat(MAX_DEPTH), Code::TooDeep)));
        let long = "x".repeat(1000);
        assert_eq!(fault(&format!("{{\"a\":{{\"{long}\":{{\"b\":0,\"b\":0}}}}}}")), Some(("/a".to_owned(), Code::RepeatedField)));
    }
}
