//! `GET /errors`: the page with all codes, to which the `type` of every problem leads.

use axum::{Router, routing::get};
use http::header::CONTENT_TYPE;

const PAGE: &str = include_str!("../../docs/ERRORS.md");

/// The `type` of a problem with this code.
pub(crate) fn uri(code: &str) -> String {
    format!("/errors#{code}")
}

/// `GET /errors`. Merge it once into each port's router.
pub fn router() -> Router {
    Router::new().route("/errors", get(async || ([(CONTENT_TYPE, "text/markdown; charset=utf-8")], PAGE)))
}
