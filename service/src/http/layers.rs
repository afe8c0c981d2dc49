//! What every answer has: a request id, an error in the one shape, a line of metrics, and no panic that reaches the client.
//!
//! Written as services rather than as functions with a `Next`, and put before the router as one layer: each layer of a router is a copy
//! of the route behind it and a box for its future, and each `Next` is two boxes more, for every request.

mod series;
mod span;

use std::{
    any::Any,
    borrow::Cow,
    convert::Infallible,
    panic::{AssertUnwindSafe, catch_unwind},
    task::{Context, Poll},
    time::Instant,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{MatchedPath, Request},
    response::{IntoResponse, Response},
};
use futures::{
    FutureExt,
    future::{BoxFuture, Either, ready},
};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use tower::{Service, layer::layer_fn, util::option_layer};
use tower_http::cors::CorsLayer;
use tracing::{Instrument, Span};
use uuid::Uuid;

use super::{Guard, connection::Origin};

use crate::{problem::Problem, tasks::panic_message};

/// The header that carries the request's id in both directions.
pub const REQUEST_ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");

const LONGEST_REQUEST_ID: usize = 128;
/// The most of a plain error text that becomes a problem's detail.
const LONGEST_PLAIN_ERROR: usize = 4_096;

/// The id of a request: the client's own when it is sane, else a new UUID v7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestId(HeaderValue);

/// What is remembered of a request while it is answered.
struct Asked {
    id: RequestId,
    method: Method,
    route: Option<MatchedPath>,
    /// Absent where the route is the path. A copy keeps the connection's buffer in use, so that the next request needs another one.
    uri: Option<Uri>,
    at: Instant,
}

/// Gives every answer of the finished router, fallbacks included, what it must have, and asks the guard before its routes. Apply it
/// once, to the router that is served, after all merging. Web pages of other origins are answered before the guard, as a browser asks
/// without a key whether it may ask.
pub fn layers(router: Router, guard: Option<Guard>, cors: Option<CorsLayer>) -> Router {
    router.layer((layer_fn(Answered), option_layer(cors), option_layer(guard)))
}

/// The routes behind, whose every answer has what it must have.
#[derive(Clone, Debug)]
struct Answered<S>(S);

impl<S> Service<Request> for Answered<S>
where
    S: Service<Request, Response = Response, Error = Infallible, Future: Send + 'static>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let asked = Asked::of(&request);
        let traced = span::begin(&asked, request.headers(), request.extensions().get().map(|origin: &Origin| &origin.scheme));
        let logged = tracing::debug_span!("request", id = asked.id.as_str(), method = %asked.method, path = asked.path());
        let answer = match logged.in_scope(|| catch_unwind(AssertUnwindSafe(|| self.0.call(request)))) {
            Ok(answer) => Either::Left(AssertUnwindSafe(answer).catch_unwind()),
            Err(panic) => Either::Right(ready(Err(panic))),
        };
        let answer = answer.map(|answered| answered.map_or_else(panicked, |Ok(response)| response));
        Box::pin(asked.complete(answer.instrument(logged), traced).map(Ok))
    }
}

impl RequestId {
    /// The id as text.
    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().expect("only sane header values and UUIDs become a request id")
    }

    fn of(headers: &HeaderMap) -> Self {
        headers.get(&REQUEST_ID_HEADER).filter(|value| is_sane(value)).cloned().map_or_else(Self::new, Self)
    }

    pub(super) fn new() -> Self {
        let mut text = Uuid::encode_buffer();
        let id = Uuid::now_v7().hyphenated().encode_lower(&mut text);
        Self(HeaderValue::from_str(id).expect("a UUID is hex digits and dashes"))
    }
}

/// Short, and only characters that are harmless in logs, headers and URLs.
fn is_sane(value: &HeaderValue) -> bool {
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:+/=@".contains(byte);
    (1..=LONGEST_REQUEST_ID).contains(&value.len()) && value.as_bytes().iter().all(harmless)
}

impl Asked {
    fn of(request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>().cloned();
        let is_path = route.as_ref().is_some_and(|route| route.as_str() == request.uri().path());
        let uri = (!is_path).then(|| request.uri().clone());
        Self { id: RequestId::of(request.headers()), method: request.method().clone(), route, uri, at: Instant::now() }
    }

    fn path(&self) -> &str {
        let route = self.route.as_ref().map_or("", MatchedPath::as_str);
        self.uri.as_ref().map_or(route, Uri::path)
    }

