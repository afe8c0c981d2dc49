//! One connection: TLS if there is any, then HTTP/1.1 or HTTP/2 under limits, until it ends or its time is over.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use axum::{Router, body::Body};
use http::{HeaderValue, Request, Response, Version, header::CONNECTION, uri::Scheme};
use hyper::{
    body::Incoming,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::Watcher},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    select,
    time::Instant,
};
use tower::ServiceExt;

use super::{
    Limits, Tls,
    activity::{Activity, Closed},
    body::{AnswerBody, Deadline, TimedBody},
    connections::Place,
    stream::Stream,
};
use crate::tasks::Stop;

/// What hyper allows by itself, and then has a place for on the stack; for any other number it fills two lists for each request.
const MAX_HEADERS_OF_HYPER: usize = 100;
/// hyper takes no smaller buffer.
const SMALLEST_HEAD: usize = 8_192;
/// Requests that a client of HTTP/2 may take back before we have looked at them; above that the connection ends (CVE-2023-44487).
const PENDING_RESETS: usize = 20;
/// Streams of HTTP/2 that may end by errors of the client before the connection ends (CVE-2025-8671).
const ERROR_RESETS: usize = 100;
/// Bytes of bodies that a client of HTTP/2 may send before anybody reads them: of all its streams, and of one.
const CONNECTION_WINDOW_BYTES: u32 = 512 << 10;
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// Bytes of an answer that wait for a client of HTTP/2.
const SEND_BUFFER_BYTES: usize = 64 << 10;

/// Where a request comes from and how; among its extensions.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) peer: SocketAddr,
    pub(super) scheme: Scheme,
}

/// What the connections of a listener share.
#[derive(Clone)]
pub(super) struct Protocol {
    router: Router,
    builder: Builder<TokioExecutor>,
    limits: Limits,
    tls: Option<Tls>,
    stop: Stop,
}

impl Protocol {
    pub(super) fn new(router: Router, limits: Limits, tls: Option<Tls>, stop: Stop) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        let max_head = limits.max_head.as_usize().max(SMALLEST_HEAD);
        let mut http1 = builder.http1();
        http1.timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(max_head);
        if limits.max_headers != MAX_HEADERS_OF_HYPER {
            http1.max_headers(limits.max_headers);
        }
        builder
            .http2()
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(limits.header_timeout.0))
            .keep_alive_timeout(limits.header_timeout.0)
            .max_concurrent_streams(limits.max_streams)
            .max_header_list_size(u32::try_from(max_head).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(PENDING_RESETS)
            .max_local_error_reset_streams(ERROR_RESETS)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES);
        Self { router, builder, limits, tls, stop }
    }

    /// Serves one connection to its end.
    pub(super) async fn serve(self, socket: TcpStream, peer: SocketAddr, place: Place, watcher: Watcher) {
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let limits = self.limits;
        let activity = Arc::clone(&place.activity);
        select! {
            biased;
            () = self.run(socket, peer, Arc::clone(&activity), watcher) => {}
            closed = activity.overdue(&limits) => note(closed),
        }
    }

    async fn run(self, socket: TcpStream, peer: SocketAddr, activity: Arc<Activity>, watcher: Watcher) {
        match self.tls.clone() {
            None => self.speak(socket, peer, activity, watcher).await,
            Some(tls) => match tls.accept(socket).await {
                Ok(socket) => self.speak(socket, peer, activity, watcher).await,
                Err(error) => tracing::debug!(%error, "a client does not speak TLS as we do"),
            },
        }
    }

    /// A client's error ends the connection, and is not worth more than a debug line. A head that is none hyper itself has answered.
    async fn speak<S>(self, socket: S, peer: SocketAddr, activity: Arc<Activity>, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let stream = TokioIo::new(Stream::new(socket, Arc::clone(&activity)));
        let builder = self.builder.clone();
        if let Err(error) = watcher.watch(builder.serve_connection(stream, self.service(peer, activity))).await {
            tracing::debug!(error, "a connection broke");
            if error.downcast_ref().is_some_and(hyper::Error::is_parse) {
                note(Closed::Malformed);
            }
        }
    }

    /// The router as hyper calls it: each request knows its origin, is in flight until it is answered, and its body has
    /// a deadline.
    fn service(
        self,
        peer: SocketAddr,
        activity: Arc<Activity>,
    ) -> impl Service<Request<Incoming>, Response = Response<AnswerBody>, Error = Infallible, Future: Send + 'static> {
        let Self { router, limits, stop, tls, .. } = self;
        let origin = Origin { peer, scheme: if tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP } };
        service_fn(move |request: Request<Incoming>| {
            let (activity, is_http2) = (Arc::clone(&activity), request.version() == Version::HTTP_2);
            let in_flight = activity.begin(request.version());
            let at = Instant::now() + limits.body_timeout.0;
            let deadline = Deadline { at, stop: stop.clone(), after_stop: limits.stop_timeout.0 / 2 };
            let mut request = request.map(|body| Body::new(TimedBody::new(body, deadline, Arc::clone(&activity))));
            request.extensions_mut().insert(origin.clone());
            let answer = router.clone().oneshot(request);
            async move {
                let mut answer = answer.await?;
                if activity.has_unread_body() && !is_http2 {
                    // The connection ends after this answer; a client that does not know would send its next request into the void.
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok(answer.map(|body| AnswerBody { body, _in_flight: in_flight }))
            }
        })
    }
}

fn note(closed: Closed) {
    tracing::debug!(reason = closed.as_str(), "closed a connection");
    metrics::counter!("http_connections_closed_total", "reason" => closed.as_str()).increment(1);
}
