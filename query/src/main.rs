//! The role `query`: table to answers.

use std::{process::ExitCode, sync::Arc};

use clap::Parser;
use query::{Parts, Pipelines};
use service::process::{self, Process, SettingArgs};
use table::{Store, Tails};

/// Answers metrics, statistics and SQL from the tables.
#[derive(Parser)]
#[command(version, after_help = "Example:\n  query --set query.listen=127.0.0.1:8081 --set table.url=./data/lake")]
struct Arguments {
    #[command(flatten)]
    settings: SettingArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    process::exit(run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let process = Process::start("query", arguments.settings.load()?)?;
    let config: query::Config = process.settings.section("query")?;
    let public = process.bind_public(&config.listen, "query.listen").await?;
    let admin = process.bind_internal(&config.admin_listen, "query.admin_listen").await?;
    let store = Store::open(&process.settings.section("table")?).await?;
    let identity = process.settings.section::<schemas::identity::Config>("dedup")?.identity;
    let tails = Pipelines::new(&config.pipelines, &config.pipeline_key)?.map(|pipelines| Arc::new(pipelines) as Arc<dyn Tails>);
    let parts = Parts { store, tails, identity, clock: process.clock.clone(), health: process.health.clone() };
    let query = query::build(&config, parts).await?;
    process.serve_admin(admin);
    process.serve("query", public, query.router(), query::Query::description());
    query.start(&process.tasks, &process.stop);
    process.run().await.map_err(anyhow::Error::from_boxed)
}
