//! The role `pipeline`: journal to table.

use std::sync::Arc;

use clap::Parser;
use pipeline::{connect, writer};
use service::{
    http,
    process::{Process, SettingArgs},
};
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
async fn main() -> anyhow::Result<()> {
    let process = Process::start(Arguments::parse().settings.load()?)?;
    let config: writer::Config = process.settings.section("pipeline")?;
    let admin = http::bind(&config.admin_listen, "pipeline.admin_listen").await?;
    let store = Store::open(&process.settings.section("table")?).await?;
    store.probe().await?;
    let journal = Arc::new(connect::journal(&process.settings).await?);
    let identity = connect::identity_rule(&process.settings)?;
    let parts = writer::Parts { journal, store, identity, clock: process.clock.clone(), health: process.health.clone() };
    let writer = writer::Writer::build(&config, parts).await?;
    process.serve_admin(admin);
    writer.start(&process.tasks, &process.stop);
    process.run().await.map_err(anyhow::Error::from_boxed)
}
