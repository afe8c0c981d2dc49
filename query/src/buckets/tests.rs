use proptest::prelude::*;

use super::*;

const EARLIEST: i64 = schemas::timestamp::EARLIEST.0;
const LATEST: i64 = schemas::timestamp::LATEST.0;

fn us(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
}

fn buckets(unit: Unit, zone: &str) -> Buckets {
    Buckets { unit, zone: Zone::parse(zone).unwrap() }
}

/// The bucket of `at` as text.
fn bucket(unit: Unit, zone: &str, at: &str) -> String {
    let buckets = buckets(unit, zone);
    buckets.label(buckets.start_of(us(at)))
}

#[test]
fn every_unit_cuts_at_its_own_border() {
    let at = "2026-11-21T09:34:56.789Z";
    assert_eq!(bucket(Unit::Minute, "UTC", at), "2026-11-21T09:34:00Z");
    assert_eq!(bucket(Unit::Hour, "UTC", at), "2026-11-21T09:00:00Z");
    assert_eq!(bucket(Unit::Day, "UTC", at), "2026-11-21T00:00:00Z");
    assert_eq!(bucket(Unit::Week, "UTC", at), "2026-11-16T00:00:00Z", "a week begins on Monday");
    assert_eq!(bucket(Unit::Month, "UTC", at), "2026-11-01T00:00:00Z");
}

#[test]
fn the_last_microsecond_before_1970_is_in_1969() {
    assert_eq!(bucket(Unit::Hour, "UTC", "1969-12-31T23:59:59.999999Z"), "1969-12-31T23:00:00Z");
    assert_eq!(bucket(Unit::Month, "UTC", "1969-12-31T23:59:59.999999Z"), "1969-12-01T00:00:00Z");
}

#[test]
fn days_are_cut_by_the_clocks_of_the_zone() {
    assert_eq!(bucket(Unit::Day, "Europe/Berlin", "2026-11-20T23:30:00Z"), "2026-11-21T00:00:00+01:00");
    assert_eq!(bucket(Unit::Hour, "Asia/Kolkata", "2026-11-21T09:34:56Z"), "2026-11-21T15:00:00+05:30");
    assert_eq!(bucket(Unit::Day, "+02:00", "2026-11-20T22:00:00Z"), "2026-11-21T00:00:00+02:00");
}

#[test]
fn a_day_of_a_clock_change_has_23_or_25_hours() {
    let hours = |from, to| buckets(Unit::Hour, "Europe/Berlin").starts(us(from), us(to), 1000).unwrap().len();
    assert_eq!(hours("2026-03-29T00:00:00+01:00", "2026-03-29T23:59:59+02:00"), 23);
    assert_eq!(hours("2026-10-25T00:00:00+02:00", "2026-10-25T23:59:59+01:00"), 25);
    assert_eq!(bucket(Unit::Hour, "Europe/Berlin", "2026-10-25T00:30:00Z"), "2026-10-25T02:00:00+02:00");
    assert_eq!(
        bucket(Unit::Hour, "Europe/Berlin", "2026-10-25T01:30:00Z"),
        "2026-10-25T02:00:00+01:00",
        "the repeated hour is its own bucket"
    );
}

#[test]
fn a_midnight_that_the_clocks_skip_begins_the_day_later() {
    assert_eq!(bucket(Unit::Day, "Africa/Cairo", "2010-04-30T12:00:00Z"), "2010-04-30T01:00:00+03:00");
    let days = buckets(Unit::Day, "Pacific/Apia").starts(us("2011-12-29T12:00:00-10:00"), us("2011-12-31T12:00:00+14:00"), 10).unwrap();
    let labels: Vec<String> = days.into_iter().map(|start| buckets(Unit::Day, "Pacific/Apia").label(start)).collect();
    assert_eq!(labels, ["2011-12-29T00:00:00-10:00", "2011-12-31T00:00:00+14:00"], "Samoa had no 30th of December");
}

#[test]
fn too_many_buckets_are_no_list() {
    let minutes = buckets(Unit::Minute, "UTC");
    assert_eq!(minutes.starts(0, 59 * US_PER_MINUTE, 60).unwrap().len(), 60);
    assert_eq!(minutes.starts(0, 60 * US_PER_MINUTE, 60), None);
    assert_eq!(minutes.starts(EARLIEST, LATEST, 60), None);
}

#[test]
fn an_unknown_zone_is_none() {
    assert!(Zone::parse("Europe/Berln").is_none());
    assert!(matches!(Zone::parse("utc"), Some(Zone::Utc)));
}

fn any_unit() -> impl Strategy<Value = Unit> {
    prop::sample::select(Unit::ALL.map(|(_, unit)| unit).to_vec())
}

fn any_zone() -> impl Strategy<Value = Zone> {
    let zones = ["UTC", "Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu", "America/Sao_Paulo", "Africa/Cairo"];
    prop::sample::select(zones.to_vec()).prop_map(|name| Zone::parse(name).unwrap())
}

proptest! {
    /// What `fill=zero` adds are exactly the buckets that rows fall into.
    #[test]
    fn every_instant_of_a_range_lies_in_a_listed_bucket(unit in any_unit(), zone in any_zone(), from in 0_i64..2_000_000_000_000_000, seconds in 0_i64..500_000, at in 0.0..1.0) {
        let buckets = Buckets { unit, zone };
        let to = from + seconds * US_PER_SECOND;
        #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "any point of the range will do")]
        let at = from + ((to - from) as f64 * at) as i64;
        let starts = buckets.starts(from, to, 1_000_000).unwrap();
        prop_assert!(starts.is_sorted_by(|a, b| a < b));
        prop_assert!(starts.contains(&buckets.start_of(at)), "{} has no bucket {}", buckets.label(at), buckets.label(buckets.start_of(at)));
    }

    #[test]
    fn a_bucket_never_begins_after_its_instants(unit in any_unit(), us in EARLIEST + 40 * US_PER_DAY..=LATEST) {
        let start = Buckets { unit, zone: Zone::Utc }.start_of(us);
        prop_assert!(start <= us && us - start < 31 * US_PER_DAY);
    }
}