    async fn complete(self, answer: impl Future<Output = Response>, traced: Span) -> Response {
        let answered = async { complete(answer.await, &self).await };
        let mut response = answered.instrument(traced.clone()).await;
        span::end(&traced, response.status());
        self.count(response.status());
        response.headers_mut().insert(REQUEST_ID_HEADER, self.id.0);
        response
    }

    /// Labels have few values: known methods, routes rather than paths.
    fn count(&self, status: StatusCode) {
        let method = standard(&self.method).unwrap_or("other");
        let route = self.route.as_ref().map_or("none", MatchedPath::as_str);
        let elapsed = self.at.elapsed();
        tracing::debug!(id = self.id.as_str(), method, path = self.path(), status = status.as_u16(), ?elapsed, "answered");
        series::count(method, route, status, elapsed);
    }
}

/// The name of a common method.
fn standard(method: &Method) -> Option<&'static str> {
    ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"].into_iter().find(|name| *name == method.as_str())
}

/// A panic in a handler. Where it happened is in the log line of the panic itself.
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let cause = format!("panic: {}", panic_message(panic.as_ref()));
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", cause).into_response()
}

/// Puts the request id into a problem and its cause into the log; makes a plain error, such as axum's own, a problem first.
async fn complete(response: Response, asked: &Asked) -> Response {
    let (mut parts, body) = response.into_parts();
    let problem = match parts.extensions.remove::<Problem>() {
        Some(problem) => problem,
        None if is_plain_error(parts.status, &parts.headers) => plain_problem(parts.status, body, asked).await,
        None => return Response::from_parts(parts, body),
    };
    log_failure(&problem, asked);
    let body = problem.body(Some(asked.id.as_str()));
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(crate::problem::MEDIA_TYPE));
    Response::from_parts(parts, Body::from(body))
}

/// What is our fault or that of a server behind us is seen in the log, with the id that the client has.
fn log_failure(problem: &Problem, asked: &Asked) {
    let (request_id, method, path, status) = (asked.id.as_str(), &asked.method, asked.path(), problem.status());
    match problem.cause() {
        Some(cause) => tracing::error!(request_id, %method, path, status = status.as_u16(), cause, "a request failed"),
        None if status.is_server_error() => {
            tracing::warn!(request_id, %method, path, status = status.as_u16(), code = problem.code(), "a request was not served");
        }
        None => {}
    }
}

/// An error without a body or with plain text. Errors of another type, such as `/ready`'s JSON, are meant as they are.
fn is_plain_error(status: StatusCode, headers: &HeaderMap) -> bool {
    let media_type = headers.get(CONTENT_TYPE).map_or(Ok("text/plain"), HeaderValue::to_str);
    (status.is_client_error() || status.is_server_error()) && media_type.is_ok_and(|media_type| media_type.starts_with("text/plain"))
}

/// The text of a 5xx may tell too much, so it goes to the log instead.
async fn plain_problem(status: StatusCode, body: Body, asked: &Asked) -> Problem {
    let text = to_bytes(body, LONGEST_PLAIN_ERROR).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    match status.is_server_error() {
        true => Problem::of_status(status, "the server cannot answer this now").with_cause(text),
        false if text.is_empty() => Problem::of_status(status, detail_of(status, asked)),
        false => Problem::of_status(status, text),
    }
}

fn detail_of(status: StatusCode, asked: &Asked) -> Cow<'static, str> {
    let path = asked.path();
    match status {
        StatusCode::NOT_FOUND => format!("there is nothing at `{path}`").into(),
        StatusCode::METHOD_NOT_ALLOWED => format!("`{path}` does not take {}; the header Allow says what it takes", asked.method).into(),
        _ => "the request cannot be answered".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sane_request_id_is_kept() {
        let id = |text: &str| {
            let headers = HeaderMap::from_iter([(REQUEST_ID_HEADER, HeaderValue::from_str(text).unwrap())]);
            RequestId::of(&headers).as_str().to_owned()
        };
        for kept in ["a", "0190-ab_c.d:e+f/g=h@i", &"x".repeat(LONGEST_REQUEST_ID)] {
            assert_eq!(id(kept), kept);
        }
        for replaced in ["", "a b", "a\"b", "<b>", "a,b", &"x".repeat(LONGEST_REQUEST_ID + 1)] {
            assert_eq!(Uuid::parse_str(&id(replaced)).unwrap().get_version_num(), 7, "{replaced}");
        }
        let ids = [RequestId::of(&HeaderMap::new()), RequestId::of(&HeaderMap::new())];
        assert_ne!(ids[0], ids[1]);
    }
}
