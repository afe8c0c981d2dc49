//! Traces of a running server, as a receiver of OpenTelemetry gets them: from a client's request through the journal to a commit.

mod receiver;

use std::{
    io::ErrorKind,
    net::TcpListener,
    time::{Duration, Instant},
};

use async_nats::{HeaderMap, jetstream};
use futures::future::join_all;
use reqwest::Client;
use serde_json::json;
use testkit::{NatsServer, free_port, until};
use tokio::time::timeout;

use self::receiver::{Receiver, Seen};
use crate::process::{Tidemark, text, tidemark};

const SOON: Duration = Duration::from_secs(30);
/// The span of a client.
const CLIENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const FOREIGN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const EVENT: &str = r#"{"event_name":"a","user_id":"u","timestamp":1723475612}"#;
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
/// Kinds of spans, as the protocol numbers them.
const INTERNAL: i32 = 1;
const SERVER: i32 = 2;
const PRODUCER: i32 = 4;
const CONSUMER: i32 = 5;

/// A server that sends its spans to the receiver soon, and commits soon.
async fn traced(nats: &NatsServer, receiver: &Receiver) -> Tidemark {
    let soon = ("OTEL_BSP_SCHEDULE_DELAY", "50");
    let attributes = ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test");
    Tidemark::start_in(nats, &["pipeline.max_idle=200ms"], &[(ENDPOINT, &receiver.url), soon, attributes]).await
}

async fn post(tidemark: &Tidemark, headers: &[(&str, &str)]) -> u16 {
    let request = Client::new().post(format!("{}/events", tidemark.url)).header("content-type", "application/json").body(EVENT);
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send().await.unwrap().status().as_u16()
}

/// The header of a message of the journal, as any other program reads it.
async fn header(nats: &NatsServer, sequence: u64) -> Option<String> {
    let context = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let message = context.get_stream("tidemark-0").await.unwrap().get_raw_message(sequence).await.unwrap();
    message.headers.get("traceparent").map(|value| value.as_str().to_owned())
}

fn number(seen: &Seen, attribute: &str) -> usize {
    seen.attribute(attribute).parse().unwrap()
}

#[tokio::test]
async fn a_request_is_followed_from_its_client_through_the_journal_to_its_commit() {
    let (nats, receiver) = (NatsServer::start().await, Receiver::start().await);
    let server = traced(&nats, &receiver).await;
    assert_eq!(post(&server, &[("traceparent", CLIENT), ("x-request-id", "mine-1")]).await, 202);

    let request = receiver.first("POST /events").await;
    assert_eq!((request.parent().as_str(), request.span.kind), (CLIENT, SERVER));
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/events"),
        ("http.response.status_code", "202"),
        ("url.path", "/events"),
        ("url.scheme", "http"),
        ("tidemark.request.id", "mine-1"),
    ] {
        assert_eq!(request.attribute(name), value, "{name}");
    }
    for (name, value) in [("service.name", "tidemark-serve"), ("deployment.environment.name", "test"), ("telemetry.sdk.language", "rust")] {
        assert_eq!(request.resource(name), value, "{name}");
    }

    let publish = receiver.first("publish tidemark-0").await;
    assert_eq!((publish.parent(), publish.links(), publish.span.kind), (request.traceparent(), vec![request.traceparent()], PRODUCER));
    assert_eq!(header(&nats, 1).await, Some(publish.traceparent()));
    for (name, value) in
        [("messaging.system", "nats"), ("messaging.destination.name", "tidemark-0"), ("tidemark.events", "1"), ("tidemark.sequence", "1")]
    {
        assert_eq!(publish.attribute(name), value, "{name}");
    }

    let commit = receiver.first("commit tidemark-0").await;
    assert_eq!((commit.links(), commit.span.kind), (vec![publish.traceparent()], CONSUMER));
    assert!(commit.span.parent_span_id.is_empty(), "a commit is a trace of its own");
    for (name, value) in [("messaging.batch.message_count", "1"), ("tidemark.rows", "1"), ("tidemark.files", "1")] {
        assert_eq!(commit.attribute(name), value, "{name}");
    }
    assert!(number(&commit, "tidemark.table.version") > 0);
}

