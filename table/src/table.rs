//! A table of the lake: created once, opened often, pinned as snapshots.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use delta_kernel::engine::arrow_conversion::TryIntoKernel;
use deltalake_core::{
    DeltaTable, DeltaTableError,
    kernel::{StructField, StructType, transaction::CommitProperties},
    operations::create::CreateBuilder,
};
use object_store::ObjectStore;
use schemas::tables::{EVENT_DATE, SCHEMA_VERSION};
use tokio::sync::Mutex;
use uuid::Uuid;

use crate::{Error, Snapshot, Store, log::Log};

/// The row schema's version, among the table's properties.
pub(crate) const SCHEMA_VERSION_KEY: &str = "tidemark.schemaVersion";
/// Other writers checkpoint as often as our maintenance does.
const CHECKPOINT_INTERVAL: &str = "50";
/// Commits older than a checkpoint are kept so long for readers that are behind.
const LOG_RETENTION: &str = "interval 1 days";
/// Checkpoints name removed files for so long: longer than the maintenance keeps them.
const REMOVED_FILE_RETENTION: &str = "interval 2 days";

/// Others who commit at the same time are waited out so often.
const MIGRATION_TRIES: usize = 16;

/// A table. Clones share one writer identity and one newest snapshot.
#[derive(Clone)]
pub struct Table(Arc<Opened>);

struct Opened {
    log: Log,
    files: Arc<dyn ObjectStore>,
    schema: SchemaRef,
    /// Names this opened table in its commits.
    writer: Uuid,
    newest: Mutex<Snapshot>,
}

impl Table {
    /// Opens a table, or creates it with these columns, partitioned by `event_date`. Several may do so at the same time.
    ///
    /// A table of an earlier version, which lacks columns at its end, gets them; they are null in the rows that are there.
    ///
    /// # Errors
    /// [`Error::SchemaDiffers`] when the table exists with other columns.
    pub async fn open_or_create(store: &Store, name: &str, schema: SchemaRef) -> Result<Self, Error> {
        let log = Log::new(store, name);
        let columns = columns(&log, &schema)?;
        let snapshot = match Snapshot::open(&log).await? {
            Some(snapshot) => snapshot,
            None => create(&log, &columns).await?,
        };
        let snapshot = with_new_columns(&log, &columns, snapshot).await?;
        check_columns(&log, &columns, &snapshot)?;
        Self::new(store, log, snapshot)
    }

    /// Opens a table; `None` when it does not exist.
    ///
    /// # Errors
    /// When the store fails, or what lies there is no table of ours.
    pub async fn open(store: &Store, name: &str) -> Result<Option<Self>, Error> {
        let log = Log::new(store, name);
        Snapshot::open(&log).await?.map(|snapshot| Self::new(store, log, snapshot)).transpose()
    }

    /// The newest version. One list request when nothing changed, else the new commits are read.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let mut newest = self.0.newest.lock().await;
        *newest = newest.newest(&self.0.log).await?;
        Ok(newest.clone())
    }

    /// The table's name: its folder in the store.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.log.table()
    }

    /// The columns of the rows, with the partition column.
    #[must_use]
    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.0.schema)
    }

    /// The store in which the paths of [`DataFile`](crate::DataFile)s lie.
    #[must_use]
    pub fn object_store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.0.files)
    }

    pub(crate) fn log(&self) -> &Log {
        &self.0.log
    }

    pub(crate) fn writer(&self) -> Uuid {
        self.0.writer
    }

    /// Remembers a version that this table has just committed.
    pub(crate) async fn adopt(&self, snapshot: &Snapshot) {
        let mut newest = self.0.newest.lock().await;
        if snapshot.version() > newest.version() {
            *newest = snapshot.clone();
        }
    }

    fn new(store: &Store, log: Log, snapshot: Snapshot) -> Result<Self, Error> {
        check_version(&log, &snapshot)?;
        let schema = snapshot.schema();
        let opened = Opened { log, files: store.object_store(), schema, writer: Uuid::new_v4(), newest: Mutex::new(snapshot) };
        Ok(Self(Arc::new(opened)))
    }
}

fn columns(log: &Log, schema: &SchemaRef) -> Result<StructType, Error> {
    schema.as_ref().try_into_kernel().map_err(|error| log.failed(DeltaTableError::from(error)))
}

