//! A span, as others refer to it: the header `traceparent` of W3C Trace Context, version 00.

use std::fmt;

use http::HeaderMap;
use opentelemetry::{
    Context,
    propagation::{Extractor, TextMapPropagator},
    trace::{SpanContext, TraceContextExt},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// `00-<32 hex>-<16 hex>-<2 hex>`; a later version may go on after it.
const PARTS: [usize; 4] = [2, 32, 16, 2];

/// A span of ours or of somebody else. Its text is that of `traceparent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext(SpanContext);

impl TraceContext {
    /// The span that `traceparent` names; `None` for what is malformed.
    #[must_use]
    pub fn parse(traceparent: &str) -> Option<Self> {
        Self::extract(&Texts { traceparent, tracestate: None })
    }

    /// The span in which this is called, if it is one that is sent.
    #[must_use]
    pub fn current() -> Option<Self> {
        Context::map_current(Self::sent)
    }

    /// This span, if it is one that is sent. Its parent is settled from here on.
    #[must_use]
    pub fn of(span: &Span) -> Option<Self> {
        Self::sent(&span.context())
    }

    /// What a client says of its own span; `None` when it says nothing, too much, or what is malformed.
    pub(crate) fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let mut named = headers.get_all(TRACEPARENT).iter();
        let (Some(traceparent), None) = (named.next(), named.next()) else { return None };
        let tracestate = headers.get(TRACESTATE).and_then(|value| value.to_str().ok());
        Self::extract(&Texts { traceparent: traceparent.to_str().ok()?, tracestate })
    }

    /// Makes a span, before it is entered, a child of this one.
    pub fn set_parent_of(&self, span: &Span) {
        let parent = Context::new().with_remote_span_context(self.0.clone());
        // A span that nobody sends, or that has begun, stays what it is.
        let _ = span.set_parent(parent);
    }

    /// Links a span to this one: the work of both is the same, neither has begun the other.
    pub fn link_to(&self, span: &Span) {
        span.add_link(self.0.clone());
    }

    fn sent(context: &Context) -> Option<Self> {
        let span = context.span();
        let named = span.span_context();
        (named.is_valid() && named.is_sampled()).then(|| Self(named.clone()))
    }

    fn extract(texts: &Texts<'_>) -> Option<Self> {
        if !is_well_formed(texts.traceparent) {
            return None;
        }
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), texts);
        let named = context.span().span_context().clone();
        named.is_valid().then_some(Self(named))
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.0.trace_id(), self.0.span_id(), self.0.trace_flags())
    }
}

/// The library reads also what is too short.
fn is_well_formed(traceparent: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let parts: Vec<&str> = traceparent.split('-').collect();
    parts.len() >= PARTS.len() && parts.iter().zip(PARTS).all(|(part, length)| part.len() == length && is_hex(part))
}

struct Texts<'a> {
    traceparent: &'a str,
    tracestate: Option<&'a str>,
}

impl Extractor for Texts<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => Some(self.traceparent),
            TRACESTATE => self.tracestate,
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_traceparent_is_read_and_written_again() {
        for text in [GOOD, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"] {
            assert_eq!(TraceContext::parse(text).unwrap().to_string(), text);
        }
        let later = GOOD.replacen("00", "cc", 1) + "-what-comes-later";
        assert_eq!(TraceContext::parse(&later).unwrap().to_string(), GOOD);
    }

    #[test]
    fn what_is_malformed_names_no_span() {
        let good = |text: &str| TraceContext::parse(text).is_some();
        for bad in [
            "",
            "00",
            "00-1-1-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            &GOOD.to_uppercase(),
            &format!(" {GOOD}"),
            &format!("{GOOD}-more"),
            &GOOD.replace("b7ad", "+7ad"),
            &GOOD.replace("-01", "-1"),
        ] {
            assert!(!good(bad), "{bad}");
        }
    }

    #[test]
    fn a_request_that_names_two_parents_has_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(TraceContext::of_headers(&headers), None);
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert_eq!(TraceContext::of_headers(&headers), TraceContext::parse(GOOD));
        headers.append(TRACEPARENT, HeaderValue::from_static(GOOD));
        assert_eq!(TraceContext::of_headers(&headers), None);
    }

    #[test]
    fn without_traces_no_span_is_sent() {
        let span = tracing::debug_span!(target: super::super::TARGET, "nobody listens");
        assert_eq!(TraceContext::of(&span), None);
        assert_eq!(span.in_scope(TraceContext::current), None);
    }
}
