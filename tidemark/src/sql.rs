//! `tidemark sql`: one question to a running Tidemark.

use std::io::{ErrorKind, Read, Write, stdout};

use clap::Args;
use futures::StreamExt;
use service::settings::Settings;

use crate::client;

/// Options of `tidemark sql`.
#[derive(Args)]
pub(crate) struct SqlOptions {
    /// The statement; `-` reads it from standard input.
    statement: String,
    /// Where Tidemark answers; the address of `serve.listen` unless given.
    #[arg(long)]
    url: Option<String>,
    /// The shape of the answer: pretty, csv, tsv, json, jsonl, arrow or parquet.
    #[arg(long, default_value = "pretty")]
    format: String,
}

/// Asks and prints the answer as it comes.
pub(crate) async fn run(options: SqlOptions, settings: &Settings) -> anyhow::Result<()> {
    let statement = match options.statement.as_str() {
        "-" => std::io::read_to_string(std::io::stdin().lock().take(1 << 20))?,
        _ => options.statement,
    };
    let server = client::server(options.url, settings)?;
    let url = format!("{server}/sql");
    let request = client::client(settings)?
        .post(&url)
        .query(&[("format", &options.format)])
        .header("content-type", "application/sql")
        .body(statement);
    let mut answer = client::send(request, &server).await?.bytes_stream();
    while let Some(chunk) = answer.next().await {
        match stdout().write_all(&chunk?) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
            written => written?,
        }
    }
    Ok(stdout().flush()?)
}
