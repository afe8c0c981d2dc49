//! The keys of one shard in one table, message by message, read from as few files at a time as possible.
//!
//! Files whose sequences overlap form a group; groups follow each other, so the keys of one group are enough to see every key that
//! stands twice. What the log says of a file is checked as it is read.

use std::{collections::VecDeque, sync::Arc};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int32Type, Int64Type, TimestampMicrosecondType},
};
use futures::TryStreamExt;
use schemas::{EventDate, Position, Sequence, ShardId, Timestamp};
use table::{DataFile, Error, Scan};

use super::{
    Pinned,
    findings::{Findings, Violation},
};

/// The place of a row: 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    sequence: u64,
    pub(super) index: u32,
    /// Which of the snapshot's files holds it.
    file: u32,
}

/// Files whose sequences overlap.
#[derive(Debug, PartialEq, Eq)]
struct Group {
    first: Sequence,
    last: Sequence,
    files: Vec<u32>,
}

/// Walks up the sequences of a shard.
pub(super) struct Cursor<'a> {
    pinned: &'a Pinned,
    shard: ShardId,
    name: &'static str,
    /// The column whose day is that of the partition.
    time: &'static str,
    ahead: VecDeque<Group>,
    keys: Vec<Key>,
}

impl<'a> Cursor<'a> {
    /// Before the first message.
    pub(super) fn new(pinned: &'a Pinned, shard: ShardId) -> Self {
        let (name, time) = if pinned.is_quarantine() { ("quarantine", "received_at") } else { ("events", "timestamp") };
        let ranges = (0..).zip(pinned.snapshot.files()).filter_map(|(number, file)| Some((sequences(file, shard)?, number)));
        Self { pinned, shard, name, time, ahead: groups(ranges.collect()), keys: Vec::new() }
    }

    /// The table that is walked.
    pub(super) const fn pinned(&self) -> &'a Pinned {
        self.pinned
    }

    /// The keys of a message, in order. Messages are asked for in order.
    pub(super) async fn keys_of(&mut self, sequence: Sequence, findings: &mut Findings) -> anyhow::Result<&[Key]> {
        while self.ahead.front().is_some_and(|group| group.first <= sequence) {
            self.load(findings).await?;
        }
        let from = self.keys.partition_point(|key| key.sequence < sequence.0);
        let to = self.keys.partition_point(|key| key.sequence <= sequence.0);
        Ok(&self.keys[from..to])
    }

    /// Checks the files that were not asked for.
    pub(super) async fn finish(&mut self, findings: &mut Findings) -> anyhow::Result<()> {
        while !self.ahead.is_empty() {
            self.load(findings).await?;
        }
        Ok(())
    }

    /// Reads the next group.
    async fn load(&mut self, findings: &mut Findings) -> anyhow::Result<()> {
        self.keys.clear();
        let Some(group) = self.ahead.pop_front() else { return Ok(()) };
        for number in group.files {
            if !findings.is_unreadable(&self.file(number).path) {
                self.read(number, findings).await?;
            }
        }
        self.keys.sort_unstable();
        for pair in self.keys.windows(2).filter(|pair| (pair[0].sequence, pair[0].index) == (pair[1].sequence, pair[1].index)) {
            let files = [0, 1].map(|which: usize| Arc::clone(&self.file(pair[which].file).path));
            findings.add(self.shard, Violation::Twice { position: self.position(pair[0]), table: self.name, files });
        }
        Ok(())
    }

    /// Reads the keys of a file, which can be read.
    async fn read(&mut self, number: u32, findings: &mut Findings) -> Result<(), Error> {
        let file = self.file(number).clone();
        let columns = ["_shard", "_sequence", "_index", self.time];
        let mut batches = self.pinned.table.scan(&file, &Scan { columns: &columns, ..Scan::default() }).await?;
        let (mut found, mut outside) = (0, 0);
        while let Some(batch) = batches.try_next().await? {
            found += batch.num_rows() as u64;
            outside += self.take(number, &file, &batch, findings);
        }
        if found != file.rows {
            findings.add(self.shard, Violation::RowCount { file: Arc::clone(&file.path), logged: file.rows, found });
        }
        if outside > 0 {
            findings.add(self.shard, Violation::OutsideStatistics { file: Arc::clone(&file.path), rows: outside });
        }
        Ok(())
    }

    /// Takes the keys of this shard; gives the number of rows of which the log does not know that they are in the file.
    fn take(&mut self, number: u32, file: &DataFile, batch: &RecordBatch, findings: &mut Findings) -> u64 {
        let column = |name: &str| batch.column_by_name(name).expect("a column that was asked for");
        let shards = column("_shard").as_primitive::<Int32Type>().values();
        let sequences = column("_sequence").as_primitive::<Int64Type>().values();
        let indices = column("_index").as_primitive::<Int32Type>().values();
        let times = column(self.time).as_primitive::<TimestampMicrosecondType>().values();
        let mut outside = 0;
        for row in 0..batch.num_rows() {
            let Some((shard, key)) =
                place(shards[row], sequences[row], indices[row], number).filter(|(shard, key)| covers(file, *shard, key))
            else {
                outside += 1;
                continue;
            };
            if shard == self.shard {
                self.check(file, key, EventDate::of(Timestamp(times[row])), findings);
                self.keys.push(key);
            }
        }
        outside
    }

    fn check(&self, file: &DataFile, key: Key, day: EventDate, findings: &mut Findings) {
        let (position, tidemark) = (self.position(key), self.pinned.snapshot.tidemark(self.shard).0);
        if day != file.date {
            let violation = Violation::WrongPartition { position, file: Arc::clone(&file.path), partition: file.date, day };
            findings.add(self.shard, violation);
        }
        if key.sequence > tidemark {
            findings.add(self.shard, Violation::AboveTidemark { position, file: Arc::clone(&file.path), tidemark });
        }
    }

    fn file(&self, number: u32) -> &'a DataFile {
        &self.pinned.snapshot.files()[number as usize]
    }

    fn position(&self, key: Key) -> Position {
        Position { shard: self.shard, sequence: Sequence(key.sequence), index: Some(key.index) }
    }
}

