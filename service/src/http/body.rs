//! The two bodies of an exchange: a request's, with a deadline, and an answer's, which is in flight until its last byte.

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::body::Body as AnswerBytes;
use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::{
    select,
    time::{Instant, sleep_until},
};

use super::activity::{Activity, InFlight};
use crate::tasks::Stop;

type BoxError = Box<dyn Error + Send + Sync>;

/// The client did not send the whole body in time. A handler that reads a body finds it among the sources of its error and
/// answers 408.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request body did not arrive in time")]
pub struct BodyTimeout;

impl BodyTimeout {
    /// Whether this is the cause of `error`.
    #[must_use]
    pub fn caused(error: &(dyn Error + 'static)) -> bool {
        std::iter::successors(Some(error), |&error| error.source()).any(|error| error.is::<Self>())
    }
}

/// Until when a body must be there.
#[derive(Clone)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    pub(super) stop: Stop,
    /// What is left of it once a stop is requested.
    pub(super) after_stop: Duration,
}

impl Deadline {
    async fn passed(self) {
        let stopped = async {
            self.stop.requested().await;
            sleep_until(Instant::now() + self.after_stop).await;
        };
        select! {
            () = sleep_until(self.at) => {}
            () = stopped => {}
        }
    }
}

/// Ends with [`BodyTimeout`] at the deadline. The timer exists only once the client makes us wait.
pub(super) struct TimedBody {
    body: Incoming,
    /// The end was seen. A body in chunks does not know it by itself.
    is_read: bool,
    deadline: Deadline,
    timer: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    activity: Arc<Activity>,
}

impl TimedBody {
    pub(super) const fn new(body: Incoming, deadline: Deadline, activity: Arc<Activity>) -> Self {
        Self { body, is_read: false, deadline, timer: None, activity }
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.is_read |= frame.is_none();
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let deadline = self.deadline.clone();
        let timer = self.timer.get_or_insert_with(|| Box::pin(deadline.passed()));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Some(Err(BodyTimeout.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for TimedBody {
    fn drop(&mut self) {
        if !self.is_read && !self.body.is_end_stream() {
            self.activity.leaves_body();
        }
    }
}

/// An answer's body, with which its request ends.
pub(super) struct AnswerBody {
    pub(super) body: AnswerBytes,
    pub(super) _in_flight: InFlight,
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
