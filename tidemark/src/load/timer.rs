//! Waiting more precisely than the timers of a runtime, which have milliseconds.
//!
//! On Linux a timer of the kernel wakes the runtime as a connection does, so it needs no thread. Elsewhere a run is as coarse as the
//! runtime, and says so in what its requests waited before they were sent.

#[cfg(target_os = "linux")]
pub(super) use linux::Timer;
#[cfg(not(target_os = "linux"))]
pub(super) use other::Timer;

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        io,
        os::fd::{AsFd, AsRawFd, RawFd},
        time::Duration,
    };

    use nix::sys::{
        time::TimeSpec,
        timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags},
    };
    use tokio::io::unix::AsyncFd;

    /// A timer of the kernel.
    pub(in crate::load) struct Timer(AsyncFd<Watched>);

    /// The timer as the runtime watches it.
    struct Watched(TimerFd);

    impl AsRawFd for Watched {
        fn as_raw_fd(&self) -> RawFd {
            self.0.as_fd().as_raw_fd()
        }
    }

    impl Timer {
        /// One that is not set.
        #[expect(deprecated, reason = "its successor is unsafe, because it trusts `as_raw_fd`: ours gives the same open timer for ever")]
        pub(in crate::load) fn new() -> io::Result<Self> {
            let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC)?;
            AsyncFd::new(Watched(timer)).map(Self)
        }

        /// Waits for so long, which is not zero.
        pub(in crate::load) async fn wait(&self, duration: Duration) -> io::Result<()> {
            self.0.get_ref().0.set(Expiration::OneShot(TimeSpec::from_duration(duration)), TimerSetTimeFlags::empty())?;
            loop {
                let mut ready = self.0.readable().await?;
                if let Ok(waited) = ready.try_io(|timer| Ok(timer.get_ref().0.wait()?)) {
                    return waited;
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::{io, time::Duration};

    use tokio::time::{Instant, sleep_until};

    /// The runtime's own timer.
    pub(in crate::load) struct Timer;

    impl Timer {
        /// One that is not set.
        pub(in crate::load) fn new() -> io::Result<Self> {
            Ok(Self)
        }

        /// Waits for so long.
        pub(in crate::load) async fn wait(&self, duration: Duration) -> io::Result<()> {
            sleep_until(Instant::now() + duration).await;
            Ok(())
        }
    }
}
