//! Why something is no event: a stable code, the place, and a sentence that says what would be right.

use std::fmt;

use serde::Serialize;

/// The stable codes of a refused event. Clients and the quarantine table rely on the text; it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    /// The bytes are not JSON.
    InvalidJson,
    /// JSON, but not an object with the fields of an event.
    NotAnEvent,
    /// A required field is absent or null.
    MissingField,
    /// A field stands twice, or a key in one object of `metadata`.
    RepeatedField,
    /// A field that no event has, where `ingest.unknown_fields = "reject"`.
    UnknownField,
    /// A field of the wrong JSON type.
    WrongType,
    /// A text with the character NUL or half of a surrogate pair.
    InvalidText,
    /// A text that must not be empty.
    TooShort,
    /// A text above its limit.
    TooLong,
    /// A list above its limit.
    TooMany,
    /// `metadata` with more levels than [`crate::metadata::MAX_DEPTH`].
    TooDeep,
    /// A timestamp that is neither a number nor RFC 3339.
    InvalidTimestamp,
    /// A timestamp that no real event has: zero, negative, beyond the year 9999.
    TimestampOutOfRange,
    /// A timestamp beyond `ingest.future_skew`.
    TimestampInFuture,
    /// A value outside the allowed list.
    NotAllowed,
}

impl Code {
    /// All codes.
    pub const ALL: [Self; 15] = [
        Self::InvalidJson,
        Self::NotAnEvent,
        Self::MissingField,
        Self::RepeatedField,
        Self::UnknownField,
        Self::WrongType,
        Self::InvalidText,
        Self::TooShort,
        Self::TooLong,
        Self::TooMany,
        Self::TooDeep,
        Self::InvalidTimestamp,
        Self::TimestampOutOfRange,
        Self::TimestampInFuture,
        Self::NotAllowed,
    ];

    /// The text of the code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidJson => "invalid_json",
            Self::NotAnEvent => "not_an_event",
            Self::MissingField => "missing_field",
            Self::RepeatedField => "repeated_field",
            Self::UnknownField => "unknown_field",
            Self::WrongType => "wrong_type",
            Self::InvalidText => "invalid_text",
            Self::TooShort => "too_short",
            Self::TooLong => "too_long",
            Self::TooMany => "too_many",
            Self::TooDeep => "too_deep",
            Self::InvalidTimestamp => "invalid_timestamp",
            Self::TimestampOutOfRange => "timestamp_out_of_range",
            Self::TimestampInFuture => "timestamp_in_future",
            Self::NotAllowed => "not_allowed",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// One reason why something is no event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// RFC 6901 pointer into the event, empty for the whole of it.
    pub pointer: String,
    /// What kind of reason.
    pub code: Code,
    /// What is wrong and what would be right, lower case, one sentence.
    pub message: String,
}

impl Violation {
    /// A violation at `pointer`.
    pub fn new(pointer: impl Into<String>, code: Code, message: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), code, message: message.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pointer.as_str() {
            "" => f.write_str(&self.message),
            pointer => write!(f, "{pointer}: {}", self.message),
        }
    }
}

impl std::error::Error for Violation {}
