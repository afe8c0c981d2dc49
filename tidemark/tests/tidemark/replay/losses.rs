//! What can be lost, and comes back.

use std::{fs::File, path::Path};

use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};
use serde_json::{Value, json};

use super::{BATCH, DAYS, EVENTS, Story, numbers, part};
use crate::process::good;

#[tokio::test]
async fn rows_of_a_deleted_file_are_there_again_once_and_a_second_replay_writes_nothing() {
    let mut story = Story::tell().await;
    story.is_whole();
    assert_eq!(story.files("events").len(), 8);
    let (name, path) = story.file(1);
    std::fs::remove_file(&path).unwrap();
    assert_eq!(story.verify(), (false, [2 * EVENTS + 2, EVENTS - BATCH / 2, EVENTS, 2, 0]));

    let (files, commits) = (story.files("events"), story.log("events").len());
    let planned = story.replay(&["--dry-run"]);
    assert_eq!((numbers(&planned, "events"), numbers(&planned, "quarantine")), ([BATCH / 2, 0, 0], [0, 0, 0]), "{planned:#}");
    assert_eq!((story.files("events"), story.log("events").len()), (files, commits), "a plan changes nothing");
    let damage = &part(&planned, "events")["unreadable_files"][0];
    assert!(damage["file"].as_str().unwrap().ends_with(&name) && damage["rows"] == BATCH / 2, "{damage:#}");

    let said = good(&story.tidemark.command(&["replay"]).output().unwrap());
    let parts =
        ["is missing; it held 15 rows of the messages 2 to 2 of shard 0", "there again: 15 rows, in 1 new file for which 1 file gave way"];
    assert!(parts.iter().all(|part| said.contains(part)) && said.contains("quarantine: nothing is missing"), "{said}");
    story.is_whole();
    assert!(!story.files("events").contains_key(&name));

    let commits = story.log("events").len();
    assert_eq!(numbers(&story.replay(&[]), "events"), [0, 0, 0]);
    assert_eq!(story.log("events").len(), commits, "nothing to commit");
    story.tidemark.restart().await;
    story.send(0..EVENTS).await;
    story.tidemark.says("SELECT count(*) || ' ' || count(DISTINCT metadata) FROM events", "120 120").await;
}

#[tokio::test]
async fn a_file_whose_bytes_rotted_gives_way_to_its_rows_wherever_the_damage_is() {
    let story = Story::tell().await;
    let flip = |path: &Path, places: std::ops::Range<usize>| {
        let mut bytes = std::fs::read(path).unwrap();
        bytes[places].iter_mut().for_each(|byte| *byte ^= 0xA5);
        std::fs::write(path, bytes).unwrap();
    };
    let length = |path: &Path| std::fs::read(path).unwrap().len();
    let pages_of_some_columns = |_| 4..700;
    let the_footer = |length| length - 400..length - 8;
    let the_end = |length| length - 8..length;
    let damages: [&dyn Fn(usize) -> std::ops::Range<usize>; 3] = [&pages_of_some_columns, &the_footer, &the_end];
    for (place, damaged) in damages.into_iter().enumerate() {
        let (name, path) = story.file(place);
        flip(&path, damaged(length(&path)));
        assert!(!story.verify().0, "{name} is damaged");
        assert_eq!(numbers(&story.replay(&[]), "events"), [BATCH / 2, BATCH / 2, 1], "{name}");
        story.is_whole();
    }
    let (_, path) = story.file(0);
    let cut = length(&path) - 100;
    File::options().write(true).open(&path).unwrap().set_len(u64::try_from(cut).unwrap()).unwrap();
    assert_eq!(numbers(&story.replay(&[]), "events"), [BATCH / 2, BATCH / 2, 1]);
    story.is_whole();
}

#[tokio::test]
async fn rows_that_somebody_took_out_are_there_again_although_every_file_is_sound() {
    let story = Story::tell().await;
    let files = story.files("events");
    let (first, second) = (files.keys().next().unwrap(), files.keys().nth(3).unwrap());
    story.commit("events", &[json!({"remove": {"path": first, "deletionTimestamp": 1_795_000_000_000_u64, "dataChange": true}})]);
    story.commit("events", &without_three_rows(&story, second, &files[second]));
    assert_eq!(story.verify(), (false, [2 * EVENTS + 2, EVENTS - BATCH / 2 - 3, EVENTS, 2, 0]));
    assert_eq!(numbers(&story.replay(&[]), "events"), [BATCH / 2 + 3, BATCH / 2 + 3, 0]);
    story.is_whole();
}

/// A commit that replaces a file by one that lacks its first three rows.
fn without_three_rows(story: &Story, name: &str, add: &Value) -> [Value; 2] {
    let read = ParquetRecordBatchReaderBuilder::try_new(File::open(story.path_of("events", name)).unwrap()).unwrap();
    let rows = read.build().unwrap().next().unwrap().unwrap();
    let fewer = name.replace(".parquet", "-fewer.parquet");
    let file = File::create(story.path_of("events", &fewer)).unwrap();
    let mut writer = ArrowWriter::try_new(file, rows.schema(), None).unwrap();
    writer.write(&rows.slice(3, rows.num_rows() - 3)).unwrap();
    writer.close().unwrap();

    let (mut add, mut stats) = (add.clone(), serde_json::from_str::<Value>(add["add"]["stats"].as_str().unwrap()).unwrap());
    stats["numRecords"] = (rows.num_rows() - 3).into();
    add["add"]["stats"] = stats.to_string().into();
    add["add"]["size"] = std::fs::metadata(story.path_of("events", &fewer)).unwrap().len().into();
    add["add"]["path"] = fewer.into();
    [json!({"remove": {"path": name, "deletionTimestamp": 1_795_000_000_000_u64, "dataChange": true}}), add]
}

