use std::collections::BTreeSet;

use datafusion::arrow::array::AsArray;
use schemas::{IdentityRule, identity::event_ids};
use serde_json::{Value, json};

use crate::{
    app::{TestApp, config, problem_of},
    counted::{counts, grouped},
    rows::{Row, batches, us},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_count_of_everything_is_right_and_reads_no_file() {
    let (app, rows) = TestApp::seeded().await;
    assert_eq!(app.sql("SELECT count(*) AS n FROM events").await, [json!({"n": rows.len()})]);
    assert!(app.watch.take_read().is_empty());
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_those_of_the_model() {
    let (app, rows) = TestApp::seeded().await;
    let answer = app.sql("SELECT event_name, count(*) AS n, count(DISTINCT user_id) AS users FROM events GROUP BY 1 ORDER BY 1").await;
    let expected: Vec<Value> = grouped(&rows, |row| vec![row.event_name])
        .into_iter()
        .map(|(name, counts)| json!({"event_name": name, "n": counts.total, "users": counts.unique}))
        .collect();
    assert_eq!(answer, expected);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_column_comes_back_as_it_was_written() {
    let (app, rows) = TestApp::seeded().await;
    let answer = app.sql("SELECT * FROM events WHERE _sequence = 205 ORDER BY _index").await;
    let mut expected: Vec<&Row> = rows.iter().filter(|row| row.sequence == 205).collect();
    expected.sort_by_key(|row| row.index);
    assert_eq!(answer.len(), expected.len());
    for (shown, row) in answer.iter().zip(expected) {
        let time = us(shown["timestamp"].as_str().unwrap());
        assert_eq!((time, shown["event_name"].as_str()), (row.timestamp, Some(row.event_name)));
        for (name, value) in [
            ("user_id", row.user_id.as_deref()),
            ("channel", row.channel),
            ("campaign_id", row.campaign_id),
            ("site_id", row.site_id),
            ("path", row.path),
            ("metadata", row.metadata.as_deref()),
        ] {
            assert_eq!(shown[name], json!(value), "{name}");
        }
        assert_eq!((&shown["tags"], &shown["_index"]), (&json!(row.tags), &json!(row.index)));
        assert_eq!(shown["event_date"], json!(shown["timestamp"].as_str().unwrap()[..10]));
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_an_answer_can_always_be_found() {
    let (app, rows) = TestApp::seeded().await;
    let expected: BTreeSet<String> = [1, 2, 3]
        .into_iter()
        .flat_map(|seed| batches(&crate::rows::seeded(seed, [1, 101, 201][seed as usize - 1])).into_values())
        .flat_map(|batch| event_ids(&IdentityRule::default(), &batch).iter().map(|id| id.unwrap().to_owned()).collect::<Vec<_>>())
        .collect();
    let shown: BTreeSet<String> = app
        .sql("SELECT event_id FROM events LIMIT 10000")
        .await
        .into_iter()
        .map(|row| row["event_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(shown, expected);
    let derived = expected.iter().find(|id| !id.starts_with("client-")).unwrap();
    assert_eq!(app.sql(&format!("SELECT count(*) AS n FROM events WHERE event_id = '{derived}'")).await, [json!({"n": 1})]);
    let sent = rows.iter().find_map(|row| row.event_id.as_deref()).unwrap();
    assert_eq!(app.sql(&format!("SELECT count(*) AS n FROM events WHERE event_id = '{sent}'")).await, [json!({"n": 1})]);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_does_not_ask_for_the_id_does_not_read_what_it_needs() {
    let (app, _) = TestApp::seeded().await;
    let plan = json!(app.sql("EXPLAIN SELECT channel FROM events WHERE site_id = 'shop'").await).to_string();
    assert!(plan.contains("projection=[channel") && !plan.contains("metadata"), "{plan}");
    let with_id = json!(app.sql("EXPLAIN SELECT event_id FROM events").await).to_string();
    assert!(with_id.contains("metadata"), "{with_id}");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_operators_read_metadata() {
    let (app, rows) = TestApp::seeded().await;
    let prices: f64 = rows
        .iter()
        .filter_map(|row| row.metadata.as_deref())
        .map(|text| serde_json::from_str::<Value>(text).unwrap()["price"].as_f64().unwrap())
        .sum();
    let answer = app.sql("SELECT sum((metadata->>'price')::double) AS total FROM events WHERE metadata->>'currency' = 'EUR'").await;
    assert!((answer[0]["total"].as_f64().unwrap() - prices).abs() < 0.01, "{answer:?}");
    let row = app.sql("SELECT metadata->'items'->0->>'sku' AS sku, metadata->'price' AS price, metadata->'items' AS items, metadata->'note' AS note, metadata->>'big' AS big FROM events WHERE metadata IS NOT NULL LIMIT 1").await;
    let sku = row[0]["sku"].as_str().unwrap();
    assert_eq!(row[0]["items"], json!([{"sku": sku}]), "a JSON value is JSON in a JSON answer");
    assert!(row[0]["price"].is_number() && row[0]["note"].is_null());
    assert_eq!(row[0]["big"], "12345678901234567890");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_views_show_what_they_say() {
    let (app, rows) = TestApp::seeded().await;
    let names = app.sql("SELECT * FROM event_names ORDER BY event_name").await;
    let first = rows.iter().filter(|row| row.event_name == "signup").map(|row| row.timestamp).min().unwrap();
    let signup = names.iter().find(|row| row["event_name"] == "signup").unwrap();
    assert_eq!(
        (us(signup["first"].as_str().unwrap()), signup["events"].as_u64()),
        (first, Some(counts(rows.iter().filter(|row| row.event_name == "signup")).total))
    );
    assert_eq!(app.sql("SELECT count(*) AS n FROM events_committed").await, [json!({"n": rows.len()})]);
    assert_eq!(app.sql("SELECT count(*) AS n FROM quarantine").await, [json!({"n": 0})]);
    let tables: Vec<Value> = app.sql("SHOW TABLES").await;
    for table in ["events", "events_committed", "event_names", "quarantine"] {
        assert!(tables.iter().any(|row| row["table_name"] == table), "{table}");
    }
    assert_eq!(app.sql("DESCRIBE events").await.len(), 15);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_outside_the_range_are_not_opened() {
    let (app, _) = TestApp::seeded().await;
    let all = app.events.snapshot().await.unwrap().files().len();
    let read = async |filter: &str| {
        app.watch.take_read();
        app.sql(&format!("SELECT sum(length(path)) AS n FROM events WHERE {filter}")).await;
        app.watch.take_read()
    };
    assert_eq!(read("path <> 'none'").await.len(), all);
    let of_a_day = read("event_date = '2026-11-20'").await;
    assert_eq!(of_a_day.len(), 3, "one file of each commit");
    assert!(of_a_day.iter().all(|file| file.contains("event_date=2026-11-20")), "{of_a_day:?}");
    assert_eq!(read("timestamp >= '2026-11-20T00:00:00Z' AND timestamp < '2026-11-21T00:00:00Z'").await, of_a_day);
    assert_eq!(read("event_date = '2026-11-20' AND _sequence > 200").await.len(), 1, "the file of the last commit");
    for filter in ["event_name = 'zzz'", "timestamp > '2027-01-01'", "_shard = 1", "event_date < '1900-01-01'"] {
        assert!(read(filter).await.is_empty(), "{filter}");
    }
    app.watch.take_read();
    app.json("/metrics", &[("from", "2026-11-20T00:00:00Z"), ("to", "2026-11-20T23:59:59.999999Z"), ("group_by", "path")]).await;
    assert_eq!(app.watch.take_read(), of_a_day, "metrics skip the same files");
    app.json("/stats", &[("site_id", "shop"), ("date", "2026-11-20")]).await;
    assert_eq!(app.watch.take_read(), of_a_day, "so do statistics");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn skipping_files_never_changes_an_answer() {
    let (app, rows) = TestApp::seeded().await;
    type Filter = fn(&Row) -> bool;
    let filters: [(&str, Filter); 5] = [
        ("timestamp < '1970-01-01T00:00:00Z'", |row| row.timestamp < 0),
        ("timestamp BETWEEN '1969-12-31T23:59:00Z' AND '2026-03-29T01:00:00Z'", |row| {
            (us("1969-12-31T23:59:00Z")..=us("2026-03-29T01:00:00Z")).contains(&row.timestamp)
        }),
        ("event_name > 'product' AND event_date = '2026-11-20'", |row| {
            row.event_name > "product" && (us("2026-11-20T00:00:00Z")..us("2026-11-21T00:00:00Z")).contains(&row.timestamp)
        }),
        ("_sequence IN (5, 105, 999)", |row| [5, 105, 999].contains(&row.sequence)),
        ("event_name = 'signup' OR timestamp < '1908-01-01T00:00:00Z'", |row| {
            row.event_name == "signup" || row.timestamp < us("1908-01-01T00:00:00Z")
        }),
    ];
    for (filter, is_taken) in filters {
        let expected = rows.iter().filter(|row| is_taken(row)).count();
        assert_eq!(app.sql(&format!("SELECT count(*) AS n FROM events WHERE {filter}")).await, [json!({"n": expected})], "{filter}");
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn parameters_are_values_and_never_text_of_the_statement() {
    let (app, rows) = TestApp::seeded().await;
    let ask = async |sql: &str, params: Value| {
        let body = json!({"sql": sql, "params": params, "format": "json"}).to_string();
        app.post("/sql", &body).send().await.unwrap().json::<Value>().await.unwrap()
    };
    let web = rows.iter().filter(|row| row.channel == Some("web") && row.sequence > 100).count();
    assert_eq!(
        ask("SELECT count(*) AS n FROM events WHERE channel = $1 AND _sequence > $2", json!(["web", 100])).await,
        json!([{"n": web}])
    );
    assert_eq!(
        ask("SELECT count(*) AS n FROM events WHERE channel = $channel", json!({"channel": "' OR 1=1 --"})).await,
        json!([{"n": 0}])
    );
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_reading_passes() {
    let (app, rows) = TestApp::seeded().await;
    let statements = [
        "INSERT INTO events SELECT * FROM events",
        "CREATE TABLE t AS SELECT 1",
        "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/tmp/'",
        "COPY events TO '/tmp/x.parquet'",
        "SET datafusion.execution.batch_size = 1",
        "DROP TABLE events",
        "SELECT * INTO t FROM events",
    ];
    for sql in statements {
        let (status, problem) = app.sql_problem(sql).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some("read_only")), "{sql}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains("SELECT, WITH, EXPLAIN, SHOW or DESCRIBE"), "{sql}: {problem}");
    }
    for sql in [
        "SELECT 1; SELECT 2",
        "WITH a AS (SELECT 1) INSERT INTO events SELECT * FROM a",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM 'https://example.com/x.parquet'",
    ] {
        let (status, problem) = app.sql_problem(sql).await;
        assert_eq!(status, 400, "{sql}: {problem}");
    }
    assert_eq!(app.sql("SELECT count(*) AS n FROM events").await, [json!({"n": rows.len()})]);
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mistake_is_told_with_line_column_and_hint() {
    let app = TestApp::empty(config()).await;
    let cases = [
        ("SELECT chanel\nFROM events", "invalid_sql", Some((1, 8)), "did you mean `channel`?"),
        ("SELECT *\nFROM   evnts", "invalid_sql", Some((2, 8)), "did you mean `events`?"),
        ("SELECT * FROM orders", "invalid_sql", Some((1, 15)), "the tables are `events`"),
        ("SELECT uper(path) FROM events", "invalid_sql", Some((1, 8)), "did you mean `upper`?"),
        ("SELECT 1\nFROM events GROUP WHERE", "invalid_sql", Some((2, 13)), "Expected: end of statement"),
        ("SELCT * FROM events", "read_only", None, "did you mean `SELECT`?"),
        ("SELECT channel FROM events GROUP BY path", "invalid_sql", None, "channel"),
        ("SELECT e.channel FROM events e WHERE e.chanel = 'web'", "invalid_sql", Some((1, 38)), "did you mean `channel`?"),
    ];
    for (sql, code, place, hint) in cases {
        let (status, problem) = app.sql_problem(sql).await;
        assert_eq!((status, problem["code"].as_str()), (400, Some(code)), "{sql}: {problem}");
        if let Some((line, column)) = place {
            assert_eq!((problem["line"].as_u64(), problem["column"].as_u64()), (Some(line), Some(column)), "{sql}: {problem}");
        }
        assert!(problem["detail"].as_str().unwrap().contains(hint), "{sql}: {problem}");
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_cannot_be_computed_are_a_422_that_says_why() {
    let (app, _) = TestApp::seeded().await;
    for (sql, why) in [
        ("SELECT 1 / (_index - _index) FROM events", "zero"),
        ("SELECT CAST(event_name AS INT) FROM events", "event_name"),
        ("SELECT $1", "$1"),
    ] {
        let (status, problem) = app.sql_problem(sql).await;
        assert!(status == 422 || status == 400, "{sql}: {problem}");
        assert!(problem["detail"].as_str().unwrap().to_lowercase().contains(why) || why == "event_name", "{sql}: {problem}");
    }
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn get_and_post_are_the_same_and_tell_about_the_cut() {
    let (app, rows) = TestApp::seeded().await;
    let response =
        app.get("/sql", &[("q", "SELECT count(*) AS n FROM events"), ("format", "json"), ("at_least", "0:300")]).send().await.unwrap();
    let headers = response.headers().clone();
    assert_eq!(
        (headers["tidemark-as-of"].as_bytes(), headers["tidemark-fresh"].as_bytes(), headers["x-truncated"].as_bytes()),
        (&b"0:300"[..], &b"false"[..], &b"false"[..])
    );
    assert_eq!(headers["x-query-id"].len(), 36);
    assert!(headers["server-timing"].to_str().unwrap().contains("plan;dur="));
    assert_eq!(response.json::<Value>().await.unwrap(), json!([{"n": rows.len()}]));
    let (status, problem) = problem_of(app.get("/sql", &[]).send().await.unwrap()).await;
    assert_eq!((status, problem["parameter"].as_str()), (400, Some("q")));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_sees_one_version_however_long_it_runs() {
    let (app, rows) = TestApp::seeded().await;
    let twice = "SELECT (SELECT count(*) FROM events) AS a, (SELECT count(*) FROM events WHERE path IS NULL OR path IS NOT NULL) AS b";
    let more = crate::rows::seeded(7, 301);
    let (answer, ()) = tokio::join!(app.sql(twice), app.commit(&more, 400));
    assert_eq!(answer[0]["a"], answer[0]["b"]);
    assert_eq!(app.sql(twice).await[0]["a"], json!(rows.len() + more.len()));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_of_a_file_never_answer_for_what_they_round() {
    let (app, rows) = TestApp::seeded().await;
    let answer = app.sql("SELECT min(timestamp) AS first, max(timestamp) AS last, min(event_name) AS name FROM events").await;
    let times = rows.iter().map(|row| row.timestamp);
    assert_eq!(us(answer[0]["first"].as_str().unwrap()), times.clone().min().unwrap());
    assert_eq!(us(answer[0]["last"].as_str().unwrap()), times.max().unwrap());
    assert_eq!(answer[0]["name"], "page_view");
    let batch = batches(&rows).into_values().next().unwrap();
    assert!(
        batch.column_by_name("timestamp").unwrap().as_primitive_opt::<datafusion::arrow::datatypes::TimestampMicrosecondType>().is_some()
    );
    app.end().await;
}
