//! The exporter, with a word in the log when its receiver goes away and when it is back.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{SpanData, SpanExporter},
};

/// Hands spans on, and says what becomes of them. The SDK itself says nothing.
#[derive(Debug)]
pub(super) struct Reported<E> {
    exporter: E,
    receiver: String,
    is_failing: AtomicBool,
}

impl<E: SpanExporter> Reported<E> {
    pub(super) fn new(exporter: E, receiver: String) -> Self {
        Self { exporter, receiver, is_failing: AtomicBool::new(false) }
    }

    fn report(&self, spans: usize, sent: &OTelSdkResult) {
        let result = if sent.is_ok() { "sent" } else { "lost" };
        metrics::counter!("tidemark_traces_spans_total", "result" => result).increment(spans as u64);
        let was_failing = self.is_failing.swap(sent.is_err(), Ordering::Relaxed);
        match sent {
            Err(error) if !was_failing => {
                tracing::warn!(receiver = self.receiver, %error, "traces cannot be sent; they are lost until they can")
            }
            Ok(()) if was_failing => tracing::info!(receiver = self.receiver, "traces are sent again"),
            _ => {}
        }
    }
}

impl<E: SpanExporter> SpanExporter for Reported<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let sent = self.exporter.export(batch).await;
        self.report(spans, &sent);
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
