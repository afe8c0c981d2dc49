use std::{cmp::Reverse, collections::BTreeMap};

use chrono::DateTime;
use serde_json::{Value, json};

use crate::{
    app::{TestApp, config},
    counted::{Counts, counts, grouped, groups, key, label, text, totals, utc},
    rows::{self, NOW, Row, within},
};

/// A range that holds the rows of the last days.
const RECENT: [(&str, &str); 2] = [("from", "2026-11-19T00:00:00Z"), ("to", NOW)];

fn recent(rows: &[Row]) -> impl Iterator<Item = &Row> {
    within(rows, "2026-11-19T00:00:00Z", NOW)
}

/// `parameters` about the last days.
fn about<'a>(parameters: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&RECENT[..], parameters].concat()
}

fn as_texts<K: ToString>(groups: BTreeMap<K, Counts>) -> BTreeMap<String, Counts> {
    groups.into_iter().map(|(key, counts)| (key.to_string(), counts)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_the_members_of_the_contract_in_its_order() {
    let (app, rows) = TestApp::seeded().await;
    let response = app
        .get("/metrics", &[("event_name", "product_view"), ("group_by", "channel"), ("from", "1795000000"), ("to", "1795262400")])
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["tidemark-as-of"], "0:300");
    assert_eq!(response.headers()["tidemark-fresh"], "false");
    assert_eq!(response.headers()["x-truncated"], "false");
    let text = response.text().await.unwrap();
    let places: Vec<usize> = [
        "event_name",
        "from",
        "to",
        "grouped_by",
        "group_by",
        "total_events",
        "unique_users",
        "uniques",
        "data",
        "as_of",
        "fresh",
        "took_ms",
    ]
    .iter()
    .map(|name| text.find(&format!("\"{name}\":")).expect(name))
    .collect();
    assert!(places.is_sorted(), "{text}");
    let answer: Value = serde_json::from_str(&text).unwrap();
    let expected = counts(
        rows.iter()
            .filter(|row| row.event_name == "product_view" && (1_795_000_000_000_000..=1_795_262_400_000_000).contains(&row.timestamp)),
    );
    assert_eq!(totals(&answer), expected);
    for (name, value) in [
        ("event_name", json!("product_view")),
        ("from", json!(1_795_000_000)),
        ("to", json!(1_795_262_400)),
        ("uniques", json!("exact")),
        ("as_of", json!({"0": 300})),
        ("fresh", json!(false)),
        ("grouped_by", json!("channel")),
    ] {
        assert_eq!(answer[name], value, "{name}");
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_parameters_the_last_24_hours_are_counted() {
    let (app, rows) = TestApp::seeded().await;
    let answer = app.json("/metrics", &[]).await;
    assert_eq!(totals(&answer), counts(within(&rows, "2026-11-20T12:00:00Z", NOW)));
    assert_eq!((&answer["group_by"], &answer["event_name"], &answer["data"]), (&Value::Null, &Value::Null, &json!([])));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_takes_exactly_its_rows() {
    let (app, rows) = TestApp::seeded().await;
    type Filter = fn(&Row) -> bool;
    let filters: [(&str, &str, Filter); 7] = [
        ("event_name", "purchase", |row| row.event_name == "purchase"),
        ("channel", "web", |row| row.channel == Some("web")),
        ("campaign_id", "autumn", |row| row.campaign_id == Some("autumn")),
        ("site_id", "blog", |row| row.site_id == Some("blog")),
        ("user_id", "user-7", |row| row.user_id.as_deref() == Some("user-7")),
        ("tag", "sale", |row| row.tags.as_ref().is_some_and(|tags| tags.contains(&"sale"))),
        ("channel", "' OR 1=1 --", |_| false),
    ];
    for (name, value, is_taken) in filters {
        let answer = app.json("/metrics", &about(&[(name, value)])).await;
        assert_eq!(totals(&answer), counts(recent(&rows).filter(|row| is_taken(row))), "{name}={value}");
    }
    let all: Vec<(&str, &str)> = filters[..6].iter().map(|(name, value, _)| (*name, *value)).collect();
    let answer = app.json("/metrics", &about(&all)).await;
    assert_eq!(totals(&answer), counts(recent(&rows).filter(|row| filters[..6].iter().all(|(.., is_taken)| is_taken(row)))));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_ends_of_the_range_are_included_to_the_microsecond() {
    let (app, rows) = TestApp::seeded().await;
    let row = &rows[17];
    let at = DateTime::from_timestamp_micros(row.timestamp).unwrap().to_rfc3339();
    let later = DateTime::from_timestamp_micros(row.timestamp + 1).unwrap().to_rfc3339();
    let same_instant = counts(rows.iter().filter(|other| other.timestamp == row.timestamp));
    assert_eq!(totals(&app.json("/metrics", &[("from", &at), ("to", &at)]).await), same_instant);
    let missed = counts(rows.iter().filter(|other| other.timestamp == row.timestamp + 1));
    assert_eq!(totals(&app.json("/metrics", &[("from", &later), ("to", &later)]).await), missed);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_group_by_their_value_and_absence_is_a_group_of_its_own() {
    let (app, rows) = TestApp::seeded().await;
    type Dimension = fn(&Row) -> Option<&str>;
    let dimensions: [(&str, Dimension); 5] = [
        ("channel", |row| row.channel),
        ("event_name", |row| Some(row.event_name)),
        ("campaign_id", |row| row.campaign_id),
        ("site_id", |row| row.site_id),
        ("path", |row| row.path),
    ];
    for (name, value) in dimensions {
        let answer = app.json("/metrics", &about(&[("group_by", name)])).await;
        assert_eq!(groups(&answer), grouped(recent(&rows), |row| vec![text(value(row))]), "{name}");
        assert_eq!(totals(&answer), counts(recent(&rows)), "{name}");
        let shown: Vec<u64> = answer["data"].as_array().unwrap().iter().map(|group| totals(group).total).collect();
        assert!(shown.is_sorted_by_key(|total| Reverse(*total)), "{name}: {shown:?}");
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_with_several_tags_is_in_several_groups_but_once_in_the_total() {
    let (app, rows) = TestApp::seeded().await;
    let answer = app.json("/metrics", &about(&[("group_by", "tag")])).await;
    let expected = grouped(recent(&rows), |row| {
        let mut tags: Vec<String> = row.tags.iter().flatten().map(|tag| text(Some(tag))).collect();
        tags.dedup();
        if tags.is_empty() { vec![text(None)] } else { tags }
    });
    assert_eq!(groups(&answer), expected);
    assert_eq!(totals(&answer), counts(recent(&rows)));
    let filtered = app.json("/metrics", &about(&[("group_by", "tag"), ("tag", "sale")])).await;
    assert!(groups(&filtered).contains_key("\"new\""), "the filter chooses events, the groups are all their tags");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_dimensions_make_a_group_of_each_pair() {
    let (app, rows) = TestApp::seeded().await;
    let day = |row: &Row| label(utc(row.timestamp.div_euclid(86_400_000_000) * 86_400_000_000));
    let answer = app.json("/metrics", &about(&[("group_by", "day,channel")])).await;
    assert_eq!(answer["group_by"], "day,channel");
    assert_eq!(groups(&answer), grouped(recent(&rows), |row| vec![format!("[{},{}]", day(row), text(row.channel))]));
    let order: Vec<(i64, Reverse<u64>)> = answer["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|group| (group["bucket_start"].as_i64().unwrap(), Reverse(totals(group).total)))
        .collect();
    assert!(order.is_sorted(), "time ascending, then total descending: {order:?}");
    let tagged = app.json("/metrics", &about(&[("group_by", "tag,event_name")])).await;
    assert_eq!(tagged["data"][0]["groups"].as_array().unwrap().len(), 2);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_and_the_limit_are_those_asked_for() {
    let (app, rows) = TestApp::seeded().await;
    let expected = as_texts(grouped(recent(&rows), |row| vec![text(row.channel)]));
    let keys = async |parameters: &[(&str, &str)]| {
        app.json("/metrics", &about(parameters)).await["data"].as_array().unwrap().iter().map(key).collect::<Vec<_>>()
    };
    assert_eq!(keys(&[("group_by", "channel"), ("order", "key")]).await, ["\"android\"", "\"ios\"", "\"web\"", "null"]);
    let mut by_total: Vec<(Reverse<u64>, bool, String)> =
        expected.iter().map(|(key, counts)| (Reverse(counts.total), key == "null", key.clone())).collect();
    by_total.sort();
    let top: Vec<String> = by_total.into_iter().map(|(.., key)| key).take(2).collect();
    assert_eq!(keys(&[("group_by", "channel"), ("order", "-total"), ("limit", "2")]).await, top);
    let hours = keys(&[("group_by", "hour"), ("order", "-total")]).await;
    assert!(!hours.is_sorted(), "hours by total are not in the order of time");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn approximate_users_are_near_and_say_so() {
    let (app, rows) = TestApp::seeded().await;
    let answer = app.json("/metrics", &about(&[("uniques", "approx"), ("group_by", "event_name")])).await;
    let exact = counts(recent(&rows));
    let shown = totals(&answer);
    assert_eq!((answer["uniques"].as_str(), shown.total), (Some("approx"), exact.total));
    assert!(shown.unique.abs_diff(exact.unique) * 20 <= exact.unique, "{shown:?} against {exact:?}");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_beyond_max_rows_are_left_out_and_it_is_said() {
    let (app, _) = TestApp::seeded_with(query::Config { max_rows: 3, ..config() }).await;
    let response = app.get("/metrics", &about(&[("group_by", "channel")])).send().await.unwrap();
    assert_eq!(response.headers()["x-truncated"], "true");
    assert_eq!(response.json::<Value>().await.unwrap()["data"].as_array().unwrap().len(), 3);
    let asked = app.get("/metrics", &about(&[("group_by", "channel"), ("limit", "3")])).send().await.unwrap();
    assert_eq!(asked.headers()["x-truncated"], "false", "the client asked for three");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_without_rows_is_zero_and_not_an_error() {
    let app = TestApp::empty(config()).await;
    let answer = app.json("/metrics", &about(&[("group_by", "day"), ("fill", "zero")])).await;
    assert_eq!(totals(&answer), Counts::default());
    assert_eq!((answer["data"].as_array().unwrap().len(), &answer["as_of"]), (3, &json!({})));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_commit_is_in_the_next_answer() {
    let app = TestApp::empty(config()).await;
    let rows = rows::seeded(9, 1);
    assert_eq!(totals(&app.json("/metrics", &RECENT).await).total, 0);
    app.commit(&rows, 100).await;
    let answer = app.json("/metrics", &[&RECENT[..], &[("at_least", "0:100:3")]].concat()).await;
    assert_eq!((totals(&answer), &answer["as_of"]), (counts(recent(&rows)), &json!({"0": 100})));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_does_not_come_is_a_503_that_says_how_far_it_is() {
    let config = query::Config { timeout: "300ms".parse().unwrap(), ..config() };
    let app = TestApp::empty(config).await;
    let began = std::time::Instant::now();
    let response = app.get("/metrics", &[("at_least", "0:5")]).send().await.unwrap();
    assert!(response.headers().contains_key("retry-after"));
    let (status, problem) = crate::app::problem_of(response).await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("position_not_visible")));
    assert!(problem["detail"].as_str().unwrap().contains("`0:5` is not visible yet"), "{problem}");
    assert!(began.elapsed().as_millis() >= 200, "it waited");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_question_is_told_with_what_would_be_right() {
    let app = TestApp::empty(config()).await;
    let cases = [
        ("from", "2026-11-22T00:00:00Z", "lies after `to`"),
        ("group_by", "chanel", "did you mean `channel`?"),
        ("limit", "many", "from 1 to"),
        ("chanel", "web", "did you mean `channel`?"),
        ("tz", "Mars/Base", "IANA"),
        ("at_least", "latest", "shard:sequence"),
    ];
    for (name, value, right) in cases {
        let (status, problem) = app.problem("/metrics", &[(name, value)]).await;
        assert_eq!((status, problem["code"].as_str(), problem["parameter"].as_str()), (400, Some("invalid_parameter"), Some(name)));
        assert!(problem["detail"].as_str().unwrap().contains(right), "{name}={value}: {problem}");
    }
    app.end().await;
}
