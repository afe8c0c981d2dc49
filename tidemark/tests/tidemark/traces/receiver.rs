//! A receiver of traces: OTLP over HTTP with protobuf, decoded and kept.

use std::{
    fmt::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;
use testkit::until;
use tokio::{net::TcpListener, task::JoinHandle};

const SOON: Duration = Duration::from_secs(30);

/// What was received, in its order.
type Shared = Arc<Mutex<Vec<Seen>>>;

/// A running receiver; ended on drop.
pub(crate) struct Receiver {
    pub(crate) url: String,
    seen: Shared,
    serving: JoinHandle<()>,
}

/// A span, and who sent it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) span: Span,
    resource: Vec<KeyValue>,
}

impl Receiver {
    #[expect(clippy::disallowed_methods, reason = "aborted on drop")]
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Shared::default();
        let router = Router::new().route("/v1/traces", post(receive)).with_state(Arc::clone(&seen));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, seen, serving }
    }

    /// Everything so far.
    pub(crate) fn all(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Those of this name.
    pub(crate) fn named(&self, name: &str) -> Vec<Seen> {
        self.all().into_iter().filter(|seen| seen.span.name == name).collect()
    }

    /// Waits for the first of this name.
    pub(crate) async fn first(&self, name: &str) -> Seen {
        until(&format!("the span `{name}`"), SOON, async || self.named(name).into_iter().next()).await
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn receive(State(seen): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    for resource_spans in request.resource_spans {
        let resource = resource_spans.resource.unwrap().attributes;
        let spans = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
        seen.lock().unwrap().extend(spans.map(|span| Seen { span, resource: resource.clone() }));
    }
    StatusCode::OK
}

impl Seen {
    /// As a header would name it.
    pub(crate) fn traceparent(&self) -> String {
        traceparent(&self.span.trace_id, &self.span.span_id)
    }

    /// Its parent, as a header would name it.
    pub(crate) fn parent(&self) -> String {
        traceparent(&self.span.trace_id, &self.span.parent_span_id)
    }

    /// The spans to which it is linked.
    pub(crate) fn links(&self) -> Vec<String> {
        self.span.links.iter().map(|link| traceparent(&link.trace_id, &link.span_id)).collect()
    }

    /// An attribute as text; empty when it has none of this name.
    pub(crate) fn attribute(&self, name: &str) -> String {
        text_of(&self.span.attributes, name)
    }

    /// An attribute of who sent it.
    pub(crate) fn resource(&self, name: &str) -> String {
        text_of(&self.resource, name)
    }
}

fn traceparent(trace_id: &[u8], span_id: &[u8]) -> String {
    format!("00-{}-{}-01", hex(trace_id), hex(span_id))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn text_of(attributes: &[KeyValue], name: &str) -> String {
    let value = attributes.iter().find(|attribute| attribute.key == name).and_then(|attribute| attribute.value.clone());
    match value {
        Some(AnyValue { value: Some(Value::StringValue(text)) }) => text,
        Some(AnyValue { value: Some(Value::IntValue(number)) }) => number.to_string(),
        Some(other) => panic!("`{name}` is {other:?}"),
        None => String::new(),
    }
}
