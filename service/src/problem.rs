//! Errors as `application/problem+json` (RFC 9457), the only shape in which an error leaves the process.
//!
//! A handler returns a [`Problem`]; [`crate::http::layers()`] adds the request's id to it and logs the cause of a 500. What a 5xx
//! tells the client is written for the client: a cause is logged, never sent.

use std::{borrow::Cow, error::Error};

use axum::response::{IntoResponse, Response};
use http::{
    HeaderValue, StatusCode,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

/// The media type of every error.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The detail of every 500.
const INTERNAL: &str = "something went wrong here, not in the request; the log has the cause under this request id";

/// An error answer. Cheap to move; the members are behind one pointer.
#[derive(Clone, Debug)]
pub struct Problem(Box<Members>);

#[derive(Clone, Debug)]
struct Members {
    status: StatusCode,
    code: Cow<'static, str>,
    detail: String,
    errors: Vec<ItemError>,
    extensions: Map<String, Value>,
    retry_after_seconds: Option<u64>,
    cause: Option<String>,
}

/// What is wrong with one event of a request, or with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ItemError {
    /// The event in the request, counted from 0; none when the request is one event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
    /// JSON pointer to the wrong part, such as `/timestamp`; empty for the whole.
    pub pointer: String,
    /// Stable code for programs.
    pub code: Cow<'static, str>,
    /// Text for people.
    pub message: String,
}

/// An error (RFC 9457). Some have members of their own, such as `line` and `column` of a SQL error.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub(crate) struct Body<'a> {
    /// Where the code is explained.
    r#type: String,
    /// The status in words.
    title: &'a str,
    /// The status.
    status: u16,
    /// What is wrong here and what to do, for people.
    detail: &'a str,
    /// The kind of error, for programs; stable.
    code: &'a str,
    /// What is wrong, item by item and field by field.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ItemError],
    #[serde(flatten)]
    extensions: &'a Map<String, Value>,
    /// As in the header `X-Request-Id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    /// The same as `detail`.
    error: &'a str,
}

impl Problem {
    /// An error with a stable `code` for programs and a `detail` that tells the client what to do.
    ///
    /// With status 500 the detail is taken as the cause: it is logged, and the client gets a neutral text.
    pub fn new(status: StatusCode, code: impl Into<Cow<'static, str>>, detail: impl Into<String>) -> Self {
        let (detail, cause) = match status {
            StatusCode::INTERNAL_SERVER_ERROR => (INTERNAL.to_owned(), Some(detail.into())),
            _ => (detail.into(), None),
        };
        let (errors, extensions) = (Vec::new(), Map::new());
        Self(Box::new(Members { status, code: code.into(), detail, errors, extensions, retry_after_seconds: None, cause }))
    }

    /// A 500 whose cause, with all its sources, goes to the log.
    #[must_use]
    pub fn internal(cause: &(dyn Error + 'static)) -> Self {
        let chain: Vec<_> = std::iter::successors(Some(cause), |&error| error.source()).map(ToString::to_string).collect();
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", chain.join(": "))
    }

    /// The problem of a status for which nothing more is known, such as a route that does not exist.
    pub(crate) fn of_status(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("error");
        Self::new(status, title.to_lowercase().replace([' ', '-'], "_"), detail)
    }

    /// Adds `Retry-After`.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.0.retry_after_seconds = Some(seconds);
        self
    }

    /// Adds what is wrong, item by item.
    #[must_use]
    pub fn with_errors(mut self, errors: Vec<ItemError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// Adds a member of its own, such as `line` and `column` of a SQL error.
    #[must_use]
    pub fn with_extension(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.extensions.insert(name.to_owned(), value.into());
        self
    }

    /// Adds a cause for the log; the client does not see it.
    #[must_use]
    pub fn with_cause(mut self, cause: impl ToString) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// The status of the answer.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The text for the client.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// What goes to the log.
    pub(crate) fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// The JSON body.
    pub(crate) fn body(&self, request_id: Option<&str>) -> String {
        let Members { status, code, detail, errors, extensions, .. } = &*self.0;
        let title = status.canonical_reason().unwrap_or("error");
        let r#type = crate::errors::uri(code);
        let body = Body { r#type, title, status: status.as_u16(), detail, code, errors, extensions, request_id, error: detail };
        serde_json::to_string(&body).expect("strings, numbers and JSON values always serialise")
    }
}

/// The answer still carries the problem as an extension, from which [`crate::http::layers()`] completes it.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status(), self.body(None)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(seconds) = self.0.retry_after_seconds {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use serde_json::json;

    use super::*;

    #[test]
    fn the_body_has_the_members_of_the_contract_in_its_order() {
        let item = ItemError { index: Some(3), pointer: "/timestamp".into(), code: "timestamp_missing".into(), message: "say when".into() };
        let problem =
            Problem::new(StatusCode::BAD_REQUEST, "invalid", "one event is wrong").with_errors(vec![item]).with_extension("line", 7);
        let body = problem.body(Some("r-1"));
        assert_eq!(
            serde_json::from_str::<Value>(&body).unwrap(),
            json!({"type": "/errors#invalid", "title": "Bad Request", "status": 400, "detail": "one event is wrong", "code": "invalid",
                "errors": [{"index": 3, "pointer": "/timestamp", "code": "timestamp_missing", "message": "say when"}],
                "line": 7, "request_id": "r-1", "error": "one event is wrong"})
        );
        assert!(body.starts_with(r##"{"type":"/errors#invalid","title":"Bad Request","status":400,"detail":"##), "{body}");
    }

    #[test]
    fn the_answer_has_media_type_and_retry_after() {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "journal_full", "send it again").with_retry_after(2);
        let response = problem.into_response();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()[CONTENT_TYPE], MEDIA_TYPE);
        assert_eq!(response.headers()[RETRY_AFTER], "2");
    }

    #[test]
    fn a_500_keeps_its_cause_for_the_log() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot commit")]
        struct CommitError(#[source] io::Error);
        let problem = Problem::internal(&CommitError(io::Error::other("/secret/path is gone")));
        assert_eq!(problem.cause(), Some("cannot commit: /secret/path is gone"));
        assert!(!problem.body(None).contains("secret"));
        let direct = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "x", "/secret/path");
        assert!(!direct.body(None).contains("secret"));
    }
}
