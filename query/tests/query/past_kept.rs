//! Days that are over are counted once: what is read again is what is new.

use std::{collections::BTreeSet, fs, path::PathBuf};

use chrono::DateTime;
use futures::future::join_all;
use query::Config;
use schemas::EventDate;
use serde_json::json;
use service::settings::ByteSize;
use table::Change;

use crate::{
    app::{TestApp, config},
    rows::{DAY_US, Row, bare, us},
};

const USERS: i64 = 10_000;
/// All days that were ever committed.
const ALL: (&str, &str) = ("2026-11-01T00:00:00Z", "2026-11-30T23:59:59.999999Z");

/// The same users at some hour of a day of November, each of them on one channel.
fn crowd(day: i64, hour: i64, sequence: i64) -> Vec<Row> {
    let start = us("2026-11-01T00:00:00Z") + (day - 1) * DAY_US + hour * DAY_US / 24;
    let row = |user: i64| Row {
        user_id: Some(format!("user-{user}")),
        channel: Some(if user % 2 == 0 { "web" } else { "ios" }),
        ..bare((sequence, i32::try_from(user).unwrap()), start + user, "page_view")
    };
    (0..USERS).map(row).collect()
}

/// Twenty days. By channel the users of each take 160 KB, those of all days together no more, and the newest three days are kept by file.
async fn crowds(cache_kib: u64) -> TestApp {
    let app = TestApp::empty(Config { cache: ByteSize(cache_kib << 10), ..config() }).await;
    for day in 1..=20 {
        app.commit(&crowd(day, 0, day), day.unsigned_abs()).await;
    }
    app
}

/// Memory for the days that are over together and for the newest ones, and far too little for all files.
const TOO_LITTLE_KIB: u64 = 1600;

async fn ask(app: &TestApp, (from, to): (&str, &str), group_by: &str, tz: &str, events: i64) {
    let parameters = [("from", from), ("to", to), ("uniques", "exact"), ("group_by", group_by), ("tz", tz)];
    let answer = app.json("/metrics", &parameters).await;
    assert_eq!((&answer["total_events"], &answer["unique_users"]), (&json!(events), &json!(USERS)), "{parameters:?}");
}

/// The days of November whose files were read since the last call.
fn days_read(app: &TestApp) -> BTreeSet<i64> {
    let day = |file: String| file["events/event_date=2026-11-".len()..][..2].parse().unwrap();
    app.watch.take_read().into_iter().map(day).collect()
}

fn days(days: impl IntoIterator<Item = i64>) -> BTreeSet<i64> {
    days.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn days_that_are_over_are_read_once_where_their_files_would_not_fit() {
    let app = crowds(TOO_LITTLE_KIB).await;
    for (group_by, read) in [("channel", days(1..=20)), ("day", days(1..=20))] {
        ask(&app, ALL, group_by, "UTC", 20 * USERS).await;
        assert_eq!(days_read(&app), read, "{group_by}");
        ask(&app, ALL, group_by, "UTC", 20 * USERS).await;
        assert_eq!(days_read(&app), days([]), "{group_by}");
    }
    ask(&app, ALL, "channel", "Europe/Berlin", 20 * USERS).await;
    assert_eq!(days_read(&app), days([]), "a zone plays no part in channels");

    app.commit(&crowd(4, 5, 21), 21).await;
    ask(&app, ALL, "channel", "UTC", 21 * USERS).await;
    assert_eq!(days_read(&app), days([4]), "one file more of a day that is over");

    app.commit(&crowd(21, 0, 22), 22).await;
    ask(&app, ALL, "channel", "UTC", 22 * USERS).await;
    assert_eq!(days_read(&app), days([21]), "one more day is over");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_that_cut_a_day_leave_the_days_that_are_over_to_those_that_do_not() {
    let app = crowds(TOO_LITTLE_KIB).await;
    app.commit(&crowd(1, 12, 21), 21).await;
    let cut = ("2026-11-01T04:00:00Z", ALL.1);
    for (range, events) in [(ALL, 21 * USERS), (cut, 20 * USERS)] {
        ask(&app, range, "channel", "UTC", events).await;
    }
    days_read(&app);
    for _ in 0..2 {
        for (range, events) in [(ALL, 21 * USERS), (cut, 20 * USERS)] {
            ask(&app, range, "channel", "UTC", events).await;
            let read = days_read(&app);
            assert!(read.is_subset(&days([1])), "not more than the day that is cut: {range:?} {read:?}");
        }
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_is_merged_is_read_alone_where_files_fit() {
    let app = crowds(4600).await;
    app.commit(&crowd(5, 12, 21), 21).await;
    ask(&app, ALL, "channel", "UTC", 21 * USERS).await;
    days_read(&app);
    let snapshot = app.events.snapshot().await.unwrap();
    let fifth = EventDate::parse("2026-11-05").unwrap();
    let files: Vec<_> = snapshot.files().iter().filter(|file| file.date == fifth).cloned().collect();
    assert_eq!(files.len(), 2);
    let into = app.events.merge(&files).await.unwrap();
    app.events.replace(files, into, Change::Layout, DateTime::UNIX_EPOCH).await.unwrap().unwrap();
    days_read(&app);
    ask(&app, ALL, "channel", "UTC", 21 * USERS).await;
    assert_eq!(days_read(&app), days([5]));
    app.end().await;
}

/// The only data file of a day.
fn file_of(app: &TestApp, day: i64) -> PathBuf {
    let folder = app.folder().join(format!("events/event_date=2026-11-{day:02}"));
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    let [file] = &files[..] else { panic!("one file: {files:?}") };
    file.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_fails_leaves_what_it_counted_to_the_next_one() {
    let app = crowds(TOO_LITTLE_KIB).await;
    let (file, away) = (file_of(&app, 17), app.folder().join("away"));
    fs::rename(&file, &away).unwrap();
    let parameters = [("from", ALL.0), ("to", ALL.1), ("uniques", "exact"), ("group_by", "channel")];
    assert_eq!(app.get("/metrics", &parameters).send().await.unwrap().status(), 503);
    fs::rename(&away, &file).unwrap();
    days_read(&app);
    ask(&app, ALL, "channel", "UTC", 20 * USERS).await;
    let read = days_read(&app);
    assert!(read.contains(&17) && read.first() > Some(&8), "eight days are kept at a time: {read:?}");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_who_ask_at_once_read_days_that_are_over_as_often_as_one() {
    let mut requests = [0; 2];
    for (asking, requests) in [1, 8].into_iter().zip(&mut requests) {
        let app = crowds(TOO_LITTLE_KIB).await;
        app.watch.take_reads();
        join_all((0..asking).map(|_| ask(&app, ALL, "channel", "UTC", 20 * USERS))).await;
        let is_over = |file: &str| !["18", "19", "20"].iter().any(|day| file.contains(&format!("2026-11-{day}")));
        *requests = app.watch.take_reads().into_iter().filter(|read| is_over(&read.file)).count();
        app.end().await;
    }
    assert_eq!(requests[0], requests[1]);
}
