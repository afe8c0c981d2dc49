//! The recorder of the process; one test, because it can be installed once.

use axum::{Router, routing::get};
use service::{
    settings::{Settings, Sources},
    telemetry,
};

use super::{TestServer, patient};

#[tokio::test]
async fn requests_are_counted_by_route_and_shown_to_prometheus() {
    telemetry::install_crypto();
    let flags = vec![("log.level".to_owned(), "off".to_owned()), ("log.format".to_owned(), "json".to_owned())];
    let settings = Settings::load(Sources { flags, ..Sources::default() }).unwrap();
    let telemetry = telemetry::init("test", &settings.section("log").unwrap()).unwrap();
    assert!(telemetry::init("test", &settings.section("log").unwrap()).is_err());

    let router = Router::new().route("/users/{id}", get(|| async { "ok" })).merge(telemetry.metrics_router());
    let server = TestServer::start(router, patient()).await;
    for path in ["/users/1", "/users/2", "/no/such/path/of/the/telemetry/test"] {
        reqwest::get(server.url(path)).await.unwrap();
    }
    let text = reqwest::get(server.url("/metrics")).await.unwrap().text().await.unwrap();
    assert!(text.contains("http_requests_total{method=\"GET\",route=\"/users/{id}\",status=\"200\"} 2\n"), "{text}");
    assert!(text.contains("http_request_duration_seconds_bucket{route=\"/users/{id}\",status=\"200\",le=\"0.0005\"}"), "{text}");
    assert!(text.contains("route=\"none\",status=\"404\"") && !text.contains("/no/such"), "{text}");
    server.stop().await.unwrap();
}
