//! Approximate questions are answered from the summaries in the files: as a scan would, and without one.

use std::{path::PathBuf, time::Duration};

use rand::{Rng, SeedableRng, rngs::SmallRng, seq::IndexedRandom};
use serde_json::Value;
use table::{Change, DataFile};

use crate::{
    app::{TestApp, config},
    counted::counts,
    rows::{self, NOW, Row, us},
};

/// Every row has it, so asking for it changes nothing, but no summary knows it.
const SITE: &str = "shop";
const DAYS: (&str, &str) = ("2026-11-19T00:00:00Z", "2026-11-21T23:59:59.999999Z");

fn of_one_site(seed: u64, sequence: i64) -> Vec<Row> {
    let mut rows = rows::seeded(seed, sequence);
    rows.iter_mut().for_each(|row| row.site_id = Some(SITE));
    rows
}

/// Three commits and rows above them: every file and the tail have rows of every hour.
async fn app() -> (TestApp, Vec<Row>) {
    app_with(config()).await
}

async fn app_with(config: query::Config) -> (TestApp, Vec<Row>) {
    let tail = of_one_site(4, 301);
    let app = TestApp::above(config, 300, &tail).await;
    let mut all = tail;
    for (seed, sequence) in [(1, 1), (2, 101), (3, 201)] {
        let rows = of_one_site(seed, sequence);
        app.commit(&rows, u64::try_from(sequence).unwrap() + 99).await;
        all.extend(rows);
    }
    (app, all)
}

/// The answer without what differs between two equal answers.
async fn answer(app: &TestApp, parameters: &[(&str, &str)]) -> Value {
    let mut answer = app.json("/metrics", parameters).await;
    answer.as_object_mut().unwrap().remove("took_ms");
    answer
}

/// Merges the files of some day and deletes them, so that nothing can be read from them any more.
async fn merge_a_day(app: &TestApp, random: &mut SmallRng) {
    let snapshot = app.events.snapshot().await.unwrap();
    let days: Vec<&[DataFile]> = snapshot.files().chunk_by(|one, next| one.date == next.date).filter(|day| day.len() > 1).collect();
    let day = days.choose(random).unwrap().to_vec();
    let into = app.events.merge(&day).await.unwrap();
    app.events.replace(day.clone(), into, Change::Layout, chrono::DateTime::UNIX_EPOCH).await.unwrap().unwrap();
    day.iter().for_each(|file| std::fs::remove_file(app.folder().join(&*file.path)).unwrap());
    let reads_the_merged = async || {
        let answer = app.post("/sql?format=csv", "SELECT count(DISTINCT user_id || path) FROM events").send().await.unwrap();
        answer.status().is_success().then_some(())
    };
    testkit::until("queries to look at the table again", Duration::from_secs(10), reads_the_merged).await;
}

