//! A client's socket that tells what it does to the connection's [`Activity`], and ends so that the client gets its answer.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use super::activity::Activity;

/// How long the rest of a refused body is thrown away. Closing with unread bytes would reset the connection, and the client might
/// lose the answer that says why.
const LINGER: Duration = Duration::from_secs(1);
/// How much of it.
const LINGER_BYTES: usize = 16 << 20;

/// A socket, or TLS over one.
pub(super) struct Stream<S> {
    inner: S,
    activity: Arc<Activity>,
    linger: Option<Linger>,
}

struct Linger {
    timer: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl<S> Stream<S> {
    pub(super) const fn new(inner: S, activity: Arc<Activity>) -> Self {
        Self { inner, activity, linger: None }
    }

    fn note_write<T>(&self, written: &Poll<T>) {
        self.activity.has_written(written.is_pending());
    }
}

impl<S: AsyncRead + Unpin> Stream<S> {
    /// Throws away what comes until the client ends, or it takes too long.
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| {
            let timer = Box::pin(sleep_until(Instant::now() + LINGER));
            Linger { timer, bytes_left: LINGER_BYTES }
        });
        let mut thrown_away = [0; 8_192];
        while linger.bytes_left > 0 && linger.timer.as_mut().poll(context).is_pending() {
            let mut buffer = ReadBuf::new(&mut thrown_away);
            match ready!(Pin::new(&mut self.inner).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => linger.bytes_left = linger.bytes_left.saturating_sub(buffer.filled().len()),
                _ended => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(context, buffer);
        match &read {
            Poll::Pending => self.activity.waits_for_bytes(),
            Poll::Ready(Ok(())) if buffer.filled().len() > before => self.activity.has_read(),
            Poll::Ready(_) => {}
        }
        read
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.note_write(&written);
        written
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        self.note_write(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.inner).poll_shutdown(context))?;
        }
        if self.activity.has_unread_body() {
            ready!(self.poll_linger(context));
        }
        Poll::Ready(Ok(()))
    }
}
