use std::{cmp::Reverse, collections::BTreeMap};

use serde_json::{Value, json};

use crate::{
    app::TestApp,
    counted::counts,
    rows::{Row, us},
};

fn on_day<'a>(rows: &'a [Row], site: &'a str, day: &str) -> Vec<&'a Row> {
    let start = us(&format!("{day}T00:00:00Z"));
    rows.iter().filter(|row| row.site_id == Some(site) && (start..start + 86_400_000_000).contains(&row.timestamp)).collect()
}

/// What the route must answer about these events.
fn expected(site: &str, day: &str, views: &[&Row], top: usize) -> Value {
    let mut paths: BTreeMap<&str, u64> = BTreeMap::new();
    for path in views.iter().filter_map(|row| row.path) {
        *paths.entry(path).or_default() += 1;
    }
    let mut paths: Vec<(&str, u64)> = paths.into_iter().collect();
    paths.sort_by_key(|(path, views)| (Reverse(*views), *path));
    let top_paths: Vec<Value> = paths.into_iter().take(top).map(|(path, views)| json!({"path": path, "views": views})).collect();
    let all = counts(views.iter().copied());
    json!({"site_id": site, "date": day, "total_views": all.total, "unique_users": all.unique, "top_paths": top_paths})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_site_has_its_page_views_of_today() {
    let (app, rows) = TestApp::seeded().await;
    let mut views = on_day(&rows, "shop", "2026-11-21");
    views.retain(|row| row.event_name == "page_view");
    assert!(!views.is_empty());
    assert_eq!(app.json("/stats", &[("site_id", "shop")]).await, expected("shop", "2026-11-21", &views, 10));
    assert_eq!(app.json("/stats", &[("site_id", "shop"), ("top", "2")]).await, expected("shop", "2026-11-21", &views, 2));
    let response = app.get("/stats", &[("site_id", "shop"), ("at_least", "0:300")]).send().await.unwrap();
    assert_eq!(response.headers()["tidemark-as-of"], "0:300");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn any_day_and_any_kind_of_event_can_be_asked_for() {
    let (app, rows) = TestApp::seeded().await;
    for day in ["1969-12-31", "1970-01-01", "2026-10-25"] {
        let all = on_day(&rows, "blog", day);
        assert_eq!(
            app.json("/stats", &[("site_id", "blog"), ("date", day), ("event_type", "*")]).await,
            expected("blog", day, &all, 10),
            "{day}"
        );
        let signups: Vec<&Row> = all.into_iter().filter(|row| row.event_name == "signup").collect();
        assert_eq!(
            app.json("/stats", &[("site_id", "blog"), ("date", day), ("event_type", "signup")]).await,
            expected("blog", day, &signups, 10),
            "{day}"
        );
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_without_events_is_zero() {
    let (app, _) = TestApp::seeded().await;
    assert_eq!(app.json("/stats", &[("site_id", "shop"), ("date", "2031-01-01")]).await, expected("shop", "2031-01-01", &[], 10));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_without_a_site_or_with_a_wrong_day_is_refused() {
    let (app, _) = TestApp::seeded().await;
    assert!(app.problem("/stats", &[]).await.1["detail"].as_str().unwrap().contains("`site_id`: is required"));
    assert!(
        app.problem("/stats", &[("site_id", "shop"), ("date", "21.11.2026")]).await.1["detail"].as_str().unwrap().contains("YYYY-MM-DD")
    );
    app.end().await;
}
