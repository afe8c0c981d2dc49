//! Serving connections until a stop is requested, then letting requests in flight finish.
//!
//! One task per connection. A connection that has not brought a complete request head within the header timeout is closed,
//! whatever it sent; so is one that stays silent that long between two requests.

use std::{
    convert::Infallible,
    io::{self, ErrorKind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, response::Response};
use http::Request;
use hyper::{
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{
        conn::auto::Builder,
        graceful::{GracefulShutdown, Watcher},
    },
};
use tokio::{
    net::TcpStream,
    pin, select,
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::ServiceExt;

use super::{Limits, Listener, body::TimedBody};
use crate::tasks::Stop;

/// How long to wait when the system has no file handle for a new connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Requests were still in flight at the end of `http.stop_timeout` and were cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{connections} connections still had a request in flight {after:?} after the stop and were cut; see `http.stop_timeout`")]
pub struct StopTimeout {
    /// How many connections were cut.
    pub connections: usize,
    /// How long they were given.
    pub after: Duration,
}

/// Serves HTTP/1.1 and HTTP/2 until `stop`; then refuses new connections and lets requests in flight finish.
///
/// # Errors
/// When requests in flight did not finish in time.
pub async fn serve(listener: Listener, router: Router, stop: Stop, limits: Limits) -> Result<(), StopTimeout> {
    let graceful = GracefulShutdown::new();
    let server = Server::new(router, limits);
    let mut connections = JoinSet::new();
    loop {
        select! {
            biased;
            () = stop.requested() => break,
            Some(_ended) = connections.join_next() => {}
            accepted = listener.socket.accept() => match accepted {
                Ok((stream, _peer)) => { connections.spawn(server.clone().connection(stream, graceful.watcher())); }
                Err(error) => pause_after(&error).await,
            },
        }
    }
    drop(listener);
    drain(graceful, connections, limits.stop_timeout.0).await
}

/// Waits for the connections to finish what they do, and cuts the others at the deadline.
async fn drain(graceful: GracefulShutdown, mut connections: JoinSet<()>, deadline: Duration) -> Result<(), StopTimeout> {
    if timeout(deadline, graceful.shutdown()).await.is_ok() {
        return Ok(());
    }
    while connections.try_join_next().is_some() {}
    let unfinished = StopTimeout { connections: connections.len(), after: deadline };
    connections.shutdown().await;
    Err(unfinished)
}

/// A client that has already gone is no trouble of ours; a machine out of file handles needs a moment.
#[expect(clippy::disallowed_methods, reason = "waits for the operating system, whatever the time of day")]
async fn pause_after(error: &io::Error) {
    if !matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused) {
        tracing::warn!(%error, "cannot accept a connection");
        sleep(ACCEPT_PAUSE).await;
    }
}

#[derive(Clone)]
struct Server {
    router: Router,
    builder: Builder<TokioExecutor>,
    limits: Limits,
}

impl Server {
    fn new(router: Router, limits: Limits) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(limits.header_timeout.0);
        let http2_keep_alive = Some(limits.header_timeout.0);
        builder.http2().timer(TokioTimer::new()).keep_alive_interval(http2_keep_alive).keep_alive_timeout(limits.header_timeout.0);
        Self { router, builder, limits }
    }

    /// Serves one connection to its end. A client's error ends it, and is not worth more than a debug line.
    async fn connection(self, stream: TcpStream, watcher: Watcher) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let has_request = Arc::new(AtomicBool::new(false));
        let service = service(self.router, self.limits.body_timeout.0, Arc::clone(&has_request));
        let connection = watcher.watch(self.builder.serve_connection(TokioIo::new(stream), service));
        pin!(connection);
        let ended = match timeout(self.limits.header_timeout.0, connection.as_mut()).await {
            Ok(ended) => ended,
            Err(_elapsed) if has_request.load(Ordering::Relaxed) => connection.await,
            Err(_elapsed) => return tracing::debug!("closed a connection that brought no request in time"),
        };
        if let Err(error) = ended {
            tracing::debug!(error, "a connection broke");
        }
    }
}

/// The router as hyper calls it: each body gets its deadline, and the first request is noted.
fn service(
    router: Router,
    body_timeout: Duration,
    has_request: Arc<AtomicBool>,
) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send + 'static> {
    service_fn(move |request: Request<Incoming>| {
        has_request.store(true, Ordering::Relaxed);
        let deadline = Instant::now() + body_timeout;
        router.clone().oneshot(request.map(|body| Body::new(TimedBody::new(body, deadline))))
    })
}