#[tokio::test]
async fn a_question_is_a_child_of_its_request_and_a_defect_is_an_error() {
    let (mut nats, receiver) = (NatsServer::start().await, Receiver::start().await);
    let server = traced(&nats, &receiver).await;
    let ask = |path: &str| Client::new().get(format!("{}{path}", server.url)).header("traceparent", CLIENT).send();
    assert_eq!(ask("/metrics").await.unwrap().status(), 200);
    assert_eq!(ask("/sql?q=SELECT%20secret").await.unwrap().status(), 400);
    let (metrics, request) = (receiver.first("query metrics").await, receiver.first("GET /metrics").await);
    assert_eq!((metrics.parent(), metrics.span.kind), (request.traceparent(), INTERNAL));
    assert_eq!(metrics.attribute("tidemark.query.result"), "ok");
    let (sql, refused) = (receiver.first("query sql").await, receiver.first("GET /sql").await);
    assert_eq!((sql.parent(), sql.attribute("tidemark.query.result")), (refused.traceparent(), "invalid".to_owned()));
    assert_eq!((refused.attribute("http.response.status_code").as_str(), refused.span.status.unwrap().code), ("400", 0));
    nats.kill();
    assert_eq!(post(&server, &[("traceparent", "malformed")]).await, 503);
    let (failed, publish) = (receiver.first("POST /events").await, receiver.first("publish tidemark-0").await);
    assert_eq!((failed.attribute("error.type").as_str(), failed.span.status.as_ref().unwrap().code), ("503", 2));
    assert_eq!((publish.attribute("error.type").as_str(), publish.span.status.as_ref().unwrap().code), ("no_answer", 2));
    assert!(failed.span.parent_span_id.is_empty(), "what is malformed is no parent");
    assert!(receiver.all().iter().all(|seen| !format!("{:?}", seen.span).contains("secret")), "a question is not told");
}

#[tokio::test]
async fn requests_that_share_a_block_are_linked_from_it_up_to_a_bound() {
    const REQUESTS: usize = 200;
    const MOST_LINKS: usize = 16;
    let (nats, receiver) = (NatsServer::start().await, Receiver::start().await);
    let server = traced(&nats, &receiver).await;
    let client = Client::new();
    let event = |number: usize| json!({"event_name": "a", "user_id": number.to_string(), "timestamp": 1_723_475_612}).to_string();
    let answers = join_all((0..REQUESTS).map(|number| server.post(&client, "/events", event(number)))).await;
    assert!(answers.iter().all(|(status, _)| *status == 202));
    let events = || receiver.named("publish tidemark-0").iter().map(|seen| number(seen, "tidemark.events")).sum::<usize>();
    let is_complete = async || (events() == REQUESTS && receiver.named("POST /events").len() == REQUESTS).then_some(());
    until("all spans", SOON, is_complete).await;
    let requests: Vec<_> = receiver.named("POST /events").iter().map(Seen::traceparent).collect();
    let mut most = 0;
    for publish in receiver.named("publish tidemark-0") {
        let (events, links) = (number(&publish, "tidemark.events"), publish.links());
        assert_eq!(links.len(), events.min(MOST_LINKS));
        assert!(links.iter().all(|link| requests.contains(link)) && publish.parent() == links[0]);
        most = most.max(events);
    }
    assert!(most > 1, "no two requests shared a block");
}

#[tokio::test]
async fn a_foreign_message_is_linked_by_its_header_and_a_malformed_one_is_ignored() {
    let (nats, receiver) = (NatsServer::start().await, Receiver::start().await);
    let server = traced(&nats, &receiver).await;
    let context = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    for traceparent in ["rubbish", "00-1-1-01", FOREIGN, &"x".repeat(5_000)] {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", traceparent);
        let event = json!({"event_name": "a", "user_id": traceparent.len().to_string(), "timestamp": 1_723_475_612}).to_string();
        context.publish_with_headers("tidemark.0", headers, event.into()).await.unwrap().await.unwrap();
    }
    server.says("SELECT count(*) FROM events_committed", "4").await;
    let rows = || receiver.named("commit tidemark-0").iter().map(|seen| number(seen, "tidemark.rows")).sum::<usize>();
    until("the spans of all commits", SOON, async || (rows() == 4).then_some(())).await;
    let links: Vec<_> = receiver.named("commit tidemark-0").iter().flat_map(Seen::links).collect();
    assert_eq!(links, [FOREIGN]);
}

