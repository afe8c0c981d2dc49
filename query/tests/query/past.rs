//! Days that are over are counted as one: exactly, whatever comes to them, is merged or is erased.

use chrono::DateTime;
use rand::{SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use table::{Change, DataFile};

use crate::{
    app::{TestApp, config},
    counted::{counts, grouped, groups, label, text, totals, utc},
    rows::{self, DAY_US, NOW, Row, within},
};

/// Ranges that share their first day, their last, or neither, and one that cuts days.
const RANGES: [(&str, &str); 5] = [
    ("1900-01-01T00:00:00Z", NOW),
    ("1900-01-01T00:00:00Z", "2026-10-25T23:59:59.999999Z"),
    ("2026-03-29T00:00:00Z", NOW),
    ("2026-03-29T00:00:00Z", "2026-10-25T23:59:59.999999Z"),
    ("1969-12-31T12:00:00Z", "2026-11-19T12:00:00Z"),
];
const GROUPS: [&str; 6] = ["", "channel", "event_name", "channel,event_name", "day", "day,channel"];

/// The keys of a row, as an answer shows them.
fn keys(row: &Row, group_by: &str) -> Vec<String> {
    let key = |dimension: &str| match dimension {
        "channel" => text(row.channel),
        "event_name" => text(Some(row.event_name)),
        "day" => label(utc(row.timestamp.div_euclid(DAY_US) * DAY_US)),
        _ => unreachable!("{dimension}"),
    };
    let keys: Vec<String> = group_by.split(',').map(key).collect();
    vec![if keys.len() == 1 { keys[0].clone() } else { format!("[{}]", keys.join(",")) }]
}

/// Asks everything in some order, each thing twice.
async fn check(app: &TestApp, rows: &[Row], random: &mut SmallRng) {
    let mut questions: Vec<_> = RANGES.iter().flat_map(|range| GROUPS.map(|group_by| (*range, group_by))).collect();
    rand::seq::SliceRandom::shuffle(&mut questions[..], random);
    for ((from, to), group_by) in questions.iter().flat_map(|question| [question; 2]) {
        let parameters = [("from", *from), ("to", *to), ("uniques", "exact"), ("group_by", *group_by)];
        let asked = if group_by.is_empty() { &parameters[..3] } else { &parameters };
        let answer = app.json("/metrics", asked).await;
        assert_eq!(totals(&answer), counts(within(rows, from, to)), "{asked:?}");
        if !group_by.is_empty() {
            assert_eq!(groups(&answer), grouped(within(rows, from, to), |row| keys(row, group_by)), "{asked:?}");
        }
    }
}

/// The files of a day that has several.
async fn day_of_many(app: &TestApp, random: &mut SmallRng) -> Vec<DataFile> {
    let snapshot = app.events.snapshot().await.unwrap();
    let days: Vec<&[DataFile]> = snapshot.files().chunk_by(|one, next| one.date == next.date).filter(|day| day.len() > 1).collect();
    days.choose(random).unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn days_that_are_over_stay_exact_whatever_happens_to_their_files() {
    let app = TestApp::empty(config()).await;
    let mut random = SmallRng::seed_from_u64(5);
    let mut all = Vec::new();
    for (seed, sequence) in [(1, 1), (2, 101), (3, 201)] {
        let rows = rows::seeded(seed, sequence);
        app.commit(&rows, u64::try_from(sequence).unwrap() + 99).await;
        all.extend(rows);
        check(&app, &all, &mut random).await;
    }
    for _ in 0..2 {
        let day = day_of_many(&app, &mut random).await;
        let into = app.events.merge(&day).await.unwrap();
        app.events.replace(day, into, Change::Layout, DateTime::UNIX_EPOCH).await.unwrap().unwrap();
        check(&app, &all, &mut random).await;

        let erased = day_of_many(&app, &mut random).await;
        let date = erased[0].date;
        app.events.replace(erased, None, Change::Rows("all of a day".to_owned()), DateTime::UNIX_EPOCH).await.unwrap().unwrap();
        all.retain(|row| !(date.start().0..date.next().start().0).contains(&row.timestamp));
        check(&app, &all, &mut random).await;
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_the_tail_and_in_days_that_are_over_counts_once() {
    let tail = rows::seeded(4, 301);
    let app = TestApp::above(config(), 300, &tail).await;
    let rows = rows::seeded(1, 1);
    app.commit(&rows, 300).await;
    check(&app, &[rows, tail].concat(), &mut SmallRng::seed_from_u64(6)).await;
    app.end().await;
}
