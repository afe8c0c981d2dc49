//! Accepting connections until a stop is requested, then letting requests in flight finish.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use axum::Router;
use http::StatusCode;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::{
    net::TcpStream,
    select,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Limits, Listener, connection::Protocol, connections::Connections, layers::RequestId};
use crate::{
    problem::{MEDIA_TYPE, Problem},
    tasks::Stop,
};

/// How long to wait when the system has no file handle for a new connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long after a stop a client may take to notice that its connection ends; one without a request is cut then.
const FAREWELL: Duration = Duration::from_secs(1);

/// Requests were still in flight at the end of `http.stop_timeout` and were cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{connections} connections still had a request in flight {after:?} after the stop and were cut; see `http.stop_timeout`")]
pub struct StopTimeout {
    /// How many connections were cut.
    pub connections: usize,
    /// How long they were given.
    pub after: Duration,
}

/// Serves HTTP/1.1 and HTTP/2 until `stop`; then refuses new connections and lets requests in flight finish. A body that is still
/// on its way then has half of `http.stop_timeout` left.
///
/// # Errors
/// When requests in flight did not finish in time.
pub async fn serve(listener: Listener, router: Router, stop: Stop, limits: Limits) -> Result<(), StopTimeout> {
    let graceful = GracefulShutdown::new();
    let open = Connections::new(limits.max_connections);
    let protocol = Protocol::new(router, limits, listener.tls.clone(), stop.clone());
    let mut connections = JoinSet::new();
    loop {
        select! {
            biased;
            () = stop.requested() => break,
            Some(_ended) = connections.join_next() => {}
            accepted = listener.socket.accept() => match accepted {
                Ok((socket, peer)) => match open.admit() {
                    Some(place) => { connections.spawn(protocol.clone().serve(socket, peer, place, graceful.watcher())); }
                    None => refuse(&socket, listener.tls.is_none()),
                },
                Err(error) => pause_after(&error).await,
            },
        }
    }
    drop((listener, protocol));
    drain(graceful, connections, &open, limits.stop_timeout.0).await
}

/// Waits for the connections to finish what they do, and cuts the others at the deadline.
async fn drain(
    graceful: GracefulShutdown,
    mut connections: JoinSet<()>,
    open: &Connections,
    deadline: Duration,
) -> Result<(), StopTimeout> {
    let ended = async {
        let ended = graceful.shutdown();
        tokio::pin!(ended);
        if timeout(FAREWELL, ended.as_mut()).await.is_err() {
            open.close();
            ended.await;
        }
    };
    if timeout(deadline, ended).await.is_ok() {
        return Ok(());
    }
    while connections.try_join_next().is_some() {}
    let unfinished = StopTimeout { connections: connections.len(), after: deadline };
    connections.shutdown().await;
    Err(unfinished)
}

/// Every connection has a request: one more gets a short answer, if it can be had without waiting, and is closed.
fn refuse(socket: &TcpStream, is_plain: bool) {
    metrics::counter!("http_connections_closed_total", "reason" => "too_many").increment(1);
    if is_plain {
        let detail = "every connection that the server may have is at work; send it again later";
        let id = RequestId::new();
        let body = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_connections", detail).body(Some(id.as_str()));
        let answer = format!(
            "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {}\r\nretry-after: 1\r\nx-request-id: {}\r\n\
             connection: close\r\n\r\n{body}",
            body.len(),
            id.as_str()
        );
        // A client that does not take it at once is closed all the same.
        let _ = socket.try_write(answer.as_bytes());
    }
}

/// A client that has already gone is no trouble of ours; a machine out of file handles needs a moment.
#[expect(clippy::disallowed_methods, reason = "waits for the operating system, whatever the time of day")]
async fn pause_after(error: &io::Error) {
    if !matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused) {
        tracing::warn!(%error, "cannot accept a connection");
        sleep(ACCEPT_PAUSE).await;
    }
}
