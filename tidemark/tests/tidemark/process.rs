//! `tidemark serve` and the other commands as child processes.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use tempfile::TempDir;
use testkit::{NatsServer, S3Server, free_port, until};

const BINARY: &str = env!("CARGO_BIN_EXE_tidemark");

/// A running `tidemark serve` on free ports; ended on drop.
pub(crate) struct Tidemark {
    child: Child,
    folder: TempDir,
    pub(crate) url: String,
    pub(crate) admin_url: String,
    settings: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Tidemark {
    /// On a local folder.
    pub(crate) async fn start(nats: &NatsServer) -> Self {
        Self::start_with_settings(nats, &[]).await
    }

    /// On a local folder, with further settings.
    pub(crate) async fn start_with_settings(nats: &NatsServer, more: &[&str]) -> Self {
        Self::start_at(nats, None, more).await
    }

    /// On a local folder, with further settings, in this environment.
    pub(crate) async fn start_in(nats: &NatsServer, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().unwrap();
        let lake = format!("table.url={}", folder.path().join("lake").display());
        let settings = more.iter().map(|setting| (*setting).to_owned()).chain([lake]).collect();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self::start_with(nats, folder, settings, environment).await
    }

    /// On a bucket that does not exist yet.
    pub(crate) async fn start_on_s3(nats: &NatsServer, s3: &S3Server) -> Self {
        Self::start_at(nats, Some(s3), &[]).await
    }

    /// On S3 or a local folder, with further settings, which win.
    pub(crate) async fn start_at(nats: &NatsServer, s3: Option<&S3Server>, more: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let mut settings = match s3 {
            None => vec![format!("table.url={}", folder.path().join("lake").display())],
            Some(s3) => vec![
                "table.url=s3://tidemark/lake".to_owned(),
                format!("table.s3.endpoint={}", s3.endpoint()),
                format!("table.s3.access_key_id={}", s3.access_key()),
                format!("table.s3.secret_access_key={}", s3.secret_key()),
                "table.s3.allow_http=true".to_owned(),
            ],
        };
        settings.extend(more.iter().map(|setting| (*setting).to_owned()));
        Self::start_with(nats, folder, settings, Vec::new()).await
    }

    async fn start_with(nats: &NatsServer, folder: TempDir, mut settings: Vec<String>, environment: Vec<(String, String)>) -> Self {
        let listen = format!("127.0.0.1:{}", free_port());
        // NATS promises a stream its whole size, of which many tests at a time would ask for more than a small disk has.
        settings.insert(0, "journal.max_bytes=1 GiB".to_owned());
        settings.extend([format!("nats.url={}", nats.url()), format!("nats.monitoring_url={}", nats.monitoring_url())]);
        let admin_listen = format!("127.0.0.1:{}", free_port());
        settings.extend([format!("serve.listen={listen}"), format!("serve.admin_listen={admin_listen}")]);
        let child = spawn(&settings, &environment, folder.path());
        let (url, admin_url) = (format!("http://{listen}"), format!("http://{admin_listen}"));
        let mut tidemark = Self { child, folder, url, admin_url, settings, environment };
        tidemark.ready().await;
        tidemark
    }

    /// Ends it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end with SIGTERM; true when it ends well.
    pub(crate) async fn terminate(&mut self) -> bool {
        assert!(Command::new("sh").args(["-c", &format!("kill -TERM {}", self.child.id())]).status().unwrap().success());
        let child = &mut self.child;
        until("the process to end", Duration::from_secs(10), || std::future::ready(child.try_wait().unwrap())).await.success()
    }

    /// Waits until it ends by itself; its exit code and what it has logged.
    pub(crate) async fn ended(&mut self) -> (Option<i32>, String) {
        let child = &mut self.child;
        let status = until("the process to end by itself", Duration::from_secs(30), || std::future::ready(child.try_wait().unwrap())).await;
        (status.code(), self.log())
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// The memory that it has, as the system counts it.
    pub(crate) fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Starts it again without waiting until it is ready.
    pub(crate) fn start_again(&mut self) {
        self.child = spawn(&self.settings, &self.environment, self.folder.path());
    }

    /// Starts it again with further settings, which win.
    pub(crate) async fn restart_with(&mut self, more: &[&str]) {
        self.settings.extend(more.iter().map(|setting| (*setting).to_owned()));
        self.restart().await;
    }

    /// Starts it again with the same settings.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.child = spawn(&self.settings, &self.environment, self.folder.path());
        self.ready().await;
    }

    /// The most memory that it has had so far.
    pub(crate) fn peak_memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// Posts a body of JSON; the answer's status and text.
    pub(crate) async fn post(&self, client: &reqwest::Client, path: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
        let post = client.post(format!("{}{path}", self.url)).header("content-type", "application/json").body(body);
        let answer = post.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Waits until a question has this answer.
    pub(crate) async fn says(&self, statement: &str, answer: &str) {
        until(&format!("{statement} = {answer}"), Duration::from_secs(30), async || (self.sql(statement) == answer).then_some(())).await;
    }

    /// Where DuckDB finds a table.
    pub(crate) fn location(&self, s3: Option<&S3Server>, table: &str) -> String {
        match s3 {
            Some(_) => format!("s3://tidemark/lake/{table}"),
            None => self.lake().join(table).display().to_string(),
        }
    }

    /// Where the tables are on disk.
    pub(crate) fn lake(&self) -> PathBuf {
        self.folder.path().join("lake")
    }

    /// A `tidemark demo` against it.
    pub(crate) fn demo(&self, arguments: &[&str]) -> Child {
        let mut command = tidemark(&["demo", "--url", &self.url]);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// A command with the same settings as the server.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = tidemark(arguments);
        command.args(self.settings.iter().flat_map(|setting| ["--set", setting])).current_dir(self.folder.path());
        command
    }

    /// The first column of the first row of a question.
    pub(crate) fn sql(&self, statement: &str) -> String {
        self.rows(statement).lines().next().unwrap().to_owned()
    }

    /// The whole answer to a question, in CSV without a header.
    pub(crate) fn rows(&self, statement: &str) -> String {
        let answer = good(&tidemark(&["sql", "--url", &self.url, "--format", "csv", statement]).output().unwrap());
        answer.split_once('\n').unwrap().1.to_owned()
    }

    async fn ready(&mut self) {
        let client = reqwest::Client::new();
        let (child, url, log) = (&mut self.child, format!("{}/readyz", self.admin_url), self.folder.path().join("log"));
        until("tidemark to be ready", Duration::from_secs(30), || {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "tidemark ended:\n{}", std::fs::read_to_string(&log).unwrap());
            let request = client.get(&url).send();
            async { request.await.is_ok_and(|answer| answer.status().is_success()).then_some(()) }
        })
        .await;
    }
}

impl Drop for Tidemark {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("tidemark said:\n{}", std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default());
        }
    }
}

