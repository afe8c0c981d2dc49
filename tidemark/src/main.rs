//! The operator's binary: everything in one process, and the tools around it.

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

mod audit;
mod cli;
mod client;
mod config;
mod demo;
mod doctor;
mod erase;
mod health;
mod import;
mod journal;
mod keys;
mod load;
mod members;
mod metrics;
mod output;
mod quarantine;
mod replay;
mod serve;
mod sql;
mod table;
mod terminal;
mod verify;

#[tokio::main]
async fn main() -> ExitCode {
    service::process::exit(run(Cli::parse()).await)
}

async fn run(Cli { command, settings }: Cli) -> anyhow::Result<()> {
    match command {
        Command::Serve => serve::run(settings.load()?).await,
        Command::Demo(options) => demo::run(options, &settings.load()?).await,
        Command::Import(options) => import::run(*options, &settings.load()?).await,
        Command::Load(options) => load::run(*options, &settings.load()?).await,
        Command::Sql(options) => sql::run(options, &settings.load()?).await,
        Command::Metrics(options) => metrics::run(*options, &settings.load()?).await,
        Command::Erase(options) => erase::run(options, &settings.load()?).await,
        Command::Verify(options) => verify::run(options, &settings.load()?).await,
        Command::Replay(options) => replay::run(options, &settings.load()?).await,
        Command::Table { command } => table::run(command, &settings.load()?).await,
        Command::Journal { command } => journal::run(command, &settings.load()?).await,
        Command::Quarantine { command } => quarantine::run(command, &settings.load()?).await,
        Command::Keys { command } => keys::run(command, &settings.load()?),
        Command::Doctor(options) => doctor::run(options, settings).await,
        Command::Config { command } => config::run(command, settings),
        Command::Health { url } => health::run(url, &settings.load()?).await,
    }
}
