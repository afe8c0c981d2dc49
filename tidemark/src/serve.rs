//! `tidemark serve`: ingest, pipeline and query in one process, on one port, over one journal and one store.

use std::sync::Arc;

use journal::Journal;
use pipeline::{
    connect, ingest,
    maintenance::{self, Maintenance},
    writer,
};
use schemas::identity;
use serde::Deserialize;
use service::{
    process::Process,
    settings::{Address, Interval, Settings},
};
use table::Store;

/// Section `[serve]`; `config/tidemark.toml` explains each key.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ServeConfig {
    /// Everything public.
    pub(crate) listen: Address,
    /// Prometheus and health.
    pub(crate) admin_listen: Address,
}

/// Runs the three roles until SIGTERM or ctrl-c.
pub(crate) async fn run(settings: Settings) -> anyhow::Result<()> {
    let process = Process::start("serve", settings)?;
    let config: ServeConfig = process.settings.section("serve")?;
    let public = process.bind_public(&config.listen, "serve.listen").await?;
    let admin = process.bind_internal(&config.admin_listen, "serve.admin_listen").await?;
    let Roles { ingest, writer, maintenance, query } = build(&process).await?;

    tracing::info!(address = %public.address(), "everything is at {}", public.url());
    process.serve_admin(admin);
    let description = ingest::Ingest::description().and(query::Query::description());
    process.serve("public", public, ingest.router().merge(query.router()), description);
    ingest.start(&process.tasks, &process.stop);
    maintenance.start(writer.tails(), &process.tasks, &process.stop);
    writer.start(&process.tasks, &process.stop);
    query.start(&process.tasks, &process.stop);
    process.run().await.map_err(anyhow::Error::from_boxed)
}

struct Roles {
    ingest: ingest::Ingest,
    writer: writer::Writer,
    maintenance: Maintenance,
    query: query::Query,
}

/// Reads every section, connects and opens what the roles share, then puts each together; nothing runs yet.
async fn build(process: &Process) -> anyhow::Result<Roles> {
    let Process { settings, clock, health, .. } = process;
    let identity = settings.section::<identity::Config>("dedup")?.identity;
    let (ingest, writer, query) = (settings.section("ingest")?, settings.section("pipeline")?, settings.section("query")?);
    let (table, dedup) = (settings.section("table")?, settings.section("dedup")?);
    let maintenance = maintenance::Config::load(settings)?;
    let connect::JournalConfig { retention: Interval(retention), on_gap, .. } = settings.section("journal")?;
    let journal: Arc<dyn Journal> = Arc::new(connect::journal(settings).await?);
    let store = Store::open(&table).await?;
    store.probe().await?;

    let (clock, health) = (|| clock.clone(), || health.clone());
    let parts = ingest::Parts { journal: Arc::clone(&journal), identity: identity.clone(), clock: clock(), health: health() };
    let ingest = ingest::Ingest::build(&ingest, parts);
    let maintenance = Maintenance::open(&store, maintenance, clock()).await?;
    let keep = maintenance.keep();
    let parts = writer::Parts { journal, store: store.clone(), dedup, retention, on_gap, keep, clock: clock(), health: health() };
    let writer = writer::Writer::build(&writer, parts).await?;
    let parts = query::Parts { store, tails: Some(Arc::new(writer.tails())), identity, clock: clock(), health: health() };
    let query = query::build(&query, parts).await?;
    Ok(Roles { ingest, writer, maintenance, query })
}
