//! The Delta log of one table: versions, commits, checkpoints and the tidemarks in them.
//!
//! A tidemark is a `txn` action: app id `tidemark/<shard>`, version = sequence. Beside it stand the fingerprints of its
//! [`Origin`](crate::Origin), and `tidemark/dropped_before`, the first day that retention left, and `tidemark/rebuilds`, which counts the
//! commits that brought lost rows back. Of the actions of an app id the newest holds.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{AsArray, RecordBatch, StructArray},
    datatypes::Int64Type,
};
use bytes::Bytes;
use delta_kernel::{DeltaResult, Engine, SnapshotRef, actions::LOG_TXN_SCHEMA, engine::arrow_data::ArrowEngineData};
use deltalake_core::{
    DeltaTableError,
    kernel::{Action, Transaction},
    logstore::{LogStoreRef, StorageConfig, commit_uri_from_version, default_logstore, get_actions},
    table::state::DeltaTableState,
};
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, path::Path};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::{Sequence, ShardId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, Store};

/// The highest sequence of each shard that a version of the table holds.
pub(crate) type Tidemarks = BTreeMap<ShardId, Sequence>;

/// What a version of the table knows besides its files.
pub(crate) type Marks = BTreeMap<Mark, i64>;

/// The kinds of `txn` actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    /// The highest sequence of a shard.
    Tidemark(ShardId),
    /// The fingerprint of a shard's stream.
    Stream(ShardId),
    /// The fingerprint of the message at a shard's tidemark.
    LastMessage(ShardId),
    /// All days before this one, counted from 1970, were taken out of the table.
    DroppedBefore,
    /// How many commits have brought lost rows back.
    Rebuilds,
}

const APP_ID: &str = "tidemark/";
const STREAM: &str = "/stream";
const LAST_MESSAGE: &str = "/last_message";
const DROPPED_BEFORE: &str = "dropped_before";
const REBUILDS: &str = "rebuilds";
pub(crate) const LOG_FOLDER: &str = "_delta_log";
const CHECKPOINT_SUFFIX: &str = ".checkpoint.parquet";
/// Readers ignore folders that begin with `_`.
const DAMAGED_FOLDER: &str = "_damaged";

/// The log of a table.
pub(crate) struct Log {
    table: String,
    store: LogStoreRef,
}

/// What one commit did, as far as tidemarks are concerned.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Files it added, relative to the table.
    pub(crate) added: Vec<String>,
    /// Tidemarks and fingerprints it set.
    pub(crate) marks: Marks,
    /// Who made it, when it was a Tidemark writer.
    pub(crate) author: Option<Author>,
}

/// Kept in the commit's `commitInfo`, so that a writer recognises its own commit after a lost reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Author {
    /// The opened table that made the commit.
    pub(crate) writer: Uuid,
    pub(crate) shard: ShardId,
    /// The tidemark before the commit.
    pub(crate) from: Sequence,
    /// The tidemark after it.
    pub(crate) to: Sequence,
}

impl Author {
    /// The key in `commitInfo`.
    pub(crate) const KEY: &str = "tidemark";
}

/// The action that sets a tidemark.
pub(crate) fn tidemark_action(shard: ShardId, tidemark: Sequence) -> Transaction {
    Mark::Tidemark(shard).action(i64::try_from(tidemark.0).expect("JetStream counts no further than 2^63"))
}

/// The tidemarks among the marks.
pub(crate) fn tidemarks(marks: &Marks) -> Tidemarks {
    let tidemark = |(mark, value): (&Mark, &i64)| match mark {
        Mark::Tidemark(shard) => Some((*shard, Sequence(u64::try_from(*value).unwrap_or_default()))),
        _ => None,
    };
    marks.iter().filter_map(tidemark).collect()
}

impl Mark {
    /// The action that sets the mark.
    pub(crate) fn action(self, value: i64) -> Transaction {
        let name = match self {
            Self::Tidemark(shard) => shard.to_string(),
            Self::Stream(shard) => format!("{shard}{STREAM}"),
            Self::LastMessage(shard) => format!("{shard}{LAST_MESSAGE}"),
            Self::DroppedBefore => DROPPED_BEFORE.to_owned(),
            Self::Rebuilds => REBUILDS.to_owned(),
        };
        Transaction::new(format!("{APP_ID}{name}"), value)
    }

