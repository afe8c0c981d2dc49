use std::time::Duration;

use query::Config;
use reqwest::Response;
use service::settings::ByteSize;

use crate::app::{TestApp, config, problem_of};

/// Holds about 3 MiB as long as nobody reads its rows to their end.
const HOLDS_MEMORY: &str =
    "SELECT a.metadata FROM (SELECT metadata FROM events, generate_series(1, 4)) a, generate_series(1, 1000000000) b";
/// More statements than fit.
const MANY: usize = 16;

/// Each makes an operator keep more than there is, which the operator itself does not tell.
const KEEPS_TOO_MUCH: [&str; 6] = [
    "SELECT count(*) OVER () AS n, a.metadata FROM events a, events b, events c",
    "SELECT sum(a._index) OVER (ORDER BY 1) AS n, a.path || b.path FROM events a, events b, events c",
    "SELECT max(n) FROM (SELECT sum(a._index) OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS n FROM events a, events b)",
    "SELECT a.event_name, array_agg(a.metadata) FROM events a, events b, events c GROUP BY 1",
    "SELECT a.event_name, median(a._index + b._index), count(*) FROM events a, events b, events c GROUP BY 1",
    "SELECT cardinality(array_agg(s)) FROM (SELECT repeat(path, 100) || event_name AS s FROM events, generate_series(1, 20) LIMIT 1000000)",
];
/// Each has more rows than could be kept, and does not need to.
const KEEPS_LITTLE: [(&str, u64); 2] = [
    ("SELECT max(n) AS n FROM (SELECT row_number() OVER () AS n FROM generate_series(1, 3000000))", 3_000_000),
    (
        "SELECT count(p) AS n FROM (SELECT lag(value) OVER (PARTITION BY value / 1000 ORDER BY value) AS p FROM generate_series(1, 250000))",
        250_000 - 251,
    ),
];

/// Each has an operator that takes some KiB for a batch of one row, and says nothing about them; and what it answers.
const MAKES_SMALL_BATCHES: [(&str, &str); 2] = [
    (
        "SELECT n FROM (SELECT path || n AS n FROM (SELECT DISTINCT path FROM events WHERE path = '/'), (VALUES ('2'), ('1')) v(n)) ORDER BY n",
        r#"[{"n":"/1"},{"n":"/2"}]"#,
    ),
    (
        "WITH RECURSIVE n AS (SELECT 1 AS x UNION ALL SELECT x + 1 FROM n WHERE x < 20000) SELECT cardinality(array_agg(x)) AS n FROM n",
        r#"[{"n":20000}]"#,
    ),
];

/// Streams that are not read, as many as can be had, and why there are no more.
async fn streams_without_a_reader(app: &TestApp) -> (Vec<Response>, String) {
    let mut streams = Vec::new();
    loop {
        let response = app.post("/sql?format=csv", HOLDS_MEMORY).send().await.unwrap();
        if response.status() != 200 {
            return (streams, problem_of(response).await.1["code"].as_str().unwrap().to_owned());
        }
        streams.push(response);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_that_has_all_its_memory_leaves_metrics_their_part_and_gives_it_back() {
    let (app, _) = TestApp::seeded_with(Config { memory: ByteSize(16 << 20), max_queries: MANY, ..config() }).await;
    let (streams, why_no_more) = streams_without_a_reader(&app).await;
    println!("{} streams fill the memory of SQL", streams.len());
    assert!(streams.len() >= 2 && why_no_more == "out_of_memory", "{} streams, then {why_no_more}", streams.len());
    let by_minute = [("from", "1970-01-01T00:00:00Z"), ("group_by", "minute"), ("uniques", "exact")];
    assert!(app.json("/metrics", &by_minute).await["total_events"].as_u64().unwrap() > 6_000);
    assert!(app.json("/stats", &[("site_id", "shop"), ("date", "2026-11-20")]).await["total_views"].as_u64().unwrap() > 0);

    let held = streams.len();
    drop(streams);
    testkit::until("the memory to be free again", Duration::from_secs(60), async || {
        (streams_without_a_reader(&app).await.0.len() == held).then_some(())
    })
    .await;
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_keeps_counts_whether_it_says_so_or_not() {
    // What a refused statement kept is free a moment after its answer: with memory of its own none is judged by what others left behind.
    let with_memory_of_its_own = || TestApp::seeded_with(Config { memory: ByteSize(16 << 20), ..config() });
    for sql in KEEPS_TOO_MUCH {
        let (app, _) = with_memory_of_its_own().await;
        let (status, problem) = app.sql_problem(sql).await;
        assert_eq!((status, problem["code"].as_str()), (422, Some("out_of_memory")), "{sql}: {problem}");
        app.end().await;
    }
    for (sql, n) in KEEPS_LITTLE {
        let (app, _) = with_memory_of_its_own().await;
        assert_eq!(app.sql(sql).await, [serde_json::json!({"n": n})], "{sql}");
        app.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_ors_are_too_long_or_too_deep_and_never_end_the_process() {
    let ors = format!("SELECT count(*) AS n FROM events WHERE _index = -1{}", " OR _index = 7".repeat(20_000));
    let (app, _) = TestApp::seeded().await;
    assert_eq!(app.sql_problem(&ors).await.0, 413, "with the default `query.max_sql`");
    app.end().await;
    let (app, rows) = TestApp::seeded_with(Config { max_sql: ByteSize(1 << 20), ..config() }).await;
    let (status, problem) = app.sql_problem(&ors).await;
    assert!(status == 400 && problem["detail"].as_str().unwrap().contains("nested too deeply"), "{problem}");
    let list = format!("SELECT count(*) AS n FROM events WHERE _index IN (-1{})", ", 7".repeat(20_000));
    let sevens = rows.iter().filter(|row| row.index == 7).count();
    assert_eq!(app.sql(&list).await, [serde_json::json!({"n": sevens})], "what the hint says works");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn small_batches_are_put_together_before_an_operator_to_which_each_is_dear() {
    for threads in [1, 2] {
        let (app, _) = TestApp::seeded_with(Config { threads, ..config() }).await;
        for (statement, expected) in MAKES_SMALL_BATCHES {
            let plan = serde_json::Value::from(app.sql(&format!("EXPLAIN {statement}")).await).to_string();
            let lines: Vec<&str> = plan.split("\\n").map(str::trim).collect();
            let is_dear = |line: &str| {
                line.starts_with("SortExec")
                    || line.contains("array_agg") && !line.contains("mode=Final") && line.starts_with("AggregateExec")
            };
            let at = lines.iter().position(|line| is_dear(line)).unwrap_or_else(|| panic!("{plan}"));
            assert_eq!(lines[at + 1], "Watched: small batches put together", "{threads} threads: {plan}");
            assert_eq!(serde_json::Value::from(app.sql(statement).await).to_string(), expected);
        }
        app.end().await;
    }
}
