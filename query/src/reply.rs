//! What every answer tells about the cut that it was computed from.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderName, HeaderValue, header::CONTENT_TYPE},
    response::Response,
};
use serde::Serialize;

use crate::{cut::Cut, error::Error};

/// `shard:sequence`, joined by commas: up to where the journal's events are in the answer.
pub(crate) const TIDEMARK_AS_OF: HeaderName = HeaderName::from_static("tidemark-as-of");
/// The same for the committed tables alone: up to where other engines see the events.
pub(crate) const TIDEMARK_COMMITTED: HeaderName = HeaderName::from_static("tidemark-committed");
/// Whether events that are not committed yet are in the answer.
pub(crate) const TIDEMARK_FRESH: HeaderName = HeaderName::from_static("tidemark-fresh");
/// Whether rows or groups were left out.
pub(crate) const X_TRUNCATED: HeaderName = HeaderName::from_static("x-truncated");

/// `true` or `false` as a header.
pub(crate) const fn flag(is_set: bool) -> HeaderValue {
    HeaderValue::from_static(if is_set { "true" } else { "false" })
}

/// Writes the headers of a cut.
pub(crate) fn describe(cut: &Cut, headers: &mut HeaderMap) {
    let positions = |cut: &Cut| HeaderValue::try_from(cut.as_of_text()).expect("digits, colons and commas are a header value");
    headers.insert(TIDEMARK_AS_OF, positions(cut));
    headers.insert(TIDEMARK_COMMITTED, positions(&cut.committed()));
    headers.insert(TIDEMARK_FRESH, flag(cut.is_fresh()));
}

/// A JSON answer from a cut.
pub(crate) fn json(cut: &Cut, body: &impl Serialize) -> Result<Response, Error> {
    let body = serde_json::to_vec(body).map_err(Error::Unwritable)?;
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    describe(cut, response.headers_mut());
    Ok(response)
}
