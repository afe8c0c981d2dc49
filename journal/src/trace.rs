//! What a message carries for traces.

/// The longest [`Trace`]: a `traceparent` of version 00.
pub const MAX_TRACE_BYTES: usize = 55;

/// The span that published a message, as the header `traceparent` (W3C Trace Context) names it. The journal carries it with the
/// message and never looks into it; what is too long or no visible ASCII is not carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace(String);

impl Trace {
    /// A text of 1 to [`MAX_TRACE_BYTES`] visible ASCII characters; `None` for any other.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=MAX_TRACE_BYTES).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Self(text.to_owned()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
