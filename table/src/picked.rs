//! Rows as a file will have them, without a copy of them all: a choice from batches in memory.

use std::sync::Arc;

use arrow::{
    array::{Array, AsArray, RecordBatch},
    compute::interleave_record_batch,
    datatypes::{Date32Type, TimestampMicrosecondType},
    error::ArrowError,
};
use schemas::{EventDate, tables::EVENT_DATE};

use crate::writer::ORDER;

/// Rows of some batches in the order of a file. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Picked {
    batches: Arc<[RecordBatch]>,
    /// Which batch, and which of its rows.
    places: Arc<[(usize, usize)]>,
}

impl Picked {
    /// The rows at `places`: the number of a batch, and that of a row in it. One that is not there makes whoever copies the rows panic.
    #[must_use]
    pub fn new(batches: Arc<[RecordBatch]>, places: Vec<(usize, usize)>) -> Self {
        Self { batches, places: places.into() }
    }

    /// All rows as they are.
    #[must_use]
    pub fn all(batches: &[RecordBatch]) -> Self {
        let places = batches.iter().enumerate().flat_map(|(batch, rows)| (0..rows.num_rows()).map(move |row| (batch, row)));
        Self::new(batches.into(), places.collect())
    }

    /// How many there are.
    #[must_use]
    pub fn num_rows(&self) -> usize {
        self.places.len()
    }

    /// The rows, copied so many at a time.
    pub fn chunks(&self, rows: usize) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> {
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        self.places.chunks(rows).map(move |places| interleave_record_batch(&batches, places))
    }

    /// The batches of which they are a part.
    pub(crate) fn batches(&self) -> &[RecordBatch] {
        &self.batches
    }

    /// The same rows in fewer columns.
    pub(crate) fn project(&self, columns: &[usize]) -> Result<Self, ArrowError> {
        let batches = self.batches.iter().map(|batch| batch.project(columns)).collect::<Result<_, _>>()?;
        Ok(Self { batches, places: Arc::clone(&self.places) })
    }

    /// The day of a row that lies in another one.
    pub(crate) fn other_day(&self, date: EventDate) -> Option<EventDate> {
        let date_of = |batch: &RecordBatch| batch.column_by_name(EVENT_DATE).map(|dates| dates.as_primitive::<Date32Type>().clone());
        let dates: Vec<_> = self.batches.iter().map(|batch| date_of(batch).expect("every table of ours has it")).collect();
        self.places.iter().map(|(batch, row)| EventDate(dates[*batch].value(*row))).find(|other| *other != date)
    }

    /// True when the rows have the columns of [`ORDER`] and are in that order.
    pub(crate) fn is_sorted(&self) -> bool {
        let [name, time] = ORDER;
        let keys = |batch: &RecordBatch| {
            let names = batch.column_by_name(name)?.as_string_opt::<i32>()?.clone();
            Some((names, batch.column_by_name(time)?.as_primitive_opt::<TimestampMicrosecondType>()?.clone()))
        };
        let Some(keys) = self.batches.iter().map(keys).collect::<Option<Vec<_>>>() else { return false };
        let key = |(batch, row): &(usize, usize)| {
            let (names, times) = &keys[*batch];
            (names.is_valid(*row).then(|| names.value(*row)), times.is_valid(*row).then(|| times.value(*row)))
        };
        self.places.is_sorted_by(|one, next| key(one) <= key(next))
    }
}
