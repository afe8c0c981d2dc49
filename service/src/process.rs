//! The life of a process: settings, telemetry, keys, listeners, tasks, stop. Every `main` is `start`, build the roles, `run`.

use std::{
    future::Future,
    net::SocketAddr,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use axum::Router;
use clap::Args;

use tower_http::cors::CorsLayer;

use crate::{
    clock::Clock,
    errors,
    health::Health,
    http::{self, BindError, CorsConfig, CorsError, Guard, Limits, Listener, Lock, Route, Tls, TlsConfig, TlsError},
    keys::{self, KeyRing, KeysError},
    limits::Meters,
    openapi::Description,
    settings::{self, Settings, Sources},
    tasks::{Failure, JoinError, Stop, StopHandle, Tasks},
    telemetry::{self, LogConfig, Telemetry},
};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What the tasks may take beyond the requests in flight.
const JOIN_MARGIN: Duration = Duration::from_secs(2);
/// The most connections of an internal port.
const INTERNAL_CONNECTIONS: usize = 256;
/// What the last traces may take of that time.
const TRACES_TIMEOUT: Duration = Duration::from_secs(2);
/// Files that are not connections of clients: the log, the table's files, the journal, internal ports.
const OTHER_FILES: usize = 2 * INTERNAL_CONNECTIONS;

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
    /// Logs, metrics or traces cannot start.
    #[error("telemetry cannot start")]
    Telemetry(#[from] telemetry::Error),
    /// The keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// An origin is wrong.
    #[error(transparent)]
    Cors(#[from] CorsError),
    /// An address cannot be taken.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Make a key, or listen on loopback.
    #[error(
        "other machines can reach `{address}` (setting `{setting}`), and no API key is valid in `{}`; make one with \
         `tidemark keys new --scope ingest,query,admin`, or set `keys.root_key`, or listen on this machine only, \
         for example `--set {setting}=127.0.0.1:{}`",
        file.display(),
        address.port()
    )]
    Unlocked {
        /// The address.
        address: SocketAddr,
        /// The key that names it.
        setting: &'static str,
        /// The file that should have keys.
        file: PathBuf,
    },
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
    edge: Edge,
}

/// What stands between clients and routes.
#[derive(Debug)]
struct Edge {
    keys: KeyRing,
    meters: Meters,
    tls: Option<Tls>,
    tls_is_internal: bool,
    cors: Option<CorsLayer>,
}

impl Process {
    /// Starts telemetry as the settings and the environment say, and reads keys and certificate. The role is `ingest` or such. Must
    /// be called on a tokio runtime, once.
    ///
    /// # Errors
    /// When one of the sections `log`, `http`, `keys`, `limits` or `tls` is wrong, or telemetry was started before.
    pub fn start(role: &str, settings: Settings) -> Result<Self, Error> {
        telemetry::install_crypto();
        let telemetry = telemetry::init(role, &settings.section::<LogConfig>("log")?)?;
        let clock = Clock::system();
        let limits = within_files(settings.section("http")?);
        let edge = Edge::open(&settings, &clock)?;
        let (stop_handle, stop) = Stop::pair();
        let tasks = Tasks::new();
        tasks.spawn("telemetry", telemetry.clone().upkeep(stop.clone()));
        edge.start(&tasks, &stop);
        Ok(Self { settings, clock, health: Health::new(), tasks, stop, stop_handle, telemetry, limits, edge })
    }

    /// Whether [`start`](Self::start) would find sections, keys and certificate as they must be.
    ///
    /// # Errors
    /// As there.
    pub fn check(settings: &Settings) -> Result<(), Error> {
        telemetry::install_crypto();
        Edge::open(settings, &Clock::system()).map(drop)
    }

    /// Takes a public address, for [`serve`](Self::serve).
    ///
    /// # Errors
    /// When it cannot be taken, or other machines can reach it and there is no valid key.
    pub async fn bind_public(&self, address: &str, setting: &'static str) -> Result<Listener, Error> {
        Ok(self.edge.bind(address, setting).await?.with_tls(self.edge.tls.clone()))
    }

    /// Takes an internal address, for [`serve_admin`](Self::serve_admin) or [`serve_internal`](Self::serve_internal).
    ///
    /// # Errors
    /// As [`bind_public`](Self::bind_public).
    pub async fn bind_internal(&self, address: &str, setting: &'static str) -> Result<Listener, Error> {
        let tls = self.edge.tls.clone().filter(|_| self.edge.tls_is_internal);
        Ok(self.edge.bind(address, setting).await?.with_tls(tls))
    }

