//! `tidemark doctor`: what is well is said to be well, each thing that is broken on purpose is named with what to do, and nothing is
//! created by looking.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Output,
};

use async_nats::jetstream::{self, stream::Config};
use axum::{Router, http::StatusCode, routing::any};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{NatsServer, S3Server, free_port};

use crate::process::{Tidemark, good, text, tidemark};

/// What was found, with the exit code.
struct Found {
    code: Option<i32>,
    report: Value,
}

impl Found {
    fn of(output: &Output) -> Self {
        let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}{}", text(&output.stdout), text(&output.stderr)));
        Self { code: output.status.code(), report }
    }

    /// The level and the words of each finding of a check.
    fn of_check<'a>(&'a self, check: &str) -> Vec<(&'a str, String)> {
        let findings = self.report["findings"].as_array().unwrap().iter().filter(|finding| finding["check"] == check);
        let words =
            |finding: &Value| format!("{} {}", finding["message"].as_str().unwrap(), finding["remedy"].as_str().unwrap_or_default());
        findings.map(|finding| (finding["level"].as_str().unwrap(), words(finding))).collect()
    }

    fn is(&self, level: &str, check: &str, part: &str) {
        let found = self.of_check(check);
        assert!(
            found.iter().any(|(found, words)| *found == level && words.contains(part)),
            "no {level} `{part}` in {found:?} of {:#}",
            self.report
        );
    }

    fn has_problems(&self, checks: &[&str]) {
        let findings = self.report["findings"].as_array().unwrap().iter().filter(|finding| finding["level"] == "problem");
        let mut found: Vec<&str> = findings.map(|finding| finding["check"].as_str().unwrap()).collect();
        found.dedup();
        assert_eq!(found, checks, "{:#}", self.report);
        assert_eq!(self.code, Some(i32::from(!checks.is_empty())));
    }
}

fn examined(tidemark: &Tidemark, arguments: &[&str]) -> Found {
    Found::of(&tidemark.command(&["doctor", "--json"]).args(arguments).output().unwrap())
}

/// Settings of a server that never ran, in a folder of its own.
struct Stranger {
    folder: TempDir,
    settings: Vec<String>,
}

impl Stranger {
    fn new(nats: Option<&NatsServer>) -> Self {
        let folder = TempDir::new().unwrap();
        let mut settings = vec![format!("table.url={}", folder.path().join("data/lake").display())];
        settings.extend(["serve.listen", "serve.admin_listen"].map(|key| format!("{key}=127.0.0.1:{}", free_port())));
        settings.push("journal.max_bytes=1 GiB".to_owned());
        settings.push(format!("nats.url={}", nats.map_or_else(|| format!("nats://127.0.0.1:{}", free_port()), NatsServer::url)));
        settings.extend(nats.map(|nats| format!("nats.monitoring_url={}", nats.monitoring_url())));
        Self { folder, settings }
    }

    fn examined(&self, more: &[&str]) -> Found {
        let mut command = tidemark(&["doctor", "--json"]);
        let settings = self.settings.iter().map(String::as_str).chain(more.iter().copied());
        settings.for_each(|setting| {
            command.args(["--set", setting]);
        });
        Found::of(&command.current_dir(self.folder.path()).output().unwrap())
    }

    fn is_untouched(&self) {
        assert_eq!(fs::read_dir(self.folder.path()).unwrap().count(), 0);
    }
}

#[tokio::test]
async fn what_is_well_is_said_to_be_well_and_the_canary_is_one_row() {
    let nats = NatsServer::start().await;
    let tidemark = Tidemark::start(&nats).await;
    let checks = [
        "settings",
        "keys",
        "tls",
        "server.ready",
        "server.query",
        "server.internal",
        "journal",
        "journal.max_payload",
        "journal.durability",
        "journal.streams",
        "store",
        "tables.form",
        "tables.files",
        "tables.size",
        "tables.lag",
        "tables.quarantine",
        "clock",
        "canary.door",
    ];
    let url = format!("nats.url={}", nats.url().replace("nats://", "nats://me:hunter2@"));
    let found = examined(&tidemark, &["--set", &url]);
    found.has_problems(&[]);
    assert!(!found.report.to_string().contains("hunter2"), "a password is never shown");
    checks.iter().for_each(|check| found.is("ok", check, ""));
    assert_eq!(found.of_check("canary.seen"), []);
    assert_eq!(tidemark.sql("SELECT count(*) FROM events"), "0", "nothing is stored without being asked for");

    for _ in 0..2 {
        let found = examined(&tidemark, &["--canary"]);
        found.has_problems(&[]);
        found.is("ok", "canary.door", "an event was on disk after ");
        found.is("ok", "canary.seen", "queries saw it after another ");
    }
    assert_eq!(tidemark.sql("SELECT count(*) FROM events WHERE event_name = 'tidemark.canary'"), "1");
    tidemark.says("SELECT count(*) FROM events_committed", "1").await;
    examined(&tidemark, &[]).is("ok", "tables.origin", "is the stream from which the table was written");
    let words = good(&tidemark.command(&["doctor"]).output().unwrap());
    assert!(words.contains("server.ready") && !words.contains("PROBLEM"), "{words}");
}

