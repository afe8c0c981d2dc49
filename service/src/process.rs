//! The life of a process: settings, telemetry, listeners, tasks, stop. Every `main` is `start`, build the roles, `run`.

use std::{future::Future, path::PathBuf, process::ExitCode, time::Duration};

use axum::Router;
use clap::Args;

use crate::{
    clock::Clock,
    errors,
    health::Health,
    http::{self, Limits, Listener},
    settings::{self, Settings, Sources},
    tasks::{Failure, JoinError, Stop, StopHandle, Tasks},
    telemetry::{self, LogConfig, Telemetry},
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the tasks may take beyond the requests in flight.
const JOIN_MARGIN: Duration = Duration::from_secs(2);

/// The flags of every command that has settings.
#[derive(Args, Clone, Debug, Default)]
pub struct SettingArgs {
    /// A TOML file with settings; those it does not name keep their defaults.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// One setting, above all other layers, such as `--set pipeline.max_age=5s`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = assignment, global = true)]
    set: Vec<(String, String)>,
}

impl SettingArgs {
    /// The settings of all layers.
    ///
    /// # Errors
    /// When a layer has an unknown key or a wrong value; the message names the place.
    pub fn load(self) -> Result<Settings, settings::Error> {
        Settings::load(Sources::from_process(self.config, self.set))
    }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write it as `section.key=value`")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// Why a process cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting is wrong.
    #[error(transparent)]
    Settings(#[from] settings::Error),
    /// Logs or metrics cannot start.
    #[error("telemetry cannot start")]
    Telemetry(#[from] telemetry::Error),
}

/// What the roles of a process share.
#[derive(Debug)]
pub struct Process {
    /// Every section.
    pub settings: Settings,
    /// The system's clock.
    pub clock: Clock,
    /// The checks of all roles.
    pub health: Health,
    /// Where roles run.
    pub tasks: Tasks,
    /// Becomes true on SIGTERM, ctrl-c, or when a task failed.
    pub stop: Stop,
    stop_handle: StopHandle,
    telemetry: Telemetry,
    limits: Limits,
}

impl Process {
    /// Starts telemetry as the settings say. Must be called on a tokio runtime, once.
    ///
    /// # Errors
    /// When section `log` or `http` is wrong, or telemetry was started before.
    pub fn start(settings: Settings) -> Result<Self, Error> {
        telemetry::install_crypto();
        let telemetry = telemetry::init(&settings.section::<LogConfig>("log")?)?;
        let limits = settings.section("http")?;
        let (stop_handle, stop) = Stop::pair();
        let tasks = Tasks::new();
        tasks.spawn("telemetry", telemetry.clone().upkeep(stop.clone()));
        Ok(Self { settings, clock: Clock::system(), health: Health::new(), tasks, stop, stop_handle, telemetry, limits })
    }

    /// Serves a role's routes, with health, on its public address.
    pub fn serve(&self, name: &str, listener: Listener, routes: Router) {
        let router = http::layers(routes.merge(self.health.router()).merge(errors::router()));
        self.tasks.spawn(format!("http-{name}"), http::serve(listener, router, self.stop.clone(), self.limits));
    }

    /// Serves Prometheus and health, and nothing else, on the internal address.
    pub fn serve_admin(&self, listener: Listener) {
        self.serve_internal(listener, Router::new());
    }

    /// As [`serve_admin`](Self::serve_admin), with routes between our own processes.
    pub fn serve_internal(&self, listener: Listener, routes: Router) {
        self.serve("admin", listener, routes.merge(self.telemetry.metrics_router()));
    }

    /// Runs until a signal or until a task fails; then lets everything end in its own time, within a deadline.
    ///
    /// # Errors
    /// The first task that failed, or those that did not end in time.
    pub async fn run_until(self, signal: impl Future<Output = ()>) -> Result<(), JoinError> {
        tokio::select! {
            () = signal => {}
            failure = self.tasks.failed() => report(&failure),
        }
        self.stop_handle.stop();
        self.tasks.join(self.limits.stop_timeout.0 + JOIN_MARGIN).await
    }

    /// As [`run_until`](Self::run_until) SIGTERM or ctrl-c.
    ///
    /// # Errors
    /// As there, or when the system refuses signal handlers.
    pub async fn run(self) -> Result<(), BoxError> {
        let signal = Stop::on_signal()?;
        Ok(self.run_until(signal.requested()).await?)
    }
}

/// What `main` returns: on an error one line with all its causes on standard error, and exit code 1.
pub fn exit<E: Into<BoxError>>(result: Result<(), E>) -> ExitCode {
    let Err(error) = result else { return ExitCode::SUCCESS };
    let error: BoxError = error.into();
    let causes = std::iter::successors(Some(error.as_ref() as &dyn std::error::Error), |error| error.source());
    eprintln!("error: {}", causes.map(ToString::to_string).collect::<Vec<_>>().join(": "));
    ExitCode::FAILURE
}

fn report(failure: &Failure) {
    tracing::error!(task = failure.task, error = %failure.source, "a task failed; stopping");
}
