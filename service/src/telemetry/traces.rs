//! Traces, sent by OTLP over HTTP, when the standard variables of OpenTelemetry ask for them.
//!
//! In: spans of the target [`TARGET`]. Without an endpoint in the environment nobody listens to it, and such a span costs one
//! comparison. Out: batches of finished spans. Nobody waits for them: what finds the queue full is dropped, and a receiver that is
//! away is one line in the log. Only spans of that target, and warnings of our own modules in them, are taken; so what the exporter
//! and other libraries do is never traced.

mod context;
mod exporter;
mod links;
mod wanted;

use std::time::Duration;

use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter};
use opentelemetry_sdk::{
    Resource,
    resource::{EnvResourceDetector, TelemetryResourceDetector},
    runtime,
    trace::{SdkTracerProvider, span_processor_with_async_runtime::BatchSpanProcessor},
};
use tokio::{task::spawn_blocking, time::timeout};
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{Layer, filter::LevelFilter, filter::filter_fn, registry::LookupSpan};
use uuid::Uuid;

pub use self::{context::TraceContext, links::Links};
use self::{exporter::Reported, wanted::Wanted};
use super::OWN_MODULES;

/// The target of spans that are sent. It is no module, so they are in no log.
pub const TARGET: &str = "otel";

/// Why traces cannot be sent as the environment says.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something that Tidemark does not speak.
    #[error("`{variable}` is `{value}`; {remedy}")]
    Unsupported {
        /// The variable.
        variable: &'static str,
        /// What it says.
        value: String,
        /// What to say instead.
        remedy: &'static str,
    },
    /// An address that is none. It is not shown, for it may hold a password.
    #[error("`{variable}` is no address; write it like `http://127.0.0.1:4318`")]
    BadEndpoint {
        /// The variable.
        variable: &'static str,
    },
    /// Another variable of the exporter.
    #[error("the variables `OTEL_EXPORTER_OTLP_*` do not fit")]
    Exporter(#[from] ExporterBuildError),
}

/// Traces that are being sent. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    receiver: String,
}

impl Traces {
    /// Starts the sending, when the environment asks for it. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// When it asks for what there is not.
    pub(crate) fn from_environment(role: &str) -> Result<Option<Self>, Error> {
        wanted::read(wanted::of_process)?.map(|wanted| Self::start(role, wanted)).transpose()
    }

    fn start(role: &str, wanted: Wanted) -> Result<Self, Error> {
        let Wanted { receiver, service_name } = wanted;
        let exporter = Reported::new(SpanExporter::builder().with_http().build()?, receiver.clone());
        let processor = BatchSpanProcessor::builder(exporter, runtime::Tokio).build();
        let resource = resource(role, service_name);
        let provider = SdkTracerProvider::builder().with_resource(resource).with_span_processor(processor).build();
        Ok(Self { provider, receiver })
    }

    /// `host:port` of whoever receives them.
    pub(super) fn receiver(&self) -> &str {
        &self.receiver
    }

    /// Takes the spans of [`TARGET`].
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let spans = tracing_opentelemetry::layer::<S>().with_tracer(self.provider.tracer("tidemark"));
        let plain = spans.with_location(false).with_threads(false).with_target(false).with_tracked_inactivity(false);
        plain.with_filter(filter_fn(is_traced).with_max_level_hint(LevelFilter::DEBUG))
    }

    /// Sends what is there, if it can be sent within this time; nothing is traced afterwards.
    pub(super) async fn finish(&self, within: Duration) {
        let provider = self.provider.clone();
        // Both refusals, of the exporter and of the clock, mean that spans are lost; the exporter has logged its own.
        let _ = timeout(within, spawn_blocking(move || provider.shutdown())).await;
    }
}

fn is_traced(metadata: &Metadata<'_>) -> bool {
    if metadata.is_span() {
        return metadata.target() == TARGET;
    }
    let module = metadata.target().split("::").next().unwrap_or_default();
    *metadata.level() <= Level::WARN && OWN_MODULES.contains(&module)
}

/// Who sends: the role and its version, and above them what the environment says.
fn resource(role: &str, service_name: Option<String>) -> Resource {
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let instance = KeyValue::new("service.instance.id", Uuid::new_v4().to_string());
    let ours = Resource::builder_empty().with_service_name(format!("tidemark-{role}")).with_attributes([version, instance]);
    let told = ours.with_detectors(&[Box::new(TelemetryResourceDetector), Box::new(EnvResourceDetector::new())]);
    match service_name {
        Some(name) => told.with_service_name(name),
        None => told,
    }
    .build()
}
