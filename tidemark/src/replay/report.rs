//! What was missing and what came back, for a person or as JSON.

use std::fmt;

use indicatif::HumanCount;
use pipeline::writer::Rebuilt;
use schemas::{Sequence, ShardId};
use serde::Serialize;

use super::{
    plan::{Damage, Plan},
    range::Asked,
};
use crate::{audit::Tally, output::counted};

/// The outcome of a replay.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    dry_run: bool,
    /// What alone was replayed; nothing when that was everything.
    range: Option<Asked>,
    shards: Vec<Compared>,
    pub(super) tables: Vec<Part>,
}

/// What the journal still has of a shard, and what became of it before the replay.
#[derive(Debug, Serialize)]
struct Compared {
    shard: ShardId,
    /// The first message that the journal still has.
    first_kept: Sequence,
    /// The first and the last message that were compared.
    checked: Option<(Sequence, Sequence)>,
    accepted: u64,
    rows_there: u64,
    duplicates: u64,
    quarantined_there: u64,
    /// What an erasure or `table.retention` took, and stays away.
    given_up: u64,
}

/// What happened in one table, or would.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    table: String,
    /// Rows that the journal has and the table had not.
    missing: u64,
    unreadable_files: Vec<Damage>,
    /// Rows of those files that the journal no longer has.
    pub(super) rows_not_in_journal: u64,
    rows_written: u64,
    files_written: u64,
    files_replaced: u64,
}

impl Report {
    pub(super) fn new(dry_run: bool, range: Option<Asked>, tallies: &[Tally]) -> Self {
        Self { dry_run, range, shards: tallies.iter().map(Compared::new).collect(), tables: Vec::new() }
    }

    pub(super) fn add(&mut self, table: &str, plan: Plan, rebuilt: Rebuilt) {
        self.tables.push(Part {
            table: table.to_owned(),
            missing: plan.rows(),
            unreadable_files: plan.damage,
            rows_not_in_journal: plan.not_in_journal,
            rows_written: rebuilt.rows,
            files_written: rebuilt.files,
            files_replaced: rebuilt.replaced,
        });
    }
}

impl Compared {
    fn new(tally: &Tally) -> Self {
        let Tally { shard, first_kept, checked, accepted, rows, duplicates, quarantined, given_up, .. } = *tally;
        Self { shard, first_kept, checked, accepted, rows_there: rows, duplicates, quarantined_there: quarantined, given_up }
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shard, first_kept, checked: Some((first, last)), .. } = self else {
            return write!(f, "shard {}: the journal has no message that the table should have", self.shard);
        };
        let counts = [self.accepted, self.rows_there, self.quarantined_there, self.duplicates, self.given_up];
        let [accepted, rows, quarantined, duplicates, given_up] = counts.map(HumanCount);
        write!(
            f,
            "shard {shard}: {accepted} items in the messages {first} to {last}; {rows} were rows, {quarantined} in quarantine, {duplicates} \
             duplicates, {given_up} given up by retention or an erasure"
        )?;
        if *first_kept > Sequence(1) { write!(f, "; the journal begins at {first_kept}") } else { Ok(()) }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.table)?;
        if self.missing == 0 && self.unreadable_files.is_empty() {
            return write!(f, "nothing is missing");
        }
        write!(f, "missing, and in the journal: {}", counted(self.missing, "row"))?;
        for damage in &self.unreadable_files {
            write!(f, "\n  {damage}")?;
        }
        if self.rows_not_in_journal > 0 {
            write!(f, "\n  not in the journal any more: {} of these files", counted(self.rows_not_in_journal, "row"))?;
        }
        if self.rows_written > 0 || self.files_replaced > 0 {
            let [written, files] = [(self.rows_written, "row"), (self.files_written, "new file")].map(|(count, noun)| counted(count, noun));
            write!(f, "\n  there again: {written}, in {files} for which {} gave way", counted(self.files_replaced, "file"))?;
        }
        Ok(())
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, rows, shards, sequences, times, .. } = self;
        write!(f, "{reason}; it held {} rows", HumanCount(*rows))?;
        if let Some((first, last)) = sequences {
            write!(f, " of the messages {first} to {last}")?;
        }
        match shards {
            Some((first, last)) if first == last => write!(f, " of shard {first}")?,
            Some((first, last)) => write!(f, " of the shards {first} to {last}")?,
            None => {}
        }
        times.as_ref().map_or(Ok(()), |(first, last)| write!(f, ", events from {first} to {last}"))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for compared in &self.shards {
            writeln!(f, "{compared}")?;
        }
        if let Some(range) = &self.range {
            writeln!(f, "only {range}:")?;
        }
        for part in &self.tables {
            writeln!(f, "{part}")?;
        }
        let (written, missing) =
            self.tables.iter().fold((0, 0), |(written, missing), part| (written + part.rows_written, missing + part.missing));
        match missing {
            0 => write!(f, "{} rows written", HumanCount(written)),
            missing if self.dry_run => write!(f, "{} rows would be written; nothing was changed", HumanCount(missing)),
            _ => write!(f, "{} rows written; `tidemark verify` proves it", HumanCount(written)),
        }
    }
}
