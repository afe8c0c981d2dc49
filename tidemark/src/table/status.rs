//! What the tables are made of, and how far the journal is ahead of them. Nothing is created or changed.
//!
//! Everything about the tables comes from their Delta logs, so it is as quick for ten thousand files as for ten. A journal that is
//! away is told as such; the rest is shown all the same.

use anyhow::Context;
use chrono::{DateTime, Utc};
use journal::jetstream::adoption::Streams;
use pipeline::connect;
use schemas::{Sequence, ShardId};
use serde::Serialize;
use service::{clock::Clock, settings::Settings};
use table::{LogFolder, Protocol, Snapshot, Store, Table};

use self::files::Files;

mod files;
mod words;

/// The tables at one moment.
#[derive(Debug, Serialize)]
pub(crate) struct Status {
    /// The lake.
    location: String,
    /// When this was looked at.
    at: DateTime<Utc>,
    pub(crate) events: TableStatus,
    /// There is none before the first start has ended well.
    pub(crate) quarantine: Option<TableStatus>,
    pub(crate) shards: Vec<Shard>,
    /// Why the journal does not tell how far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    journal_error: Option<String>,
}

/// One table.
#[derive(Debug, Serialize)]
pub(crate) struct TableStatus {
    pub(crate) version: u64,
    pub(crate) committed_at: Option<DateTime<Utc>>,
    pub(crate) delta_reader_version: i32,
    pub(crate) delta_writer_version: i32,
    schema_version: Option<u32>,
    #[serde(flatten)]
    pub(crate) files: Files,
    pub(crate) log: Log,
}

/// The folder of the Delta log.
#[derive(Debug, Serialize)]
pub(crate) struct Log {
    files: u64,
    bytes: u64,
    commits: u64,
    checkpoint: Option<u64>,
    pub(crate) commits_since_checkpoint: u64,
}

/// A shard, as table and journal see it.
#[derive(Debug, Serialize)]
pub(crate) struct Shard {
    pub(crate) shard: ShardId,
    tidemark: Sequence,
    quarantine_tidemark: Sequence,
    /// The last message of the journal; `None` when it is not known, or there is no such stream.
    journal_last: Option<Sequence>,
    /// Messages that are in the journal and not in the table yet.
    pub(crate) uncommitted_messages: Option<u64>,
}

impl Status {
    /// Looks at the tables that the settings name.
    ///
    /// # Errors
    /// When there is no table, or it cannot be read.
    pub(crate) async fn of(settings: &Settings) -> anyhow::Result<Self> {
        let config: table::Config = settings.section("table")?;
        let missing = || format!("there is no table at `{}` (setting `table.url`); `tidemark serve` creates it", config.url);
        Self::of_store(&Store::open_existing(&config).await?.with_context(missing)?, settings).await
    }

    /// Looks at the tables of a store.
    ///
    /// # Errors
    /// As for [`of`](Self::of).
    pub(crate) async fn of_store(store: &Store, settings: &Settings) -> anyhow::Result<Self> {
        let missing = || format!("there is no table at `{}` (setting `table.url`); `tidemark serve` creates it", store.location());
        let events = Table::open(store, "events").await?.with_context(missing)?;
        let quarantine = Table::open(store, "quarantine").await?;
        Self::of_tables(store.location().to_owned(), &events, quarantine.as_ref(), settings).await
    }

    async fn of_tables(location: String, events: &Table, quarantine: Option<&Table>, settings: &Settings) -> anyhow::Result<Self> {
        let at = Clock::system().now();
        let events_now = events.snapshot().await?;
        let quarantine_now = match quarantine {
            Some(table) => Some((table, table.snapshot().await?)),
            None => None,
        };
        let streams = connect::streams(settings).await;
        let mut shards = Vec::new();
        for (shard, tidemark) in events_now.tidemarks() {
            let quarantined = quarantine_now.as_ref().map_or(Sequence::ZERO, |(_, snapshot)| snapshot.tidemark(*shard));
            shards.push(Shard::of(*shard, *tidemark, quarantined, streams.as_ref().ok()).await?);
        }
        let quarantine = match quarantine_now {
            Some((table, snapshot)) => Some(TableStatus::of(table, &snapshot).await?),
            None => None,
        };
        let journal_error = streams.err().map(|error| format!("{:#}", anyhow::Error::from(error)));
        Ok(Self { location, at, events: TableStatus::of(events, &events_now).await?, quarantine, shards, journal_error })
    }
}

impl TableStatus {
    async fn of(table: &Table, snapshot: &Snapshot) -> anyhow::Result<Self> {
        let log = table.log_folder().await?;
        let Protocol { reader_version, writer_version, .. } = snapshot.protocol();
        Ok(Self {
            version: snapshot.version(),
            committed_at: log.newest_commit_at,
            delta_reader_version: reader_version,
            delta_writer_version: writer_version,
            schema_version: snapshot.schema_version(),
            files: Files::of(snapshot.files()),
            log: log.into(),
        })
    }
}

impl From<LogFolder> for Log {
    fn from(folder: LogFolder) -> Self {
        let LogFolder { files, bytes, commits, newest_checkpoint: checkpoint, commits_since_checkpoint, .. } = folder;
        Self { files, bytes, commits, checkpoint, commits_since_checkpoint }
    }
}

impl Shard {
    async fn of(shard: ShardId, tidemark: Sequence, quarantine_tidemark: Sequence, streams: Option<&Streams>) -> anyhow::Result<Self> {
        let bounds = match streams {
            Some(streams) => streams.bounds(shard).await?,
            None => None,
        };
        let journal_last = bounds.map(|bounds| bounds.last);
        let uncommitted_messages = journal_last.map(|last| last.0.saturating_sub(tidemark.0));
        Ok(Self { shard, tidemark, quarantine_tidemark, journal_last, uncommitted_messages })
    }
}
