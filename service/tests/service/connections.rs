//! Clients that are slow, silent or speak HTTP/2.

use std::{future::pending, time::Duration};

use axum::{
    Router,
    body::{Body, to_bytes},
    routing::{get, post},
};
use reqwest::Client;
use service::{
    http::{BodyTimeout, Limits, bind},
    settings::Interval,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::{SOON, TestServer, patient};

const SHORT: Interval = Interval(Duration::from_millis(200));

fn router() -> Router {
    Router::new().route("/ok", get(|| async { "ok" })).route(
        "/read",
        post(|body: Body| async {
            match to_bytes(body, 1_000).await {
                Ok(bytes) => format!("read {}", bytes.len()),
                Err(error) => format!("late: {}", BodyTimeout::caused(&error)),
            }
        }),
    )
}

/// Sends the bytes and reads until the server closes the connection.
async fn until_closed(server: &TestServer, sent: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the server closes the connection").unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_head_is_closed() {
    let server = TestServer::start(router(), Limits { header_timeout: SHORT, ..patient() }).await;
    // Nothing, the start of an HTTP/2 preface, half a head.
    for sent in ["", "PRI * HT", "GET /ok HTTP/1.1\r\nHost: x\r\nX-Slow"] {
        assert_eq!(until_closed(&server, sent).await, "", "after {sent:?}");
    }
    assert_eq!(reqwest::get(server.url("/ok")).await.unwrap().text().await.unwrap(), "ok");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_connection_that_stays_silent_after_its_answer_is_closed() {
    let server = TestServer::start(router(), Limits { idle_timeout: SHORT, ..patient() }).await;
    let answer = until_closed(&server, "GET /ok HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nok"), "{answer}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_handler_longer_than_the_header_timeout_is_not_cut() {
    let slow = Router::new().route(
        "/slow",
        get(|| async {
            let _elapsed = timeout(SHORT.0 * 3, pending::<()>()).await;
            "done"
        }),
    );
    let server = TestServer::start(slow, Limits { header_timeout: SHORT, ..patient() }).await;
    assert_eq!(reqwest::get(server.url("/slow")).await.unwrap().text().await.unwrap(), "done");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_body_that_does_not_arrive_in_time_is_an_error_that_the_handler_can_tell() {
    let server = TestServer::start(router(), Limits { body_timeout: SHORT, ..patient() }).await;
    let answer = until_closed(&server, "POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nConnection: close\r\n\r\nhalf").await;
    assert!(answer.ends_with("late: true"), "{answer}");
    let whole = Client::new().post(server.url("/read")).body("whole").send().await.unwrap();
    assert_eq!(whole.text().await.unwrap(), "read 5");
    let too_large = Client::new().post(server.url("/read")).body(vec![b'x'; 2_000]).send().await.unwrap();
    assert_eq!(too_large.text().await.unwrap(), "late: false");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_connection_lives_on_after_a_body_that_did_not_tell_its_length() {
    let server = TestServer::start(router(), Limits { idle_timeout: SHORT, ..patient() }).await;
    let chunked = "POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nwhole\r\n0\r\n\r\n";
    let answers = until_closed(&server, &chunked.repeat(2)).await;
    assert_eq!((answers.matches("\r\n\r\nread 5").count(), answers.contains("connection: close")), (2, false), "{answers}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn http2_without_tls_is_spoken() {
    const SETTINGS: u8 = 4;
    let server = TestServer::start(router(), patient()).await;
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&[0, 0, 0, SETTINGS, 0, 0, 0, 0, 0]).await.unwrap();
    let mut frame_head = [0; 9];
    timeout(SOON, stream.read_exact(&mut frame_head)).await.expect("the server answers").unwrap();
    assert_eq!(frame_head[3], SETTINGS);
    drop(stream);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_taken_port_names_the_address_the_setting_and_what_to_do() {
    let server = TestServer::start(router(), patient()).await;
    let error = bind(server.address(), "serve.listen").await.unwrap_err();
    let (address, port) = (server.address(), server.address().rsplit_once(':').unwrap().1.parse::<u16>().unwrap());
    assert_eq!(
        error.to_string(),
        format!(
            "the address `{address}` is taken: another program, perhaps another tidemark, listens there; stop it, or choose another \
             port with the setting `serve.listen`, for example `--set serve.listen=127.0.0.1:{}`",
            port.checked_add(100).unwrap_or(8180)
        )
    );
    server.stop().await.unwrap();
}
