//! `tidemark table`: what the tables are made of, and their maintenance by hand.

use clap::{Args, Subcommand};
use service::settings::Settings;

use self::status::Status;
use crate::output;

pub(crate) mod status;
mod upkeep;

/// What to do with the tables.
#[derive(Subcommand)]
pub(crate) enum TableCommand {
    /// Show files, sizes, tidemarks, how far the journal is ahead, and how long the log has become.
    Status(StatusOptions),
    /// Merge small files now, as maintenance does by itself; safe while everything runs.
    Compact(UpkeepOptions),
    /// Delete the files now that no version of the last `maintenance.keep` needs; safe while everything runs.
    Vacuum(UpkeepOptions),
}

/// Options of `tidemark table compact` and `vacuum`.
#[derive(Args)]
pub(crate) struct UpkeepOptions {
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print it as JSON, one line for each table.
    #[arg(long)]
    json: bool,
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
    match command {
        TableCommand::Status(StatusOptions { json }) => {
            let status = Status::of(settings).await?;
            Ok(output::print(&if json { serde_json::to_string_pretty(&status)? } else { status.to_string() })?)
        }
        TableCommand::Compact(options) => upkeep::compact(&options, settings).await,
        TableCommand::Vacuum(options) => upkeep::vacuum(&options, settings).await,
    }
}
