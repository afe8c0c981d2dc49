//! A stop: requests in flight finish, new ones are refused, and it does not take for ever.

use std::{
    process::{Command, id},
    sync::Arc,
    time::Duration,
};

use axum::{Router, routing::get};
use service::{
    http::{Limits, StopTimeout},
    settings::Interval,
    tasks::Stop,
};
use tokio::{net::TcpStream, sync::Notify, time::timeout};

use super::{SOON, TestServer, patient};

/// A handler that says when it has begun and waits until it may end.
#[derive(Clone, Default)]
struct Gate {
    begun: Arc<Notify>,
    open: Arc<Notify>,
}

impl Gate {
    fn router(&self) -> Router {
        let gate = self.clone();
        let handler = async move || {
            gate.begun.notify_one();
            gate.open.notified().await;
            "finished"
        };
        Router::new().route("/slow", get(handler))
    }
}

#[tokio::test]
async fn a_request_in_flight_finishes_while_new_connections_are_refused() {
    let gate = Gate::default();
    let server = TestServer::start(gate.router(), patient()).await;
    let (address, slow) = (server.address().to_owned(), server.url("/slow"));
    // An idle connection must not hold up the stop.
    let idle = TcpStream::connect(&address).await.unwrap();
    let in_flight = tokio::spawn(async move { reqwest::get(slow).await.unwrap().text().await.unwrap() });
    gate.begun.notified().await;

    let stopped = tokio::spawn(server.stop());
    let refused = async { while TcpStream::connect(&address).await.is_ok() {} };
    timeout(SOON, refused).await.expect("the listener is closed although a request is in flight");
    assert!(!in_flight.is_finished() && !stopped.is_finished());

    gate.open.notify_one();
    assert_eq!(in_flight.await.unwrap(), "finished");
    stopped.await.unwrap().unwrap();
    drop(idle);
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut_and_counted() {
    let gate = Gate::default();
    let after = Duration::from_millis(100);
    let server = TestServer::start(gate.router(), Limits { stop_timeout: Interval(after), ..patient() }).await;
    let in_flight = tokio::spawn(reqwest::get(server.url("/slow")));
    gate.begun.notified().await;
    assert_eq!(server.stop().await, Err(StopTimeout { connections: 1, after }));
    assert!(in_flight.await.unwrap().is_err());
}

#[tokio::test]
async fn sigterm_is_a_request_to_stop() {
    let stop = Stop::on_signal().unwrap();
    assert!(!stop.is_requested());
    let sent = Command::new("kill").args(["-TERM", &id().to_string()]).status().unwrap();
    assert!(sent.success());
    timeout(SOON, stop.requested()).await.expect("the signal arrives");
}
