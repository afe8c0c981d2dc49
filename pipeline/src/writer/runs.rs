//! Batches of rows in the order of the journal, few however many messages they came in.
//!
//! A message may hold one event, and a thousand batches of one row are slow to copy, sort and scan. So eight runs of about the same
//! size become one: there are at most seven of each size, and a row is copied once for each size that its run has had. Large runs are
//! left as they are, so that no merge holds up for long what else its thread has to do.

use arrow::{array::RecordBatch, compute::concat_batches, error::ArrowError};

/// So many runs become one.
const FAN_IN: usize = 8;
/// A run of this many rows is left as it is: merging it again would gain little.
const LARGE: usize = 4 * 1024;

/// Rows in the order in which they were pushed.
#[derive(Clone, Debug, Default)]
pub(super) struct Runs(Vec<RecordBatch>);

impl Runs {
    /// Adds rows of the same columns behind the others.
    ///
    /// # Errors
    /// When Arrow cannot merge them; the rows are there all the same.
    pub(super) fn push(&mut self, rows: RecordBatch) -> Result<(), ArrowError> {
        self.0.push(rows);
        while let Some(first) = self.mergeable() {
            let run = concat_batches(&self.0[first].schema(), &self.0[first..])?;
            self.0.truncate(first);
            self.0.push(run);
        }
        Ok(())
    }

    /// The first of the last runs that are no larger than the newest, if they are enough to become one.
    fn mergeable(&self) -> Option<usize> {
        let size = |run: &RecordBatch| run.num_rows().max(1).ilog(FAN_IN);
        let (newest, earlier) = self.0.split_last()?;
        let small = earlier.iter().rev().take_while(|run| run.num_rows() < LARGE && size(run) <= size(newest)).count();
        (small + 1 >= FAN_IN).then(|| earlier.len() - small)
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
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// Seven of each of the four sizes below `LARGE`, and the large ones, each with up to six small ones before it.
    fn most_runs(rows: usize) -> usize {
        (FAN_IN - 1) * (rows.clamp(1, LARGE - 1).ilog(FAN_IN) as usize + 1) + (FAN_IN - 1) * (rows / LARGE)
    }

    proptest! {
        #[test]
        fn batches_of_any_size_become_few_runs_in_the_same_order(sizes in vec(prop_oneof![8 => 1..4usize, 2 => 1..100usize, 1 => 1..9_000usize], 1..600)) {
            let (mut runs, mut rows) = (Runs::default(), 0);
            for size in sizes {
                let batch: Int64Array = (0..).skip(rows).take(size).collect::<Vec<i64>>().into();
                runs.push(RecordBatch::try_from_iter([("n", Arc::new(batch) as _)]).unwrap()).unwrap();
                rows += size;
                prop_assert!(runs.batches().len() <= most_runs(rows), "{} runs of {rows} rows", runs.batches().len());
            }
            let all = runs.batches().iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec());
            prop_assert!(all.eq(0..i64::try_from(rows).unwrap()));
        }
    }
}
