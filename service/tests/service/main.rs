//! The server as a client sees it: a real listener on a free port, real connections.

#![expect(clippy::unwrap_used, reason = "in a test a failure is the message")]
#![expect(clippy::disallowed_methods, reason = "what a test spawns it joins or aborts itself")]

mod answers;
mod connections;
mod doors;
mod edges;
mod openapi;
mod stop;
mod telemetry;
mod tls;

use std::time::Duration;

use axum::Router;
use service::{
    http::{Limits, StopTimeout, Tls, bind, layers, serve},
    settings::{ByteSize, Interval},
    tasks::{Stop, StopHandle},
};
use tokio::{task::JoinHandle, time::timeout};

/// Longer than anything here takes; only a defect waits for it.
const SOON: Duration = Duration::from_secs(20);

/// Limits that no test reaches by accident.
fn patient() -> Limits {
    Limits {
        header_timeout: Interval(SOON),
        body_timeout: Interval(SOON),
        idle_timeout: Interval(SOON),
        stop_timeout: Interval(SOON),
        drain_delay: Interval(Duration::ZERO),
        max_connections: 1_000,
        max_head: ByteSize(16 << 10),
        max_headers: 20,
        max_streams: 8,
    }
}

/// A served router. Dropping it without [`TestServer::stop`] aborts it.
struct TestServer {
    url: String,
    stop: StopHandle,
    served: JoinHandle<Result<(), StopTimeout>>,
}

impl TestServer {
    async fn start(router: Router, limits: Limits) -> Self {
        Self::start_with(layers(router, None, None), limits, None).await
    }

    /// Serves a router that has its layers.
    async fn start_with(router: Router, limits: Limits, tls: Option<Tls>) -> Self {
        let listener = bind("127.0.0.1:0", "serve.listen").await.unwrap().with_tls(tls);
        let url = format!("http://{}", listener.address());
        let (handle, stop) = Stop::pair();
        let served = tokio::spawn(serve(listener, router, stop, limits));
        Self { url, stop: handle, served }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// `host:port`.
    fn address(&self) -> &str {
        self.url.strip_prefix("http://").unwrap()
    }

    /// Stops the server and says how that went.
    async fn stop(mut self) -> Result<(), StopTimeout> {
        self.stop.stop();
        timeout(SOON, &mut self.served).await.expect("the server ends").unwrap()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.served.abort();
    }
}
