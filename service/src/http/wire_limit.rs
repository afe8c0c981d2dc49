//! The limit of a body as it comes over the wire, before decompression; what it is after that, the handler limits.

use std::error::Error;

use axum::{
    body::{Body, HttpBody},
    extract::Request,
};
use http::StatusCode;
use http_body_util::{LengthLimitError, Limited};

use crate::{problem::Problem, settings::ByteSize};

/// The largest body on the wire.
#[derive(Clone, Copy, Debug)]
pub struct WireLimit {
    /// The most bytes.
    pub max: ByteSize,
    /// The key that says so.
    pub setting: &'static str,
}

impl WireLimit {
    /// The same request, its body cut where it is larger without saying so.
    ///
    /// # Errors
    /// 413 for a body that says to be larger.
    pub fn of(self, request: Request) -> Result<Request, Problem> {
        match request.body().size_hint().lower() > self.max.0 {
            true => Err(body_too_large(self.setting)),
            false => Ok(request.map(|body| Body::new(Limited::new(body, self.max.as_usize())))),
        }
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
