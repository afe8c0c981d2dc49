//! Which files are read to learn some minutes, and which other minutes that tells for free. Pure.
//!
//! A late event asks for its minute, and the files that have rows of it have rows of other minutes too. Those that lie in no other
//! file are learnt in the same pass, if there is memory for all: otherwise a thousand late minutes would be a thousand passes.

use std::collections::BTreeSet;

use schemas::Timestamp;
use table::DataFile;

use crate::writer::dedup::{KEY_BYTES, Minute};

const DAY_US: i64 = 24 * 3_600_000_000;

/// One pass over some files.
#[derive(Debug)]
pub(in crate::writer) struct Reading {
    files: Vec<DataFile>,
    minutes: BTreeSet<Minute>,
}

impl Reading {
    /// What must be read of `files` to learn the `missing` minutes; the others are learnt with them if `room_bytes` suffice for every row.
    pub(in crate::writer) fn plan(files: &[DataFile], missing: BTreeSet<Minute>, room_bytes: usize) -> Self {
        let (files, others): (Vec<&DataFile>, Vec<&DataFile>) = files.iter().partition(|file| Span::of(file).touches(&missing));
        let rows: u64 = files.iter().map(|file| file.rows).sum();
        let mut minutes = missing;
        if rows.saturating_mul(KEY_BYTES as u64) <= room_bytes as u64 {
            let spans = |files: &[&DataFile]| files.iter().map(|file| Span::of(file)).collect();
            minutes.extend(only_in(spans(&files), spans(&others)));
        }
        Self { files: files.into_iter().cloned().collect(), minutes }
    }

    /// The files to read.
    pub(in crate::writer) fn files(&self) -> &[DataFile] {
        &self.files
    }

    /// The minutes that are known afterwards, each in full.
    pub(in crate::writer) const fn minutes(&self) -> &BTreeSet<Minute> {
        &self.minutes
    }

    /// The minutes as ranges of event time in microseconds, both ends included, in order.
    pub(super) fn ranges_us(&self) -> Vec<(i64, i64)> {
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        for (first, last) in self.minutes.iter().map(|minute| minute.bounds_us()) {
            match ranges.last_mut() {
                Some(before) if before.1 + 1 == first => before.1 = last,
                _ => ranges.push((first, last)),
            }
        }
        ranges
    }
}

/// The minutes in which a file may have rows, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    first: Minute,
    last: Minute,
}

impl Span {
    /// As the Delta log says, else the file's whole day.
    fn of(file: &DataFile) -> Self {
        let Timestamp(day_us) = file.date.start();
        let (first, last) = file.stats.timestamp.unwrap_or((day_us, day_us + DAY_US - 1));
        Self { first: Minute::of(first), last: Minute::of(last) }
    }

    fn touches(self, minutes: &BTreeSet<Minute>) -> bool {
        minutes.range(self.first..=self.last).next().is_some()
    }
}

/// The minutes that lie in some of these spans and in none of the others.
fn only_in(spans: Vec<Span>, others: Vec<Span>) -> BTreeSet<Minute> {
    let others = merged(others);
    let lies_in_others = |minute: Minute| {
        let after = others.partition_point(|other| other.first <= minute);
        after > 0 && minute <= others[after - 1].last
    };
    merged(spans).into_iter().flat_map(|span| span.first.to(span.last)).filter(|minute| !lies_in_others(*minute)).collect()
}

/// The same minutes in spans that are apart and in order.
fn merged(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_unstable();
    let mut apart: Vec<Span> = Vec::new();
    for span in spans {
        match apart.last_mut() {
            Some(before) if span.first <= before.last => before.last = before.last.max(span.last),
            _ => apart.push(span),
        }
    }
    apart
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spans() -> impl Strategy<Value = Vec<Span>> {
        let minute = |minute: i64| Minute::of(minute * 60_000_000);
        let span = (-30..30_i64, 0..8_i64).prop_map(move |(first, length)| Span { first: minute(first), last: minute(first + length) });
        proptest::collection::vec(span, 0..12)
    }

    proptest! {
        #[test]
        fn a_minute_is_learnt_for_free_when_it_lies_in_no_other_file(spans in spans(), others in spans()) {
            let holds = |spans: &[Span], minute: &Minute| spans.iter().any(|span| (span.first..=span.last).contains(minute));
            let free = only_in(spans.clone(), others.clone());
            for minute in Minute::of(-50 * 60_000_000).to(Minute::of(50 * 60_000_000)) {
                prop_assert_eq!(free.contains(&minute), holds(&spans, &minute) && !holds(&others, &minute));
            }
        }
    }

    #[test]
    fn minutes_in_a_row_are_one_range() {
        let minutes = [3, 4, 5, 9, -1].map(|minute| Minute::of(minute * 60_000_000)).into();
        let ranges = Reading { files: Vec::new(), minutes }.ranges_us();
        assert_eq!(ranges, [(-60_000_000, -1), (180_000_000, 359_999_999), (540_000_000, 599_999_999)]);
    }
}