#[tokio::test]
async fn a_receiver_that_is_away_or_silent_slows_neither_the_door_nor_the_stop() {
    const REQUESTS: usize = 100;
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    for (port, warnings) in [(free_port(), 1), (silent.local_addr().unwrap().port(), 0)] {
        let nats = NatsServer::start().await;
        let endpoint = format!("http://127.0.0.1:{port}");
        let patience = ("OTEL_EXPORTER_OTLP_TIMEOUT", "3600000");
        let queue = [("OTEL_BSP_SCHEDULE_DELAY", "50"), ("OTEL_BSP_MAX_QUEUE_SIZE", "8"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")];
        let mut server = Tidemark::start_in(&nats, &[], &[&[(ENDPOINT, endpoint.as_str()), patience][..], &queue].concat()).await;
        let posts = async {
            for _ in 0..REQUESTS {
                assert_eq!(post(&server, &[("traceparent", CLIENT)]).await, 202);
            }
        };
        timeout(SOON, posts).await.expect("the door waits for no receiver");
        let began = Instant::now();
        assert!(server.terminate().await);
        assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
        assert_eq!(server.log().matches("traces cannot be sent").count(), warnings, "{}", server.log());
    }
}

#[tokio::test]
async fn the_last_spans_are_sent_before_the_process_ends() {
    let (nats, receiver) = (NatsServer::start().await, Receiver::start().await);
    let never = ("OTEL_BSP_SCHEDULE_DELAY", "3600000");
    let mut server = Tidemark::start_in(&nats, &[], &[(ENDPOINT, &receiver.url), never, ("OTEL_SERVICE_NAME", "mine")]).await;
    assert_eq!(post(&server, &[]).await, 202);
    assert!(receiver.all().is_empty());
    assert!(server.terminate().await);
    let commits = receiver.named("commit tidemark-0");
    assert_eq!((receiver.named("publish tidemark-0").len(), commits.len(), commits[0].resource("service.name").as_str()), (1, 1, "mine"));
}

#[tokio::test]
async fn without_an_endpoint_or_with_a_no_nothing_is_sent_and_messages_carry_nothing() {
    let endpoint = TcpListener::bind("127.0.0.1:0").unwrap();
    endpoint.set_nonblocking(true).unwrap();
    let url = format!("http://{}", endpoint.local_addr().unwrap());
    let to = (ENDPOINT, url.as_str());
    for environment in [&[][..], &[to, ("OTEL_SDK_DISABLED", "true")], &[to, ("OTEL_TRACES_EXPORTER", "none")]] {
        let nats = NatsServer::start().await;
        let mut server = Tidemark::start_in(&nats, &[], environment).await;
        assert_eq!(post(&server, &[("traceparent", CLIENT)]).await, 202);
        assert_eq!(header(&nats, 1).await, None);
        assert!(server.terminate().await);
        assert!(!server.log().contains("traces are sent"), "{}", server.log());
        assert_eq!(endpoint.accept().unwrap_err().kind(), ErrorKind::WouldBlock, "somebody has connected");
    }
}

#[test]
fn a_protocol_that_is_not_spoken_is_one_clear_message() {
    let output = tidemark(&["serve"]).env(ENDPOINT, "http://127.0.0.1:4317").env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc").output().unwrap();
    let said = text(&output.stderr);
    assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    for part in ["error: ", "`OTEL_EXPORTER_OTLP_PROTOCOL` is `grpc`", "`http/protobuf`"] {
        assert!(said.contains(part), "{said}");
    }
}
