//! The CPU time that this process takes.

use sysinfo::{Pid, ProcessRefreshKind, ProcessesToUpdate, System};

const US_PER_MS: f64 = 1000.0;

/// Measures from its start on.
pub(super) struct Meter {
    began_ms: u64,
}

impl Meter {
    /// Begins now.
    pub(super) fn start() -> Self {
        Self { began_ms: spent_ms() }
    }

    /// Microseconds of CPU since the start, of user and system.
    #[expect(clippy::cast_precision_loss, reason = "a run has fewer than 2^53 milliseconds")]
    pub(super) fn elapsed_us(&self) -> f64 {
        (spent_ms() - self.began_ms) as f64 * US_PER_MS
    }
}

fn spent_ms() -> u64 {
    let (mut system, pid) = (System::new(), Pid::from_u32(std::process::id()));
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[pid]), false, ProcessRefreshKind::nothing().with_cpu());
    system.process(pid).map_or(0, sysinfo::Process::accumulated_cpu_time)
}
