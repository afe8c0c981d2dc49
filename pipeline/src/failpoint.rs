//! Points of a commit, a merge or a rebuild at which a test ends or stops this process, to see what a crash exactly there leaves behind.
//!
//! `TIDEMARK_FAILPOINT=events-written:2` ends it by SIGABRT when it comes to that point for the second time, and
//! `TIDEMARK_FAILPOINT=events-written:2:stop` stops it by SIGSTOP until somebody sends SIGCONT. Only builds with debug assertions have
//! this: in a release build the points are empty and nothing knows the variable.

/// A point of a commit, a merge or a rebuild, in the order in which rows meet them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failpoint {
    /// Nothing of the batch is in the store.
    BeforeFiles,
    /// The files of `quarantine` are, its commit is not.
    QuarantineWritten,
    /// `quarantine` is committed, `events` has nothing.
    QuarantineCommitted,
    /// The files of `events` are there, the commit is not.
    EventsWritten,
    /// The commit is in the store, and the writer does not know yet.
    EventsCommitted,
    /// The journal may forget what is committed, and was not told.
    BeforeRelease,
    /// A merged file is there, the commit that replaces others by it is not.
    MergeWritten,
    /// The merge is committed.
    MergeCommitted,
    /// Files with lost rows are there, the commit that brings them back is not.
    RebuildWritten,
    /// Some lost rows are there again.
    RebuildCommitted,
}

impl Failpoint {
    /// Ends or stops the process, if a test wants that here.
    #[cfg(debug_assertions)]
    pub(crate) fn pass(self) {
        armed::pass(self);
    }

    /// Nothing.
    #[cfg(not(debug_assertions))]
    pub(crate) const fn pass(self) {}
}

#[cfg(debug_assertions)]
mod armed {
    use std::{
        process::{self, Command},
        sync::{
            LazyLock,
            atomic::{AtomicU64, Ordering},
        },
    };

    use super::Failpoint;

    static ARMED: LazyLock<Option<Armed>> = LazyLock::new(|| {
        #[expect(clippy::disallowed_methods, reason = "no setting, so that no user finds it")]
        let text = std::env::var("TIDEMARK_FAILPOINT").ok()?;
        Some(Armed::parse(&text).expect("TIDEMARK_FAILPOINT is `point:passing` or `point:passing:stop`"))
    });

    struct Armed {
        point: String,
        /// At which passing it happens, counted from 1.
        passing: u64,
        passed: AtomicU64,
        does_stop: bool,
    }

    impl Armed {
        fn parse(text: &str) -> Option<Self> {
            let (point, rest) = text.split_once(':')?;
            let (passing, does_stop) = rest.strip_suffix(":stop").map_or((rest, false), |passing| (passing, true));
            Some(Self { point: point.to_owned(), passing: passing.parse().ok()?, passed: AtomicU64::new(0), does_stop })
        }

        fn is_due(&self, point: Failpoint) -> bool {
            self.point == name(point) && self.passed.fetch_add(1, Ordering::Relaxed) + 1 == self.passing
        }
    }

    const fn name(point: Failpoint) -> &'static str {
        match point {
            Failpoint::BeforeFiles => "before-files",
            Failpoint::QuarantineWritten => "quarantine-written",
            Failpoint::QuarantineCommitted => "quarantine-committed",
            Failpoint::EventsWritten => "events-written",
            Failpoint::EventsCommitted => "events-committed",
            Failpoint::BeforeRelease => "before-release",
            Failpoint::MergeWritten => "merge-written",
            Failpoint::MergeCommitted => "merge-committed",
            Failpoint::RebuildWritten => "rebuild-written",
            Failpoint::RebuildCommitted => "rebuild-committed",
        }
    }

    pub(super) fn pass(point: Failpoint) {
        let Some(armed) = ARMED.as_ref().filter(|armed| armed.is_due(point)) else { return };
        tracing::error!("failpoint `{}` is reached", armed.point);
        if !armed.does_stop {
            process::abort();
        }
        let stopped = Command::new("sh").args(["-c", &format!("kill -STOP {}", process::id())]).status();
        stopped.expect("a shell can be started where tests run");
    }
}
