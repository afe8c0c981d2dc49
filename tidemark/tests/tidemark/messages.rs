//! What is wrong is told in one message that says what to do, and never with a panic.

use std::{net::TcpListener, process::Command};

use testkit::{NatsServer, S3Server, free_port};

use crate::process::{Tidemark, good, text, tidemark};

/// The last line that a failing command prints; it holds every one of `parts`.
fn fails_with(arguments: &[&str], parts: &[&str]) {
    is_one_message(&mut tidemark(arguments), parts);
}

/// The command fails with one message, which holds every one of `parts`.
pub(crate) fn is_one_message(command: &mut Command, parts: &[&str]) {
    let output = command.output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains("panic"), "{said}");
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "one message: {said}");
    for part in parts {
        assert!(errors[0].contains(part), "`{part}` is not in: {}", errors[0]);
    }
}

#[test]
fn a_wrong_setting_is_named_with_its_place_and_its_neighbour() {
    fails_with(&["serve", "--set", "pipeline.max_agee=1s"], &["`pipeline.max_agee`", "--set", "did you mean `pipeline.max_age`?"]);
    fails_with(&["config", "check", "--set", "ingest.max_body=big"], &["`ingest.max_body`", "`big`", "8 MiB"]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidemark.toml");
    std::fs::write(&file, "[serve]\nlisten = \"127.0.0.1:8080\"\nlsten = \"x\"\n").unwrap();
    fails_with(&["config", "check", "--config", file.to_str().unwrap()], &["`serve.lsten`", "tidemark.toml:3", "`serve.listen`"]);
}

#[test]
fn settings_with_which_no_server_could_start_are_refused_by_config_check() {
    let refused: [(&[&str], &[&str]); 10] = [
        (&["serve.listen=8080"], &["`serve.listen`", "`8080`", "127.0.0.1:8080"]),
        (&["ingest.listen=localhost"], &["`ingest.listen`", "`localhost`", "a host and a port"]),
        (&["pipeline.admin_listen=http://localhost:1"], &["`pipeline.admin_listen`"]),
        (&["nats.url=http://127.0.0.1:4222"], &["`nats.url`", "`nats://host:port`"]),
        (&["nats.url=nats://a:1,nats://"], &["`nats.url`", "a host is missing"]),
        (&["journal.shards=0"], &["`journal.shards`"]),
        (&["table.url=gs://bucket/lake"], &["`table.url`", "`gs://bucket/lake`", "`s3://bucket/prefix`"]),
        (&["table.url=s3://lake", "table.s3.endpoint=http://127.0.0.1:9000"], &["`http://127.0.0.1:9000`", "`table.s3.allow_http`"]),
        (&["maintenance.keep=1s"], &["`maintenance.keep`"]),
        (&["tls.certificate=/nowhere/none.pem", "tls.key=/nowhere/key.pem"], &["none.pem", "`tls.certificate`"]),
    ];
    for (settings, parts) in refused {
        let set = settings.iter().flat_map(|setting| ["--set", setting]);
        fails_with(&["config", "check"].into_iter().chain(set).collect::<Vec<_>>(), parts);
    }
    good(&tidemark(&["config", "check", "--set", "table.url=s3://lake/prefix"]).output().unwrap());
}

#[test]
fn nats_that_does_not_run_is_named_with_how_to_start_it() {
    let url = format!("nats.url=nats://127.0.0.1:{}", free_port());
    fails_with(
        &["serve", "--set", &url, "--set", "serve.listen=127.0.0.1:0", "--set", "serve.admin_listen=127.0.0.1:0"],
        &["no NATS server", "./justw up", "`nats.url`"],
    );
}

#[test]
fn a_taken_port_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = format!("serve.listen={}", taken.local_addr().unwrap());
    fails_with(&["serve", "--set", &listen], &["is taken", "`serve.listen`"]);
}

#[tokio::test]
async fn a_missing_bucket_and_wrong_keys_are_told_apart() {
    let (nats, s3) = (NatsServer::start().await, S3Server::start().await);
    let start = |more: &[&str], parts: &[&str]| {
        let fixed = [
            format!("nats.url={}", nats.url()),
            "serve.listen=127.0.0.1:0".to_owned(),
            "serve.admin_listen=127.0.0.1:0".to_owned(),
            "table.url=s3://nowhere/lake".to_owned(),
            format!("table.s3.endpoint={}", s3.endpoint()),
            format!("table.s3.access_key_id={}", s3.access_key()),
            format!("table.s3.secret_access_key={}", s3.secret_key()),
            "table.s3.allow_http=true".to_owned(),
        ];
        let settings: Vec<&str> =
            fixed.iter().map(String::as_str).chain(more.iter().copied()).flat_map(|setting| ["--set", setting]).collect();
        fails_with(&[&["serve"], &settings[..]].concat(), parts);
    };
    start(&["table.s3.create_bucket=false"], &["bucket `nowhere`", "`table.s3.create_bucket`"]);
    start(&["table.s3.secret_access_key=wrong"], &["`table.s3.secret_access_key`"]);
    let nobody = format!("table.s3.endpoint=http://127.0.0.1:{}", free_port());
    start(&[&nobody], &["`table.s3.endpoint`"]);
}

#[tokio::test]
async fn a_wrong_event_and_a_wrong_statement_say_where() {
    let nats = NatsServer::start().await;
    let server = Tidemark::start(&nats).await;
    let answer = reqwest::Client::new()
        .post(format!("{}/events", server.url))
        .header("content-type", "application/json")
        .body(r#"{"event_name":"a","user_id":"u","timestamp":"yesterday"}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 400);
    let problem = answer.text().await.unwrap();
    assert!(problem.contains("/timestamp") && problem.contains("RFC 3339"), "{problem}");
    fails_with(&["sql", "--url", &server.url, "SELECT chanel FROM events"], &["chanel", "`channel`", "line 1, column 8"]);
    fails_with(&["sql", "--url", &server.url, "DELETE FROM events"], &["read-only"]);
}

#[test]
fn a_demo_without_a_server_says_how_to_start_one() {
    let url = format!("http://127.0.0.1:{}", free_port());
    fails_with(&["demo", "--url", &url], &[&url, "./justw up", "tidemark serve"]);
}
