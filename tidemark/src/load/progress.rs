//! How a run is going, on a terminal; nothing elsewhere.

use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use service::clock::Clock;

use super::{
    pace::Pace,
    recorder::{Recorder, Second},
};

const TICK: Duration = Duration::from_millis(250);

/// A bar that fills with time, and the last whole second in numbers.
pub(super) struct Progress {
    bar: ProgressBar,
    clock: Clock,
}

impl Progress {
    /// For a run of this length.
    pub(super) fn new(length: Duration) -> Self {
        let style = ProgressStyle::with_template("{bar:30} {msg}").expect("the template is fixed");
        Self { bar: ProgressBar::new(u64::try_from(length.as_millis()).unwrap_or(u64::MAX)).with_style(style), clock: Clock::system() }
    }

    /// Waits a little.
    pub(super) async fn tick(&self) {
        self.clock.sleep_until(self.clock.now() + TICK).await;
    }

    /// Shows how far it is.
    pub(super) fn show(&self, pace: &Pace, recorder: &Recorder) {
        if self.bar.is_hidden() {
            return;
        }
        let elapsed = pace.began().elapsed().min(pace.length());
        self.bar.set_position(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
        let (counts, second) = recorder.so_far();
        let now = second.map(|Second { answered, p50_ms, p99_ms, .. }| {
            format!("{} answers/s  p50 {p50_ms:.1} ms  p99 {p99_ms:.1} ms  ", HumanCount(answered))
        });
        let (errors, dropped) = (HumanCount(counts.errors()), HumanCount(counts.dropped));
        self.bar.set_message(format!("{:.0} s  {}errors {errors}  dropped {dropped}", elapsed.as_secs_f64(), now.unwrap_or_default()));
    }

    /// Takes it away.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
