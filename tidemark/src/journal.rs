//! `tidemark journal`: the streams of the journal and what the tables think of them; the way out when a table refuses its stream.

use std::fmt;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use indicatif::BinaryBytes;
use journal::{Bounds, Journal, jetstream::adoption::Streams};
use pipeline::{
    connect,
    writer::{Adopted, OriginError, confirm},
};
use schemas::{Sequence, ShardId};
use service::{clock::Clock, settings::Settings};
use table::{Store, Table};

use crate::output;

/// What to do with the journal.
#[derive(Subcommand)]
pub(crate) enum JournalCommand {
    /// Show each shard's stream, how far the tables are, and whether they accept the stream.
    Status,
    /// Let the tables go on with the streams that are there now, when they refuse them.
    Adopt(AdoptOptions),
}

/// Options of `tidemark journal adopt`.
#[derive(Args)]
pub(crate) struct AdoptOptions {
    /// One shard only; every shard whose stream is refused unless given.
    #[arg(long)]
    shard: Option<u16>,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Do it.
    #[arg(long)]
    yes: bool,
}

/// Does it and says what came of it.
pub(crate) async fn run(command: JournalCommand, settings: &Settings) -> anyhow::Result<()> {
    service::telemetry::install_crypto();
    let operator = Operator::open(settings).await?;
    match command {
        JournalCommand::Status => operator.show().await,
        JournalCommand::Adopt(options) => operator.adopt(options).await,
    }
}

struct Operator {
    streams: Streams,
    events: Option<Table>,
    quarantine: Option<Table>,
    url: String,
}

/// A shard, as journal and tables see it.
struct Shard {
    id: ShardId,
    stream: String,
    bounds: Option<Bounds>,
    is_adopting: bool,
    events: Sequence,
    quarantine: Sequence,
    /// Why the table refuses the stream.
    refusal: Option<String>,
}

impl Operator {
    async fn open(settings: &Settings) -> anyhow::Result<Self> {
        let streams = connect::streams(settings).await?;
        let store = Store::open(&settings.section("table")?).await?;
        let (events, quarantine) = (Table::open(&store, "events").await?, Table::open(&store, "quarantine").await?);
        Ok(Self { streams, events, quarantine, url: store.location().to_string() })
    }

    async fn show(&self) -> anyhow::Result<()> {
        for shard in (0..self.streams.shards()).map(ShardId) {
            output::print(&self.look(shard).await?.to_string())?;
        }
        Ok(())
    }

    async fn look(&self, id: ShardId) -> anyhow::Result<Shard> {
        let (bounds, is_adopting) = (self.streams.bounds(id).await?, self.streams.is_adopting(id).await?);
        let (events, quarantine) = (tidemark(self.events.as_ref(), id).await?, tidemark(self.quarantine.as_ref(), id).await?);
        let refusal = self.refusal(id, bounds.as_ref()).await?;
        Ok(Shard { id, stream: self.streams.name(id), bounds, is_adopting, events, quarantine, refusal })
    }

    /// What a pipeline would say at its start.
    async fn refusal(&self, shard: ShardId, bounds: Option<&Bounds>) -> anyhow::Result<Option<String>> {
        let Some(events) = &self.events else { return Ok(None) };
        let snapshot = events.snapshot().await?;
        let Some(bounds) = bounds else {
            return Ok(snapshot.origin(shard).map(|_| "there is no stream, and the table has rows of one".to_owned()));
        };
        let journal = self.streams.journal().await?;
        match confirm(&journal as &dyn Journal, shard, bounds, &snapshot).await {
            Ok(()) => Ok(None),
            Err(OriginError::AnotherJournal(refusal)) => Ok(Some(refusal.what().to_owned())),
            Err(error) => Err(error.into()),
        }
    }

    async fn adopt(&self, AdoptOptions { shard, dry_run, yes }: AdoptOptions) -> anyhow::Result<()> {
        let mut refused = Vec::new();
        for id in (0..self.streams.shards()).map(ShardId).filter(|id| shard.is_none_or(|only| only == id.0)) {
            let found = self.look(id).await?;
            match found.needs_adoption() {
                true => refused.push(found),
                false => output::print(&format!("shard {id}: the table accepts the stream; there is nothing to adopt"))?,
            }
        }
        for found in &refused {
            output::print(&found.plan())?;
        }
        if refused.is_empty() || dry_run {
            return Ok(());
        }
        if !yes {
            bail!("nothing was done; stop every process of Tidemark, then add `--yes`");
        }
        self.is_alone().await?;
        for found in &refused {
            self.adopt_shard(found.id).await.with_context(|| format!("shard {} is not adopted yet; run the same again", found.id))?;
        }
        Ok(())
    }

