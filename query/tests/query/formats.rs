use std::io::Cursor;

use datafusion::{
    arrow::{
        array::RecordBatch,
        csv::ReaderBuilder,
        datatypes::{DataType, Field, Schema},
        ipc::reader::StreamReader,
        json::{WriterBuilder, writer::JsonArray},
    },
    parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder,
};
use serde_json::Value;

use crate::app::TestApp;

const SQL: &str = "SELECT timestamp, event_name, user_id, tags, _sequence, _index FROM events ORDER BY _sequence, _index";

/// The rows as JSON, whatever form they came in.
fn as_json(batches: &[RecordBatch]) -> Vec<Value> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    writer.write_batches(&batches.iter().collect::<Vec<_>>()).unwrap();
    writer.finish().unwrap();
    serde_json::from_slice(&writer.into_inner()).unwrap()
}

async fn body(app: &TestApp, format: &str) -> Vec<u8> {
    let response = app.post(&format!("/sql?format={format}"), SQL).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.headers()["x-truncated"].as_bytes()), (200, &b"false"[..]));
    response.bytes().await.unwrap().to_vec()
}

/// What `SELECT` gives, read back from CSV: every column as text.
fn csv_rows(bytes: &[u8], delimiter: u8) -> Vec<Vec<String>> {
    let schema = Schema::new(
        ["timestamp", "event_name", "user_id", "tags", "_sequence", "_index"].map(|name| Field::new(name, DataType::Utf8, true)).to_vec(),
    );
    let reader = ReaderBuilder::new(schema.into()).with_header(true).with_delimiter(delimiter).build(Cursor::new(bytes)).unwrap();
    let texts = |row: &Value| row.as_object().unwrap().values().map(|value| value.as_str().unwrap_or_default().to_owned()).collect();
    as_json(&reader.map(Result::unwrap).collect::<Vec<_>>()).iter().map(texts).collect()
}

fn as_texts(rows: &[Value]) -> Vec<Vec<String>> {
    let text = |value: &Value| match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    rows.iter().map(|row| row.as_object().unwrap().values().map(text).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_format_reads_back_as_the_same_rows() {
    let (app, all) = TestApp::seeded().await;
    let rows: Vec<Value> = serde_json::from_slice(&body(&app, "json").await).unwrap();
    assert_eq!(rows.len(), all.len());
    let lines = String::from_utf8(body(&app, "jsonl").await).unwrap();
    assert_eq!(lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect::<Vec<_>>(), rows);
    let arrow = StreamReader::try_new(Cursor::new(body(&app, "arrow").await), None).unwrap();
    assert_eq!(as_json(&arrow.map(Result::unwrap).collect::<Vec<_>>()), rows);
    let parquet = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(body(&app, "parquet").await)).unwrap().build().unwrap();
    assert_eq!(as_json(&parquet.map(Result::unwrap).collect::<Vec<_>>()), rows);
    assert_eq!(csv_rows(&body(&app, "csv").await, b','), as_texts(&rows));
    assert_eq!(csv_rows(&body(&app, "tsv").await, b'\t'), as_texts(&rows));
    let pretty = String::from_utf8(body(&app, "pretty").await).unwrap();
    assert_eq!(pretty.lines().filter(|line| line.starts_with("| ")).count(), rows.len() + 1);
    assert!(pretty.ends_with(&format!("({} rows)\n", rows.len())));
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_follows_format_then_accept_then_people() {
    let (app, _) = TestApp::seeded().await;
    let content_type = async |url: &str, accept: Option<&str>| {
        let request = app.post(url, "SELECT 1 AS one");
        let request = accept.map_or(request.try_clone().unwrap(), |accept| request.header("accept", accept));
        request.send().await.unwrap().headers()["content-type"].to_str().unwrap().to_owned()
    };
    assert_eq!(content_type("/sql", None).await, "text/plain; charset=utf-8", "curl");
    assert_eq!(content_type("/sql", Some("application/json")).await, "application/json");
    assert_eq!(content_type("/sql", Some("text/csv, */*;q=0.1")).await, "text/csv; charset=utf-8; header=present");
    assert_eq!(content_type("/sql?format=arrow", Some("text/csv")).await, "application/vnd.apache.arrow.stream");
    assert_eq!(content_type("/sql?format=xml", None).await, "application/problem+json");
    app.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_columns_of_one_name_are_refused_where_names_must_differ() {
    let (app, _) = TestApp::seeded().await;
    let sql = "SELECT a.path, b.path FROM events a JOIN events b ON a._index = b._index AND a._sequence = b._sequence LIMIT 3";
    let (status, problem) = crate::app::problem_of(app.post("/sql?format=json", sql).send().await.unwrap()).await;
    assert_eq!(status, 400);
    assert!(problem["detail"].as_str().unwrap().contains("two columns of the answer are named `path`"), "{problem}");
    assert_eq!(app.post("/sql?format=csv", sql).send().await.unwrap().status(), 200);
    app.end().await;
}
