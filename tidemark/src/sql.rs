//! `tidemark sql`: questions to a running Tidemark, as one statement, as a script, or in a shell.
//!
//! All three ask through [`server`], which gives an [`answer`] or tells where the statement is wrong ([`fault`]). A script ends at
//! the first statement that fails.

use std::io::{read_to_string, stdin};

use anyhow::{Context, ensure};
use clap::Args;
use service::settings::Settings;

use self::{server::Server, shell::Shell, statements::Statements};
use crate::{output, terminal};

mod answer;
mod fault;
mod server;
mod shell;
mod statements;

/// Formats that are no text.
const BINARY: [&str; 2] = ["arrow", "parquet"];

/// Options of `tidemark sql`.
#[derive(Args)]
pub(crate) struct SqlOptions {
    /// The statement; `-` reads statements from standard input. Without it: a shell on a terminal, else standard input.
    statement: Option<String>,
    /// Where Tidemark answers; the address of `serve.listen` unless given.
    #[arg(long)]
    url: Option<String>,
    /// The shape of the answer: pretty, csv, tsv, json, jsonl, arrow or parquet; unless given, pretty on a terminal and csv elsewhere.
    #[arg(long)]
    format: Option<String>,
}

/// Asks and prints the answer as it comes, or opens the shell.
pub(crate) async fn run(options: SqlOptions, settings: &Settings) -> anyhow::Result<()> {
    let server = Server::new(options.url, settings)?;
    let default = if terminal::is_read() { "pretty" } else { "csv" };
    let format = options.format.as_deref().unwrap_or(default);
    let is_binary = BINARY.contains(&format);
    ensure!(!(is_binary && terminal::is_read()), "{format} is no text for a terminal; send it to a file: `> answer.{format}`");
    match options.statement.as_deref() {
        Some(statement) if statement != "-" => print(&server, statement, format).await.map(|_| ()),
        None if terminal::is_interactive() => Shell::open(server, format)?.run().await,
        _ => script(&server, &read_to_string(stdin().lock()).context("standard input cannot be read")?, format).await,
    }
}

/// Asks one statement after the other, up to the first that fails.
async fn script(server: &Server, text: &str, format: &str) -> anyhow::Result<()> {
    let Statements { complete, rest } = statements::split(text);
    let statements: Vec<&str> = complete.into_iter().chain(rest).collect();
    ensure!(!statements.is_empty(), "there is no statement; give one as an argument or on standard input");
    for (place, statement) in statements.iter().enumerate() {
        let answered = print(server, statement, format).await;
        let is_read = if statements.len() == 1 { answered } else { answered.with_context(|| format!("statement {}", place + 1)) }?;
        if !is_read {
            break;
        }
    }
    Ok(())
}

/// Prints the answer to a statement; false when the reader has seen enough.
async fn print(server: &Server, statement: &str, format: &str) -> anyhow::Result<bool> {
    let mut answer = server.ask(statement, format, &server::new_query_id()).await?;
    let hides_controls = terminal::is_read();
    while let Some(chunk) = answer.chunk().await? {
        let is_read = if hides_controls { output::write(&terminal::visible(&chunk)) } else { output::write(&chunk) }?;
        if !is_read {
            return Ok(false);
        }
    }
    answer.notes().for_each(|note| eprintln!("note: {note}"));
    Ok(true)
}