#[tokio::test]
async fn where_nothing_runs_it_says_so_and_makes_nothing() {
    let stranger = Stranger::new(None);
    let found = stranger.examined(&[]);
    found.has_problems(&["journal"]);
    found.is("problem", "journal", "no NATS server answers at `nats://127.0.0.1:");
    found.is("note", "server", "start it with `tidemark serve`");
    found.is("ok", "server.port", "is free (setting `serve.admin_listen`)");
    found.is("note", "store", "`tidemark serve` creates it");
    found.is("note", "tables", "not looked at");
    stranger.is_untouched();
}

#[tokio::test]
async fn before_the_first_start_nothing_is_wrong_and_no_stream_is_made() {
    let nats = NatsServer::start().await;
    let stranger = Stranger::new(Some(&nats));
    let found = stranger.examined(&[]);
    found.has_problems(&[]);
    found.is("note", "journal.streams", "there is no stream `tidemark-0` yet");
    found.is("ok", "journal.room", "NATS can promise ");
    stranger.is_untouched();
    let found = stranger.examined(&["journal.max_bytes=1000000 GiB"]);
    found.has_problems(&["journal.room"]);
    found.is("problem", "journal.room", "lower `journal.max_bytes`");
    let operator = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    assert!(operator.get_stream("tidemark-0").await.is_err());
}

#[tokio::test]
async fn a_nats_that_does_not_sync_or_has_no_jetstream_or_other_streams_is_named() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("nats.conf");
    fs::write(&config, "host: 127.0.0.1\njetstream {}\n").unwrap();
    let nats = NatsServer::start_in(folder.path(), &config).await;
    let found = Stranger::new(Some(&nats)).examined(&[]);
    found.has_problems(&["journal.durability"]);
    found.is("problem", "journal.durability", "only every 120s");
    found.is("problem", "journal.durability", "sync_interval: always");
    found.is("warning", "journal.max_payload", "max_payload: 8MiB");
    Stranger::new(Some(&nats)).examined(&["nats.monitoring_url="]).is("warning", "journal.durability", "`nats.monitoring_url` is not set");

    let operator = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let other = Config { name: "tidemark-0".to_owned(), subjects: vec!["tidemark.0".to_owned()], max_messages: 7, ..Config::default() };
    operator.create_stream(other).await.unwrap();
    let found = Stranger::new(Some(&nats)).examined(&[]);
    found.has_problems(&["journal.durability", "journal.streams"]);
    found.is("problem", "journal.streams", "stream `tidemark-0` has `");

    let nats = NatsServer::start_without_jetstream().await;
    Stranger::new(Some(&nats)).examined(&[]).is("problem", "journal", "runs without JetStream");
}

#[tokio::test]
async fn a_store_that_cannot_be_used_is_named() {
    let (nats, s3) = (NatsServer::start().await, S3Server::start().await);
    let stranger = Stranger::new(Some(&nats));
    let file = tempfile::NamedTempFile::new().unwrap();
    let below_a_file = format!("table.url={}", file.path().join("lake").display());
    let found = stranger.examined(&[&below_a_file]);
    found.has_problems(&["store"]);
    found.is("problem", "store", "it cannot be made in `");

    let endpoint = format!("table.s3.endpoint={}", s3.endpoint());
    let (id, secret) = (format!("table.s3.access_key_id={}", s3.access_key()), format!("table.s3.secret_access_key={}", s3.secret_key()));
    let on_s3 = ["table.url=s3://doctor/lake", "table.s3.allow_http=true", &endpoint, &id];
    let found = stranger.examined(&[on_s3.as_slice(), &[secret.as_str()]].concat());
    found.has_problems(&[]);
    found.is("note", "store", "the bucket of `s3://doctor/lake` does not exist yet");
    let found = stranger.examined(&[on_s3.as_slice(), &["table.s3.secret_access_key=wrong"]].concat());
    found.has_problems(&["store"]);
    found.is("problem", "store", "table.s3.secret_access_key");
    let found = stranger.examined(&[on_s3.as_slice(), &[secret.as_str(), "table.s3.create_bucket=false"]].concat());
    found.is("problem", "store", "set `table.s3.create_bucket` to true");
}

