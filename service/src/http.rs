//! The HTTP server: bind early, serve late, stop gently.
//!
//! [`bind`] takes the address, [`layers()`] gives a finished router what every answer must have and puts a [`Guard`] before it, who asks
//! for keys, [`serve`] runs it until a stop is requested. It is hyper under axum rather than `axum::serve`, because a client must not hold a
//! connection for nothing: each has deadlines ([`activity`]), there is a most of them ([`connections`]), and one without a
//! request makes room for a new one.

mod activity;
mod body;
mod connection;
mod connections;
mod cors;
mod guard;
mod layers;
mod listener;
mod server;
mod stream;
mod tls;

use serde::Deserialize;

pub use self::{
    body::BodyTimeout,
    cors::{CorsConfig, CorsError, cors},
    guard::{Access, Guard, Lock, Route},
    layers::{REQUEST_ID_HEADER, layers},
    listener::{BindError, Listener, bind},
    server::{StopTimeout, serve},
    tls::{Tls, TlsConfig, TlsError},
};
use crate::settings::{ByteSize, Interval};

/// The section `http`: how long a client and a stop may take, and how much a client may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Limits {
    /// For the head of a request from its first byte on, and for the first request of a connection from its start on.
    pub header_timeout: Interval,
    /// For the body of a request, from its head on, and for a client that does not read its answer.
    pub body_timeout: Interval,
    /// For the silence between two requests.
    pub idle_timeout: Interval,
    /// For requests in flight when a stop is requested.
    pub stop_timeout: Interval,
    /// How long readiness is red before a stop begins.
    pub drain_delay: Interval,
    /// The most connections of a listener.
    pub max_connections: usize,
    /// The largest head of a request.
    pub max_head: ByteSize,
    /// The most header fields of a request.
    pub max_headers: usize,
    /// The most requests of one HTTP/2 connection at the same time.
    pub max_streams: u32,
}
