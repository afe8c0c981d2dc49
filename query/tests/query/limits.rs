use std::time::{Duration, Instant};

use query::Config;
use serde_json::{Value, json};
use service::settings::ByteSize;

use crate::{
    app::{TestApp, config, problem_of},
    rows::us,
};

/// More work than any test waits for: 10^12 pairs, and no row comes out.
const ENDLESS: &str = "WITH few AS (SELECT _index FROM events LIMIT 1000)
    SELECT count(*) FROM few a, few b, few c, few d WHERE a._index + b._index + c._index + d._index = -1";

#[tokio::test(flavor = "multi_thread")]
async fn a_query_beyond_its_time_is_stopped() {
    let (app, rows) = TestApp::seeded().await;
    let began = Instant::now();
    let (status, problem) = problem_of(app.post("/sql?timeout_ms=300", ENDLESS).send().await.unwrap()).await;
    assert_eq!((status, problem["code"].as_str()), (503, Some("query_timeout")));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(app.sql("SELECT count(*) AS n FROM events").await, [json!({"n": rows.len()})], "the threads are free again");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_beyond_its_memory_is_refused_and_the_next_one_runs() {
    let (app, rows) = TestApp::seeded_with(Config { memory: ByteSize(4 << 20), ..config() }).await;
    let hungry =
        "SELECT a.metadata || b.event_name || CAST(b._sequence AS TEXT) AS text, count(*) FROM events a, events b GROUP BY 1 LIMIT 1";
    let (status, problem) = app.sql_problem(hungry).await;
    assert_eq!((status, problem["code"].as_str()), (422, Some("out_of_memory")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("query.memory"));
    assert_eq!(app.sql("SELECT count(*) AS n FROM events").await, [json!({"n": rows.len()})]);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_never_makes_more_than_memory_can_hold() {
    let (app, rows) = TestApp::seeded().await;
    for call in [
        "repeat('x', 10000000000)",
        "repeat(path, 100000000)",
        "array_repeat(_index, 1000000000)",
        "lpad(path, 2000000000, 'é')",
        "rpad('x', 2000000000)",
        "array_resize(tags, 2000000000)",
        "replace(repeat(path, 20000), '/', repeat(path, 20000))",
        "generate_series(1, 10000000000)",
        "range(10000000000)",
        "generate_series(timestamp, timestamp + INTERVAL '100 years', INTERVAL '1 second')",
    ] {
        let (status, problem) = app.sql_problem(&format!("SELECT {call} FROM events")).await;
        assert_eq!((status, problem["code"].as_str()), (422, Some("sql_failed")), "{call}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("at most 64 MiB"), "{call}: {problem}");
    }
    let small = "SELECT repeat('ab', 2) || lpad('1', 3, '0') || replace('aba', 'b', 'cc') AS text, range(3) AS numbers,
        generate_series(DATE '2026-01-01', DATE '2026-03-01', INTERVAL '1 month') AS months";
    let months = ["2026-01-01", "2026-02-01", "2026-03-01"];
    assert_eq!(app.sql(small).await, [json!({"text": "abab001acca", "numbers": [0, 1, 2], "months": months})]);
    assert_eq!(app.sql("SELECT count(*) AS n FROM events").await, [json!({"n": rows.len()})]);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_element_without_a_text_takes_its_place_in_a_list_all_the_same() {
    let (app, _) = TestApp::seeded().await;
    let of_one_row = |expression: &str| format!("SELECT {expression} AS n FROM (SELECT path FROM events LIMIT 1)");
    for call in [
        "cardinality(array_repeat(left(path, 0), 20000000))",
        "length(array_to_string(array_repeat(left(path, 0), 1000000), repeat('x', 100)))",
        "length(array_to_string(array_repeat(nullif(path, path), 1000000), '', repeat(path, 5000)))",
    ] {
        let (status, problem) = app.sql_problem(&of_one_row(call)).await;
        assert!(status == 422 && problem["detail"].as_str().unwrap().contains("at most 64 MiB"), "{call}: {problem}");
    }
    let texts = "SELECT left(CAST(value AS VARCHAR), 0) AS e FROM generate_series(1, 20000)";
    let wide = format!("SELECT sum(cardinality([{}])) AS n FROM ({texts})", vec!["e"; 1_000].join(","));
    let (status, problem) = app.sql_problem(&wide).await;
    assert!(status == 422 && problem["detail"].as_str().unwrap().contains("at most 64 MiB"), "{problem}");
    let of_numbers = "SELECT count(*) AS n FROM (SELECT range(5000) AS l) a, (SELECT 1 FROM events LIMIT 3) b WHERE cardinality(l) = 5000";
    assert_eq!(app.sql(of_numbers).await, [json!({"n": 3})]);
    let repeated =
        "SELECT sum(cardinality(a.l)) AS n FROM (SELECT array_agg(left(a.path, 0)) AS l FROM events a, generate_series(1, 2)) a, events b";
    let (status, problem) = app.sql_problem(repeated).await;
    assert!(status == 422 && problem["detail"].as_str().unwrap().contains("would be repeated"), "{problem}");
    assert_eq!(app.sql(&of_one_row("cardinality(array_repeat(left(path, 0), 1000))")).await, [json!({"n": 1000})]);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_are_too_long_to_be_compared_are_refused_before() {
    let (app, _) = TestApp::seeded().await;
    let (status, problem) = app.sql_problem("SELECT levenshtein(repeat(path, 10000), repeat(event_name, 10000)) FROM events").await;
    assert_eq!((status, problem["code"].as_str()), (422, Some("sql_failed")), "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("steps for one batch of rows"), "{problem}");
    let of_constants = "SELECT levenshtein(repeat('a', 1000000), repeat('b', 1000000)) FROM events";
    assert_eq!(app.sql_problem(of_constants).await.0, 422, "nor is it computed while it is planned");
    assert_eq!(app.sql("SELECT levenshtein('kitten', 'sitting') AS n").await, [json!({"n": 3})]);
    assert_eq!(app.sql("SELECT max(levenshtein(path, event_name)) > 0 AS is_any FROM events").await, [json!({"is_any": true})]);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_joined_and_many_calls_together_never_make_more_than_memory_can_hold() {
    let (app, _) = TestApp::seeded().await;
    // Ten megabytes for each million.
    let text = |millions: usize, at: usize| format!("repeat('0123456789', {millions}000000 + {at} * _index)");
    let of_one_row = |expression: &str| format!("SELECT {expression} AS n FROM (SELECT _index FROM events WHERE _index = 0 LIMIT 1)");
    let doubled = |times: usize| {
        let twice = |rows: String, at| format!("SELECT s{at} || s{at} AS s{} FROM ({rows})", at + 1);
        let rows = of_one_row(&text(1, 1)).replace(" AS n ", " AS s0 ");
        format!("SELECT length(s{times}) AS n FROM ({})", (0..times).fold(rows, twice))
    };
    let together = |calls: usize| of_one_row(&(1..=calls).map(|at| format!("length({})", text(4, at))).collect::<Vec<_>>().join(" + "));
    assert_eq!(app.sql(&doubled(2)).await, [json!({"n": 40_000_000})]);
    assert_eq!(app.sql(&together(2)).await, [json!({"n": 80_000_000})]);
    for (sql, reason) in
        [(doubled(3), "`||` would make 80000000 bytes"), (together(16), "at most 32 MiB are possible, less where many calls")]
    {
        let (status, problem) = app.sql_problem(&sql).await;
        assert_eq!((status, problem["code"].as_str()), (422, Some("sql_failed")), "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(reason), "{problem}");
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_stands_twice_is_computed_twice_or_refused() {
    const ROWS: &str = "(SELECT column1 AS s FROM (VALUES (1), (2), (3)))";
    let (app, _) = TestApp::seeded().await;
    let doubled = format!("(SELECT s + s AS s FROM {ROWS})");
    let between = [
        doubled.clone(),
        format!("{doubled} WHERE s > 0"),
        format!("(SELECT s FROM {doubled})"),
        format!("(SELECT s, s AS t, 1 AS one FROM {doubled} WHERE s > 0)"),
        format!("(SELECT s + s AS s FROM {ROWS} LIMIT 3)"),
        format!("(SELECT s + s AS s FROM {ROWS} ORDER BY s)"),
    ];
    for rows in between {
        let (status, problem) = app.sql_problem(&format!("SELECT s + s AS s FROM {rows}")).await;
        assert!(status == 400 && problem["detail"].as_str().unwrap().contains("would be done only once"), "{rows}: {status} {problem}");
        assert_eq!(app.sql(&format!("SELECT sum(t) AS n FROM (SELECT s + s AS t FROM {rows})")).await, [json!({"n": 24})], "{rows}");
    }
    for rows in
        [format!("(SELECT DISTINCT s FROM {doubled})"), format!("{doubled} AS t"), format!("(SELECT s + s AS s, 1 AS one FROM {ROWS})")]
    {
        assert_eq!(app.sql(&format!("SELECT sum(s) AS n FROM (SELECT s + s AS s FROM {rows})")).await, [json!({"n": 24})], "{rows}");
    }
    let same = format!("SELECT s, 1 AS one FROM (SELECT s, 1 AS one FROM {ROWS}) WHERE s = 2");
    assert_eq!(app.sql(&same).await, [json!({"s": 2, "one": 1})], "what is not computed may stand twice");
    app.end().await;
}

/// While the query `mine` has the only place: others are refused, metrics are not; then it is cancelled.
async fn refused_until_cancelled(app: &TestApp) {
    let refused = testkit::until("the only place is taken", Duration::from_secs(20), || async {
        let response = app.post("/sql", "SELECT 1").send().await.unwrap();
        (response.status() == 429).then_some(response)
    });
    let refused = refused.await;
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(problem_of(refused).await.1["code"], "too_many_queries");
    assert_eq!(app.json("/metrics", &[("from", "1970-01-01T00:00:00Z")]).await["fresh"], false, "metrics are not SQL");

    let (status, problem) = problem_of(app.delete("/sql/yours").send().await.unwrap()).await;
    assert_eq!((status, problem["code"].as_str()), (404, Some("no_such_query")));
    assert_eq!(app.delete("/sql/mine").send().await.unwrap().status(), 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_queries_run_than_are_allowed_and_one_ends_when_it_is_cancelled() {
    let (app, rows) = TestApp::seeded_with(Config { max_queries: 1, ..config() }).await;
    // The place may be taken for a moment by one of the short queries that look whether it is.
    let endless = testkit::until("the endless query to have run", Duration::from_secs(60), async || {
        let response = app.post("/sql", ENDLESS).header("x-query-id", "mine").send().await.unwrap();
        (response.status() != 429).then_some(response)
    });
    let (endless, ()) = tokio::join!(endless, refused_until_cancelled(&app));
    let (status, problem) = problem_of(endless).await;
    assert_eq!((status, problem["code"].as_str()), (422, Some("query_cancelled")));
    let is_free = || async { (app.post("/sql", "SELECT 1").send().await.unwrap().status() == 200).then_some(()) };
    testkit::until("its place to be free, once its threads have noticed", Duration::from_secs(20), is_free).await;
    assert_eq!(app.sql("SELECT count(*) AS n FROM events").await, [json!({"n": rows.len()})]);

    let (status, problem) = problem_of(app.post("/sql", "SELECT 1").header("x-query-id", "no id!").send().await.unwrap()).await;
    assert_eq!((status, problem["parameter"].as_str()), (400, Some("x-query-id")));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cancelled_breaks() {
    let (app, _) = TestApp::seeded().await;
    let endless = "SELECT a.value FROM generate_series(1, 100000000) a";
    let mut response = app.post("/sql?format=csv", endless).header("x-query-id", "stream-1").send().await.unwrap();
    assert_eq!(response.headers()["x-query-id"], "stream-1");
    assert!(response.chunk().await.unwrap().is_some());
    assert_eq!(app.delete("/sql/stream-1").send().await.unwrap().status(), 204);
    let broken = async {
        while let Some(_rows) = response.chunk().await? {}
        Ok::<(), reqwest::Error>(())
    };
    assert!(broken.await.is_err(), "a part must not look like the whole");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_beyond_its_length_is_refused() {
    let app = TestApp::empty(Config { max_sql: ByteSize(1024), ..config() }).await;
    let long = format!("SELECT '{}'", "x".repeat(2000));
    let (status, problem) = app.sql_problem(&long).await;
    assert_eq!((status, problem["code"].as_str()), (413, Some("sql_too_long")));
    let (status, _) = app.sql_problem(&"x".repeat(2 << 20)).await;
    assert_eq!(status, 413);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_with_a_limit_says_whether_rows_were_left_out() {
    let (app, rows) = TestApp::seeded_with(Config { max_rows: 100, ..config() }).await;
    let ask = async |url: &str, sql: &str| {
        let response = app.post(url, sql).send().await.unwrap();
        let is_truncated = response.headers()["x-truncated"] == "true";
        (response.text().await.unwrap(), is_truncated)
    };
    let (text, is_truncated) = ask("/sql?format=json", "SELECT path FROM events").await;
    assert_eq!((serde_json::from_str::<Vec<Value>>(&text).unwrap().len(), is_truncated), (100, true));
    let (_, is_truncated) = ask("/sql?format=json", "SELECT path FROM events LIMIT 100").await;
    assert!(!is_truncated, "exactly as many as there may be");
    let (text, is_truncated) = ask("/sql?format=csv&max_rows=7", "SELECT path FROM events").await;
    assert_eq!((text.lines().count(), is_truncated), (8, true));
    let (text, is_truncated) = ask("/sql?format=csv", "SELECT _index FROM events").await;
    assert_eq!((text.lines().count(), is_truncated), (rows.len() + 1, false), "a stream has no limit of its own");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_after_the_first_byte_breaks_the_transfer() {
    let (app, _) = TestApp::seeded().await;
    // The first rows are fine; the text that is no number comes last.
    let sql = "SELECT 1 / (200000 - value) FROM generate_series(1, 300000)";
    let mut response = app.post("/sql?format=csv", sql).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut bytes = 0;
    let outcome = loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes += chunk.len(),
            outcome => break outcome,
        }
    };
    assert!(outcome.is_err() && bytes > 0, "{bytes} bytes, then a clean end");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_is_a_503_and_readiness_says_so() {
    let (app, _) = TestApp::seeded().await;
    let status = async |path: &str| app.get(path, &[]).send().await.unwrap().status().as_u16();
    assert_eq!((status("/metrics").await, status("/readyz").await, status("/livez").await), (200, 200, 200));
    app.watch.set_down(true);
    for (status, problem) in [
        app.problem("/metrics", &[]).await,
        app.problem("/stats", &[("site_id", "shop")]).await,
        app.sql_problem("SELECT path FROM events").await,
    ] {
        assert_eq!((status, problem["code"].as_str()), (503, Some("tables_unavailable")));
        assert!(!problem.to_string().contains("secret"), "{problem}");
    }
    assert_eq!((status("/readyz").await, status("/livez").await), (503, 200));
    let reason: Value = app.get("/readyz", &[]).send().await.unwrap().json().await.unwrap();
    assert!(reason["checks"]["table"].as_str().unwrap().contains("table.url"), "{reason}");
    app.watch.set_down(false);
    assert_eq!((status("/metrics").await, status("/readyz").await), (200, 200));
    app.end().await;
}

/// Every status that a strange statement may have.
const CLEAR: [u16; 5] = [200, 400, 413, 422, 503];

#[tokio::test(flavor = "multi_thread")]
async fn a_long_statement_ends_in_an_answer_or_a_refusal_and_never_ends_the_process() {
    let (app, rows) = TestApp::seeded().await;
    let chain = |first: &str, term: &str| format!("{first}{}", term.repeat((60_000 - first.len()) / term.len()));
    let statements = [
        chain("SELECT count(*) FROM events WHERE _index = -1", " OR _index=1"),
        chain("SELECT 1", "+1"),
        chain("SELECT 'a'", "||'b'"),
        chain("SELECT 1", " UNION ALL SELECT 1"),
        chain("SELECT ", "NOT "),
        chain("SELECT ", "abs("),
        chain("SELECT a", "::int"),
        chain("SELECT 1 FROM events", ", events"),
        format!("SELECT count(*) FROM events WHERE _index IN (1{})", ",2".repeat(5_000)),
        format!("SELECT {}1{}", "CASE WHEN true THEN ".repeat(2_000), " END".repeat(2_000)),
        format!("SELECT * FROM {}events{}", "(SELECT * FROM ".repeat(3_000), ")".repeat(3_000)),
    ];
    for sql in statements {
        let response = app.post("/sql?format=json&timeout_ms=5000", &sql).send().await.unwrap();
        assert!(CLEAR.contains(&response.status().as_u16()), "{}: {}...", response.status(), &sql[..60]);
    }
    assert_eq!(app.sql("SELECT count(*) AS n FROM events").await, [json!({"n": rows.len()})]);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_of_the_greatest_depth_is_answered() {
    let (app, rows) = TestApp::seeded().await;
    let terms: String = (0..490).map(|at| format!(" OR _sequence + _index = {at}")).collect();
    let day = us("1907-02-01T00:00:00Z")..us("1907-02-02T00:00:00Z");
    let expected = rows.iter().filter(|row| day.contains(&row.timestamp) && row.sequence + i64::from(row.index) < 490).count();
    let sql = format!("SELECT count(*) AS n FROM events WHERE event_date = '1907-02-01' AND (path = 'none'{terms})");
    assert_eq!(app.sql(&sql).await, [json!({"n": expected})]);
    assert_eq!(app.sql(&format!("SELECT 1{} AS n", "+1".repeat(490))).await, [json!({"n": 491})]);
    let union = format!("SELECT count(*) AS n FROM (SELECT 1{})", " UNION ALL SELECT 1".repeat(490));
    assert_eq!(app.sql(&union).await, [json!({"n": 491})]);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_goes_away_takes_its_query_with_it() {
    let (app, rows) = TestApp::seeded().await;
    let gone = tokio::time::timeout(Duration::from_millis(500), app.post("/sql", ENDLESS).send()).await;
    assert!(gone.is_err(), "the query is endless");
    let began = Instant::now();
    let everything = "SELECT count(*) AS n FROM events WHERE path IS NULL OR path IS NOT NULL";
    assert_eq!(app.sql(everything).await, [json!({"n": rows.len()})]);
    assert!(began.elapsed() < Duration::from_secs(15), "the threads were not free for {:?}", began.elapsed());
    app.end().await;
}
