//! Which files are merged next. Pure.
//!
//! Within a day files are taken in the order of their times, as many as fit into one. Of those the smallest ones are merged, as many as
//! keep this rule: the largest is no larger than all others together. So a late event of a few bytes never makes a large file be
//! written again. What has rested is merged whatever its sizes.

use chrono::{DateTime, TimeDelta, Utc};
use schemas::Timestamp;

use super::Policy;
use crate::DataFile;

/// So many files are merged in hours that are over ...
const FEW: usize = 4;
/// ... and in hours that are not: their commits still come.
const MANY: usize = 24;
/// The most files of one merge: each needs some memory.
const MOST: usize = 96;
const US_PER_HOUR: i64 = 3_600_000_000;

impl Policy {
    /// The next files to merge, all of one day; none when the table is as it should be.
    ///
    /// `is_left_out` says which files cannot be merged.
    #[must_use]
    pub fn next(&self, files: &[DataFile], now: DateTime<Utc>, is_left_out: impl Fn(&DataFile) -> bool) -> Option<Vec<DataFile>> {
        let is_small = |file: &&DataFile| file.size_bytes < self.target_bytes / 2 && !is_left_out(file);
        let rested_at = now - TimeDelta::from_std(self.rest).unwrap_or(TimeDelta::MAX);
        let times = Times { open_from_us: self.open_from(now), rested_at_ms: rested_at.timestamp_millis() };
        files.chunk_by(|one, next| one.date == next.date).find_map(|day| {
            let mut small: Vec<&DataFile> = day.iter().filter(is_small).collect();
            small.sort_unstable_by_key(|file| (first_us(file), &*file.path));
            self.packed(&small).into_iter().find_map(|pack| times.chosen(pack))
        })
    }

    /// The first instant of the hours that are not over.
    fn open_from(&self, now: DateTime<Utc>) -> i64 {
        let open = (now - TimeDelta::from_std(self.grace).unwrap_or(TimeDelta::MAX)).timestamp_micros();
        open.div_euclid(US_PER_HOUR) * US_PER_HOUR
    }

    /// Neighbours that fit into one file.
    fn packed<'a>(&self, files: &[&'a DataFile]) -> Vec<Vec<&'a DataFile>> {
        let mut packs: Vec<(u64, Vec<&DataFile>)> = Vec::new();
        for file in files {
            match packs.last_mut() {
                Some((bytes, pack)) if *bytes + file.size_bytes <= self.target_bytes && pack.len() < MOST => {
                    *bytes += file.size_bytes;
                    pack.push(file);
                }
                _ => packs.push((file.size_bytes, vec![file])),
            }
        }
        packs.into_iter().map(|(_, pack)| pack).collect()
    }
}

struct Times {
    open_from_us: i64,
    rested_at_ms: i64,
}

impl Times {
    /// The files of a pack that are worth a merge.
    fn chosen(&self, pack: Vec<&DataFile>) -> Option<Vec<DataFile>> {
        let (over, open): (Vec<&DataFile>, Vec<&DataFile>) = pack.into_iter().partition(|file| last_us(file) < self.open_from_us);
        let rested: Vec<&DataFile> = over.iter().filter(|file| file.written_at_ms <= self.rested_at_ms).copied().collect();
        let candidates = [(rested, 2), (of_one_size(over), FEW), (of_one_size(open), MANY)];
        let chosen = candidates.into_iter().find(|(files, enough)| files.len() >= *enough);
        chosen.map(|(files, _)| files.into_iter().cloned().collect())
    }
}

/// The smallest ones, as many as keep the rule.
fn of_one_size(mut files: Vec<&DataFile>) -> Vec<&DataFile> {
    files.sort_unstable_by_key(|file| file.size_bytes);
    let (mut others, mut kept) = (0, 0);
    for (count, file) in (1..).zip(&files) {
        if file.size_bytes <= others {
            kept = count;
        }
        others += file.size_bytes;
    }
    files.truncate(kept);
    files
}

fn first_us(file: &DataFile) -> i64 {
    let Timestamp(day) = file.date.start();
    file.stats.timestamp.map_or(day, |(first, _)| first)
}

