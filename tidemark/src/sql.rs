//! `tidemark sql`: one question to a running Tidemark.

use std::io::Read;

use clap::Args;
use futures::StreamExt;
use tokio::io::{AsyncWriteExt, stdout};

use crate::{cli::DEFAULT_URL, client};

/// Options of `tidemark sql`.
#[derive(Args)]
pub(crate) struct SqlOptions {
    /// The statement; `-` reads it from standard input.
    statement: String,
    /// Where Tidemark answers.
    #[arg(long, default_value = DEFAULT_URL)]
    url: String,
    /// The shape of the answer: pretty, csv, tsv, json, jsonl, arrow or parquet.
    #[arg(long, default_value = "pretty")]
    format: String,
}

/// Asks and prints the answer as it comes.
pub(crate) async fn run(options: SqlOptions) -> anyhow::Result<()> {
    let statement = match options.statement.as_str() {
        "-" => std::io::read_to_string(std::io::stdin().lock().take(1 << 20))?,
        _ => options.statement,
    };
    let url = format!("{}/sql", options.url);
    let request = client::client()?.post(&url).query(&[("format", &options.format)]).header("content-type", "application/sql").body(statement);
    let mut answer = client::send(request, &options.url).await?.bytes_stream();
    let mut out = stdout();
    while let Some(chunk) = answer.next().await {
        out.write_all(&chunk?).await?;
    }
    out.flush().await?;
    Ok(())
}