    /// Two processes that move messages, or one that still reads them, would undo each other's work.
    async fn is_alone(&self) -> anyhow::Result<()> {
        match self.streams.other_processes().await? {
            Some(others) if !others.is_empty() => {
                bail!("{} processes of Tidemark are connected, from {}; stop them first", others.len(), others.join(", "))
            }
            Some(_) => Ok(()),
            None => Ok(output::print("`nats.monitoring_url` is not set: whether all processes are stopped is not checked")?),
        }
    }

    async fn adopt_shard(&self, shard: ShardId) -> anyhow::Result<()> {
        let missing = || format!("there is no table at `{}`", self.url);
        let (events, quarantine) = (self.events.as_ref().with_context(missing)?, self.quarantine.as_ref().with_context(missing)?);
        let above = tidemark(self.events.as_ref(), shard).await?.max(tidemark(self.quarantine.as_ref(), shard).await?);
        while let Some(step) = self.streams.step(shard, above).await? {
            output::print(&format!("shard {shard}: {step}"))?;
        }
        let bounds = self.streams.bounds(shard).await?.context("the new stream is gone")?;
        if self.refusal(shard, Some(&bounds)).await?.is_some() {
            let position = Sequence(bounds.first.0 - 1);
            Adopted { shard, identity: bounds.identity, position }.commit(events, quarantine, Clock::system().now()).await?;
            output::print(&format!("shard {shard}: the table goes on after {position}, with the new stream"))?;
        }
        self.streams.open(shard).await?;
        Ok(output::print(&format!("shard {shard}: adopted; start Tidemark again"))?)
    }
}

async fn tidemark(table: Option<&Table>, shard: ShardId) -> anyhow::Result<Sequence> {
    match table {
        Some(table) => Ok(table.snapshot().await?.tidemark(shard)),
        None => Ok(Sequence::ZERO),
    }
}

impl Shard {
    const fn needs_adoption(&self) -> bool {
        self.is_adopting || self.refusal.is_some()
    }

    /// What an adoption of this shard does.
    fn plan(&self) -> String {
        let Self { id, stream, bounds, events, quarantine, .. } = self;
        if self.is_adopting {
            return format!("shard {id}: an adoption of `{stream}` was begun; it goes on where it was");
        }
        let messages = bounds.as_ref().map_or(0, |bounds| bounds.last.next().0 - bounds.first.0);
        let first = events.max(quarantine).next().next();
        format!(
            "shard {id}: {}\n  `{stream}` is made anew with numbers from {first}; its {messages} messages are moved there, each once. What the \
             table has already is counted as repeats.\n  Until then the door answers 503. Positions that clients got for the moved messages \
             no longer hold.",
            self.verdict()
        )
    }

    fn verdict(&self) -> String {
        match (&self.refusal, self.is_adopting) {
            (_, true) => "not now: an adoption was begun; run `tidemark journal adopt --yes` to its end".to_owned(),
            (Some(refusal), _) => format!("no: {refusal}; `tidemark journal adopt` is the way out"),
            (None, _) => "yes".to_owned(),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, stream, events, quarantine, .. } = self;
        write!(f, "shard {id}: stream `{stream}`")?;
        match &self.bounds {
            None => write!(f, "\n  there is no such stream")?,
            Some(Bounds { first, last, identity, bytes, max_bytes }) => {
                write!(f, "\n  identity   {identity}\n  messages   ")?;
                if first > last {
                    write!(f, "none, the next is {first}")?
                } else {
                    write!(f, "{first} to {last}")?
                }
                write!(f, "\n  size       {} of {}", BinaryBytes(*bytes), BinaryBytes(*max_bytes))?;
                write!(f, "\n  behind     {} messages", last.0.saturating_sub(events.0))?;
            }
        }
        write!(f, "\n  tidemarks  events {events}, quarantine {quarantine}\n  accepted   {}", self.verdict())
    }
}