fn last_us(file: &DataFile) -> i64 {
    let Timestamp(day) = file.date.start();
    file.stats.timestamp.map_or(day + 24 * US_PER_HOUR - 1, |(_, last)| last)
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use chrono::TimeZone;
    use schemas::EventDate;

    use super::*;
    use crate::data_file::parse_stats;

    const MIB: u64 = 1 << 20;

    fn now() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 11, 21, 12, 30, 0).unwrap()
    }

    /// A file with rows of one minute, written right after it.
    fn file(name: &str, day: u32, hour: u32, minute: u32, size_bytes: u64) -> DataFile {
        let at = Utc.with_ymd_and_hms(2026, 11, day, hour, minute, 0).unwrap();
        let text = at.format("%Y-%m-%dT%H:%M:%S%.3fZ");
        let json = format!(r#"{{"numRecords":1,"minValues":{{"timestamp":"{text}"}},"maxValues":{{"timestamp":"{text}"}}}}"#);
        let (rows, stats) = parse_stats(json).unwrap();
        let date = EventDate::of(Timestamp(at.timestamp_micros()));
        DataFile { path: name.into(), date, size_bytes, rows, written_at_ms: at.timestamp_millis(), stats: Arc::new(stats) }
    }

    fn next(files: &[DataFile]) -> Vec<String> {
        let policy = Policy { target_bytes: 256 * MIB, ..Policy::default() };
        let mut names: Vec<String> =
            policy.next(files, now(), |file| &*file.path == "poison").into_iter().flatten().map(|file| file.path.to_string()).collect();
        names.sort_unstable();
        names
    }

    fn many(count: u32, hour: u32, size_bytes: u64) -> Vec<DataFile> {
        (0..count).map(|minute| file(&format!("{hour}:{minute}"), 21, hour, minute, size_bytes)).collect()
    }

    #[test]
    fn a_few_small_files_of_hours_that_are_over_are_merged() {
        assert_eq!(next(&many(3, 10, MIB)), [""; 0]);
        assert_eq!(next(&many(4, 10, MIB)).len(), 4);
        assert_eq!(next(&many(4, 12, MIB)), [""; 0], "this hour is not over");
        assert_eq!(next(&many(24, 12, MIB)).len(), 24, "but so many are too many");
    }

    #[test]
    fn large_files_and_left_out_ones_stay_and_no_merge_is_too_large() {
        assert_eq!(next(&many(9, 10, 128 * MIB)), [""; 0]);
        assert_eq!(next(&many(9, 10, 60 * MIB)).len(), 4, "of 256 MiB at most");
        let mut files = many(4, 10, MIB);
        files[0].path = "poison".into();
        assert_eq!(next(&files), [""; 0]);
    }

    #[test]
    fn late_events_never_make_a_large_file_be_written_again() {
        let mut files = vec![file("large", 20, 10, 0, 100 * MIB)];
        files
            .extend((0..3).map(|late| DataFile { written_at_ms: now().timestamp_millis(), ..file(&late.to_string(), 20, 10, late, 1000) }));
        assert_eq!(next(&files), [""; 0]);
        files.push(DataFile { written_at_ms: now().timestamp_millis(), ..file("3", 20, 11, 0, 1000) });
        assert_eq!(next(&files), ["0", "1", "2", "3"]);
    }

    #[test]
    fn what_has_rested_for_a_day_becomes_one_file() {
        let files = [file("a", 20, 10, 0, 100 * MIB), file("b", 20, 10, 1, 30 * MIB)];
        assert_eq!(next(&files), ["a", "b"]);
        assert_eq!(next(&[files[0].clone(), file("c", 21, 10, 0, 30 * MIB)]), [""; 0], "files of two days are never merged");
    }

    #[test]
    fn without_a_rest_each_day_becomes_one_file_at_once() {
        let mut files = many(3, 10, 30 * MIB);
        files.push(file("open", 21, 12, 0, MIB));
        let policy = Policy { rest: Duration::ZERO, ..Policy::default() };
        let merged = policy.next(&files, now(), |_| false).unwrap();
        assert_eq!(merged.len(), 3, "an hour that is not over stays");
        files.drain(..2);
        assert!(policy.next(&files, now(), |_| false).is_none(), "one file is as it should be");
    }

    #[test]
    fn any_number_of_commits_leaves_few_files() {
        let mut files: Vec<DataFile> = Vec::new();
        let policy = Policy::default();
        for commit in 0..3000 {
            files.push(file(&format!("{commit:05}"), 19, commit / 130 % 24, commit % 60, 2000));
            files.iter_mut().for_each(|file| file.written_at_ms = now().timestamp_millis());
            while let Some(merged) = policy.next(&files, now(), |_| false) {
                let bytes = merged.iter().map(|file| file.size_bytes).sum();
                files.retain(|file| !merged.contains(file));
                files.push(DataFile { size_bytes: bytes, path: format!("m{commit:05}").into(), ..merged[0].clone() });
                files.sort_unstable_by(|one, other| one.path.cmp(&other.path));
            }
            assert!(files.len() <= 24, "{} files after {commit} commits", files.len());
        }
    }
}
