//! Seeded rows, as values for the model and as batches for the table.

use std::{collections::BTreeMap, sync::Arc};

use chrono::DateTime;
use datafusion::arrow::array::{
    ArrayRef, Date32Array, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use schemas::{EventDate, Timestamp, tables};

/// One event as the model sees it.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    pub(crate) timestamp: i64,
    pub(crate) event_id: Option<String>,
    pub(crate) event_name: &'static str,
    pub(crate) user_id: Option<String>,
    pub(crate) channel: Option<&'static str>,
    pub(crate) campaign_id: Option<&'static str>,
    pub(crate) site_id: Option<&'static str>,
    pub(crate) path: Option<&'static str>,
    pub(crate) tags: Option<Vec<&'static str>>,
    pub(crate) metadata: Option<String>,
    pub(crate) sequence: i64,
    pub(crate) index: i32,
}

pub(crate) fn us(text: &str) -> i64 {
    DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros()
}

pub(crate) const DAY_US: i64 = 86_400_000_000;

/// An event with a place in the journal, a time and a name, and nothing else.
pub(crate) fn bare((sequence, index): (i64, i32), timestamp: i64, event_name: &'static str) -> Row {
    Row {
        timestamp,
        event_id: None,
        event_name,
        user_id: None,
        channel: None,
        campaign_id: None,
        site_id: None,
        path: None,
        tags: None,
        metadata: None,
        sequence,
        index,
    }
}

/// The time at which the tests take place.
pub(crate) const NOW: &str = "2026-11-21T12:00:00Z";

/// Those from one time to another, both included.
pub(crate) fn within<'a>(rows: &'a [Row], from: &str, to: &str) -> impl Iterator<Item = &'a Row> {
    let range = us(from)..=us(to);
    rows.iter().filter(move |row| range.contains(&row.timestamp))
}

/// Events of the last days, of both days on which Berlin's clocks change, and from before 1970.
pub(crate) fn seeded(seed: u64, sequence: i64) -> Vec<Row> {
    let mut random = SmallRng::seed_from_u64(seed);
    let spans = [
        (us("2026-11-19T00:00:00Z"), us(NOW), 1500),
        (us("2026-03-28T20:00:00Z"), us("2026-03-30T02:00:00Z"), 300),
        (us("2026-10-24T20:00:00Z"), us("2026-10-26T02:00:00Z"), 300),
        (us("1969-12-30T00:00:00Z"), us("1970-01-02T00:00:00Z"), 150),
        (us("1907-02-01T00:00:00Z"), us("1907-02-03T00:00:00Z"), 20),
    ];
    let times = spans.into_iter().flat_map(|(from, to, count)| std::iter::repeat_n((from, to), count));
    times
        .enumerate()
        .map(|(at, (from, to))| row(&mut random, from, to, sequence + i64::try_from(at / 100).unwrap(), i32::try_from(at % 100).unwrap()))
        .collect()
}

fn row(random: &mut SmallRng, from: i64, to: i64, sequence: i64, index: i32) -> Row {
    let user_id = random.random_bool(0.9).then(|| format!("user-{}", random.random_range(0..120)));
    let price = random.random_range(0..10_000);
    let metadata =
        format!(r#"{{"price":{}.25,"currency":"EUR", "items":[{{"sku":"s{price}"}}],"big":12345678901234567890,"note":null}}"#, price);
    Row {
        timestamp: random.random_range(from..=to),
        event_id: random.random_bool(0.2).then(|| format!("client-{sequence}-{index}")),
        event_name: pick(random, &["page_view", "page_view", "page_view", "product_view", "purchase", "signup"]),
        user_id,
        channel: *[Some("web"), Some("web"), Some("ios"), Some("android"), None].choose(random).unwrap(),
        campaign_id: *[None, Some("spring"), Some("autumn")].choose(random).unwrap(),
        site_id: *[None, Some("shop"), Some("blog")].choose(random).unwrap(),
        path: *[None, Some("/"), Some("/about"), Some("/shop?q=a b"), Some("/ünï")].choose(random).unwrap(),
        tags: [None, Some(vec![]), Some(vec!["new"]), Some(vec!["new", "sale"]), Some(vec!["sale", "sale"])]
            .choose(random)
            .unwrap()
            .clone(),
        metadata: random.random_bool(0.7).then_some(metadata),
        sequence,
        index,
    }
}

fn pick(random: &mut SmallRng, names: &[&'static str]) -> &'static str {
    names.choose(random).unwrap()
}

/// The rows by day, each day as one batch in the order of the table.
pub(crate) fn batches(rows: &[Row]) -> BTreeMap<i32, RecordBatch> {
    let mut days: BTreeMap<i32, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        days.entry(EventDate::of(Timestamp(row.timestamp)).0).or_default().push(row);
    }
    days.into_iter()
        .map(|(day, mut rows)| {
            rows.sort_by_key(|row| (row.event_name, row.timestamp));
            (day, batch(day, &rows))
        })
        .collect()
}

fn batch(day: i32, rows: &[&Row]) -> RecordBatch {
    let times = |at: fn(&Row) -> i64| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| at(row))).with_timezone("UTC"))
    };
    let texts = |text: fn(&Row) -> Option<&str>| -> ArrayRef { Arc::new(rows.iter().map(|row| text(row)).collect::<StringArray>()) };
    let mut tags = ListBuilder::new(StringBuilder::new());
    for row in rows {
        tags.append_option(row.tags.as_ref().map(|tags| tags.iter().map(|tag| Some(*tag))));
    }
    let columns: Vec<ArrayRef> = vec![
        times(|row| row.timestamp),
        Arc::new(Date32Array::from(vec![day; rows.len()])),
        texts(|row| row.event_id.as_deref()),
        texts(|row| Some(row.event_name)),
        texts(|row| row.user_id.as_deref()),
        texts(|row| row.channel),
        texts(|row| row.campaign_id),
        texts(|row| row.site_id),
        texts(|row| row.path),
        relabelled(Arc::new(tags.finish())),
        texts(|row| row.metadata.as_deref()),
        times(|row| row.timestamp + 1),
        Arc::new(Int32Array::from(vec![0; rows.len()])),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.sequence))),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| row.index))),
    ];
    RecordBatch::try_new(tables::events(), columns).unwrap()
}

/// The builder calls the element of a list `item`, the table `element`.
fn relabelled(lists: ArrayRef) -> ArrayRef {
    datafusion::arrow::compute::cast(&lists, &tables::tags_type()).unwrap()
}
