//! The HTTP server: bind early, serve late, stop gently.
//!
//! [`bind`] takes the address, [`layers()`] gives a finished router what every answer must have, [`serve`] runs it until a stop is
//! requested. It is hyper under axum rather than `axum::serve`, because a client must not hold a connection without sending a
//! request (FACTS: `axum::serve` has no header timeout).

mod body;
mod layers;
mod listener;
mod server;

use serde::Deserialize;

pub use self::{
    body::BodyTimeout,
    layers::{REQUEST_ID_HEADER, RequestId, layers},
    listener::{BindError, Listener, bind},
    server::{StopTimeout, serve},
};
use crate::settings::Interval;

/// The section `http`: how long a client and a stop may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub struct Limits {
    /// For the head of a request, and for the silence between two requests.
    pub header_timeout: Interval,
    /// For the body of a request, from its head on.
    pub body_timeout: Interval,
    /// For requests in flight when a stop is requested.
    pub stop_timeout: Interval,
}