#[tokio::test]
async fn a_damaged_quarantine_and_everything_of_a_table_come_back_also_after_a_compaction() {
    let story = Story::tell().await;
    story.compact();
    for table in ["events", "quarantine"] {
        for name in story.files(table).keys() {
            std::fs::write(story.path_of(table, name), "not Parquet").unwrap();
        }
    }
    assert_eq!(story.verify(), (false, [2 * EVENTS + 2, 0, EVENTS, 0, 0]));
    let report = story.replay(&["--set", "pipeline.max_rows=30"]);
    assert_eq!(numbers(&report, "events")[..2], [EVENTS, EVENTS], "{report:#}");
    assert_eq!(numbers(&report, "quarantine")[..2], [2, 2], "{report:#}");
    assert!(part(&report, "events")["files_written"].as_u64().unwrap() >= 2 * 4, "a batch at a time");
    story.is_whole();
    story.compact();
    story.is_whole();
}

#[tokio::test]
async fn what_was_erased_or_given_up_stays_away() {
    let mut story = Story::tell_on(&[]).await;
    good(&story.tidemark.command(&["erase", "--user", "user-3", "--url", &story.tidemark.url]).output().unwrap());
    let (is_whole, [.., rows, _, _, given_up]) = story.verify();
    assert!(is_whole && rows < EVENTS && given_up == 2 * (EVENTS - rows));
    assert!(story.tidemark.terminate().await);
    for name in story.files("events").keys() {
        std::fs::remove_file(story.path_of("events", name)).unwrap();
    }
    assert_eq!(numbers(&story.replay(&[]), "events")[..2], [rows, rows]);
    assert_eq!(story.verify(), (true, [2 * EVENTS + 2, rows, rows, 2, given_up]));

    // The first day is given up.
    let is_old = |name: &&String| name.contains(DAYS[0]);
    let old: Vec<Value> =
        story.files("events").keys().filter(is_old).map(|name| json!({"remove": {"path": name, "dataChange": true}})).collect();
    let day = chrono::NaiveDate::from_epoch_days(0).unwrap();
    let mark = DAYS[1].parse::<chrono::NaiveDate>().unwrap().signed_duration_since(day).num_days();
    story.commit("events", &[old, vec![json!({"txn": {"appId": "tidemark/dropped_before", "version": mark}})]].concat());
    let (is_whole, [.., left, _, _, given_up]) = story.verify();
    assert!(is_whole && left < rows);
    std::fs::remove_file(story.file(0).1).unwrap();
    assert!(numbers(&story.replay(&[]), "events")[1] > 0);
    assert_eq!(story.verify(), (true, [2 * EVENTS + 2, left, left, 2, given_up]));
    assert!(story.files("events").keys().all(|name| name.contains(DAYS[1])));
}

#[tokio::test]
async fn a_part_is_replayed_by_positions_or_by_times() {
    let story = Story::tell().await;
    let files = story.files("events");
    let removed =
        files.keys().map(|name| json!({"remove": {"path": name, "deletionTimestamp": 1_795_000_000_000_u64, "dataChange": true}}));
    story.commit("events", &removed.collect::<Vec<_>>());
    let report = story.replay(&["--from", "0:2:5", "--to", "0:2:9"]);
    assert_eq!((&numbers(&report, "events")[..2], &report["range"]), (&[5, 5][..], &json!({"from": "0:2:5", "to": "0:2:9", "shard": 0})));
    assert_eq!(numbers(&story.replay(&["--from", "0:2", "--to", "0:2"]), "events")[..2], [BATCH - 5, BATCH - 5]);
    assert_eq!(numbers(&story.replay(&["--to", "-1h"]), "events")[..2], [0, 0], "nothing is so old");
    assert_eq!(numbers(&story.replay(&["--from", "0:5"]), "events")[..2], [0, 0], "the fifth message repeats the others");
    assert_eq!(numbers(&story.replay(&["--from", "-1h", "--shard", "0"]), "events")[..2], [3 * BATCH, 3 * BATCH]);
    story.is_whole();
}

#[tokio::test]
async fn a_repeat_that_became_a_row_while_its_first_was_lost_gives_way_to_it() {
    let mut story = Story::tell().await;
    let files = story.files("events");
    let first = files.keys().next().unwrap();
    story.commit("events", &[json!({"remove": {"path": first, "deletionTimestamp": 1_795_000_000_000_u64, "dataChange": true}})]);
    story.tidemark.restart().await;
    story.send(0..EVENTS + 1).await;
    story.tidemark.says("SELECT count(*) FROM events_committed", &(EVENTS + 1).to_string()).await;
    assert!(story.tidemark.terminate().await);
    let lost = BATCH / 2;
    assert_eq!(story.verify(), (false, [3 * EVENTS + 3, EVENTS + 1, 2 * EVENTS - lost, 2, 0]));
    assert_eq!(numbers(&story.replay(&[]), "events")[..2], [lost, lost]);
    assert_eq!(story.verify(), (true, [3 * EVENTS + 3, EVENTS + 1, 2 * EVENTS, 2, 0]));
    assert_eq!(numbers(&story.replay(&[]), "events"), [0, 0, 0]);
}
