//! The files of `tests/slt`: what SQL gives over a fixed set of events, through `POST /sql`.
//!
//! A statement whose first line is `-- params: [...]` is sent with these parameters.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use datafusion::arrow::{
    array::RecordBatch,
    datatypes::DataType,
    ipc::reader::StreamReader,
    util::display::{ArrayFormatter, FormatOptions},
};
use serde_json::{Value, json};
use sqllogictest::{AsyncDB, DBOutput, DefaultColumnType, Runner, parse_file, strict_column_validator};

use crate::app::TestApp;

mod fixture;

/// Marks the parameters of a statement.
const PARAMS: &str = "-- params: ";

/// A client of the route.
struct Route(Arc<TestApp>);

/// `status code: detail`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

#[async_trait]
impl AsyncDB for Route {
    type Error = Refused;
    type ColumnType = DefaultColumnType;

    async fn run(&mut self, sql: &str) -> Result<DBOutput<DefaultColumnType>, Refused> {
        let answer = self.0.post("/sql?format=arrow&max_rows=1000", &body(sql)).send().await.unwrap();
        let (status, bytes) = (answer.status(), answer.bytes().await.unwrap());
        if !status.is_success() {
            let problem: Value = serde_json::from_slice(&bytes).unwrap();
            return Err(Refused(format!("{} {}: {}", status.as_u16(), text(&problem["code"]), text(&problem["detail"]))));
        }
        Ok(rows(&bytes))
    }

    async fn shutdown(&mut self) {}
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn body(sql: &str) -> String {
    match sql.strip_prefix(PARAMS).and_then(|rest| rest.split_once('\n')) {
        Some((params, sql)) => json!({"sql": sql, "params": serde_json::from_str::<Value>(params).unwrap()}).to_string(),
        None => sql.to_owned(),
    }
}

fn rows(answer: &[u8]) -> DBOutput<DefaultColumnType> {
    let reader = StreamReader::try_new(answer, None).unwrap();
    let types = reader.schema().fields().iter().map(|field| column_type(field.data_type())).collect();
    let batches: Vec<RecordBatch> = reader.map(Result::unwrap).collect();
    DBOutput::Rows { types, rows: batches.iter().flat_map(texts).collect() }
}

fn column_type(data_type: &DataType) -> DefaultColumnType {
    match data_type {
        _ if data_type.is_integer() => DefaultColumnType::Integer,
        _ if data_type.is_numeric() => DefaultColumnType::FloatingPoint,
        _ => DefaultColumnType::Text,
    }
}

fn texts(batch: &RecordBatch) -> Vec<Vec<String>> {
    let options = FormatOptions::default().with_null("NULL");
    let columns: Vec<ArrayFormatter<'_>> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    let shown = |text: String| if text.is_empty() { "(empty)".to_owned() } else { text };
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| shown(column.value(row).to_string())).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_gives_what_the_files_of_tests_slt_say() {
    let app = Arc::new(fixture::app().await);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/slt");
    let mut files: Vec<_> = folder.read_dir().unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 8, "{files:?}");
    let mut failures = Vec::new();
    for file in files {
        let mut runner = Runner::new(|| async { Ok(Route(Arc::clone(&app))) });
        runner.with_column_validator(strict_column_validator);
        for record in parse_file(&file).unwrap() {
            failures.extend(runner.run_async(record).await.err().map(|error| error.display(false).to_string()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    Arc::into_inner(app).unwrap().end().await;
}
