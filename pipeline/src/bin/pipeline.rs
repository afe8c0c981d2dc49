//! The role `pipeline`: journal to table.

use std::{process::ExitCode, sync::Arc};

use clap::Parser;
use pipeline::{
    connect,
    maintenance::{self, Maintenance},
    writer,
};
use service::process::{self, Process, SettingArgs};
use table::Store;

/// Turns the journal into Parquet in a Delta table. One for each shard is active.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:\n  pipeline --set table.url=s3://events/lake --set table.s3.endpoint=http://127.0.0.1:9000 --set table.s3.allow_http=true"
)]
struct Arguments {
    #[command(flatten)]
    settings: SettingArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    process::exit(run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let process = Process::start("pipeline", arguments.settings.load()?)?;
    let config: writer::Config = process.settings.section("pipeline")?;
    let admin = process.bind_internal(&config.admin_listen, "pipeline.admin_listen").await?;
    let store = Store::open(&process.settings.section("table")?).await?;
    store.probe().await?;
    let journal = Arc::new(connect::journal(&process.settings).await?);
    let dedup = process.settings.section("dedup")?;
    let connect::JournalConfig { retention, on_gap, .. } = process.settings.section("journal")?;
    let (retention, clock, health) = (retention.0, process.clock.clone(), process.health.clone());
    let maintenance = Maintenance::open(&store, maintenance::Config::load(&process.settings)?, clock.clone()).await?;
    let keep = maintenance.keep();
    let parts = writer::Parts { journal, store, dedup, retention, on_gap, keep, clock, health };
    let writer = writer::Writer::build(&config, parts).await?;
    process.serve_internal(admin, writer.tails().router(), &writer::ROUTES);
    maintenance.start(writer.tails(), &process.tasks, &process.stop);
    writer.start(&process.tasks, &process.stop);
    process.run().await.map_err(anyhow::Error::from_boxed)
}
