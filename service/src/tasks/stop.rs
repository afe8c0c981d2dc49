//! The signal to stop: a value that becomes true once.

use std::{future::pending, io, sync::Arc};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
};

/// What a process answers to a second signal; 128 + SIGINT by custom.
const INTERRUPTED: i32 = 130;

/// Tells whether to stop. Clones see the same signal.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// Asks to stop. Dropping every clone asks as well.
#[derive(Clone, Debug)]
pub struct StopHandle(Arc<watch::Sender<bool>>);

impl StopHandle {
    /// Asks everybody who holds the [`Stop`] to stop; a second time does nothing more.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// A signal and the handle that gives it.
    #[must_use]
    pub fn pair() -> (StopHandle, Self) {
        let (sender, receiver) = watch::channel(false);
        (StopHandle(Arc::new(sender)), Self(receiver))
    }

    /// Stops on SIGTERM or ctrl-c; a second one ends the process at once. Must be called on a tokio runtime.
    ///
    /// # Errors
    /// When the system refuses to install the handlers.
    pub fn on_signal() -> io::Result<Self> {
        let (handle, stop) = Self::pair();
        let signals = Signals { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        listen(signals, handle);
        Ok(stop)
    }

    /// Waits until a stop is requested.
    pub async fn requested(&self) {
        let mut receiver = self.0.clone();
        // An error means that every handle is gone, which asks to stop as well.
        let _asked_or_dropped = receiver.wait_for(|stop| *stop).await;
    }

    /// Whether a stop has been requested.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            Some(()) = self.terminate.recv() => "SIGTERM",
            Some(()) = self.interrupt.recv() => "ctrl-c",
            else => pending().await,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "lives as long as the process and must not be joined: it ends only with a signal")]
fn listen(mut signals: Signals, handle: StopHandle) {
    tokio::spawn(async move {
        let name = signals.next().await;
        tracing::info!("{name}: stopping; requests in flight may finish, a second signal ends the process at once");
        handle.stop();
        signals.next().await;
        std::process::exit(INTERRUPTED);
    });
}
