//! The operator's binary: everything in one process, and the tools around it.

use clap::Parser;

use crate::cli::{Cli, Command};

mod cli;
mod client;
mod config;
mod demo;
mod health;
mod serve;
mod sql;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Cli { command, settings } = Cli::parse();
    match command {
        Command::Serve => serve::run(settings.load()?).await,
        Command::Demo(options) => demo::run(options).await,
        Command::Sql(options) => sql::run(options).await,
        Command::Config { command } => config::run(command, settings),
        Command::Health { url } => health::run(&url).await,
    }
}
