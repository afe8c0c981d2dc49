//! The Delta log of one table: versions, commits, checkpoints and the tidemarks in them.
//!
//! A tidemark is a `txn` action: app id `tidemark/<shard>`, version = sequence. Beside it stand the fingerprints of its [`Origin`].
//! Of a shard's actions of a kind the newest holds.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    array::{AsArray, RecordBatch, StructArray},
    datatypes::Int64Type,
};
use delta_kernel::{DeltaResult, Engine, SnapshotRef, actions::LOG_TXN_SCHEMA, engine::arrow_data::ArrowEngineData};
use deltalake_core::{
    DeltaTableError,
    kernel::{Action, Transaction},
    logstore::{LogStoreRef, StorageConfig, commit_uri_from_version, default_logstore, get_actions},
    table::state::DeltaTableState,
};
use futures::TryStreamExt;
use object_store::path::Path;
use schemas::{Sequence, ShardId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Error, Store};

/// The highest sequence of each shard that a version of the table holds.
pub(crate) type Tidemarks = BTreeMap<ShardId, Sequence>;

/// What a version of the table knows of each shard.
pub(crate) type Marks = BTreeMap<(ShardId, Mark), i64>;

/// The kinds of `txn` actions of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    /// The highest sequence.
    Tidemark,
    /// The fingerprint of the stream.
    Stream,
    /// The fingerprint of the message at the tidemark.
    LastMessage,
}

const APP_ID: &str = "tidemark/";
pub(crate) const LOG_FOLDER: &str = "_delta_log";

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
    action(shard, Mark::Tidemark, i64::try_from(tidemark.0).expect("JetStream counts no further than 2^63"))
}

/// The action that sets a mark.
pub(crate) fn action(shard: ShardId, mark: Mark, value: i64) -> Transaction {
    Transaction::new(format!("{APP_ID}{shard}{}", mark.suffix()), value)
}

/// The tidemarks among the marks.
pub(crate) fn tidemarks(marks: &Marks) -> Tidemarks {
    let tidemark = |(&(shard, mark), &value): (&(ShardId, Mark), &i64)| {
        (mark == Mark::Tidemark).then(|| (shard, Sequence(u64::try_from(value).unwrap_or_default())))
    };
    marks.iter().filter_map(tidemark).collect()
}

impl Mark {
    const ALL: [Self; 3] = [Self::LastMessage, Self::Stream, Self::Tidemark];

    /// What follows the shard in the app id.
    const fn suffix(self) -> &'static str {
        match self {
            Self::Tidemark => "",
            Self::Stream => "/stream",
            Self::LastMessage => "/last_message",
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

    /// A version, or the newest, read from the last checkpoint on.
    pub(crate) async fn open(&self, version: Option<u64>) -> Result<DeltaTableState, Error> {
        DeltaTableState::try_new(&self.store, version).await.map_err(|error| self.failed(error))
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

/// `00000000000000000042.json`.
pub(crate) fn is_commit(name: &str) -> bool {
    name.strip_suffix(".json").is_some_and(|version| version.len() == 20 && version.bytes().all(|digit| digit.is_ascii_digit()))
}

fn mark(app_id: &str, version: i64) -> Option<((ShardId, Mark), i64)> {
    let name = app_id.strip_prefix(APP_ID)?;
    let (mark, shard) = Mark::ALL.into_iter().find_map(|mark| Some((mark, name.strip_suffix(mark.suffix())?.parse().ok()?)))?;
    (version >= 0).then_some(((ShardId(shard), mark), version))
}

fn transactions(actions: &RecordBatch) -> Vec<((ShardId, Mark), i64)> {
    let column = |txn: &StructArray, name| txn.column_by_name(name).cloned();
    let Some(txn) = actions.column_by_name("txn").and_then(|column| column.as_struct_opt()) else { return Vec::new() };
    let (Some(ids), Some(versions)) = (column(txn, "appId"), column(txn, "version")) else { return Vec::new() };
    let (ids, versions) = (ids.as_string::<i32>(), versions.as_primitive::<Int64Type>());
    ids.iter().zip(versions).filter_map(|(id, version)| mark(id?, version?)).collect()
}
