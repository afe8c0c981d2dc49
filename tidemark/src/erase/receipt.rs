//! What was erased, and what will still happen.

use std::fmt;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use indicatif::{BinaryBytes, HumanCount};
use serde::Serialize;
use service::settings::Interval;
use table::DataFile;

/// The receipt of an erasure.
#[derive(Debug, Serialize)]
pub(super) struct Receipt {
    dry_run: bool,
    at: String,
    tables: Vec<Part>,
    /// From when on maintenance deletes the old files.
    files_deleted_from: String,
    /// From when on the journal forgets the events.
    journal_forgets_from: String,
}

/// What happened in one table.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    table: &'static str,
    found: u64,
    erased: u64,
    files_rewritten: u64,
    bytes_rewritten: u64,
}

impl Receipt {
    pub(super) fn new(dry_run: bool, kept_files: Interval, kept_messages: Interval, now: DateTime<Utc>) -> Self {
        let after = |interval: Interval| {
            let at =
                TimeDelta::from_std(interval.0).ok().and_then(|after| now.checked_add_signed(after)).unwrap_or(DateTime::<Utc>::MAX_UTC);
            at.to_rfc3339_opts(SecondsFormat::Secs, true)
        };
        let at = now.to_rfc3339_opts(SecondsFormat::Secs, true);
        Self { dry_run, at, tables: Vec::new(), files_deleted_from: after(kept_files), journal_forgets_from: after(kept_messages) }
    }

    pub(super) fn begin(&mut self, table: &'static str, found: u64) -> &mut Part {
        self.tables.push(Part { table, found, erased: 0, files_rewritten: 0, bytes_rewritten: 0 });
        self.tables.last_mut().expect("one was pushed")
    }
}

impl Part {
    pub(super) fn erased(&mut self, file: &DataFile, rows: u64) {
        self.erased += rows;
        self.files_rewritten += 1;
        self.bytes_rewritten += file.size_bytes;
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Part { table, found, erased, files_rewritten, bytes_rewritten } in &self.tables {
            match self.dry_run {
                true => writeln!(f, "{table}: {} rows would be erased", HumanCount(*found))?,
                false => writeln!(
                    f,
                    "{table}: {} rows erased; {} files ({}) written anew without them",
                    HumanCount(*erased),
                    HumanCount(*files_rewritten),
                    BinaryBytes(*bytes_rewritten)
                )?,
            }
        }
        if self.dry_run {
            return write!(f, "nothing was erased");
        }
        write!(
            f,
            "no query sees them any more; maintenance deletes the old files from {} on, and the journal forgets the events from {} on",
            self.files_deleted_from, self.journal_forgets_from
        )
    }
}
