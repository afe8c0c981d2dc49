//! Where the rows of a batch stand.

use std::{collections::HashSet, sync::Arc};

use arrow::{
    array::{AsArray, RecordBatch},
    datatypes::{Int32Type, Int64Type},
};
use schemas::{Position, Sequence, ShardId};

use crate::Keep;

/// The positions of the rows of a batch, which has their columns.
///
/// # Panics
/// When a column is missing.
pub fn positions(batch: &RecordBatch) -> impl Iterator<Item = Position> {
    let column = |name: &str| batch.column_by_name(name).expect("every table of ours has it");
    let (shards, indices) = (column("_shard").as_primitive::<Int32Type>(), column("_index").as_primitive::<Int32Type>());
    let sequences = column("_sequence").as_primitive::<Int64Type>();
    (0..batch.num_rows()).map(move |row| Position {
        shard: ShardId(u16::try_from(shards.value(row)).expect("shards are u16")),
        sequence: Sequence(sequences.value(row).unsigned_abs()),
        index: Some(indices.value(row).unsigned_abs()),
    })
}

/// Keeps the rows that do not stand at these places.
#[must_use]
pub fn without(places: Arc<HashSet<Position>>) -> Keep {
    Arc::new(move |rows: &RecordBatch, _| Ok(positions(rows).map(|position| Some(!places.contains(&position))).collect()))
}
