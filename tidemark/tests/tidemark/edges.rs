//! Strangers and broken clients against the real binary: refused before they cost anything, and no harm to others.

use std::{net::SocketAddr, time::Duration};

use futures::future::join_all;
use reqwest::{Client, Method};
use serde_json::Value;
use service::{
    errors,
    health::Health,
    http::{Access, Route},
};
use testkit::{NatsServer, until};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::process::{Tidemark, good, tidemark};

const SOON: Duration = Duration::from_secs(20);
const ROOT: &str = "0123456789abcdef0123456789abcdef0123456789abcdef";
const EVENT: &str = r#"{"event_name":"a","user_id":"u","timestamp":1723475612}"#;
/// What 2,000 idle connections and their clients' half requests may take, over what the server had before.
const MOST_GROWTH_KIB: u64 = 64 << 10;

/// Every route of the public port, from the descriptions that the guard itself uses.
fn routes() -> Vec<Route> {
    let description = pipeline::ingest::Ingest::description().and(query::Query::description());
    let (_, served) = description.and(Health::description()).and(errors::description()).router();
    served.routes().to_vec()
}

fn key(server: &Tidemark, scope: &str) -> String {
    let output = server.command(&["keys", "new", "--scope", scope]).output().unwrap();
    good(&output).trim().to_owned()
}

/// Sends a head with an endless body and gives the status, which must come although the body never ends.
async fn status_before_body(server: &Tidemark, method: &Method, path: &str, key: &str) -> u16 {
    let address: SocketAddr = server.url.strip_prefix("http://").unwrap().parse().unwrap();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{EVENT}\r\n",
        EVENT.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut line = [0; 12];
    timeout(SOON, stream.read_exact(&mut line)).await.expect("the answer comes before the body").unwrap();
    String::from_utf8_lossy(&line)[9..].parse().unwrap()
}

#[tokio::test]
async fn no_route_is_open_to_a_missing_wrong_or_other_key_and_nothing_is_stored() {
    let nats = NatsServer::start().await;
    let server = Tidemark::start_with_settings(&nats, &["keys.file=keys.json", &format!("keys.root_key={ROOT}")]).await;
    let admin = key(&server, "admin");
    let is_read = async || (status_before_body(&server, &Method::POST, "/events", &admin).await == 403).then_some(());
    until("the server to read the new key", SOON, is_read).await;
    for Route { path, access } in routes() {
        for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
            let answers = [
                status_before_body(&server, &method, &path, "").await,
                status_before_body(&server, &method, &path, "tm_wrong-and-secret").await,
                status_before_body(&server, &method, &path, &admin).await,
            ];
            match access {
                Access::Needs(_) => assert_eq!(answers, [401, 401, 403], "{method} {path}"),
                Access::Open => assert!(!answers.contains(&401) && !answers.contains(&403), "{method} {path}: {answers:?}"),
            }
        }
    }
    let client = Client::new();
    let accepted = client.post(format!("{}/events", server.url)).header("X-API-Key", ROOT).body(format!("{EVENT}\u{1}not-json-and-secret"));
    assert_eq!(accepted.header("Content-Type", "application/json").send().await.unwrap().status(), 400);
    let count = client.get(format!("{}/sql?format=csv&q=SELECT%20count(*)%20FROM%20events", server.url)).bearer_auth(ROOT);
    assert_eq!(count.send().await.unwrap().text().await.unwrap().lines().nth(1), Some("0"));
    let log = server.log();
    for secret in ["wrong-and-secret", "not-json-and-secret", ROOT, &admin] {
        assert!(!log.contains(secret), "`{secret}` is in the log:\n{log}");
    }
}

