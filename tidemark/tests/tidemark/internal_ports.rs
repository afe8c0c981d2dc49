//! The port between pipelines and queries, when other machines can reach it: nobody reads events there without the right key.

use std::{
    process::{Child, Stdio},
    time::Duration,
};

use async_nats::jetstream;
use reqwest::{Client, Response};
use tempfile::TempDir;
use testkit::{NatsServer, free_port, until};

use crate::process::{binary, good, role, tidemark};

const SOON: Duration = Duration::from_secs(20);
const ROOT: &str = "0123456789abcdef0123456789abcdef0123456789abcdef";
const EVENT: &str = r#"{"event_name":"a","user_id":"u","timestamp":1795000000}"#;

/// A role in a process of its own; ended on drop.
struct Role(Child);

impl Drop for Role {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(name: &str, folder: &TempDir, settings: &[String]) -> Role {
    let log = std::fs::File::create(folder.path().join(name)).unwrap();
    let mut command = binary(&role(name));
    command.args(settings.iter().flat_map(|setting| ["--set", setting])).current_dir(folder.path());
    Role(command.stdout(log.try_clone().unwrap()).stderr(Stdio::from(log)).spawn().unwrap())
}

async fn get(url: &str, key: &str) -> Option<Response> {
    Client::new().get(url).header("X-API-Key", key).send().await.ok()
}

async fn status(url: &str, key: &str) -> u16 {
    get(url, key).await.unwrap().status().as_u16()
}

/// What `/metrics` counts, and whether the tail is in it.
async fn counted(query: &str) -> Option<(u64, bool)> {
    let answer: serde_json::Value = get(&format!("{query}/metrics?from=2026-01-01T00:00:00Z"), ROOT).await?.json().await.ok()?;
    Some((answer["total_events"].as_u64()?, answer["fresh"].as_bool()?))
}

#[tokio::test]
async fn the_tail_and_the_metrics_of_a_pipeline_that_others_can_reach_need_an_admin_key() {
    let (nats, folder) = (NatsServer::start().await, TempDir::new().unwrap());
    let (tail_port, query_port) = (free_port(), free_port());
    let common = [
        format!("nats.url={}", nats.url()),
        format!("table.url={}", folder.path().join("lake").display()),
        format!("keys.root_key={ROOT}"),
        format!("keys.file={}", folder.path().join("keys.json").display()),
    ];
    let with = |more: &[String]| [&common[..], more].concat();
    let keys = tidemark(&["keys", "new", "--scope", "ingest,query"]).args(common.iter().flat_map(|set| ["--set", set])).output().unwrap();
    let other_scope = good(&keys).trim().to_owned();
    let no_commits = ["pipeline.max_age=1h".to_owned(), "pipeline.max_idle=1h".to_owned()];
    let listen = format!("pipeline.admin_listen=0.0.0.0:{tail_port}");
    let _pipeline = start("pipeline", &folder, &with(&[&no_commits[..], &[listen]].concat()));
    let internal = format!("http://127.0.0.1:{tail_port}");
    until("the pipeline to be ready", SOON, async || get(&format!("{internal}/readyz"), "").await.filter(|answer| answer.status() == 200))
        .await;
    for route in ["/tail", "/metrics"] {
        let url = format!("{internal}{route}");
        let answers = [status(&url, "").await, status(&url, "tm_wrong").await, status(&url, &other_scope).await, status(&url, ROOT).await];
        assert_eq!(answers, [401, 401, 403, 200], "{route}");
    }

    let stream = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    stream.publish("tidemark.0", EVENT.into()).await.unwrap().await.unwrap();
    let asks = [
        format!("query.listen=127.0.0.1:{query_port}"),
        format!("query.admin_listen=127.0.0.1:{}", free_port()),
        format!("query.pipelines={internal}"),
    ];
    let public = format!("http://127.0.0.1:{query_port}");
    let query = start("query", &folder, &with(&asks));
    until("an answer without the tail", SOON, async || (counted(&public).await == Some((0, false))).then_some(())).await;
    drop(query);
    let _query = start("query", &folder, &with(&[&asks[..], &[format!("query.pipeline_key={ROOT}")]].concat()));
    until("an answer with the tail", SOON, async || (counted(&public).await == Some((1, true))).then_some(())).await;
}

#[tokio::test]
async fn a_tail_of_several_parts_is_whole_in_a_query_of_another_process() {
    const MESSAGES: u64 = 60;
    const EVENTS: u64 = 400;
    let (nats, folder) = (NatsServer::start().await, TempDir::new().unwrap());
    let (tail_port, query_port) = (free_port(), free_port());
    let common = [format!("nats.url={}", nats.url()), format!("table.url={}", folder.path().join("lake").display())];
    let with = |more: &[String]| [&common[..], more].concat();
    let pipeline =
        ["pipeline.max_age=1h".to_owned(), "pipeline.max_idle=1h".to_owned(), format!("pipeline.admin_listen=127.0.0.1:{tail_port}")];
    let running = start("pipeline", &folder, &with(&pipeline));
    let internal = format!("http://127.0.0.1:{tail_port}");
    until("the pipeline to be ready", SOON, async || get(&format!("{internal}/readyz"), "").await.filter(|answer| answer.status() == 200))
        .await;
    let stream = jetstream::new(async_nats::connect(nats.url()).await.unwrap());
    for message in 0..MESSAGES {
        let (first, last) = (message * EVENTS, (message + 1) * EVENTS);
        let text = "long".repeat(250);
        let event = |number| format!(r#"{{"event_name":"a","user_id":"u{number}","timestamp":1795000000,"metadata":{{"text":"{text}"}}}}"#);
        let events = (first..last).map(event).collect::<Vec<_>>().join(",");
        stream.publish("tidemark.0", format!("[{events}]").into()).await.unwrap().await.unwrap();
    }

    let asks = [
        format!("query.listen=127.0.0.1:{query_port}"),
        format!("query.admin_listen=127.0.0.1:{}", free_port()),
        format!("query.pipelines={internal}"),
    ];
    let public = format!("http://127.0.0.1:{query_port}");
    let _query = start("query", &folder, &with(&asks));
    let everything = Some((MESSAGES * EVENTS, true));
    until("an answer with 24 MB of tail", SOON, async || (counted(&public).await == everything).then_some(())).await;

    drop(running);
    until("an answer without the tail", SOON, async || (counted(&public).await == Some((0, false))).then_some(())).await;
    let _again = start("pipeline", &folder, &with(&pipeline));
    until("an answer with the tail of another run", SOON, async || (counted(&public).await == everything).then_some(())).await;
}
