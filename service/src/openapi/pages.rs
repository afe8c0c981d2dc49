//! The document for programs, and Swagger UI for people. All files are inside the binary; the page may load nothing from elsewhere.

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderName, header},
    response::{Html, IntoResponse},
    routing::get,
};
use schemars::SchemaGenerator;
use serde_json::{Value, json};
use swagger_ui_redist::{SwaggerUi, SwaggerUiStaticFile as File};

use super::{Api, Description, parts::responses};
use crate::http::Access;

/// Scripts and styles only from here: the page works without internet, and tells nobody that it was opened.
const ONLY_FROM_HERE: (HeaderName, &str) = (
    header::CONTENT_SECURITY_POLICY,
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
);
const A_DAY: (HeaderName, &str) = (header::CACHE_CONTROL, "public, max-age=86400");

/// The document, written once.
#[derive(Clone)]
struct Pages {
    json: Bytes,
    yaml: Bytes,
    html: Bytes,
}

/// All routes of the document; it describes them as well. What is said about them comes back with what they are.
pub(super) fn router(description: Description) -> (Router, Description) {
    let api = Api::new("document", Access::Open, "This document.")
        .get("/openapi.json", as_json, describe_json)
        .get("/openapi.yaml", as_yaml, describe_yaml)
        .get("/docs", page, describe_page);
    let (router, own) = api.finish();
    let unnamed = SwaggerUi::static_files().iter().map(|(file, _)| path(*file)).chain(["/docs/".to_owned()]);
    let description = unnamed.fold(description.and(own), Description::with_open_route);
    let pages = Pages::of(&description.clone().document());
    (files(router.route("/docs/", get(page))).with_state(pages), description)
}

impl Pages {
    fn of(document: &Value) -> Self {
        let json = serde_json::to_vec_pretty(document).expect("a JSON value is JSON");
        let yaml = yaml_serde::to_string(document).expect("a JSON value is YAML");
        Self { json: json.into(), yaml: yaml.into(), html: html().into() }
    }
}

fn html() -> String {
    let mut page = SwaggerUi::new();
    page.title("Tidemark").config().urls(["/openapi.json"]).validator_url("none").try_it_out_enabled(true).display_request_duration(true);
    for (file, _) in SwaggerUi::static_files() {
        page.override_file_path(*file, path(*file));
    }
    page.serve().expect("the settings above are plain texts")
}

fn path(file: File) -> String {
    format!("/docs/{}", file.file_name())
}

fn files(router: Router<Pages>) -> Router<Pages> {
    SwaggerUi::static_files().iter().fold(router, |router, (file, bytes)| {
        let answer = ([(header::CONTENT_TYPE, media_type(*file)), A_DAY], *bytes);
        router.route(&path(*file), get(async move || answer))
    })
}

fn media_type(file: File) -> &'static str {
    match file {
        File::Css | File::IndexCss => "text/css; charset=utf-8",
        File::Js | File::StandalonePresetJs => "text/javascript; charset=utf-8",
        _ => "image/png",
    }
}

async fn as_json(State(pages): State<Pages>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], pages.json)
}

async fn as_yaml(State(pages): State<Pages>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/yaml")], pages.yaml)
}

async fn page(State(pages): State<Pages>) -> impl IntoResponse {
    ([ONLY_FROM_HERE], Html(pages.html))
}

fn describe_json(_: &mut SchemaGenerator) -> Value {
    described("openapiJson", "This document as JSON", "application/json", json!({"type": "object", "required": ["openapi", "paths"]}))
}

fn describe_yaml(_: &mut SchemaGenerator) -> Value {
    described("openapiYaml", "This document as YAML", "application/yaml", json!({"type": "object", "required": ["openapi", "paths"]}))
}

fn describe_page(_: &mut SchemaGenerator) -> Value {
    described("docs", "This document for people: Swagger UI", "text/html", json!({"type": "string"}))
}

fn described(id: &str, summary: &str, media_type: &str, schema: Value) -> Value {
    let good = json!({"200": {"description": "The document", "content": {media_type: {"schema": schema}}}});
    json!({"operationId": id, "summary": summary, "security": [{}], "responses": responses(good, &[500])})
}
