//! What every answer has.

use std::io;

use axum::{
    Router,
    body::Bytes,
    routing::{get, post},
};
use http::StatusCode;
use reqwest::{Client, Response};
use serde_json::Value;
use service::{health::Health, problem::Problem};

use super::{TestServer, patient};

async fn panics() -> &'static str {
    panic!("the password is hunter2")
}

fn router() -> Router {
    Router::new()
        .route("/ok", get(|| async { "ok" }))
        .route("/panic", get(panics))
        .route("/internal", get(|| async { Problem::internal(&io::Error::other("hunter2")) }))
        .route("/plain", get(|| async { (StatusCode::BAD_GATEWAY, "hunter2") }))
        .route(
            "/full",
            get(|| async { Problem::new(StatusCode::SERVICE_UNAVAILABLE, "journal_full", "send it again").with_retry_after(2) }),
        )
        .route("/count", post(|body: Bytes| async move { body.len().to_string() }))
}

async fn start() -> TestServer {
    let health = Health::new();
    health.check("journal").down("no server; start it");
    TestServer::start(router().merge(health.router()), patient()).await
}

fn id_of(response: &Response) -> String {
    response.headers()["x-request-id"].to_str().unwrap().to_owned()
}

/// Checks what all problems have in common and gives the body.
async fn problem(response: Response, status: u16, code: &str) -> Value {
    assert_eq!(response.status(), status);
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let id = id_of(&response);
    let body: Value = response.json().await.unwrap();
    assert_eq!(body["request_id"], id.as_str());
    assert_eq!(
        (&body["status"], &body["code"], &body["type"]),
        (&Value::from(status), &Value::from(code), &Value::from(format!("/errors#{code}")))
    );
    assert_eq!(body["error"], body["detail"]);
    body
}

async fn get_problem(server: &TestServer, path: &str, status: u16, code: &str) -> Value {
    problem(reqwest::get(server.url(path)).await.unwrap(), status, code).await
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_another_replaced() {
    let server = start().await;
    let client = Client::new();
    let response = client.get(server.url("/ok")).header("X-Request-Id", "my-id:1").send().await.unwrap();
    assert_eq!(id_of(&response), "my-id:1");
    let response = client.get(server.url("/ok")).header("X-Request-Id", "<script>").send().await.unwrap();
    let id = id_of(&response);
    assert_eq!(id.len(), 36);
    let other = client.get(server.url("/nowhere")).send().await.unwrap();
    assert_ne!(id_of(&other), id);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn an_unknown_path_is_a_404_problem() {
    let server = start().await;
    let body = get_problem(&server, "/nowhere?q=1", 404, "not_found").await;
    assert_eq!(body["detail"], "there is nothing at `/nowhere`");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_wrong_method_is_a_405_problem_that_says_what_is_allowed() {
    let server = start().await;
    let response = Client::new().delete(server.url("/ok")).send().await.unwrap();
    assert_eq!(response.headers()["allow"], "GET,HEAD");
    let body = problem(response, 405, "method_not_allowed").await;
    assert_eq!(body["detail"], "`/ok` does not take DELETE; the header Allow says what it takes");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_panic_is_a_500_problem_and_the_server_goes_on() {
    let server = start().await;
    for _ in 0..3 {
        let body = get_problem(&server, "/panic", 500, "internal").await;
        assert!(!body.to_string().contains("hunter2"), "{body}");
    }
    assert_eq!(reqwest::get(server.url("/ok")).await.unwrap().status(), 200);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_5xx_never_shows_its_cause() {
    let server = start().await;
    for (path, status, code) in [("/internal", 500, "internal"), ("/plain", 502, "bad_gateway")] {
        let body = get_problem(&server, path, status, code).await;
        assert!(!body.to_string().contains("hunter2"), "{body}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_handlers_problem_keeps_its_headers() {
    let server = start().await;
    let response = reqwest::get(server.url("/full")).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "2");
    assert_eq!(problem(response, 503, "journal_full").await["detail"], "send it again");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_body_that_axum_refuses_is_a_problem_with_its_text() {
    let server = start().await;
    let response = Client::new().post(server.url("/count")).body(vec![b'x'; 3 << 20]).send().await.unwrap();
    let body = problem(response, 413, "payload_too_large").await;
    assert!(body["detail"].as_str().unwrap().contains("length limit exceeded"), "{body}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn health_answers_on_all_its_paths_and_its_503_stays_as_it_is() {
    let server = start().await;
    for path in ["/health", "/healthz", "/livez"] {
        let response = reqwest::get(server.url(path)).await.unwrap();
        assert_eq!((response.status().as_u16(), response.text().await.unwrap().as_str()), (200, r#"{"status":"ok"}"#));
    }
    for path in ["/ready", "/readyz"] {
        let response = reqwest::get(server.url(path)).await.unwrap();
        assert_eq!(response.status(), 503);
        assert_eq!(response.headers()["content-type"], "application/json");
        let body = response.text().await.unwrap();
        assert_eq!(body, r#"{"status":"unavailable","checks":{"journal":"down: no server; start it"}}"#);
    }
    server.stop().await.unwrap();
}