#[tokio::test]
async fn a_key_that_opens_nothing_and_a_file_of_keys_that_others_can_write_are_named() {
    const ROOT: &str = "keys.root_key=0123456789abcdef0123456789abcdef";
    let nats = NatsServer::start().await;
    let tidemark = Tidemark::start_with_settings(&nats, &[ROOT]).await;
    let found = examined(&tidemark, &[]);
    found.has_problems(&["server.query", "canary.door"]);
    found.is("problem", "server.query", "this route needs an API key");
    found.is("problem", "canary.door", "tidemark keys new --scope ingest,query");
    examined(&tidemark, &["--set", "client.api_key=wrong"]).is("problem", "server.query", "the API key is not known here");
    examined(&tidemark, &["--set", "client.api_key=0123456789abcdef0123456789abcdef"]).has_problems(&[]);

    good(&tidemark.command(&["keys", "new", "--scope", "query"]).output().unwrap());
    let file = tidemark.lake().parent().unwrap().join("data/keys.json");
    examined(&tidemark, &[]).is("ok", "keys", "belongs to its owner alone");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o664)).unwrap();
    examined(&tidemark, &[]).is("warning", "keys", "(mode 664)");
    fs::write(&file, "{").unwrap();
    examined(&tidemark, &[]).is("problem", "keys", "is damaged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_program_on_the_port_is_named_whether_it_answers_or_not() {
    let nats = NatsServer::start().await;
    let stranger = Stranger::new(Some(&nats));
    let (address, _server) = answering(|| async { StatusCode::IM_A_TEAPOT }).await;
    let found = stranger.examined(&[&format!("serve.listen={address}")]);
    found.has_problems(&["server"]);
    found.is("problem", "server", "another program answers at `http://");

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let found = stranger.examined(&[&format!("serve.listen={}", silent.local_addr().unwrap())]);
    found.has_problems(&["server"]);
    found.is("problem", "server", "did not answer as expected");
    let found = stranger.examined(&[&format!("serve.admin_listen={}", silent.local_addr().unwrap())]);
    found.is("problem", "server.port", "is taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_is_not_that_of_the_others_is_named() {
    let nats = NatsServer::start().await;
    let last_year = || async { (StatusCode::FORBIDDEN, [("date", "Fri, 21 Nov 2025 18:00:00 GMT")]) };
    let (address, _server) = answering(last_year).await;
    let settings = ["table.url=s3://doctor/lake", "table.s3.allow_http=true", &format!("table.s3.endpoint=http://{address}")];
    let found = Stranger::new(Some(&nats)).examined(&settings);
    found.is("ok", "clock", "that of NATS agree");
    found.is("problem", "clock", "s ahead of that of the S3 service");
    found.is("problem", "clock", "NTP");
}

/// One of the files with rows.
fn data_file(table: &Path) -> PathBuf {
    let entries = |folder: &Path| fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    let days = entries(table).into_iter().filter(|entry| entry.to_str().unwrap().contains("event_date="));
    days.flat_map(|day| entries(&day)).find(|file| file.extension().is_some_and(|end| end == "parquet")).unwrap()
}

#[tokio::test]
async fn what_is_gone_and_messages_that_wait_are_named() {
    let nats = NatsServer::start().await;
    let mut tidemark = Tidemark::start(&nats).await;
    good(&tidemark.demo(&["--events", "100"]).wait_with_output().unwrap());
    assert!(tidemark.terminate().await);
    let operator = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    let rubbish = async || operator.publish("tidemark.0", "rubbish".into()).await.unwrap().await.unwrap();
    rubbish().await;
    tidemark.restart().await;
    tidemark.says("SELECT count(*) FROM quarantine", "1").await;
    assert!(tidemark.terminate().await);
    rubbish().await;
    let found = examined(&tidemark, &[]);
    found.has_problems(&[]);
    found.is("note", "tables.lag", "1 messages of the journal are not committed");

    for table in ["events", "quarantine"] {
        let file = data_file(&tidemark.lake().join(table));
        let bytes = fs::read(&file).unwrap();
        for left in [None, Some(&bytes[1..])] {
            left.map_or_else(|| fs::remove_file(&file), |bytes| fs::write(&file, bytes)).unwrap();
            let found = examined(&tidemark, &[]);
            found.has_problems(&["tables.files"]);
            found.is("problem", "tables.files", file.file_name().unwrap().to_str().unwrap());
        }
        fs::write(&file, bytes).unwrap();
    }

    operator.delete_stream("tidemark-0").await.unwrap();
    let found = examined(&tidemark, &[]);
    found.has_problems(&["tables.origin"]);
    found.is("problem", "tables.origin", "tidemark journal adopt");
    fs::write(tidemark.lake().join("events/_delta_log/00000000000000000000.json"), "rubbish").unwrap();
    examined(&tidemark, &[]).is("problem", "tables", "the Delta log of the table `events` cannot be used");
}

#[tokio::test]
async fn a_wrong_setting_is_named() {
    let found = Stranger::new(None).examined(&["pipeline.max_agee=5s"]);
    found.has_problems(&["settings"]);
    found.is("problem", "settings", "did you mean `pipeline.max_age`?");
    found.is("note", "settings", "nothing else was looked at");
    assert!(!Path::new("data").exists());
}

/// A server that is not Tidemark; it ends with the handle.
async fn answering<H, T>(handler: H) -> (String, tokio::task::JoinSet<()>)
where
    H: axum::handler::Handler<T, ()>,
    T: 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut server = tokio::task::JoinSet::new();
    server.spawn(async move { axum::serve(listener, Router::new().fallback(any(handler))).await.unwrap() });
    (address, server)
}