    /// The mark that an app id names.
    fn parse(app_id: &str) -> Option<Self> {
        let name = app_id.strip_prefix(APP_ID)?;
        let shard = |text: &str| text.parse().ok().map(ShardId);
        if name == DROPPED_BEFORE {
            Some(Self::DroppedBefore)
        } else if name == REBUILDS {
            Some(Self::Rebuilds)
        } else if let Some(text) = name.strip_suffix(STREAM) {
            shard(text).map(Self::Stream)
        } else if let Some(text) = name.strip_suffix(LAST_MESSAGE) {
            shard(text).map(Self::LastMessage)
        } else {
            shard(name).map(Self::Tidemark)
        }
    }
}

impl Log {
    pub(crate) fn new(store: &Store, table: &str) -> Self {
        let options = StorageConfig::default();
        let log = default_logstore(store.table_store(table), store.root(), &store.table_location(table), &options);
        Self { table: table.to_owned(), store: log }
    }

    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    pub(crate) fn store(&self) -> LogStoreRef {
        LogStoreRef::clone(&self.store)
    }

    pub(crate) fn failed(&self, source: DeltaTableError) -> Error {
        Error::Log { table: self.table.clone(), source: Box::new(source) }
    }

    pub(crate) fn foreign(&self, what: String) -> Error {
        Error::Foreign { table: self.table.clone(), what }
    }

    /// False when there is no table yet.
    pub(crate) async fn exists(&self) -> Result<bool, Error> {
        self.store.is_delta_table_location().await.map_err(|error| self.failed(error))
    }

    /// A version, or the newest, read from the last checkpoint on; from the one before when that is damaged.
    pub(crate) async fn open(&self, version: Option<u64>) -> Result<DeltaTableState, Error> {
        let failure = match DeltaTableState::try_new(&self.store, version).await {
            Ok(state) => return Ok(state),
            Err(failure) => failure,
        };
        match self.put_damaged_checkpoint_aside().await? {
            true => DeltaTableState::try_new(&self.store, version).await.map_err(|error| self.failed(error)),
            false => Err(self.failed(failure)),
        }
    }

    /// The versions of which there is a checkpoint, ascending. An empty one is none.
    pub(crate) async fn checkpoints(&self) -> Result<Vec<u64>, Error> {
        let files = self.checkpoint_files().await?;
        Ok(files.into_iter().filter(|(_, bytes)| *bytes > 0).map(|(version, _)| version).collect())
    }

    /// Versions and sizes of checkpoints, ascending.
    async fn checkpoint_files(&self) -> Result<Vec<(u64, u64)>, Error> {
        let store = self.store.object_store(None);
        let objects: Vec<_> = store.list(Some(&Path::from(LOG_FOLDER))).try_collect().await?;
        let file = |object: &ObjectMeta| Some((checkpoint_version(object.location.filename()?)?, object.size));
        let mut files: Vec<(u64, u64)> = objects.iter().filter_map(file).collect();
        files.sort_unstable();
        Ok(files)
    }