/// A command of the binary, without the environment's settings.
pub(crate) fn tidemark(arguments: &[&str]) -> Command {
    let mut command = binary(Path::new(BINARY));
    command.args(arguments);
    command
}

/// The binary of a role that runs alone: `ingest`, `pipeline` or `query`, which are built next to `tidemark`.
///
/// Cargo builds them for the tests of their own crates, not for these; one that is missing or older than its source is refused. Of what
/// sources it is made Cargo says only when it was asked to build it.
pub(crate) fn role(name: &str) -> PathBuf {
    const REMEDY: &str = "run `cargo build --workspace --bins`";
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let path = Path::new(BINARY).with_file_name(name);
    let built = path.metadata().and_then(|file| file.modified()).unwrap_or_else(|_| panic!("`{}` is missing; {REMEDY}", path.display()));
    let list = path.with_extension("d");
    let sources = std::fs::read_to_string(&list).unwrap_or_else(|_| panic!("`{}` is missing; {REMEDY}", list.display()));
    for source in sources.split_whitespace().skip(1).filter(|source| Path::new(source).starts_with(workspace)) {
        let is_newer = Path::new(source).metadata().is_ok_and(|file| file.modified().is_ok_and(|written| written > built));
        assert!(!is_newer, "`{}` is older than `{source}`; {REMEDY}", path.display());
    }
    path
}

/// A command of a binary, without the environment's settings.
pub(crate) fn binary(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.stdin(Stdio::null());
    let is_ours = |name: &String| name.starts_with("TIDEMARK_") || name.starts_with("OTEL_");
    for name in std::env::vars().map(|(name, _)| name).filter(is_ours) {
        command.env_remove(name);
    }
    command
}

/// What a command printed, when it ended well.
pub(crate) fn good(output: &Output) -> String {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn spawn(settings: &[String], environment: &[(String, String)], folder: &Path) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("log")).unwrap();
    let mut command = tidemark(&["serve"]);
    settings.iter().for_each(|setting| {
        command.args(["--set", setting]);
    });
    let environment = environment.iter().map(|(name, value)| (name, value));
    command.envs(environment).current_dir(folder).stdout(Stdio::null()).stderr(log).spawn().unwrap()
}