/// The place of a row, if it is one that a journal can have.
fn place(shard: i32, sequence: i64, index: i32, file: u32) -> Option<(ShardId, Key)> {
    let key = Key { sequence: sequence.try_into().ok()?, index: index.try_into().ok()?, file };
    Some((ShardId(shard.try_into().ok()?), key))
}

/// Whether the statistics of the log admit such a row.
fn covers(file: &DataFile, shard: ShardId, key: &Key) -> bool {
    let is_in = |range: Option<(Sequence, Sequence)>| range.is_none_or(|(first, last)| (first..=last).contains(&Sequence(key.sequence)));
    file.stats.shards.is_none_or(|(first, last)| (first..=last).contains(&shard)) && is_in(file.stats.sequences)
}

/// The sequences that a file may have of a shard; everything when the log does not say.
fn sequences(file: &DataFile, shard: ShardId) -> Option<(Sequence, Sequence)> {
    let may_have = file.stats.shards.is_none_or(|(first, last)| (first..=last).contains(&shard));
    may_have.then(|| file.stats.sequences.unwrap_or((Sequence::ZERO, Sequence(u64::MAX))))
}

/// Joins ranges that overlap; the groups are in order and have no sequence in common.
fn groups(mut ranges: Vec<((Sequence, Sequence), u32)>) -> VecDeque<Group> {
    ranges.sort_unstable();
    let mut groups: VecDeque<Group> = VecDeque::new();
    for ((first, last), file) in ranges {
        match groups.back_mut().filter(|group| first <= group.last) {
            Some(group) => {
                group.last = last.max(group.last);
                group.files.push(file);
            }
            None => groups.push_back(Group { first, last, files: vec![file] }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_with_common_sequences_are_read_together_and_others_one_after_the_other() {
        let range = |first, last, file| ((Sequence(first), Sequence(last)), file);
        let group = |first, last, files: &[u32]| Group { first: Sequence(first), last: Sequence(last), files: files.to_vec() };
        assert_eq!(
            groups(vec![range(8, 9, 0), range(1, 5, 1), range(2, 2, 2), range(5, 7, 3)]),
            [group(1, 7, &[1, 2, 3]), group(8, 9, &[0])]
        );
    }

    #[test]
    fn a_key_takes_16_bytes() {
        assert_eq!(size_of::<Key>(), 16);
    }
}