    /// Moves the newest checkpoint out of the log if it cannot be read. Everything in it is also in the commits and the checkpoint
    /// before it, which are kept for that.
    async fn put_damaged_checkpoint_aside(&self) -> Result<bool, Error> {
        let Some((version, _)) = self.checkpoint_files().await?.last().copied() else { return Ok(false) };
        let (store, name) = (self.store.object_store(None), format!("{version:020}{CHECKPOINT_SUFFIX}"));
        let place = Path::from(format!("{LOG_FOLDER}/{name}"));
        let bytes = store.get(&place).await?.bytes().await?;
        let Err(damage) = read_all(bytes) else { return Ok(false) };
        let aside = Path::from(format!("{DAMAGED_FOLDER}/{name}"));
        tracing::error!(table = self.table, version, %damage, %aside, "the newest checkpoint is damaged; moved aside, the one before it is used");
        for result in [store.rename(&place, &aside).await, store.delete(&Path::from(format!("{LOG_FOLDER}/_last_checkpoint"))).await] {
            match result {
                // Somebody else was faster.
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// True when a commit later than `version` exists. One list request: a missing next commit alone would not tell, because old
    /// commits are cleaned up.
    pub(crate) async fn is_newer_than(&self, version: u64) -> Result<bool, Error> {
        let store = self.store.object_store(None);
        let after = commit_uri_from_version(Some(version));
        let mut later = store.list_with_offset(Some(&Path::from(LOG_FOLDER)), &after);
        while let Some(object) = later.try_next().await? {
            if object.location.filename().is_some_and(is_commit) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What the commit of a version did; `None` when it has been cleaned up.
    pub(crate) async fn entry(&self, version: u64) -> Result<Option<Entry>, Error> {
        let bytes = self.store.read_commit_entry(version).await.map_err(|error| self.failed(error))?;
        let actions = bytes.map(|bytes| get_actions(version, &bytes)).transpose().map_err(|error| self.failed(error))?;
        Ok(actions.map(Entry::of))
    }

    /// All marks at a version, by replaying the log from its last checkpoint.
    pub(crate) async fn marks(&self, version: u64) -> Result<Marks, Error> {
        let replay = |snapshot: SnapshotRef, engine: &dyn Engine| {
            let mut marks = Marks::new();
            for batch in snapshot.log_segment().read_actions(engine, Arc::clone(&LOG_TXN_SCHEMA))? {
                let actions: RecordBatch = (*ArrowEngineData::try_from_engine_data(batch?.actions)?).into();
                for (mark, value) in transactions(&actions) {
                    marks.entry(mark).or_insert(value); // the replay goes from the newest to the oldest
                }
            }
            Ok(marks)
        };
        self.blocking(version, replay).await
    }

    /// Writes a checkpoint of a version, so that opening need not read the commits before it.
    pub(crate) async fn checkpoint(&self, version: u64) -> Result<(), Error> {
        self.blocking(version, |snapshot, engine| snapshot.checkpoint(engine, None).map(|_| ())).await
    }

    /// Opens a version for the Delta kernel, which waits for its requests: on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        version: u64,
        work: impl FnOnce(SnapshotRef, &dyn Engine) -> DeltaResult<T> + Send + 'static,
    ) -> Result<T, Error> {
        let engine = self.store.engine(None);
        let location = self.store.root_url().clone();
        let open = move || work(delta_kernel::Snapshot::builder_for(location).at_version(version).build(engine.as_ref())?, engine.as_ref());
        let done = tokio::task::spawn_blocking(open).await.map_err(|error| DeltaTableError::Generic(error.to_string()));
        done.and_then(|result| Ok(result?)).map_err(|error| self.failed(error))
    }
}

impl Entry {
    fn of(actions: Vec<Action>) -> Self {
        let mut entry = Self::default();
        for action in actions {
            match action {
                Action::Add(add) => entry.added.push(add.path),
                Action::Txn(transaction) => entry.marks.extend(mark(&transaction.app_id, transaction.version)),
                Action::CommitInfo(info) => {
                    entry.author = info.info.get(Author::KEY).and_then(|author| Author::deserialize(author).ok());
                }
                _ => {}
            }
        }
        entry
    }
}

/// `00000000000000000050.checkpoint.parquet`.
fn checkpoint_version(name: &str) -> Option<u64> {
    name.strip_suffix(CHECKPOINT_SUFFIX)?.parse().ok()
}

/// Reads a Parquet file to its end.
fn read_all(bytes: Bytes) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    for rows in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
        rows?;
    }
    Ok(())
}

/// `00000000000000000042.json`.
pub(crate) fn is_commit(name: &str) -> bool {
    name.strip_suffix(".json").is_some_and(|version| version.len() == 20 && version.bytes().all(|digit| digit.is_ascii_digit()))
}

fn mark(app_id: &str, version: i64) -> Option<(Mark, i64)> {
    Mark::parse(app_id).filter(|_| version >= 0).map(|mark| (mark, version))
}

fn transactions(actions: &RecordBatch) -> Vec<(Mark, i64)> {
    let column = |txn: &StructArray, name| txn.column_by_name(name).cloned();
    let Some(txn) = actions.column_by_name("txn").and_then(|column| column.as_struct_opt()) else { return Vec::new() };
    let (Some(ids), Some(versions)) = (column(txn, "appId"), column(txn, "version")) else { return Vec::new() };
    let (ids, versions) = (ids.as_string::<i32>(), versions.as_primitive::<Int64Type>());
    ids.iter().zip(versions).filter_map(|(id, version)| mark(id?, version?)).collect()
}
