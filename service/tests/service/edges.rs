//! What a client may hold: connections, heads, streams; and what becomes of one that holds too long.

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Bytes,
    routing::{get, post},
};
use futures::future::join_all;
use http::Request;
use service::{
    http::Limits,
    settings::{ByteSize, Interval},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
    time::timeout,
};

use super::{SOON, TestServer, patient};

const SHORT: Interval = Interval(Duration::from_millis(200));
const OK: &str = "GET /ok HTTP/1.1\r\nHost: x\r\n\r\n";

fn router() -> Router {
    Router::new()
        .route("/ok", get(|| async { "ok" }))
        .route("/read", post(|body: Bytes| async move { body.len().to_string() }))
        .route("/large", get(|| async { vec![b'x'; 32 << 20] }))
}

async fn connect(server: &TestServer, sent: &str) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    stream
}

/// Reads until the text has come.
async fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut answer = Vec::new();
    let read = async {
        while !String::from_utf8_lossy(&answer).ends_with(end) {
            assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        }
    };
    timeout(SOON, read).await.expect("the answer comes");
    String::from_utf8(answer).unwrap()
}

/// Reads until the server closes; a reset is an end as well.
async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // What came before a reset is in the answer all the same.
    let _ = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the server closes the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn silence_between_requests_may_last_longer_than_a_head() {
    let server = TestServer::start(router(), Limits { header_timeout: SHORT, ..patient() }).await;
    let mut stream = connect(&server, OK).await;
    read_to(&mut stream, "ok").await;
    // Another connection that brings nothing is closed after the time for a head; so that time has passed here, too.
    assert_eq!(read_all(&mut connect(&server, "").await).await, "");
    stream.write_all(OK.as_bytes()).await.unwrap();
    read_to(&mut stream, "ok").await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn the_second_head_has_its_deadline_too() {
    let server = TestServer::start(router(), Limits { header_timeout: SHORT, ..patient() }).await;
    let mut stream = connect(&server, OK).await;
    read_to(&mut stream, "ok").await;
    stream.write_all(b"GET /ok HTTP/1.1\r\nX-Slow").await.unwrap();
    assert_eq!(read_all(&mut stream).await, "");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_closed() {
    let server = TestServer::start(router(), Limits { body_timeout: SHORT, header_timeout: SHORT, ..patient() }).await;
    let mut stream = connect(&server, "GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await;
    // Only a look, so that the socket fills: the server gives up although the client is still there.
    stream.readable().await.unwrap();
    let stopped = timeout(SOON, server.stop()).await.expect("the server does not wait for it");
    stopped.unwrap();
    assert!(read_all(&mut stream).await.len() < 32 << 20, "the answer was cut");
}

#[tokio::test]
async fn a_full_server_closes_the_oldest_connection_without_a_request_for_a_new_one() {
    let server = TestServer::start(router(), Limits { max_connections: 3, ..patient() }).await;
    let mut idle = Vec::new();
    for _ in 0..3 {
        let mut stream = connect(&server, OK).await;
        read_to(&mut stream, "ok").await;
        idle.push(stream);
    }
    let mut fourth = connect(&server, OK).await;
    read_to(&mut fourth, "ok").await;
    assert_eq!(read_all(&mut idle[0]).await, "", "the oldest made room");
    for stream in &mut idle[1..] {
        stream.write_all(OK.as_bytes()).await.unwrap();
        read_to(stream, "ok").await;
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn when_every_connection_has_a_request_a_new_one_gets_503() {
    static OPEN: Semaphore = Semaphore::const_new(0);
    static BEGUN: Semaphore = Semaphore::const_new(0);
    let wait = get(|| async {
        BEGUN.add_permits(1);
        OPEN.acquire().await.unwrap().forget();
        "done"
    });
    let server = TestServer::start(Router::new().route("/wait", wait), Limits { max_connections: 2, ..patient() }).await;
    let request = "GET /wait HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut busy = [connect(&server, request).await, connect(&server, request).await];
    BEGUN.acquire_many(2).await.unwrap().forget();
    let refused = read_all(&mut TcpStream::connect(server.address()).await.unwrap()).await;
    for part in ["HTTP/1.1 503 ", "retry-after: 1\r\n", "x-request-id: ", "application/problem+json", r#""code":"too_many_connections""#] {
        assert!(refused.contains(part), "{part} in {refused}");
    }
    OPEN.add_permits(2);
    for stream in &mut busy {
        read_to(stream, "done").await;
    }
    server.stop().await.unwrap();
}

/// What the HTTP library says of itself, below the routes: a status, no body, no id, and the end of the connection.
fn is_bare(answer: &str, status: u16) {
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.ends_with("\r\n\r\n"), "{answer}");
    for (part, is_there) in [("connection: close\r\n", true), ("content-length: 0\r\n", true), ("x-request-id", false)] {
        assert_eq!(answer.contains(part), is_there, "{part} in {answer}");
    }
}

#[tokio::test]
async fn a_head_with_too_many_or_too_large_fields_is_431() {
    let server = TestServer::start(router(), patient()).await;
    let many: String = (0..30).map(|number| format!("X-{number}: 1\r\n")).collect();
    let large = format!("X-Large: {}\r\n", "x".repeat(20 << 10));
    for fields in [many, large] {
        is_bare(&read_all(&mut connect(&server, &format!("GET /ok HTTP/1.1\r\nHost: x\r\n{fields}\r\n")).await).await, 431);
    }
    read_to(&mut connect(&server, OK).await, "ok").await;
    server.stop().await.unwrap();
}

#[tokio::test]
async fn what_is_no_request_ends_its_connection_and_the_next_one_is_served() {
    let server = TestServer::start(router(), Limits { max_head: ByteSize(256 << 10), ..patient() }).await;
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(70 << 10));
    for (head, status) in [
        ("rubbish\r\n\r\n", 400),
        ("G@T /ok HTTP/1.1 and more\r\n\r\n", 400),
        ("GET /ok HTTP/3.0\r\n\r\n", 400),
        ("GET /ok HTTP/1.1\r\nno colon\r\n\r\n", 400),
        ("GET /ok HTTP/1.1\r\nX: a\0b\r\n\r\n", 400),
        ("POST /read HTTP/1.1\r\nContent-Length: many\r\n\r\n", 400),
        ("POST /read HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n12", 400),
        (&long, 414),
    ] {
        is_bare(&read_all(&mut connect(&server, head).await).await, status);
        read_to(&mut connect(&server, OK).await, "ok").await;
    }
    let both = read_all(&mut connect(&server, &format!("{OK}rubbish\r\n\r\n")).await).await;
    let (first, second) = both.split_once("\r\n\r\nok").expect("what came before it is answered whole");
    assert!(first.starts_with("HTTP/1.1 200 OK\r\n") && first.contains("x-request-id: "), "{first}");
    is_bare(second, 400);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_idle_connections_of_http1_and_http2() {
    let server = TestServer::start(router(), patient()).await;
    let mut silent = TcpStream::connect(server.address()).await.unwrap();
    let mut idle = connect(&server, OK).await;
    read_to(&mut idle, "ok").await;
    // A client of HTTP/2 that answers no PING, so that it never learns that the connection ends.
    let mut http2 = connect(&server, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    http2.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    http2.readable().await.unwrap();
    timeout(SOON / 4, server.stop()).await.expect("nobody is waited for").unwrap();
    for stream in [&mut silent, &mut idle, &mut http2] {
        read_all(stream).await;
    }
}

#[tokio::test]
async fn a_slow_body_gets_its_answer_within_a_stop() {
    let stop = Interval(Duration::from_secs(4));
    let server = TestServer::start(router(), Limits { stop_timeout: stop, ..patient() }).await;
    let mut slow = connect(&server, "POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf").await;
    // One that was sent later is answered, so the slow one has begun.
    read_to(&mut connect(&server, OK).await, "ok").await;
    assert_eq!(server.stop().await, Ok(()), "it is answered, not cut");
    assert!(read_all(&mut slow).await.starts_with("HTTP/1.1 400 "), "the handler is told that the body is late");
}

#[tokio::test]
async fn an_answer_that_comes_before_the_body_reaches_a_client_that_still_sends() {
    let server = TestServer::start(Router::new(), patient()).await;
    let mut stream = connect(&server, &format!("POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", 8 << 20)).await;
    stream.write_all(&vec![b'x'; 8 << 20]).await.expect("the server takes the rest and throws it away");
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 404 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
    server.stop().await.unwrap();
}

async fn http2(server: &TestServer) -> (h2::client::SendRequest<Bytes>, tokio::task::JoinHandle<Result<(), h2::Error>>) {
    let address: SocketAddr = server.address().parse().unwrap();
    let (client, connection) = h2::client::handshake(TcpStream::connect(address).await.unwrap()).await.unwrap();
    (client, tokio::spawn(connection))
}

fn get_ok(server: &TestServer) -> Request<()> {
    Request::get(server.url("/ok")).body(()).unwrap()
}

#[tokio::test]
async fn a_flood_of_http2_resets_ends_that_connection_and_no_other() {
    let server = TestServer::start(router(), patient()).await;
    let (other, _other_connection) = http2(&server).await;
    let (client, connection) = http2(&server).await;
    let flood = async {
        for number in 0..100_000 {
            let Ok(mut client) = client.clone().ready().await else { return number };
            let Ok((answer, _)) = client.send_request(get_ok(&server), true) else { return number };
            drop(answer);
            tokio::task::yield_now().await;
        }
        panic!("100,000 requests were taken back and the connection still stands")
    };
    timeout(SOON, flood).await.expect("the server ends the connection");
    let error = connection.await.unwrap().unwrap_err();
    assert!(error.is_io() || error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM), "{error}");
    let (answer, _) = other.ready().await.unwrap().send_request(get_ok(&server), true).unwrap();
    assert_eq!(timeout(SOON, answer).await.expect("another client is served").unwrap().status(), 200);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn http2_has_a_most_of_streams_and_of_head() {
    let server = TestServer::start(router(), Limits { max_head: ByteSize(32 << 10), ..patient() }).await;
    let (client, _connection) = http2(&server).await;
    // The first answer brings the server's settings.
    let mut client = client.ready().await.unwrap();
    client.send_request(get_ok(&server), true).unwrap().0.await.unwrap();
    let answers = join_all((0..50).map(|_| async {
        let (answer, _) = client.clone().ready().await.unwrap().send_request(get_ok(&server), true).unwrap();
        answer.await.unwrap().status()
    }));
    assert!(timeout(SOON, answers).await.expect("they wait for each other").iter().all(|status| *status == 200));
    assert_eq!(client.current_max_send_streams(), 8);
    for (bytes, status) in [(20 << 10, 200), (40 << 10, 431)] {
        let request = Request::get(server.url("/ok")).header("x-large", "x".repeat(bytes)).body(()).unwrap();
        let (answer, _) = client.clone().ready().await.unwrap().send_request(request, true).unwrap();
        assert_eq!(timeout(SOON, answer).await.expect("an answer").unwrap().status(), status, "{bytes} bytes");
    }
    drop(client);
    server.stop().await.unwrap();
}
