//! The limit of a body as it comes over the wire, before decompression; what it is after that, the handler limits.

use std::error::Error;

use axum::{
    body::{Body, HttpBody},
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse, Response},
};
use http::StatusCode;
use http_body_util::{LengthLimitError, Limited};

use crate::{problem::Problem, settings::ByteSize};

/// The largest body on the wire. As a middleware it refuses a body that says to be larger before it is read, and cuts one that
/// is larger without saying so.
#[derive(Clone, Copy, Debug)]
pub struct WireLimit {
    /// The most bytes.
    pub max: ByteSize,
    /// The key that says so.
    pub setting: &'static str,
}

impl WireLimit {
    /// The middleware, for `axum::middleware::from_fn_with_state`.
    pub async fn check(State(limit): State<Self>, request: Request, next: Next) -> Response {
        if request.body().size_hint().lower() > limit.max.0 {
            return body_too_large(limit.setting).into_response();
        }
        next.run(request.map(|body| Body::new(Limited::new(body, limit.max.as_usize())))).await
    }

    /// Whether a body that was larger on the wire is the cause of `error`.
    #[must_use]
    pub fn caused(error: &(dyn Error + 'static)) -> bool {
        std::iter::successors(Some(error), |&error| error.source()).any(|error| error.is::<LengthLimitError>())
    }
}

/// 413 for a body over its limit.
#[must_use]
pub fn body_too_large(setting: &str) -> Problem {
    let detail =
        format!("the body is larger than `{setting}` allows, which counts before and after decompression; send less in one request");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
}