/// Any question that a summary may answer.
fn question(random: &mut SmallRng) -> Vec<(&'static str, String)> {
    let spans = [
        ("2026-11-18T00:00:00Z", NOW),
        ("2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z"),
        ("1969-12-29T00:00:00Z", "1970-01-03T00:00:00Z"),
        ("1900-01-01T00:00:00Z", NOW),
    ];
    let (first, last) = *spans.choose(random).unwrap();
    let (first, last) = (us(first), us(last));
    let mut ends = [random.random_range(first..=last), random.random_range(first..=last)];
    ends.sort_unstable();
    if random.random_bool(0.3) {
        ends = ends.map(|us| us.div_euclid(3_600_000_000) * 3_600_000_000);
    }
    let time = |us: i64| chrono::DateTime::from_timestamp_micros(us).unwrap().to_rfc3339();
    let mut question = vec![("from", time(ends[0])), ("to", time(ends[1])), ("uniques", "approx".to_owned())];
    let mut maybe = |name, values: &[&str]| {
        if let Some(value) = values.choose(random).filter(|value| !value.is_empty()) {
            question.push((name, (*value).to_owned()));
        }
    };
    maybe("event_name", &["", "", "page_view", "purchase", "nothing"]);
    maybe("channel", &["", "", "web", "ios"]);
    maybe("tz", &["", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"]);
    maybe(
        "group_by",
        &["", "hour", "day", "week", "month", "channel", "event_name", "hour,channel", "event_name,day", "channel,event_name"],
    );
    question
}

#[tokio::test(flavor = "multi_thread")]
async fn a_summary_answers_as_the_rows_would() {
    let (app, rows) = app().await;
    let mut random = SmallRng::seed_from_u64(7);
    for turn in 0..150 {
        let question = question(&mut random);
        let question: Vec<(&str, &str)> = question.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let mut by_summary = answer(&app, &question).await;
        if turn % 25 == 10 {
            merge_a_day(&app, &mut random).await;
            let after = answer(&app, &question).await;
            assert_eq!(by_summary, after, "a merge changes no answer: {question:?}");
            by_summary = after;
        }
        assert_eq!(by_summary, answer(&app, &[&question[..], &[("site_id", SITE)]].concat()).await, "{question:?}");
        let value = |name: &str| question.iter().find(|(key, _)| *key == name).map(|(_, value)| *value);
        let range = us(value("from").unwrap())..=us(value("to").unwrap());
        let taken = rows.iter().filter(|row| {
            range.contains(&row.timestamp)
                && value("event_name").is_none_or(|name| row.event_name == name)
                && value("channel").is_none_or(|channel| row.channel == Some(channel))
        });
        let exact = counts(taken);
        assert_eq!(by_summary["total_events"], exact.total, "{question:?}");
        let unique = by_summary["unique_users"].as_u64().unwrap();
        assert!(unique.abs_diff(exact.unique) * 100 <= 5 * exact.unique, "{question:?}: {unique} for {}", exact.unique);
        assert_eq!(by_summary["uniques_error"], 0.031);
    }
    app.end().await;
}

/// The data files of the app's table.
fn data_files(app: &TestApp) -> Vec<PathBuf> {
    let days = std::fs::read_dir(app.folder().join("events")).unwrap().map(|day| day.unwrap().path());
    let days = days.filter(|day| day.to_str().unwrap().contains("event_date="));
    days.flat_map(|day| std::fs::read_dir(day).unwrap().map(|file| file.unwrap().path())).collect()
}

/// Where the summary of a file begins.
fn summary_begins(bytes: &[u8]) -> usize {
    let text = String::from_utf8_lossy(bytes);
    let directory = &text[text.rfind(r#"{"version":1,"levels""#).unwrap()..];
    let directory: Value = serde_json::Deserializer::from_str(directory).into_iter().next().unwrap().unwrap();
    usize::try_from(directory["levels"]["hour"]["offset"].as_u64().unwrap()).unwrap()
}

fn rewrite(app: &TestApp, change: impl Fn(&mut [u8], usize)) {
    for path in data_files(app) {
        let mut bytes = std::fs::read(&path).unwrap();
        let begins = summary_begins(&bytes);
        change(&mut bytes, begins);
        std::fs::write(&path, bytes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_hours_are_answered_without_a_look_at_the_rows() {
    let (app, rows) = app().await;
    rewrite(&app, |bytes, summary| bytes[4..summary].fill(0));
    let whole = [("from", DAYS.0), ("to", DAYS.1), ("uniques", "approx"), ("group_by", "hour"), ("event_name", "page_view")];
    let range = us(DAYS.0)..=us(DAYS.1);
    let expected = counts(rows.iter().filter(|row| range.contains(&row.timestamp) && row.event_name == "page_view"));
    assert_eq!(answer(&app, &whole).await["total_events"], expected.total);
    let (status, problem) = app.problem("/metrics", &[&whole[..], &[("site_id", SITE)]].concat()).await;
    assert_eq!((status, &problem["code"]), (503, &"tables_unavailable".into()), "no rows are left to count");
    assert!(problem["detail"].as_str().unwrap().ends_with("an operator finds the cause with `tidemark doctor`"), "{problem:#}");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_summary_is_not_believed() {
    let (app, _) = app_with(query::Config { cache: "0 B".parse().unwrap(), ..config() }).await;
    let question = [("from", DAYS.0), ("to", DAYS.1), ("uniques", "approx"), ("group_by", "hour")];
    let right = answer(&app, &question).await;
    for place in (0..4000).step_by(37) {
        let damage = |bytes: &mut [u8], summary: usize| bytes[summary + place] ^= 0x01;
        rewrite(&app, damage);
        assert_eq!(answer(&app, &question).await, right, "a bit at {place}");
        rewrite(&app, damage);
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_counted_once_for_all_questions_of_one_shape() {
    let (app, rows) = app().await;
    let ask = async |kind: &str| answer(&app, &[("from", DAYS.0), ("to", DAYS.1), ("uniques", kind), ("group_by", "day,path")]).await;
    let (exact, approx) = (ask("exact").await, ask("approx").await);
    data_files(&app).iter().for_each(|file| std::fs::write(file, b"").unwrap());
    assert_eq!((ask("exact").await, ask("approx").await), (exact, approx), "from what was kept");
    let other = [("from", "2026-11-20T00:00:00Z"), ("to", "2026-11-20T11:00:00Z"), ("group_by", "day,path")];
    assert_eq!(app.problem("/metrics", &other).await.0, 503, "a part of a file is another question");
    assert!(rows.len() > 1000);
    app.end().await;
}
