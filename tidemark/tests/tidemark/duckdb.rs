//! DuckDB as an independent reader of the Delta table.

use std::process::Command;

use testkit::{S3Server, tool};

use crate::process::good;

/// The answer of DuckDB over `events` at `location`, first column of the first row.
pub(crate) fn ask(location: &str, s3: Option<&S3Server>, statement: &str) -> String {
    rows(location, "events", s3, statement).lines().last().unwrap_or_default().to_owned()
}

/// The whole answer in CSV without a header, over the `table` at `location`.
pub(crate) fn rows(location: &str, table: &str, s3: Option<&S3Server>, statement: &str) -> String {
    rows_of(&format!("delta_scan('{location}')"), table, s3, statement)
}

/// The same, over what DuckDB finds by `source`, which is called `table`.
pub(crate) fn rows_of(source: &str, table: &str, s3: Option<&S3Server>, statement: &str) -> String {
    let extension = |name: &str| format!("LOAD '{}';", tool(&format!("{name}.duckdb_extension")).canonicalize().unwrap().display());
    let secret = s3.map(secret).unwrap_or_default();
    let script = format!(
        "SET autoinstall_known_extensions = false; SET TimeZone = 'UTC'; {} {} {secret} CREATE VIEW {table} AS SELECT * FROM {source}; {statement};",
        extension("delta"),
        extension("httpfs")
    );
    let output = Command::new(tool("duckdb")).args(["-no-init", "-bail", "-csv", "-noheader", "-c", &script]).output().unwrap();
    let answer = good(&output);
    // Making the secret is answered too, with a line of its own.
    if s3.is_some() { answer.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default() } else { answer }
}

fn secret(s3: &S3Server) -> String {
    format!(
        "CREATE SECRET (TYPE s3, URL_STYLE 'path', USE_SSL false, REGION 'us-east-1', ENDPOINT '{}', KEY_ID '{}', SECRET '{}');",
        s3.endpoint().trim_start_matches("http://"),
        s3.access_key(),
        s3.secret_key()
    )
}
