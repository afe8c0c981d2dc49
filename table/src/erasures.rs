//! The memory of what was erased: places and identities of rows, none of their content.
//!
//! The journal still holds an erased event until its retention ends. Whoever compares journal and table, or restores rows from there, asks
//! here first. The records lie beside the table's files, in a folder that readers of the table pass over.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{AsArray, FixedSizeBinaryArray, Int32Array, Int64Array, RecordBatch},
    datatypes::{Int32Type, Int64Type},
};
use futures::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::arrow::{ArrowWriter, arrow_reader::ParquetRecordBatchReaderBuilder};
use schemas::{Identity, Position, Sequence, ShardId};
use uuid::Uuid;

use crate::{Error, Table};

const FOLDER: &str = "_erased";

/// A row that is no longer there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErasedRow {
    /// Where it was.
    pub position: Position,
    /// Which event it was; `None` for what was no event.
    pub identity: Option<Identity>,
}

/// Everything that was ever erased from a table.
#[derive(Clone, Debug, Default)]
pub struct Erased {
    positions: HashSet<Position>,
    identities: HashSet<Identity>,
}

impl Erased {
    /// Whether the row at this place was erased.
    #[must_use]
    pub fn has(&self, position: Position) -> bool {
        self.positions.contains(&position)
    }

    /// Whether a row of this event was erased; repeats of it were never rows.
    #[must_use]
    pub fn has_event(&self, identity: Identity) -> bool {
        self.identities.contains(&identity)
    }

    fn add(&mut self, row: ErasedRow) {
        self.positions.insert(row.position);
        self.identities.extend(row.identity);
    }
}

impl Table {
    /// Remembers rows that are about to be erased; on disk when it returns.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remember_erased(&self, rows: &[ErasedRow]) -> Result<(), Error> {
        let path = Path::from(format!("{}/{FOLDER}/{}.parquet", self.name(), Uuid::now_v7()));
        self.object_store().put(&path, encode(rows)?.into()).await?;
        Ok(())
    }

    /// What was erased.
    ///
    /// # Errors
    /// When the store fails, or a record is damaged.
    pub async fn erased(&self) -> Result<Erased, Error> {
        let store = self.object_store();
        let records: Vec<_> = store.list(Some(&Path::from(format!("{}/{FOLDER}", self.name())))).try_collect().await?;
        let mut erased = Erased::default();
        for record in records {
            let bytes = store.get(&record.location).await?.bytes().await?;
            for batch in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
                decode(&batch?, &mut erased);
            }
        }
        Ok(erased)
    }
}

fn encode(rows: &[ErasedRow]) -> Result<Vec<u8>, Error> {
    let places = || rows.iter().map(|row| row.position);
    let sequence = |place: Position| i64::try_from(place.sequence.0).expect("JetStream counts no further than 2^63");
    let index = |place: Position| place.index.and_then(|index| i32::try_from(index).ok()).expect("a row has an index that fits");
    let identities = rows.iter().map(|row| row.identity.map(|identity| identity.0));
    let batch = RecordBatch::try_from_iter([
        ("_shard", Arc::new(Int32Array::from_iter_values(places().map(|place| i32::from(place.shard.0)))) as _),
        ("_sequence", Arc::new(Int64Array::from_iter_values(places().map(sequence))) as _),
        ("_index", Arc::new(Int32Array::from_iter_values(places().map(index))) as _),
        ("identity", Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(identities, 16)?) as _),
    ])?;
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None)?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

fn decode(batch: &RecordBatch, erased: &mut Erased) {
    let column = |name: &str| batch.column_by_name(name).expect("a record has the columns that it was written with");
    let (shards, indices) = (column("_shard").as_primitive::<Int32Type>(), column("_index").as_primitive::<Int32Type>());
    let (sequences, identities) = (column("_sequence").as_primitive::<Int64Type>(), column("identity").as_fixed_size_binary());
    for (row, identity) in identities.iter().enumerate() {
        let position = Position {
            shard: ShardId(u16::try_from(shards.value(row)).expect("shards are u16")),
            sequence: Sequence(sequences.value(row).unsigned_abs()),
            index: Some(indices.value(row).unsigned_abs()),
        };
        erased.add(ErasedRow { position, identity: identity.and_then(|bytes| bytes.try_into().ok()).map(Identity) });
    }
}
