//! Logs, metrics and traces of the process.
//!
//! Logs go to standard error, so that standard output stays free for answers: text on a terminal, one JSON object per line
//! elsewhere. Metrics recorded with the `metrics` macros anywhere in the process are shown by [`Telemetry::metrics_router`].
//! [`traces`] are sent when the environment names a receiver.

mod measures;
pub mod traces;

use std::{
    convert::Infallible,
    io::{IsTerminal, stderr},
    panic::PanicHookInfo,
    time::Duration,
};

use axum::{Router, http::header::CONTENT_TYPE, routing::get};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use serde::Deserialize;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, layer::SubscriberExt, util::SubscriberInitExt};

pub use self::measures::{Metric, describe};
use self::traces::Traces;
use crate::{
    http::Route,
    keys::Scope,
    tasks::{Stop, panic_message},
};

/// The section `log`.
#[derive(Clone, Debug, Deserialize)]
pub struct LogConfig {
    /// What to log.
    pub level: Level,
    /// How to log.
    pub format: Format,
}

/// A level, or levels per module: `info`, `info,journal=debug`. A level without a module is for Tidemark's own modules;
/// libraries, unless named, say no more than warnings: some of them report every commit at `info`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Level(String);

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// Text that is no level.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{part}` is not a level; a level is one of trace, debug, info, warn, error, off, for one module `module=level`")]
pub struct ParseLevelError {
    part: String,
}

