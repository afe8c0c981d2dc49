//! One role as a process of its own, which is started again when it ends, as any supervisor would do.

use std::{
    fs::File,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use testkit::until;

use crate::process::{binary, text};

/// SIGTERM must be enough within this time.
const STOP_DEADLINE: Duration = Duration::from_secs(12);
/// Where a test tells a process at which point of its code it ends or stops.
const FAILPOINT: &str = "TIDEMARK_FAILPOINT";
/// The signal of `abort`.
const SIGABRT: i32 = 6;
/// Between two starts of a role that cannot start.
const PAUSE_BEFORE_RESTART: Duration = Duration::from_millis(300);

/// A process that plays one role, or all of them.
pub(crate) struct Role {
    pub(crate) name: &'static str,
    path: PathBuf,
    arguments: Vec<String>,
    folder: PathBuf,
    /// Where its health is asked for.
    pub(crate) health_url: String,
    child: Child,
    started: Instant,
    has_been_ready: bool,
    /// When it ended by itself although it had been ready.
    pub(crate) ends: Vec<String>,
}

impl Role {
    /// Starts it. `settings` are `section.key=value`.
    pub(crate) fn start(
        name: &'static str,
        path: PathBuf,
        command: &[&str],
        settings: &[String],
        folder: PathBuf,
        health_url: String,
    ) -> Self {
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        let arguments: Vec<String> = command.iter().copied().chain(settings).map(str::to_owned).collect();
        let child = spawn(&mut with(&path, &arguments), &folder, name);
        Self { name, path, arguments, folder, health_url, child, started: Instant::now(), has_been_ready: false, ends: Vec::new() }
    }

    /// Ends it with SIGKILL; true when it ran until then.
    pub(crate) fn kill(&mut self) -> bool {
        if self.has_ended() {
            self.restart();
        }
        let _ = self.child.kill();
        self.child.wait().is_ok_and(|status| status.signal() == Some(9))
    }

    /// Makes sure that it does not run.
    pub(crate) fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("sh").args(["-c", &format!("kill -{signal} {}", self.child.id())]).status();
        assert!(status.is_ok_and(|status| status.success()), "`kill -{signal}` failed for {}", self.name);
    }

    /// Asks it to end and waits.
    pub(crate) async fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        let child = &mut self.child;
        until("a role to end on SIGTERM", STOP_DEADLINE, || std::future::ready(child.try_wait().unwrap())).await
    }

    /// Starts it after it was ended on purpose.
    pub(crate) fn restart(&mut self) {
        self.restart_as(&mut with(&self.path, &self.arguments));
    }

    /// The same, with a point in its code at which it will end or stop.
    pub(crate) fn restart_armed(&mut self, failpoint: &str, settings: &[&str]) {
        let settings = settings.iter().flat_map(|setting| ["--set", setting]);
        self.restart_as(with(&self.path, &self.arguments).args(settings).env(FAILPOINT, failpoint));
    }

    fn restart_as(&mut self, command: &mut Command) {
        self.child = spawn(command, &self.folder, self.name);
        (self.started, self.has_been_ready) = (Instant::now(), false);
    }

    /// Whether it has ended itself at its failpoint.
    pub(crate) fn has_aborted(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some_and(|status| status.signal() == Some(SIGABRT))
    }

    /// Whether it was stopped, by itself or by another, and waits for SIGCONT.
    pub(crate) fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
    }

    /// Starts it again if it has ended by itself, but not too often.
    pub(crate) fn revive(&mut self) {
        if self.may_start_again() {
            self.restart();
        }
    }

    /// Whether it has ended by itself, and not just now.
    pub(crate) fn may_start_again(&mut self) -> bool {
        self.has_ended() && self.started.elapsed() > PAUSE_BEFORE_RESTART
    }

    /// Whether it has ended by itself. That is expected of one that could not start, and noted of one that was ready.
    fn has_ended(&mut self) -> bool {
        let Some(status) = self.child.try_wait().unwrap() else { return false };
        if std::mem::take(&mut self.has_been_ready) {
            self.ends.push(format!("{} ended with {status}: {}", self.name, self.log().lines().last().unwrap_or_default()));
        }
        true
    }

    /// Whether it says that it can work.
    pub(crate) async fn is_ready(&mut self, client: &reqwest::Client) -> bool {
        let answer = client.get(format!("{}/readyz", self.health_url)).timeout(Duration::from_secs(1)).send().await;
        let is_ready = answer.is_ok_and(|answer| answer.status().is_success());
        self.has_been_ready |= is_ready;
        is_ready
    }

    /// Looks after it: revives it, and learns whether it was ready.
    pub(crate) async fn tend(&mut self, client: &reqwest::Client) {
        self.revive();
        if !self.has_been_ready {
            self.is_ready(client).await;
        }
    }

    /// How long until it is ready, looking after it.
    pub(crate) async fn ready(&mut self, client: &reqwest::Client, deadline: Duration) -> Duration {
        let started = Instant::now();
        let name = self.name;
        let role = tokio::sync::Mutex::new(self);
        until(&format!("{name} to be ready"), deadline, async || {
            let mut role = role.lock().await;
            role.revive();
            role.is_ready(client).await.then_some(())
        })
        .await;
        started.elapsed()
    }

    /// The memory that it has, as the system counts it.
    pub(crate) fn resident_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1024
    }

    /// Everything it has said.
    pub(crate) fn log(&self) -> String {
        text(&std::fs::read(self.folder.join(self.name).with_extension("log")).unwrap_or_default())
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            eprintln!("the last that {} said:\n{}", self.name, lines[lines.len().saturating_sub(20)..].join("\n"));
        }
    }
}

fn with(path: &Path, arguments: &[String]) -> Command {
    let mut command = binary(path);
    command.args(arguments);
    command
}

fn spawn(command: &mut Command, folder: &Path, name: &str) -> Child {
    let log = File::options().create(true).append(true).open(folder.join(name).with_extension("log")).unwrap();
    command.current_dir(folder).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}
