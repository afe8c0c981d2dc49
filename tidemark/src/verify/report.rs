//! What was seen, for a person or as JSON.

use std::fmt;

use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use indicatif::HumanCount;
use schemas::{Sequence, ShardId};
use serde::Serialize;

use crate::audit::{Audit, Fate, Pinned, Tally, Violation};

/// The outcome of a verification.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// How many there are in all; `shown` has the first of them.
    #[serde(rename = "violation_count")]
    pub(super) violations: u64,
    shards: Vec<Tally>,
    tables: Vec<TableReport>,
    #[serde(rename = "violations")]
    shown: Vec<Shown>,
}

#[derive(Debug, Serialize)]
struct TableReport {
    name: String,
    version: u64,
    files: usize,
    rows: u64,
}

/// A violation with its words.
#[derive(Debug, Serialize)]
struct Shown {
    message: String,
    #[serde(flatten)]
    violation: Violation,
}

/// The line of a shard.
fn cells(tally: &Tally) -> [String; 8] {
    let checked = tally.checked.map_or_else(|| "nothing".to_owned(), |(first, end)| format!("{first} to {end}"));
    let counts = [tally.accepted, tally.rows, tally.duplicates, tally.quarantined, tally.given_up, tally.violations];
    let [accepted, rows, duplicates, quarantined, given_up, violations] = counts.map(|count| HumanCount(count).to_string());
    [tally.shard.to_string(), checked, accepted, rows, duplicates, quarantined, given_up, violations]
}

impl Report {
    pub(super) fn new(audit: Audit, tables: [&Pinned; 2]) -> Self {
        let Audit { tallies: mut shards, mut findings, lost, .. } = audit;
        for absent in lost {
            let position = absent.position;
            let violation = if absent.fate == Fate::Overtaken { Violation::Overtaken { position } } else { Violation::Lost { position } };
            findings.add(position.shard, violation);
        }
        for tally in &mut shards {
            tally.violations = findings.counts.get(&tally.shard).copied().unwrap_or_default();
        }
        let shown = findings.shown.into_iter().map(|violation| Shown { message: violation.to_string(), violation });
        Self { violations: findings.counts.values().sum(), shards, tables: tables.map(TableReport::of).into(), shown: shown.collect() }
    }
}

impl Report {
    /// The messages that were not looked at, by shard.
    fn uncommitted(&self) -> impl Iterator<Item = (ShardId, (Sequence, Sequence))> {
        self.shards.iter().filter_map(|tally| tally.uncommitted.map(|messages| (tally.shard, messages)))
    }

    /// The equation of each shard.
    fn counts(&self) -> Table {
        let mut table = Table::new();
        table.load_preset(UTF8_BORDERS_ONLY);
        table.set_header(["shard", "messages", "accepted", "= rows", "+ duplicates", "+ quarantined", "+ given up", "violations"]);
        table.add_rows(self.shards.iter().map(cells));
        table.column_iter_mut().skip(2).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
        table
    }
}

impl TableReport {
    fn of(Pinned { table, snapshot, .. }: &Pinned) -> Self {
        let rows = snapshot.files().iter().map(|file| file.rows).sum();
        Self { name: table.name().to_owned(), version: snapshot.version(), files: snapshot.files().len(), rows }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.counts())?;
        for TableReport { name, version, files, rows } in &self.tables {
            write!(f, "\n{name}: version {version}, {} files, {} rows in all", HumanCount(*files as u64), HumanCount(*rows))?;
        }
        for Tally { shard, first_kept, .. } in self.shards.iter().filter(|tally| tally.first_kept > Sequence(1)) {
            write!(f, "\nshard {shard}: the journal begins at {first_kept}; rows of earlier messages were checked for key, day and file")?;
        }
        for (shard, (first, last)) in self.uncommitted() {
            write!(
                f,
                "\nshard {shard}: messages {first} to {last} are not committed yet and were not looked at; verify again when they are"
            )?;
        }
        for (shard, gap) in self.shards.iter().flat_map(|tally| tally.gaps.iter().map(move |gap| (tally.shard, gap))) {
            write!(f, "\nshard {shard}: {}", gap.text())?;
        }
        for shown in &self.shown {
            write!(f, "\n  {}", shown.message)?;
        }
        match self.violations - self.shown.len() as u64 {
            0 if self.violations == 0 => {
                let what = if self.uncommitted().next().is_none() { "everything accepted" } else { "everything committed" };
                write!(f, "\nverified: {what} is a row, a repeat of one, or in quarantine")?;
                if self.shards.iter().any(|tally| tally.given_up > 0) {
                    write!(f, ", or was given up by retention or an erasure")?;
                }
                match self.shards.iter().all(|tally| tally.gaps.is_empty()) {
                    true => Ok(()),
                    false => write!(f, ", except for what was gone before it was read, see above"),
                }
            }
            0 => Ok(()),
            more => write!(f, "\n  and {} more", HumanCount(more)),
        }
    }
}
