//! What must be done in one table: the rows that are missing there, and the files that give way to them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use anyhow::ensure;
use schemas::{EventDate, Position, Sequence, ShardId, Timestamp};
use serde::Serialize;
use table::DataFile;

use super::range::{Part, Range};
use crate::audit::{Absent, Audit, Late, Pinned};

/// The work in one table.
pub(super) struct Plan {
    /// In the order of the journal.
    pub(super) lost: Vec<Absent>,
    /// Files that give way.
    pub(super) unreadable: Vec<DataFile>,
    /// Rows that give way, file by file: each repeats a lost one.
    pub(super) late: Vec<(DataFile, HashSet<Position>)>,
    pub(super) damage: Vec<Damage>,
    /// Rows of the unreadable files that are not among the lost ones.
    pub(super) not_in_journal: u64,
}

/// A file that cannot be read, as far as the table's log tells what it held.
#[derive(Debug, Serialize)]
pub(super) struct Damage {
    pub(super) file: Arc<str>,
    pub(super) reason: String,
    pub(super) rows: u64,
    pub(super) shards: Option<(ShardId, ShardId)>,
    pub(super) sequences: Option<(Sequence, Sequence)>,
    /// The first and the last event time.
    pub(super) times: Option<(String, String)>,
}

impl Plan {
    /// # Errors
    /// When only a part of an unreadable file lies in the range.
    pub(super) fn new(pinned: &Pinned, audit: &Audit, range: &Range) -> anyhow::Result<Self> {
        let Audit { lost, late, findings, .. } = audit;
        let is_here = |absent: &&Absent| absent.identity.is_none() == pinned.is_quarantine() && range.holds(absent.position);
        let lost: Vec<Absent> = lost.iter().filter(is_here).copied().collect();
        let (mut unreadable, mut damage) = (Vec::new(), Vec::new());
        for file in pinned.snapshot.files() {
            let Some(reason) = findings.why_unreadable(&file.path) else { continue };
            let part = range.part_of(file);
            ensure!(part != Part::Some, "{}", too_narrow(file));
            if part == Part::All {
                unreadable.push(file.clone());
                damage.push(Damage::new(file, reason));
            }
        }
        let not_in_journal = not_in_journal(&unreadable, &lost);
        let late = late_rows(pinned, late.iter().filter(|late| range.holds(late.lost)));
        Ok(Self { lost, unreadable, late, damage, not_in_journal })
    }

    /// Whether the table has what it should have.
    pub(super) fn is_empty(&self) -> bool {
        self.lost.is_empty() && self.unreadable.is_empty()
    }

    /// The rows that will be there again.
    pub(super) fn rows(&self) -> u64 {
        self.lost.len() as u64
    }

    /// The lost rows message by message.
    pub(super) fn messages(&self) -> impl Iterator<Item = (Position, BTreeSet<u32>)> {
        let messages = self.lost.chunk_by(|one, next| message(one) == message(next));
        messages.map(|items| (message(&items[0]), items.iter().filter_map(|absent| absent.position.index).collect()))
    }
}

/// The files with late rows.
fn late_rows<'a>(pinned: &Pinned, late: impl Iterator<Item = &'a Late>) -> Vec<(DataFile, HashSet<Position>)> {
    let mut rows: HashMap<&str, HashSet<Position>> = HashMap::new();
    for Late { row, file, .. } in late {
        rows.entry(file).or_default().insert(*row);
    }
    pinned.snapshot.files().iter().filter_map(|file| Some((file.clone(), rows.remove(&*file.path)?))).collect()
}

fn message(absent: &Absent) -> Position {
    Position { index: None, ..absent.position }
}

fn too_narrow(file: &DataFile) -> String {
    let of =
        |(first, last): (ShardId, ShardId)| if first == last { format!("shard {first}") } else { format!("the shards {first} to {last}") };
    let shards = file.stats.shards.map_or_else(|| "every shard".to_owned(), of);
    let sequences = file.stats.sequences.map_or_else(|| "all messages".to_owned(), |(first, last)| format!("messages {first} to {last}"));
    format!(
        "the file `{}` cannot be read and holds rows of {sequences} of {shards}, of which only a part would be replayed; a file gives way as a \
         whole, so widen the range by `--from` and `--to`, or leave both out",
        file.path
    )
}

/// How many rows of unreadable files are not among the lost ones, day by day.
fn not_in_journal(unreadable: &[DataFile], lost: &[Absent]) -> u64 {
    let mut days: BTreeMap<EventDate, (u64, u64)> = BTreeMap::new();
    for file in unreadable {
        days.entry(file.date).or_default().0 += file.rows;
    }
    for absent in lost {
        let Some((_, found)) = days.get_mut(&absent.date()) else { continue };
        *found += u64::from(unreadable.iter().any(|file| file.date == absent.date() && may_hold(file, absent.position)));
    }
    days.values().map(|(logged, found)| logged.saturating_sub(*found)).sum()
}

fn may_hold(file: &DataFile, position: Position) -> bool {
    file.stats.shards.is_none_or(|(first, last)| (first..=last).contains(&position.shard))
        && file.stats.sequences.is_none_or(|(first, last)| (first..=last).contains(&position.sequence))
}

impl Damage {
    fn new(file: &DataFile, reason: &str) -> Self {
        let text = |us: i64| Timestamp(us).to_string();
        let times = file.stats.timestamp.map(|(first, last)| (text(first), text(last)));
        let (shards, sequences) = (file.stats.shards, file.stats.sequences);
        Self { file: Arc::clone(&file.path), reason: reason.to_owned(), rows: file.rows, shards, sequences, times }
    }
}