/// Why telemetry cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another logger is installed: start telemetry once per process.
    #[error("logging has been started before")]
    Log(#[from] tracing_subscriber::util::TryInitError),
    /// Another recorder is installed: start telemetry once per process.
    #[error("metrics have been started before")]
    Metrics(#[from] BuildError),
    /// The environment asks for traces that cannot be sent: correct the variable.
    #[error(transparent)]
    Traces(#[from] traces::Error),
}

/// The running telemetry.
#[derive(Clone, Debug)]
pub struct Telemetry {
    prometheus: PrometheusHandle,
    traces: Option<Traces>,
}

/// The routes of [`Telemetry::metrics_router`].
pub const ROUTES: [Route; 1] = [Route::needs("/metrics", Scope::Admin)];

/// Upper bounds of histograms whose name ends in `_seconds`.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0];
/// Upper bounds of all others: bytes, rows, events.
const COUNTS: [f64; 14] =
    [1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0, 16_777_216.0, 134_217_728.0];
/// The crates and binaries of this workspace.
const OWN_MODULES: [&str; 8] = ["schemas", "journal", "table", "service", "pipeline", "ingest", "query", "tidemark"];
/// The media type of Prometheus' text format.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How often recorded values are folded into the histograms, so that they take no memory while nobody scrapes.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// Starts logs, metrics and traces for the whole process; panics are logged like errors from then on. The role names the process in
/// its traces. Must be called on a tokio runtime.
///
/// # Errors
/// When it has been called before, or the environment asks for traces that cannot be sent.
pub fn init(role: &str, config: &LogConfig) -> Result<Telemetry, Error> {
    let traces = Traces::from_environment(role)?;
    tracing_subscriber::registry().with(log(config)).with(traces.as_ref().map(Traces::layer)).try_init()?;
    std::panic::set_hook(Box::new(log_panic));
    if let Some(traces) = &traces {
        tracing::info!(receiver = traces.receiver(), "traces are sent");
    }
    let telemetry = Telemetry { prometheus: prometheus()?.install_recorder()?, traces };
    describe(&measures::METRICS);
    measures::report_build();
    Ok(telemetry)
}

/// The log, which has its own filter, so that traces do not depend on its level.
fn log(config: &LogConfig) -> Box<dyn Layer<Registry> + Send + Sync> {
    let filter = EnvFilter::new(config.level.directives());
    let lines = fmt::layer().with_writer(stderr);
    match config.format.is_text() {
        true => lines.with_ansi(stderr().is_terminal()).with_filter(filter).boxed(),
        false => lines.json().flatten_event(true).with_span_list(false).with_filter(filter).boxed(),
    }
}

/// Chooses the one provider of cryptography; call it first thing in every main, before the first TLS connection.
pub fn install_crypto() {
    // An error means that a provider is already installed, which is just as good.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
}

impl Telemetry {
    /// `GET /metrics` in the text format of Prometheus, for the admin port.
    pub fn metrics_router(&self) -> Router {
        let prometheus = self.prometheus.clone();
        let text = async move || {
            measures::report_process();
            ([(CONTENT_TYPE, TEXT_FORMAT)], prometheus.render())
        };
        Router::new().route("/metrics", get(text))
    }

    /// Keeps the histograms small until a stop is requested; run it as a task.
    ///
    /// # Errors
    /// Never; the type is that of a task.
    pub async fn upkeep(self, stop: Stop) -> Result<(), Infallible> {
        while tokio::time::timeout(UPKEEP_INTERVAL, stop.requested()).await.is_err() {
            self.prometheus.run_upkeep();
        }
        Ok(())
    }

    /// Sends the traces that are not sent yet, if it can be done within this time. For the end of the process.
    pub async fn finish(&self, within: Duration) {
        if let Some(traces) = &self.traces {
            traces.finish(within).await;
        }
    }
}

impl Format {
    fn is_text(self) -> bool {
        match self {
            Self::Auto => stderr().is_terminal(),
            Self::Text => true,
            Self::Json => false,
        }
    }
}

impl Level {
    /// The level in the language of the filter, the general part first, so that a named module overrides it.
    fn directives(&self) -> String {
        let (named, general): (Vec<_>, Vec<_>) = self.0.split(',').map(str::to_owned).partition(|part| part.contains('='));
        general.iter().map(|level| for_own_modules(level)).chain(named).collect::<Vec<_>>().join(",")
    }
}

fn for_own_modules(level: &str) -> String {
    match level {
        "off" | "error" | "warn" => level.to_owned(),
        _ => format!("warn,{}", OWN_MODULES.map(|module| format!("{module}={level}")).join(",")),
    }
}

impl TryFrom<String> for Level {
    type Error = ParseLevelError;

    /// Checks each part first, because the filter takes an unknown word for the name of a module.
    fn try_from(text: String) -> Result<Self, Self::Error> {
        const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "error", "off"];
        let is_level = |part: &&str| LEVELS.contains(&part.rsplit('=').next().unwrap_or(part));
        let parts: Vec<_> = text.split(',').map(str::trim).collect();
        match parts.iter().find(|part| !is_level(part)) {
            Some(part) => Err(ParseLevelError { part: (*part).to_owned() }),
            None => Ok(Self(parts.join(","))),
        }
    }
}

fn prometheus() -> Result<PrometheusBuilder, BuildError> {
    let builder = PrometheusBuilder::new().with_recommended_naming(true).set_buckets(&COUNTS)?;
    builder.set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, "panic: {}", panic_message(panic.payload()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_level_or_levels_per_module() {
        for (text, filter) in [("off", "off"), ("info,journal=debug", "info,journal=debug"), ("warn, a::b=trace ", "warn,a::b=trace")] {
            assert_eq!(Level::try_from(text.to_owned()), Ok(Level(filter.to_owned())));
            filter.parse::<EnvFilter>().unwrap();
        }
        for (text, part) in [("", ""), ("verbose", "verbose"), ("info,journal", "journal"), ("journal=loud", "journal=loud")] {
            assert_eq!(Level::try_from(text.to_owned()), Err(ParseLevelError { part: part.to_owned() }));
        }
    }

    #[test]
    fn a_general_level_leaves_libraries_at_warn_and_a_named_module_overrides_it() {
        let directives = |text: &str| Level(text.to_owned()).directives();
        assert_eq!(directives("off"), "off");
        let own = "schemas=info,journal=info,table=info,service=info,pipeline=info,ingest=info,query=info,tidemark=info";
        assert_eq!(directives("journal=debug,info,async_nats=trace"), format!("warn,{own},journal=debug,async_nats=trace"));
        let shown = EnvFilter::new(directives("journal=debug,info")).to_string();
        assert!(shown.contains("journal=debug") && !shown.contains("journal=info"), "{shown}");
    }

    #[test]
    fn the_embedded_log_section_is_read() {
        let settings = crate::settings::Settings::load(crate::settings::Sources::default()).unwrap();
        let config: LogConfig = settings.section("log").unwrap();
        assert_eq!((config.level, config.format), (Level("info".to_owned()), Format::Auto));
    }
}
