//! The role `ingest`: HTTP to journal.

use std::{process::ExitCode, sync::Arc};

use clap::Parser;
use pipeline::{connect, ingest};
use service::process::{self, Process, SettingArgs};

/// Takes events over HTTP and answers when they are on disk in the journal.
#[derive(Parser)]
#[command(version, after_help = "Example:\n  ingest --set nats.url=nats://127.0.0.1:4222 --set ingest.listen=127.0.0.1:8080")]
struct Arguments {
    #[command(flatten)]
    settings: SettingArgs,
}

#[tokio::main]
async fn main() -> ExitCode {
    process::exit(run(Arguments::parse()).await)
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let process = Process::start("ingest", arguments.settings.load()?)?;
    let config: ingest::Config = process.settings.section("ingest")?;
    let public = process.bind_public(&config.listen, "ingest.listen").await?;
    let admin = process.bind_internal(&config.admin_listen, "ingest.admin_listen").await?;
    let journal = Arc::new(connect::journal(&process.settings).await?);
    let identity = process.settings.section::<schemas::identity::Config>("dedup")?.identity;
    let parts = ingest::Parts { journal, identity, clock: process.clock.clone(), health: process.health.clone() };
    let ingest = ingest::Ingest::build(&config, parts);
    process.serve_admin(admin);
    process.serve("ingest", public, ingest.router(), ingest::Ingest::description());
    ingest.start(&process.tasks, &process.stop);
    process.run().await.map_err(anyhow::Error::from_boxed)
}
