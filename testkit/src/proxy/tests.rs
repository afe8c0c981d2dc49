use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{Outcome, Proxy, Rule, Seen};

const SOON: Duration = Duration::from_millis(300);

/// An upstream that sends back what it gets, on a thread of its own.
fn echo() -> String {
    serve(|mut connection| async move {
        let (mut from, mut to) = connection.split();
        let _ = tokio::io::copy(&mut from, &mut to).await;
    })
}

/// An upstream that answers each request with how many it has had, in chunks.
fn counting() -> String {
    let requests = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    serve(move |mut connection| {
        let requests = std::sync::Arc::clone(&requests);
        async move {
            let mut buffer = [0; 4096];
            while connection.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                let number = requests.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
                let answer =
                    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{number}\r\n0\r\n\r\n", number.to_string().len());
                connection.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
}

fn serve<F: Future<Output = ()> + 'static>(answer: impl Fn(TcpStream) -> F + Send + 'static) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((connection, _)) = listener.accept().await {
                tokio::task::spawn_local(answer(connection));
            }
        });
    });
    address
}

async fn say(connection: &mut TcpStream, text: &str) -> Option<String> {
    connection.write_all(text.as_bytes()).await.ok()?;
    let mut heard = vec![0; text.len()];
    timeout(SOON, connection.read_exact(&mut heard)).await.ok()?.ok()?;
    String::from_utf8(heard).ok()
}

#[tokio::test]
async fn a_cut_ends_connections_and_refuses_new_ones() {
    let proxy = Proxy::tcp(echo());
    let mut connection = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(say(&mut connection, "hello").await.as_deref(), Some("hello"));
    proxy.cut();
    assert_eq!(connection.read(&mut [0; 8]).await.unwrap_or(0), 0, "it has ended");
    let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(refused.read(&mut [0; 8]).await.unwrap_or(0), 0);
    assert_eq!(proxy.seen(), Seen { cut: 1, refused: 1, ..Seen::default() });
    proxy.pass();
    let mut connection = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(say(&mut connection, "again").await.as_deref(), Some("again"));
}

#[tokio::test]
async fn a_stalled_link_keeps_what_is_sent_until_it_passes() {
    let proxy = Proxy::tcp(echo());
    let mut connection = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(say(&mut connection, "hello").await.as_deref(), Some("hello"));
    proxy.stall();
    assert_eq!(say(&mut connection, "later").await, None);
    assert_eq!(proxy.seen().stalled, 1);
    proxy.pass();
    let mut heard = [0; 5];
    connection.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"later");
}

async fn get(proxy: &Proxy, path: &str) -> Result<(u16, String), reqwest::Error> {
    let answer = reqwest::get(format!("http://{}{path}", proxy.address())).await?;
    Ok((answer.status().as_u16(), answer.text().await?))
}

fn rule(path: &'static [&'static str], outcome: Outcome) -> Rule {
    Rule { method: "GET", path, one_in: 1, times: 1, outcome }
}

#[tokio::test]
async fn a_rule_answers_before_or_after_the_request_was_executed() {
    let proxy = Proxy::http(counting());
    assert_eq!(get(&proxy, "/log/1.json").await.unwrap(), (200, "1".to_owned()));
    proxy.add(rule(&["log", ".json"], Outcome::Answer { status: 412, is_executed: false }));
    proxy.add(rule(&["log", ".json"], Outcome::Answer { status: 503, is_executed: true }));
    assert_eq!(get(&proxy, "/data/2.parquet").await.unwrap(), (200, "2".to_owned()), "another path");
    assert_eq!(get(&proxy, "/log/3.json").await.unwrap().0, 412);
    assert_eq!(get(&proxy, "/log/3.json").await.unwrap().0, 503);
    assert_eq!(get(&proxy, "/log/3.json").await.unwrap(), (200, "4".to_owned()), "the second was executed, the first not");
    assert_eq!(proxy.seen().ruled, 2);
}

#[tokio::test]
async fn a_lost_reply_was_executed() {
    let proxy = Proxy::http(counting());
    proxy.add(Rule { one_in: 2, ..rule(&[], Outcome::LoseReply) });
    assert_eq!(get(&proxy, "/").await.unwrap(), (200, "1".to_owned()));
    assert!(get(&proxy, "/").await.is_err(), "every second one");
    assert_eq!(get(&proxy, "/").await.unwrap(), (200, "3".to_owned()), "once");
}

#[tokio::test]
async fn a_rule_can_stall_the_link_with_a_request_in_hand() {
    let proxy = Proxy::http(counting());
    proxy.add(rule(&["commit"], Outcome::Stall));
    let held = get(&proxy, "/commit");
    tokio::pin!(held);
    assert!(timeout(SOON, &mut held).await.is_err());
    proxy.pass();
    assert_eq!(held.await.unwrap(), (200, "1".to_owned()));
}
