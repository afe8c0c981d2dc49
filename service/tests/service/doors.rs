//! Keys, rates and origins, as a client meets them.

use std::time::Duration;

use axum::{
    Extension, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request},
    routing::{get, post},
};
use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use service::{
    clock::Clock,
    http::{CorsConfig, Guard, Lock, Route, cors, layers},
    keys::{Caller, Config, KeyFile, KeyRing, NewKey, Scope},
    limits::{self, Allowance, KeyLimits, Meters},
    problem::Problem,
    settings::{ByteSize, Interval, Secret},
    tasks::{Stop, StopHandle},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{SOON, TestServer, patient};

const ROUTES: [Route; 3] = [Route::open("/open"), Route::needs("/send", Scope::Ingest), Route::needs("/ask", Scope::Query)];
const NO_LIMITS: limits::Config =
    limits::Config { events_per_second: 0, bytes_per_second: ByteSize(0), queries_per_second: 0, burst: Interval(Duration::from_secs(1)) };

/// A server with one route for each need, and one that is in no list.
struct Doors {
    server: TestServer,
    file: KeyFile,
    client: Client,
    _folder: TempDir,
    _watching: StopHandle,
}

async fn send(request: Request) -> Result<String, Problem> {
    let allowance = Allowance::of(request.extensions());
    let body = axum::body::to_bytes(request.into_body(), 1 << 20).await.unwrap();
    allowance.take_events(body.len(), body.len())?;
    Ok(body.len().to_string())
}

impl Doors {
    async fn open(lock: Lock, limits: limits::Config) -> Self {
        let folder = TempDir::new().unwrap();
        let file = KeyFile::new(folder.path().join("keys.json"));
        let config = Config { file: file.path().to_owned(), root_key: Secret::default() };
        let router = Router::new()
            .route("/open", get(|| async { "open" }))
            .route("/send", post(send).layer(DefaultBodyLimit::disable()))
            .route("/ask", get(|Extension(caller): Extension<Caller>| async move { caller.to_string() }))
            .route("/forgotten", post(|body: Bytes| async move { body.len().to_string() }));
        let keys = KeyRing::open(config, Clock::system()).unwrap();
        let guard = Guard::new(keys.clone(), Meters::new(limits), lock, &ROUTES);
        let cors = cors(&CorsConfig { cors_origins: vec!["https://app.example.com".to_owned()] }).unwrap().unwrap();
        let server = TestServer::start_with(layers(router, Some(guard), Some(cors)), patient(), None).await;
        let (watching, stop) = Stop::pair();
        tokio::spawn(keys.watch(stop));
        Self { server, file, client: Client::new(), _folder: folder, _watching: watching }
    }

    fn key(&self, scopes: &str, limits: KeyLimits) -> String {
        let new = NewKey { name: String::new(), scopes: scopes.parse().unwrap(), lifetime: None, limits };
        self.file.add(new, Clock::system().now()).unwrap().0.expose().to_owned()
    }

    /// Waits until the server has read this key.
    async fn knows(&self, key: &str) {
        let is_refused = async || self.status("/send", "X-Other", "x").await == 401;
        let is_known = async || (is_refused().await && self.status("/send", "X-API-Key", key).await != 401).then_some(());
        testkit::until("the server to read the file of keys", SOON, is_known).await;
    }

    async fn status(&self, path: &str, header: &str, value: &str) -> u16 {
        let method = if path == "/ask" { Method::GET } else { Method::POST };
        self.request(method, path).header(header, value).body("1").send().await.unwrap().status().as_u16()
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.server.url(path))
    }
}

async fn code(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = answer.json().await.unwrap();
    (status, body["code"].as_str().unwrap().to_owned())
}