#[tokio::test]
async fn an_address_that_others_reach_needs_a_key_at_the_start() {
    for setting in ["serve.listen", "serve.admin_listen"] {
        let set = format!("{setting}=0.0.0.0:0");
        let arguments = ["serve", "--set", "keys.file=/nonexistent/keys.json", "--set", "serve.listen=127.0.0.1:0", "--set", &set];
        let output = tidemark(&arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        for part in ["error: other machines can reach `0.0.0.0:", setting, "tidemark keys new --scope", "keys.root_key"] {
            assert!(said.contains(part), "{part} in {said}");
        }
    }
}

async fn is_served(server: &Tidemark, client: &Client) {
    let answer = client.post(format!("{}/events", server.url)).header("Content-Type", "application/json").body(EVENT).send();
    assert_eq!(timeout(SOON, answer).await.expect("a normal client is served").unwrap().status(), 202);
}

/// One kind of broken client: silent, slow in its head, slow in its body.
async fn broken(server: &Tidemark, number: usize) -> TcpStream {
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).await.unwrap();
    let sent = match number % 4 {
        0 => "",
        1 => "POST /events HTTP/1.1\r\nHost: x\r\nX-Slow",
        2 => "POST /events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"event_name\":",
        _ => "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n",
    };
    stream.write_all(sent.as_bytes()).await.unwrap();
    stream
}

#[tokio::test]
async fn two_thousand_idle_and_slow_clients_hurt_nobody() {
    let nats = NatsServer::start().await;
    let server = Tidemark::start(&nats).await;
    let client = Client::builder().pool_max_idle_per_host(0).build().unwrap();
    is_served(&server, &client).await;
    let before = server.resident_kib();
    let clients = join_all((0..2_000).map(|number| broken(&server, number))).await;
    for _ in 0..50 {
        is_served(&server, &client).await;
    }
    let growth = server.resident_kib().saturating_sub(before);
    assert!(growth < MOST_GROWTH_KIB, "{growth} KiB more for {} connections", clients.len());
    println!("{} connections took {growth} KiB", clients.len());
}