    /// Serves routes, with health and the document of all of them, on a public address. A route that is not described is refused.
    pub fn serve(&self, name: &str, listener: Listener, routes: Router, description: Description) {
        let (document, description) = description.and(Health::description()).and(errors::description()).router();
        let guard = self.guard(description.routes(), Lock::WhenKeysAreOn);
        let router = http::layers(self.with_health(routes.merge(document).merge(errors::router())), Some(guard), self.edge.cors.clone());
        self.serve_layered(name, listener, router, self.limits);
    }

    /// Serves Prometheus and health, and nothing else, on the internal address.
    pub fn serve_admin(&self, listener: Listener) {
        self.serve_internal(listener, Router::new(), &[]);
    }

    /// As [`serve_admin`](Self::serve_admin), with routes between our own processes.
    pub fn serve_internal(&self, listener: Listener, routes: Router, access: &[Route]) {
        let lock = if listener.is_loopback() { Lock::Never } else { Lock::Always };
        let access = [access, &telemetry::ROUTES, Health::description().routes()].concat();
        let guard = self.guard(&access, lock);
        let router = http::layers(self.with_health(routes.merge(self.telemetry.metrics_router())), Some(guard), None);
        let max_connections = self.limits.max_connections.min(INTERNAL_CONNECTIONS);
        self.serve_layered("admin", listener, router, Limits { max_connections, ..self.limits });
    }

    fn guard(&self, access: &[Route], lock: Lock) -> Guard {
        Guard::new(self.edge.keys.clone(), self.edge.meters.clone(), lock, access)
    }

    fn with_health(&self, routes: Router) -> Router {
        routes.merge(self.health.router())
    }

    fn serve_layered(&self, name: &str, listener: Listener, router: Router, limits: Limits) {
        self.tasks.spawn(format!("http-{name}"), http::serve(listener, router, self.stop.clone(), limits));
    }

    /// Runs until a signal or until a task fails; then is not ready any more, and after `http.drain_delay` lets everything end in its own time, within a deadline.
    ///
    /// # Errors
    /// The first task that failed, or those that did not end in time.
    pub async fn run_until(self, signal: impl Future<Output = ()>) -> Result<(), JoinError> {
        tokio::select! {
            () = signal => {}
            failure = self.tasks.failed() => report(&failure),
        }
        self.health.stop();
        self.clock.sleep_until(self.clock.now() + self.limits.drain_delay.0).await;
        self.stop_handle.stop();
        let end = Instant::now() + self.limits.stop_timeout.0 + JOIN_MARGIN;
        let joined = self.tasks.join(self.limits.stop_timeout.0 + JOIN_MARGIN).await;
        self.telemetry.finish(TRACES_TIMEOUT.min(end.saturating_duration_since(Instant::now()))).await;
        joined
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

impl Edge {
    fn open(settings: &Settings, clock: &Clock) -> Result<Self, Error> {
        let tls: TlsConfig = settings.section("tls")?;
        Ok(Self {
            keys: KeyRing::open(settings.section::<keys::Config>("keys")?, clock.clone())?,
            meters: Meters::new(settings.section("limits")?),
            tls_is_internal: tls.internal,
            tls: Tls::open(tls)?,
            cors: http::cors(&settings.section::<CorsConfig>("http")?)?,
        })
    }

    fn start(&self, tasks: &Tasks, stop: &Stop) {
        tasks.spawn("keys", self.keys.clone().watch(stop.clone()));
        tasks.spawn("limits", self.meters.clone().upkeep(stop.clone()));
        if let Some(tls) = &self.tls {
            tasks.spawn("tls", tls.clone().watch(stop.clone()));
        }
    }

    async fn bind(&self, address: &str, setting: &'static str) -> Result<Listener, Error> {
        let listener = http::bind(address, setting).await?;
        if listener.is_loopback() || self.keys.has_valid_key() {
            return Ok(listener);
        }
        Err(Error::Unlocked { address: listener.address(), setting, file: self.keys.file().path().to_owned() })
    }
}

/// No more connections than the system lets us have files, of which it is asked for as many as it gives.
fn within_files(limits: Limits) -> Limits {
    let files = rlimit::increase_nofile_limit(u64::MAX).unwrap_or_else(|error| {
        tracing::warn!(%error, "the system does not tell how many files may be open");
        u64::MAX
    });
    let room = usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(OTHER_FILES);
    if room < limits.max_connections {
        tracing::warn!(
            files,
            connections = room,
            "fewer connections than `http.max_connections`: raise the limit of open files (ulimit -n)"
        );
    }
    Limits { max_connections: limits.max_connections.min(room), ..limits }
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
