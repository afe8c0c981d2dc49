//! Batches of rows in the order of the journal, few however many messages they came in.
//!
//! A message may hold one event, and a thousand batches of one row are slow to copy, sort and scan. So a new batch is merged with
//! those before it that are not much larger: there are about as many runs as the number of rows has binary digits, and each
//! row is copied about as often.

use arrow::{array::RecordBatch, compute::concat_batches, error::ArrowError};

/// A run of this many rows is left as it is: merging it again would gain nothing.
const LARGE: usize = 64 * 1024;

/// Rows in the order in which they were pushed.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs(Vec<RecordBatch>);

impl Runs {
    /// Adds rows of the same columns behind the others.
    ///
    /// # Errors
    /// When Arrow cannot merge them; the rows before are still there.
    pub(super) fn push(&mut self, rows: RecordBatch) -> Result<(), ArrowError> {
        let mut first = self.0.len();
        let mut merged = rows.num_rows();
        while first > 0 && self.0[first - 1].num_rows() <= 2 * merged && merged + self.0[first - 1].num_rows() <= LARGE {
            first -= 1;
            merged += self.0[first].num_rows();
        }
        let schema = rows.schema();
        self.0.push(rows);
        if first + 1 < self.0.len() {
            let run = concat_batches(&schema, &self.0[first..])?;
            self.0.truncate(first);
            self.0.push(run);
        }
        Ok(())
    }

    /// The runs, oldest rows first.
    pub(super) fn batches(&self) -> &[RecordBatch] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{AsArray, Int64Array},
        datatypes::Int64Type,
    };

    use super::*;

    #[test]
    fn many_small_batches_become_few_runs_in_the_same_order() {
        let mut runs = Runs::default();
        let mut next = 0..;
        for size in (0..3000).map(|number| 1 + number % 3) {
            let rows: Int64Array = next.by_ref().take(size).collect::<Vec<i64>>().into();
            runs.push(RecordBatch::try_from_iter([("n", Arc::new(rows) as _)]).unwrap()).unwrap();
            assert!(runs.batches().len() <= 16, "{} runs", runs.batches().len());
        }
        let all: Vec<i64> = runs.batches().iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        assert_eq!(all, (0..6000).collect::<Vec<_>>());
    }
}
