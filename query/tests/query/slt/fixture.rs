//! The events of the files in `tests/slt`: two commits and a tail, over six days, with everything that a column may hold.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BinaryArray, Date32Array, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use schemas::{EventDate, Sequence, ShardId, Timestamp, tables};
use table::TailView;

use crate::{
    app::{TestApp, commit, config},
    rows::{Row, bare, batches, us},
};

/// The last sequences of the first commit, of the second and of the tail.
const FIRST: u64 = 10;
const SECOND: u64 = 20;
const HEAD: u64 = 30;

/// An event with a name, a time and perhaps a user, and nothing else.
fn row(place: (i64, i32), timestamp: &str, event_name: &'static str, user: &str) -> Row {
    Row { user_id: (!user.is_empty()).then(|| user.to_owned()), ..bare(place, us(timestamp), event_name) }
}

fn first() -> Vec<Row> {
    vec![
        Row {
            channel: Some("web"),
            campaign_id: Some("spring"),
            site_id: Some("shop"),
            path: Some("/"),
            tags: Some(vec!["new"]),
            metadata: Some(r#"{"price":1.50,"currency":"EUR"}"#.to_owned()),
            ..row((1, 0), "2026-11-18T08:00:00Z", "page_view", "ann")
        },
        Row {
            channel: Some("ios"),
            site_id: Some("shop"),
            path: Some("/about"),
            tags: Some(vec![]),
            ..row((1, 1), "2026-11-18T08:30:00.25Z", "page_view", "bob")
        },
        Row {
            event_id: Some("order-1".to_owned()),
            channel: Some("web"),
            campaign_id: Some("spring"),
            site_id: Some("shop"),
            path: Some("/cart"),
            tags: Some(vec!["new", "sale"]),
            metadata: Some(r#"{"price":12.25,"currency":"EUR","items":[{"sku":"a1","qty":2},{"sku":"b2","qty":1}]}"#.to_owned()),
            ..row((2, 0), "2026-11-18T23:59:59.999999Z", "purchase", "ann")
        },
        Row {
            channel: Some("android"),
            site_id: Some("blog"),
            path: Some("/ünï"),
            metadata: Some(r#"{"big":12345678901234567890,"deep":{"a":{"b":[10,20,30]}}}"#.to_owned()),
            ..row((3, 0), "2026-11-19T00:00:00Z", "page_view", "")
        },
    ]
}

fn second() -> Vec<Row> {
    vec![
        Row {
            campaign_id: Some("autumn"),
            tags: Some(vec!["sale", "sale"]),
            metadata: Some(r#"{"plan":"pro","trial":true,"note":null}"#.to_owned()),
            ..row((12, 0), "2026-11-19T12:00:00Z", "signup", "cid")
        },
        Row {
            channel: Some("web"),
            campaign_id: Some("autumn"),
            site_id: Some("shop"),
            path: Some("/cart"),
            tags: Some(vec!["sale"]),
            metadata: Some(r#"{"price":7.00,"currency":"USD"}"#.to_owned()),
            ..row((12, 1), "2026-10-25T00:30:00Z", "purchase", "bob")
        },
        Row {
            channel: Some("web"),
            site_id: Some("shop"),
            path: Some("/"),
            tags: Some(vec!["new"]),
            ..row((13, 0), "2026-10-25T01:30:00Z", "page_view", "bob")
        },
        Row { channel: Some("web"), site_id: Some("blog"), path: Some("/"), ..row((14, 0), "1969-12-31T23:59:59.5Z", "page_view", "dan") },
    ]
}

fn tail() -> Vec<Row> {
    vec![
        Row {
            event_id: Some("order-2".to_owned()),
            channel: Some("web"),
            campaign_id: Some("spring"),
            site_id: Some("shop"),
            path: Some("/cart"),
            tags: Some(vec!["new", "sale", "vip"]),
            metadata: Some(r#"{"price":99.99,"currency":"EUR","items":[]}"#.to_owned()),
            ..row((21, 0), "2026-11-20T10:00:00Z", "purchase", "ann")
        },
        row((21, 1), "2026-11-20T10:15:00Z", "page_view", ""),
        Row {
            channel: Some("ios"),
            site_id: Some("blog"),
            path: Some("/about"),
            tags: Some(vec!["vip"]),
            metadata: Some(r#"{"price":"text","emoji":"🌊","quoted":"say \"hi\""}"#.to_owned()),
            ..row((22, 0), "2026-11-20T11:00:00Z", "page_view", "eve")
        },
        Row {
            channel: Some("ios"),
            campaign_id: Some("autumn"),
            site_id: Some("blog"),
            tags: Some(vec![]),
            metadata: Some(r#"{"plan":"free","trial":false}"#.to_owned()),
            ..row((23, 0), "2026-11-21T09:00:00Z", "signup", "eve")
        },
    ]
}

/// Position, when it came, code, message, bytes.
type Quarantined = (i64, &'static str, &'static str, &'static str, &'static [u8]);

const COMMITTED: [Quarantined; 2] = [
    (5, "2026-11-18T09:00:00Z", "invalid_json", "no JSON", b"rubbish"),
    (6, "2026-11-18T09:00:01Z", "invalid_json", "not UTF-8", &[0xff, 0xfe, 0x00]),
];
const IN_TAIL: [Quarantined; 1] = [(24, "2026-11-20T12:00:00Z", "empty", "nothing", b"")];

fn quarantine(rows: &[Quarantined]) -> (i32, RecordBatch) {
    let day = EventDate::of(Timestamp(us(rows[0].1))).0;
    let texts = |text: fn(&Quarantined) -> &str| -> ArrayRef { Arc::new(StringArray::from_iter_values(rows.iter().map(text))) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| us(row.1))).with_timezone("UTC")),
        Arc::new(Date32Array::from(vec![day; rows.len()])),
        texts(|row| row.2),
        texts(|row| row.3),
        Arc::new(BinaryArray::from_iter_values(rows.iter().map(|row| row.4))),
        Arc::new(Int32Array::from(vec![0; rows.len()])),
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0))),
        Arc::new(Int32Array::from(vec![0; rows.len()])),
    ];
    (day, RecordBatch::try_new(tables::quarantine(), columns).unwrap())
}

/// The role over the fixture.
pub(super) async fn app() -> TestApp {
    let tail = TailView {
        head: Sequence(HEAD),
        events: batches(&tail()).into_values().collect(),
        quarantined: vec![quarantine(&IN_TAIL).1],
        ..TailView::empty(ShardId(0), 1, Sequence(SECOND))
    };
    let app = TestApp::with_tail(config(), tail).await;
    commit(&app.quarantine, [quarantine(&COMMITTED)], FIRST).await;
    app.commit(&first(), FIRST).await;
    app.commit(&second(), SECOND).await;
    app
}
