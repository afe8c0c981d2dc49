//! A real nats-server with the configuration that we ship.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{free_port, tool, wait::until};

const START_DEADLINE: Duration = Duration::from_secs(20);
/// A port that was free may be taken by another test before the server has it.
const PORTS_TO_TRY: usize = 5;
/// The configuration that we ship: synced before each answer.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/nats.conf");
/// What the server said since its last start, in its folder.
const LOG: &str = "nats-server.log";

/// A nats-server with JetStream, else told on a folder of its own and synced before each answer. Ended and removed on drop.
#[derive(Debug)]
pub struct NatsServer {
    process: Child,
    port: u16,
    monitoring_port: u16,
    folder: TempDir,
    jetstream: Option<Store>,
}

/// Where a server keeps its streams, and with which configuration.
#[derive(Clone, Debug)]
struct Store {
    folder: PathBuf,
    config: PathBuf,
}

impl NatsServer {
    /// Starts one with `config/nats.conf` and waits until clients can connect.
    pub async fn start() -> Self {
        Self::start_any(Some(SHIPPED.into()), None).await
    }

    /// Starts one that keeps its streams in `store`, with another configuration.
    pub async fn start_in(store: &Path, config: &Path) -> Self {
        Self::start_any(Some(config.to_owned()), Some(store.to_owned())).await
    }

    /// Starts one that has no JetStream.
    pub async fn start_without_jetstream() -> Self {
        Self::start_any(None, None).await
    }

    async fn start_any(config: Option<PathBuf>, store: Option<PathBuf>) -> Self {
        for _ in 0..PORTS_TO_TRY {
            let folder = tempfile::tempdir().expect("the temporary folder can be written");
            let (port, monitoring_port) = (free_port(), free_port());
            let store = store.clone().unwrap_or_else(|| folder.path().to_owned());
            let jetstream = config.clone().map(|config| Store { folder: store, config });
            let process = spawn(folder.path(), port, monitoring_port, jetstream.as_ref());
            let mut server = Self { process, port, monitoring_port, folder, jetstream };
            if server.is_ready().await {
                return server;
            }
        }
        panic!("nats-server ended {PORTS_TO_TRY} times at its start");
    }

    /// Where clients connect.
    #[must_use]
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Where the server tells about itself.
    #[must_use]
    pub fn monitoring_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.monitoring_port)
    }

    /// Where the streams are on disk.
    ///
    /// # Panics
    /// When it has no JetStream.
    #[must_use]
    pub fn streams(&self) -> PathBuf {
        self.jetstream.as_ref().expect("a server with JetStream has a store").folder.join("jetstream")
    }

    /// Where it keeps the files of a stream.
    ///
    /// # Panics
    /// As [`streams`](Self::streams).
    #[must_use]
    pub fn stream_folder(&self, stream: &str) -> PathBuf {
        self.streams().join("$G/streams").join(stream)
    }

    /// Ends it with SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again, after [`kill`](Self::kill) if it runs, on the same ports and the same folder.
    pub async fn restart(&mut self) {
        self.kill();
        self.process = spawn(self.folder.path(), self.port, self.monitoring_port, self.jetstream.as_ref());
        assert!(self.is_ready().await, "nats-server ended at its restart:\n{}", self.log());
    }

    /// Stops it with SIGSTOP: connections stay open and, once this returns, nothing is answered.
    pub fn pause(&self) {
        self.signal("STOP");
        let deadline = Instant::now() + START_DEADLINE;
        while !has_stopped(self.process.id()) {
            assert!(Instant::now() < deadline, "nats-server does not stop at SIGSTOP");
            std::thread::yield_now();
        }
    }

    /// Lets it run on after [`pause`](Self::pause).
    pub fn resume(&self) {
        self.signal("CONT");
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.process.id())]).status();
        assert!(status.is_ok_and(|status| status.success()), "`kill -{signal}` failed");
    }

    /// False when the process has ended, as it does when another has its port.
    async fn is_ready(&mut self) -> bool {
        let (url, log) = (self.url(), self.folder.path().join(LOG));
        let process = &mut self.process;
        until("nats-server is ready", START_DEADLINE, || {
            let ended = process.try_wait().expect("a child can be waited for").is_some();
            let says_so = read(&log).contains("Server is ready");
            let url = url.clone();
            async move {
                if ended {
                    return Some(false);
                }
                (says_so && async_nats::connect(url).await.is_ok()).then_some(true)
            }
        })
        .await
    }

    fn log(&self) -> String {
        read(&self.folder.path().join(LOG))
    }
}

/// Whether every thread of the process stands still. A signal is sent at once and obeyed later.
fn has_stopped(process: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("this test needs Linux").flatten();
    // "42 (nats-server) T 1 …": the state stands behind the name.
    let mut states = threads.map(|thread| read(&thread.path().join("stat")));
    states.all(|stat| stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')))
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("nats-server said:\n{}", self.log());
        }
    }
}

/// Publishes as `nats pub` does, without headers; true when a stream has stored it.
pub async fn publish(url: &str, subject: &str, payload: Vec<u8>) -> bool {
    let Ok(client) = async_nats::connect(url).await else { return false };
    let answer = client.request(subject.to_owned(), payload.into()).await;
    answer.is_ok_and(|answer| answer.payload.windows(5).any(|text| text == b"\"seq\""))
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}

fn spawn(folder: &Path, port: u16, monitoring_port: u16, jetstream: Option<&Store>) -> Child {
    let log = File::create(folder.join(LOG)).expect("the temporary folder can be written");
    let mut command = Command::new(tool("nats-server"));
    command.args(["--addr", "127.0.0.1", "--port", &port.to_string(), "--http_port", &monitoring_port.to_string()]);
    if let Some(Store { folder, config }) = jetstream {
        command.arg("--config").arg(config).arg("--store_dir").arg(folder);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("nats-server can be started")
}
