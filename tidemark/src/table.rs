//! `tidemark table`: what the tables are made of.

use clap::{Args, Subcommand};
use service::settings::Settings;

use self::status::Status;
use crate::output;

pub(crate) mod status;

/// What to do with the tables.
#[derive(Subcommand)]
pub(crate) enum TableCommand {
    /// Show files, sizes, tidemarks, how far the journal is ahead, and how long the log has become.
    Status(StatusOptions),
}

/// Options of `tidemark table status`.
#[derive(Args)]
pub(crate) struct StatusOptions {
    /// Print it as JSON.
    #[arg(long)]
    json: bool,
}

/// Does it and says what came of it.
pub(crate) async fn run(command: TableCommand, settings: &Settings) -> anyhow::Result<()> {
    service::telemetry::install_crypto();
    let TableCommand::Status(StatusOptions { json }) = command;
    let status = Status::of(settings).await?;
    Ok(output::print(&if json { serde_json::to_string_pretty(&status)? } else { status.to_string() })?)
}