/// Creates the table, or opens it when somebody else was faster.
async fn create(log: &Log, columns: &StructType) -> Result<Snapshot, Error> {
    let properties = [
        ("delta.checkpointInterval", CHECKPOINT_INTERVAL.to_owned()),
        ("delta.logRetentionDuration", LOG_RETENTION.to_owned()),
        ("delta.deletedFileRetentionDuration", REMOVED_FILE_RETENTION.to_owned()),
        (SCHEMA_VERSION_KEY, SCHEMA_VERSION.to_string()),
    ];
    let created = CreateBuilder::new()
        .with_log_store(log.store())
        .with_table_name(log.table())
        .with_columns(columns.fields().cloned())
        .with_partition_columns([EVENT_DATE])
        .with_configuration(properties.map(|(key, value)| (key, Some(value))))
        .with_raise_if_key_not_exists(false)
        // A retry would commit a second creation on top of the winner's.
        .with_commit_properties(CommitProperties::default().with_max_retries(0))
        .await;
    match (Snapshot::open(log).await?, created) {
        (Some(snapshot), _) => Ok(snapshot),
        (None, Err(error)) => Err(log.failed(error)),
        (None, Ok(_)) => Err(log.foreign("it was created and is gone again".to_owned())),
    }
}

/// The table with the columns that it lacks at its end, added when nobody else was faster.
async fn with_new_columns(log: &Log, wanted: &StructType, mut snapshot: Snapshot) -> Result<Snapshot, Error> {
    for _ in 0..MIGRATION_TRIES {
        let missing = new_columns(wanted, &snapshot.state().schema());
        if missing.is_empty() {
            return Ok(snapshot);
        }
        let names: Vec<&str> = missing.iter().map(|field| field.name().as_str()).collect();
        tracing::info!(table = log.table(), columns = ?names, "adding columns to a table of an earlier version");
        // From the version that lacks them: a newer one may already have them, and adding them there would be one more commit.
        let mut table = DeltaTable::new(log.store());
        table.state = Some(snapshot.state().clone());
        let once = CommitProperties::default().with_max_retries(0).with_create_checkpoint(false).with_cleanup_expired_logs(Some(false));
        // Whatever became of it, the table tells.
        if let Err(error) = table.add_columns().with_fields(missing).with_commit_properties(once).await {
            tracing::warn!(
                table = log.table(),
                error = &error as &dyn std::error::Error,
                "the columns may not have been added; looking again"
            );
        }
        snapshot = Snapshot::open(log).await?.ok_or_else(|| log.foreign("it is gone".to_owned()))?;
    }
    Ok(snapshot)
}

/// The columns behind those that both have, when nothing else differs and rows may lack them.
fn new_columns(wanted: &StructType, found: &StructType) -> Vec<StructField> {
    let is_same = wanted.fields().zip(found.fields()).all(|(wanted, found)| words(wanted) == words(found));
    let missing: Vec<StructField> = wanted.fields().skip(found.fields().count()).cloned().collect();
    if is_same && missing.iter().all(StructField::is_nullable) { missing } else { Vec::new() }
}

fn check_columns(log: &Log, wanted: &StructType, snapshot: &Snapshot) -> Result<(), Error> {
    let found = snapshot.state().schema();
    let partition = snapshot.state().metadata().partition_columns();
    match difference(wanted, &found) {
        None if partition == [EVENT_DATE] => Ok(()),
        None => Err(log.foreign(format!("it is partitioned by {partition:?}, not by `{EVENT_DATE}`"))),
        Some(difference) => Err(Error::SchemaDiffers { table: log.table().to_owned(), difference }),
    }
}

fn check_version(log: &Log, snapshot: &Snapshot) -> Result<(), Error> {
    match snapshot.schema_version() {
        Some(version) if version <= SCHEMA_VERSION => Ok(()),
        Some(version) => Err(log.foreign(format!("schema version {version}, this program knows up to {SCHEMA_VERSION}; use a newer one"))),
        None => Err(log.foreign(format!("it has no property `{SCHEMA_VERSION_KEY}`, so Tidemark did not create it"))),
    }
}

fn words(field: &StructField) -> String {
    format!("`{}` {}{}", field.name(), field.data_type(), if field.is_nullable() { "" } else { " not null" })
}

/// The first column that differs, in words.
fn difference(wanted: &StructType, found: &StructType) -> Option<String> {
    let (mut wanted, mut found) = (wanted.fields().map(words), found.fields().map(words));
    loop {
        match (wanted.next(), found.next()) {
            (None, None) => return None,
            (wanted, found) if wanted == found => {}
            (Some(wanted), Some(found)) => return Some(format!("it has {found} where {wanted} is expected")),
            (Some(wanted), None) => return Some(format!("it lacks {wanted}")),
            (None, Some(found)) => return Some(format!("it has {found} too many")),
        }
    }
}
