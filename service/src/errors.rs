//! `GET /errors`: the page with all codes, to which the `type` of every problem leads.

use axum::{Router, response::IntoResponse};
use http::header::CONTENT_TYPE;
use schemars::SchemaGenerator;
use serde_json::{Value, json};

use crate::{
    http::Access,
    openapi::{Api, Description, parts::responses},
};

const PAGE: &str = include_str!("../../docs/ERRORS.md");
const MEDIA_TYPE: &str = "text/markdown; charset=utf-8";

/// The `type` of a problem with this code.
pub(crate) fn uri(code: &str) -> String {
    format!("/errors#{code}")
}

/// `GET /errors`. Merge it once into each public port's router.
pub fn router() -> Router {
    api().finish().0
}

/// What clients are told about the route.
#[must_use]
pub fn description() -> Description {
    api().finish().1
}

fn api() -> Api {
    Api::new("errors", Access::Open, "What each error code means, and what to do.").get("/errors", page, describe)
}

async fn page() -> impl IntoResponse {
    ([(CONTENT_TYPE, MEDIA_TYPE)], PAGE)
}

fn describe(_: &mut SchemaGenerator) -> Value {
    let good = json!({"200": {"description": "The page", "content": {"text/markdown": {"schema": {"type": "string"}}}}});
    json!({"operationId": "errors", "summary": "All error codes", "responses": responses(good, &[500])})
}