/// Sends a head that promises a body, and reads the answer without ever sending the body.
async fn answer_before_body(doors: &Doors, head: &str) -> String {
    let mut stream = TcpStream::connect(doors.server.address()).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = async {
        while !answer.ends_with(b"}") {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
        }
    };
    timeout(SOON / 4, read).await.expect("the answer comes without the body");
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_key_opens_its_routes_in_three_ways_and_no_others() {
    let doors = Doors::open(Lock::WhenKeysAreOn, NO_LIMITS).await;
    let (sender, asker) = (doors.key("ingest", KeyLimits::default()), doors.key("query", KeyLimits::default()));
    doors.knows(&sender).await;
    assert_eq!(doors.status("/send", "X-API-Key", &sender).await, 200);
    assert_eq!(doors.status("/send", "Authorization", &format!("Bearer {sender}")).await, 200);
    let basic = doors.request(Method::POST, "/send").basic_auth("anybody", Some(&sender)).body("1").send().await.unwrap();
    assert_eq!(basic.status(), 200);
    assert_eq!(doors.status("/ask", "X-API-Key", &asker).await, 200);
    assert_eq!(doors.status("/ask", "X-API-Key", &sender).await, 403);
    assert_eq!(doors.status("/send", "X-API-Key", &asker).await, 403);
    assert_eq!(doors.request(Method::GET, "/open").send().await.unwrap().status(), 200);

    let missing = doors.request(Method::POST, "/send").send().await.unwrap();
    let challenges: Vec<_> = missing.headers().get_all("www-authenticate").iter().collect();
    assert_eq!(challenges, ["Bearer realm=\"tidemark\"", "Basic realm=\"tidemark\", charset=\"UTF-8\""]);
    assert!(missing.headers().contains_key("x-request-id"));
    assert_eq!(code(missing).await, (401, "key_missing".to_owned()));
    let unknown = doors.request(Method::POST, "/send").bearer_auth("tm_0").send().await.unwrap();
    assert_eq!(code(unknown).await, (401, "key_unknown".to_owned()));
    doors.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_refusal_comes_before_the_body_is_read() {
    let doors = Doors::open(Lock::Always, NO_LIMITS).await;
    let asker = doors.key("query", KeyLimits::default());
    doors.knows(&asker).await;
    for (key, status) in [("x".to_owned(), "401"), (asker, "403")] {
        for fields in ["Content-Length: 1000000\r\nExpect: 100-continue", "Content-Length: 1000000", "Transfer-Encoding: chunked"] {
            let answer =
                answer_before_body(&doors, &format!("POST /send HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n{fields}\r\n\r\n")).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{fields}: {answer}");
        }
    }
    doors.server.stop().await.unwrap();
}

#[tokio::test]
async fn a_route_that_is_in_no_list_is_refused_to_everybody() {
    for lock in [Lock::WhenKeysAreOn, Lock::Never] {
        let doors = Doors::open(lock, NO_LIMITS).await;
        assert_eq!(doors.request(Method::POST, "/forgotten").send().await.unwrap().status(), 500);
        doors.server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn keys_come_and_go_without_a_restart_and_a_lock_holds_without_any() {
    let doors = Doors::open(Lock::WhenKeysAreOn, NO_LIMITS).await;
    let locked = Doors::open(Lock::Always, NO_LIMITS).await;
    assert_eq!(doors.status("/send", "X-Other", "x").await, 200, "without a file nobody needs a key");
    assert_eq!(locked.status("/send", "X-Other", "x").await, 401);
    let (old, new) = (doors.key("ingest", KeyLimits::default()), doors.key("ingest", KeyLimits::default()));
    let is_on = async || (doors.status("/send", "X-Other", "x").await == 401).then_some(());
    testkit::until("keys to be on", SOON, is_on).await;
    assert_eq!([doors.status("/send", "X-API-Key", &old).await, doors.status("/send", "X-API-Key", &new).await], [200, 200]);
    let id = doors.file.read().unwrap().unwrap()[0].id.to_string();
    doors.file.revoke(&id).unwrap();
    let is_revoked = async || (doors.status("/send", "X-API-Key", &old).await == 401).then_some(());
    testkit::until("the old key to be revoked", SOON, is_revoked).await;
    assert_eq!(doors.status("/send", "X-API-Key", &new).await, 200);
    doors.server.stop().await.unwrap();
    locked.server.stop().await.unwrap();
}

#[tokio::test]
async fn each_caller_has_its_rates_and_is_told_how_it_stands() {
    let burst = Interval(Duration::from_secs(3_600));
    let limits = limits::Config { events_per_second: 1, bytes_per_second: ByteSize(0), queries_per_second: 1, burst };
    let doors = Doors::open(Lock::WhenKeysAreOn, limits).await;
    let own = KeyLimits { events_per_second: Some(2), ..KeyLimits::default() };
    let (plain, favoured) = (doors.key("ingest,query", KeyLimits::default()), doors.key("ingest", own));
    doors.knows(&plain).await;
    let send = async |key: &str, events: usize| {
        doors.request(Method::POST, "/send").header("X-API-Key", key).body("x".repeat(events)).send().await.unwrap()
    };
    let accepted = send(&plain, 3_000).await;
    assert_eq!((accepted.status().as_u16(), &accepted.headers()["ratelimit-policy"]), (200, &"\"events\";q=3600;w=3600".parse().unwrap()));
    assert!(accepted.headers()["ratelimit"].to_str().unwrap().starts_with("\"events\";r="), "{accepted:?}");
    let refused = send(&plain, 3_000).await;
    let wait: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((2_000..2_500).contains(&wait), "{wait}");
    assert!(refused.headers()["ratelimit"].to_str().unwrap().starts_with("\"events\";r=0;t=2"), "{refused:?}");
    assert_eq!(code(refused).await, (429, "rate_limited".to_owned()));
    assert_eq!(code(send(&plain, 3_601).await).await, (413, "over_burst".to_owned()));
    assert_eq!(send(&favoured, 7_000).await.status(), 200, "its own rate, and its own bucket");
    let asked = doors.request(Method::GET, "/ask").header("X-API-Key", &plain).send().await.unwrap();
    assert_eq!(asked.headers()["ratelimit-policy"], "\"queries\";q=3600;w=3600");
    doors.server.stop().await.unwrap();
}

#[tokio::test]
async fn pages_of_a_named_origin_may_call_with_a_key_and_others_may_not() {
    let doors = Doors::open(Lock::Always, NO_LIMITS).await;
    let preflight = async |origin: &str| {
        let asked = doors.request(Method::OPTIONS, "/send").header("Origin", origin).header("Access-Control-Request-Method", "POST");
        asked.header("Access-Control-Request-Headers", "x-api-key").send().await.unwrap()
    };
    let good = preflight("https://app.example.com").await;
    assert_eq!(
        (good.status().as_u16(), &good.headers()["access-control-allow-origin"]),
        (200, &"https://app.example.com".parse().unwrap())
    );
    assert!(good.headers()["access-control-allow-headers"].to_str().unwrap().contains("x-api-key"));
    assert!(!preflight("https://evil.example.com").await.headers().contains_key("access-control-allow-origin"));
    let refused = doors.request(Method::POST, "/send").header("Origin", "https://app.example.com").send().await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), &refused.headers()["access-control-allow-origin"]),
        (401, &"https://app.example.com".parse().unwrap())
    );
    doors.server.stop().await.unwrap();
}
