//! The span of a request, named as OpenTelemetry's conventions for HTTP servers say.

use axum::extract::MatchedPath;
use http::{HeaderMap, StatusCode, uri::Scheme};
use tracing::{Span, field};

use super::{Asked, standard};
use crate::telemetry::traces::{TARGET, TraceContext};

/// What the conventions call a method that is no common one.
const OTHER_METHOD: &str = "_OTHER";

/// The span of a request that was read as far as its head: a child of the client's own, if the client names one.
pub(super) fn begin(asked: &Asked, headers: &HeaderMap, scheme: Option<&Scheme>) -> Span {
    let route = asked.route.as_ref().map(MatchedPath::as_str);
    let method = standard(&asked.method).unwrap_or(OTHER_METHOD);
    let span = tracing::debug_span!(
        target: TARGET,
        "request",
        otel.name = name(method, route),
        otel.kind = "server",
        otel.status_code = field::Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = field::Empty,
        url.path = asked.path(),
        url.scheme = scheme.map(Scheme::as_str),
        error.type = field::Empty,
        tidemark.request.id = asked.id.as_str(),
    );
    if !span.is_disabled()
        && let Some(parent) = TraceContext::of_headers(headers)
    {
        parent.set_parent_of(&span);
    }
    span
}

/// What the request came to. A client's mistake is no error of the server.
pub(super) fn end(span: &Span, status: StatusCode) {
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR").record("error.type", status.as_str());
    }
}

/// A name of which there are few.
fn name(method: &str, route: Option<&str>) -> String {
    let method = if method == OTHER_METHOD { "HTTP" } else { method };
    route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"))
}
