//! The pages about the routes.

use axum::Router;
use service::{health::Health, http::Access, openapi::Api};

use super::{TestServer, patient};

async fn start() -> TestServer {
    let health = Health::new();
    let (routes, description) =
        Api::new("one", Access::Open, "A tag.").get("/one", async || "1", |_| serde_json::json!({"operationId": "one"})).finish();
    let (pages, _) = description.and(Health::description()).router();
    TestServer::start(Router::new().merge(routes).merge(health.router()).merge(pages), patient()).await
}

#[tokio::test]
async fn the_document_is_the_same_as_json_and_as_yaml() {
    let server = start().await;
    let json = reqwest::get(server.url("/openapi.json")).await.unwrap().json::<serde_json::Value>().await.unwrap();
    let yaml = reqwest::get(server.url("/openapi.yaml")).await.unwrap();
    assert_eq!(yaml.headers()["content-type"], "application/yaml");
    let yaml: serde_json::Value = yaml_serde::from_str(&yaml.text().await.unwrap()).unwrap();
    assert_eq!(json, yaml);
    assert!(json["paths"]["/one"]["get"].is_object() && json["paths"]["/readyz"]["get"].is_object(), "{json}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn swagger_ui_needs_nothing_from_elsewhere() {
    let server = start().await;
    for path in ["/docs", "/docs/"] {
        let page = reqwest::get(server.url(path)).await.unwrap();
        assert!(page.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'self'"));
        let html = page.text().await.unwrap();
        assert!(html.contains("\"/openapi.json\"") && !html.contains("://"), "{html}");
        let references = html.split("href=\"").chain(html.split("src=\"")).filter(|rest| rest.starts_with('/'));
        let files: Vec<&str> = references.map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(files.len() >= 5, "{html}");
        for file in files {
            let answer = reqwest::get(server.url(file)).await.unwrap();
            assert_eq!(answer.status(), 200, "{file}");
            assert_ne!(answer.headers()["content-type"], "application/octet-stream");
            assert!(!answer.bytes().await.unwrap().is_empty(), "{file}");
        }
    }
    server.stop().await.unwrap();
}
