//! Groups of time: their starts, in every unit and in a time zone whose clocks change.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, Days, FixedOffset};

use crate::{
    app::{TestApp, config},
    counted::{Counts, counts, grouped, groups, label, text, utc},
    rows::{self, NOW, Row, us, within},
};

/// Asks by every unit of time.
async fn check_units(app: &TestApp, rows: &[Row]) {
    let trunc = |us: i64, seconds: i64| utc(us.div_euclid(seconds * 1_000_000) * seconds * 1_000_000);
    let midnight = |us: i64| trunc(us, 86_400);
    type Bucket<'a> = &'a dyn Fn(i64) -> DateTime<FixedOffset>;
    let units: [(&str, Bucket<'_>); 5] = [
        ("minute", &|us| trunc(us, 60)),
        ("hour", &|us| trunc(us, 3600)),
        ("day", &midnight),
        ("week", &|us| midnight(us) - Days::new(midnight(us).weekday().num_days_from_monday().into())),
        ("month", &|us| midnight(us) - Days::new(u64::from(midnight(us).day0()))),
    ];
    for (unit, bucket) in units {
        let answer = app.json("/metrics", &[("from", "1900-01-01T00:00:00Z"), ("to", NOW), ("group_by", unit)]).await;
        assert_eq!(groups(&answer), grouped(rows, |row| vec![label(bucket(row.timestamp))]), "{unit}");
        assert_eq!(answer["data"].as_array().unwrap().len(), groups(&answer).len(), "{unit}: each group once");
        let starts: Vec<i64> = answer["data"].as_array().unwrap().iter().map(|group| group["bucket_start"].as_i64().unwrap()).collect();
        assert!(starts.is_sorted() && starts[0] < 0, "{unit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn time_buckets_are_floors_also_before_1970() {
    let (app, rows) = TestApp::seeded().await;
    check_units(&app, &rows).await;
    app.end().await;
}

/// Berlin's clocks: the offset in hours at an instant near the changes of 2026.
fn berlin(us: i64) -> DateTime<FixedOffset> {
    let is_summer = (self::us("2026-03-29T01:00:00Z")..self::us("2026-10-25T01:00:00Z")).contains(&us);
    utc(us).with_timezone(&FixedOffset::east_opt(if is_summer { 7200 } else { 3600 }).unwrap())
}

/// Asks for both days on which Berlin's clocks change.
async fn check_clock_changes(app: &TestApp, rows: &[Row]) {
    for (from, to, hours) in [
        ("2026-03-29T00:00:00+01:00", "2026-03-29T23:59:59.999999+02:00", 23),
        ("2026-10-25T00:00:00+02:00", "2026-10-25T23:59:59.999999+01:00", 25),
    ] {
        let parameters = [("from", from), ("to", to), ("tz", "Europe/Berlin"), ("fill", "zero")];
        let by_hour = app.json("/metrics", &[&parameters[..], &[("group_by", "hour")]].concat()).await;
        assert_eq!(by_hour["data"].as_array().unwrap().len(), hours, "{from}");
        let hour = |us: i64| us.div_euclid(3_600_000_000) * 3_600_000_000;
        let expected = grouped(within(rows, from, to), |row| vec![label(berlin(hour(row.timestamp)))]);
        let mut shown = groups(&by_hour);
        shown.retain(|_, counts| counts.total > 0);
        assert_eq!(shown, expected, "{from}");
        let by_day = app.json("/metrics", &[&parameters[..], &[("group_by", "day")]].concat()).await;
        assert_eq!(groups(&by_day), [(text(Some(from)), counts(within(rows, from, to)))].into());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_of_a_clock_change_in_berlin_has_23_or_25_hours() {
    let (app, rows) = TestApp::seeded().await;
    check_clock_changes(&app, &rows).await;
    app.end().await;
}

/// Those of the day in spring and of the last two in November.
fn of_some_days(rows: Vec<Row>) -> Vec<Row> {
    let is_late = |row: &Row| {
        row.timestamp >= us("2026-11-20T00:00:00Z") || (us("2026-03-29T00:00:00Z")..us("2026-03-30T00:00:00Z")).contains(&row.timestamp)
    };
    rows.into_iter().filter(is_late).collect()
}

/// Of hours and days of which one file has everything only the numbers are kept.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_to_a_day_of_one_file_is_added_to_its_users() {
    let first = rows::seeded(1, 1);
    let check = async |app: &TestApp, rows: &[Row]| {
        check_units(app, rows).await;
        check_clock_changes(app, rows).await;
    };
    let app = TestApp::empty(config()).await;
    app.commit(&first, 100).await;
    check(&app, &first).await;
    let second = of_some_days(rows::seeded(2, 101));
    app.commit(&second, 200).await;
    check(&app, &[first.clone(), second.clone()].concat()).await;
    app.end().await;

    let app = TestApp::above(config(), 100, &second).await;
    app.commit(&first, 100).await;
    check(&app, &[first, second].concat()).await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_buckets_are_filled_with_zero() {
    let (app, rows) = TestApp::seeded().await;
    let (from, to) = ("1969-12-28T00:00:00Z", "1970-01-04T23:59:59Z");
    let answer = app.json("/metrics", &[("from", from), ("to", to), ("group_by", "day"), ("fill", "zero")]).await;
    let mut expected: BTreeMap<String, Counts> = (0..8).map(|day| (label(utc(us(from)) + Days::new(day)), Counts::default())).collect();
    expected.extend(grouped(within(&rows, from, to), |row| vec![label(utc(row.timestamp.div_euclid(86_400_000_000) * 86_400_000_000))]));
    assert_eq!(groups(&answer), expected);
    assert!(expected.values().any(|counts| counts.total == 0), "the range has empty days");
    app.end().await;
}