fn output_of(script: &str) -> Vec<u8> {
    let output = std::process::Command::new("sh").args(["-c", script]).output().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// So many MiB of zeros, a thousandth of it on the wire.
fn bomb(mib: usize) -> Vec<u8> {
    output_of(&format!("head -c {mib}M /dev/zero | gzip -9"))
}

#[tokio::test]
async fn a_body_over_the_limit_is_413_on_both_sides_of_decompression_and_costs_nothing() {
    let nats = NatsServer::start().await;
    let server = Tidemark::start_with_settings(&nats, &["ingest.max_body=1 MiB"]).await;
    let client = Client::new();
    is_served(&server, &client).await;
    let before = server.resident_kib();
    let post = |body: reqwest::Body| client.post(format!("{}/events", server.url)).header("Content-Type", "application/json").body(body);
    let over = vec![b' '; (1 << 20) + 1];
    let small_bomb = bomb(512);
    assert!(small_bomb.len() < 1 << 20, "only decompression shows what it is");
    let chunks = || {
        reqwest::Body::wrap_stream(futures::stream::iter(
            over.chunks(65_536).map(|chunk| Ok::<_, std::io::Error>(chunk.to_vec())).collect::<Vec<_>>(),
        ))
    };
    for (what, request) in [
        ("with its length", post(over.clone().into())),
        ("in chunks", post(chunks())),
        ("a bomb", post(bomb(1024).into()).header("Content-Encoding", "gzip")),
        ("a bomb that the wire does not tell", post(small_bomb.into()).header("Content-Encoding", "gzip")),
        ("larger when compressed", post(over.clone().into()).header("Content-Encoding", "gzip")),
        ("compressed, in chunks", post(chunks()).header("Content-Encoding", "zstd")),
    ] {
        let status = timeout(SOON, request.send()).await.expect("an answer").unwrap().status().as_u16();
        assert!(status == 413 || (what == "compressed, in chunks" && status == 400), "{what}: {status}");
    }
    is_served(&server, &client).await;
    let growth = server.resident_kib().saturating_sub(before);
    assert!(growth < MOST_GROWTH_KIB, "{growth} KiB");
}

#[tokio::test]
async fn a_stop_is_within_ten_seconds_also_with_idle_connections_and_a_slow_body() {
    let nats = NatsServer::start().await;
    let mut server = Tidemark::start(&nats).await;
    let clients: Vec<TcpStream> = join_all((0..40).map(|number| broken(&server, number))).await;
    is_served(&server, &Client::new()).await;
    assert!(server.terminate().await, "it ends with exit code 0, and within the time that is waited for");
    drop(clients);
    server.restart().await;
    assert_eq!(server.sql("SELECT count(*) FROM events"), "1");
}

/// What a test sends with a key: status, the limit that refused it, and whether it is told when to send again.
async fn told(server: &Tidemark, key: &str, body: Vec<u8>, encoding: &'static str) -> (u16, Value, bool) {
    let post =
        Client::new().post(format!("{}/events/bulk", server.url)).header("X-API-Key", key).header("Content-Type", "application/json");
    let answer = post.header("Content-Encoding", encoding).body(body).send().await.unwrap();
    let (status, has_wait) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
    assert!(answer.headers().contains_key("ratelimit"), "every answer tells how its sender stands");
    (status, answer.json::<Value>().await.unwrap()["limit"].clone(), has_wait)
}

#[tokio::test]
async fn each_key_may_send_and_ask_so_much_and_nothing_over_it_is_stored() {
    let nats = NatsServer::start().await;
    let limits = ["limits.burst=100s", "limits.events_per_second=1", "limits.bytes_per_second=1KiB", "limits.queries_per_second=1"];
    let root = format!("keys.root_key={ROOT}");
    let server = Tidemark::start_with_settings(&nats, &[&["keys.file=keys.json", &root], &limits[..]].concat()).await;
    let [first, second, third, asker] = ["ingest", "ingest", "ingest", "query"].map(|scope| key(&server, scope));
    let is_read = async || (status_before_body(&server, &Method::POST, "/events", &asker).await == 403).then_some(());
    until("the server to read the new keys", SOON, is_read).await;

    let sixty: Vec<u8> = format!("[{}]", vec![EVENT; 60].join(",")).into();
    assert_eq!(told(&server, &first, sixty.clone(), "identity").await, (202, Value::Null, false));
    assert_eq!(told(&server, &first, sixty.clone(), "identity").await, (429, "events".into(), true));
    assert_eq!(told(&server, &second, sixty, "identity").await, (202, Value::Null, false), "another key has its own");
    let padded = output_of(&format!("{{ printf '%s' '{EVENT}'; head -c 61440 /dev/zero | tr '\\0' ' '; }} | gzip"));
    assert!(padded.len() < 1_000);
    assert_eq!(told(&server, &third, padded.clone(), "gzip").await, (202, Value::Null, false));
    assert_eq!(told(&server, &third, padded, "gzip").await, (429, "bytes".into(), true), "bytes count decompressed");

    let client = Client::new();
    let ask = async |key: &str| client.get(format!("{}/metrics", server.url)).header("X-API-Key", key).send().await.unwrap().status();
    let mut answered = 0;
    while ask(&asker).await == 200 {
        answered += 1;
        assert!(answered < 1_000, "nobody refuses");
    }
    assert!((100..200).contains(&answered) && ask(&asker).await == 429, "{answered}");
    assert_eq!(ask(ROOT).await, 200, "another key has its own");
    let metrics = until("the events to be committed", SOON, async || {
        let text = reqwest::get(format!("{}/metrics", server.admin_url)).await.unwrap().text().await.unwrap();
        text.contains("tidemark_pipeline_events_total{result=\"row\"} 1\n").then_some(text)
    });
    let metrics = metrics.await;
    assert!(metrics.contains("tidemark_ingest_events_total{result=\"accepted\"} 121\n"), "60 + 60 + 1, and not one more: {metrics}");
    assert!(metrics.contains("tidemark_pipeline_events_total{result=\"duplicate\"} 120\n"), "{metrics}");
}

#[tokio::test]
async fn pages_of_other_origins_may_call_only_when_a_setting_names_them() {
    let nats = NatsServer::start().await;
    let page = "https://app.example.com";
    for (settings, allowed) in [(&[][..], None), (&["http.cors_origins=https://app.example.com"], Some(page))] {
        let server = Tidemark::start_with_settings(&nats, settings).await;
        for path in ["/metrics", "/events", "/health", "/openapi.json"] {
            for method in [Method::GET, Method::OPTIONS] {
                let request = Client::new().request(method.clone(), format!("{}{path}", server.url)).header("Origin", page);
                let answer = request.header("Access-Control-Request-Method", "POST").send().await.unwrap();
                let told = answer.headers().get("access-control-allow-origin").map(|origin| origin.to_str().unwrap());
                assert_eq!(told, allowed, "{method} {path}");
            }
        }
    }
}
