//! What one connection is doing, and until when it may.
//!
//! ```text
//! Head --request--> busy --last answer sent--> Idle --first byte--> Head      (HTTP/2 goes back to Idle only)
//! header_timeout    body_timeout while the     idle_timeout
//!                   client does not read
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Version;
use tokio::{
    select,
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::Limits;

/// What one connection is doing. Shared by its socket, its requests and its watchdog.
#[derive(Debug)]
pub(super) struct Activity {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug)]
struct State {
    requests: usize,
    waits_for: WaitsFor,
    since: Instant,
    /// Since when the client takes no byte of its answer.
    blocked_since: Option<Instant>,
    is_http2: bool,
    is_closing: bool,
    /// A body was not read to its end: the client may still be sending it.
    has_unread_body: bool,
}

/// What a connection without a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WaitsFor {
    /// The rest of a request's head; the watchdog may not know it yet.
    Head { is_watched: bool },
    /// The next request.
    Request,
}

/// Why a connection was closed before its client did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closed {
    SlowHead,
    Idle,
    NotRead,
    NoRequest,
    Malformed,
}

/// A request that is being answered, until the last byte of its answer is taken.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Activity>);

impl Activity {
    /// A connection that was just opened.
    pub(super) fn new() -> Self {
        let state = State {
            requests: 0,
            waits_for: WaitsFor::Head { is_watched: true },
            since: Instant::now(),
            blocked_since: None,
            is_http2: false,
            is_closing: false,
            has_unread_body: false,
        };
        Self { state: Mutex::new(state), changed: Notify::new() }
    }

    /// A request has come.
    pub(super) fn begin(self: &Arc<Self>, version: Version) -> InFlight {
        let mut state = self.state();
        state.requests += 1;
        state.is_http2 = version == Version::HTTP_2;
        InFlight(Arc::clone(self))
    }

    /// Bytes have come: in HTTP/1 the first ones after an answer begin the next head.
    pub(super) fn has_read(&self) {
        let mut state = self.state();
        if state.requests == 0 && !state.is_http2 && state.waits_for == WaitsFor::Request {
            state.waits_for = WaitsFor::Head { is_watched: false };
            state.since = Instant::now();
        }
    }

    /// There are no more bytes for now. A head that has not come whole by now gets a watchdog.
    pub(super) fn waits_for_bytes(&self) {
        let mut state = self.state();
        if state.requests == 0 && state.waits_for == (WaitsFor::Head { is_watched: false }) {
            state.waits_for = WaitsFor::Head { is_watched: true };
            self.changed.notify_one();
        }
    }

    /// Whether the client takes the bytes of its answer.
    pub(super) fn has_written(&self, is_blocked: bool) {
        let mut state = self.state();
        state.blocked_since = is_blocked.then(|| state.blocked_since.unwrap_or_else(Instant::now));
    }

    /// A body will not be read to its end.
    pub(super) fn leaves_body(&self) {
        self.state().has_unread_body = true;
    }

    /// Whether the client may still be sending a body that nobody reads.
    pub(super) fn has_unread_body(&self) -> bool {
        self.state().has_unread_body
    }

    /// Whether a request is being answered.
    pub(super) fn has_request(&self) -> bool {
        self.state().requests > 0
    }

    /// Closes the connection as soon as it has no request.
    pub(super) fn close(&self) {
        self.state().is_closing = true;
        self.changed.notify_one();
    }

    /// Ends when the connection must be closed, and says why.
    pub(super) async fn overdue(&self, limits: &Limits) -> Closed {
        loop {
            let until = match self.verdict(limits, Instant::now()) {
                Ok(until) => until,
                Err(closed) => return closed,
            };
            select! {
                () = sleep_until(until) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// When to look again, unless it must be closed now. Requests do not wake the watchdog, so it looks before any time can be over.
    fn verdict(&self, limits: &Limits, now: Instant) -> Result<Instant, Closed> {
        let state = self.state();
        let (until, closed) = match (state.requests, state.blocked_since, state.waits_for) {
            (0, _, _) if state.is_closing => (now, Closed::NoRequest),
            (0, _, WaitsFor::Head { .. }) => (state.since + limits.header_timeout.0, Closed::SlowHead),
            (0, _, WaitsFor::Request) => (state.since + limits.idle_timeout.0, Closed::Idle),
            (_, Some(since), _) => (since + limits.body_timeout.0, Closed::NotRead),
            (_, None, _) => (now + limits.body_timeout.0, Closed::NotRead),
        };
        let Limits { header_timeout, body_timeout, idle_timeout, .. } = limits;
        let next_look = now + header_timeout.0.min(body_timeout.0).min(idle_timeout.0);
        if until <= now { Err(closed) } else { Ok(until.min(next_look)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.requests -= 1;
        if state.requests == 0 {
            state.waits_for = WaitsFor::Request;
            state.since = Instant::now();
            if state.is_closing {
                self.0.changed.notify_one();
            }
        }
    }
}

impl Closed {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::SlowHead => "slow_head",
            Self::Idle => "idle",
            Self::NotRead => "not_read",
            Self::NoRequest => "no_request",
            Self::Malformed => "malformed",
        }
    }
}
