//! Small batches put together, for operators to which a batch is dear whatever its size.

use std::collections::VecDeque;

use datafusion::{
    arrow::{array::RecordBatch, compute::BatchCoalescer, datatypes::SchemaRef},
    common::Result,
};
use futures::{Stream, StreamExt, stream};

use crate::widths;

/// So many bytes are enough for one batch, however few rows they are.
const ENOUGH_BYTES: u128 = 1 << 20;

/// The same rows in the same order, in batches of up to `rows`; what is half of that, or of [`ENOUGH_BYTES`], passes as it is.
pub(crate) fn gathered(
    batches: impl Stream<Item = Result<RecordBatch>>,
    schema: SchemaRef,
    rows: usize,
) -> impl Stream<Item = Result<RecordBatch>> {
    let gather =
        Gather { waiting: BatchCoalescer::new(schema, rows), waiting_bytes: 0, enough_rows: rows.div_ceil(2), ready: VecDeque::new() };
    stream::try_unfold((Box::pin(batches), Some(gather)), async |(mut batches, gather)| {
        let Some(mut gather) = gather else { return Ok(None) };
        loop {
            if let Some(batch) = gather.ready.pop_front() {
                return Ok(Some((batch, (batches, Some(gather)))));
            }
            let Some(batch) = batches.next().await.transpose()? else { break };
            gather.add(batch)?;
        }
        gather.finish()?;
        Ok(gather.ready.pop_front().map(|last| (last, (batches, None))))
    })
}

struct Gather {
    waiting: BatchCoalescer,
    waiting_bytes: u128,
    enough_rows: usize,
    ready: VecDeque<RecordBatch>,
}

impl Gather {
    fn add(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() >= self.enough_rows {
            self.finish()?;
            self.ready.push_back(batch);
            return Ok(());
        }
        let bytes: u128 = widths::of_rows(&batch)?.into_iter().sum();
        if bytes >= ENOUGH_BYTES {
            self.finish()?;
            self.ready.push_back(batch);
            return Ok(());
        }
        self.waiting.push_batch(batch)?;
        self.waiting_bytes += bytes;
        match self.waiting.next_completed_batch() {
            Some(batch) => {
                self.ready.push_back(batch);
                self.waiting_bytes = bytes;
            }
            None if self.waiting_bytes >= ENOUGH_BYTES => self.finish()?,
            None => {}
        }
        Ok(())
    }

    /// What waits is ready as well.
    fn finish(&mut self) -> Result<()> {
        self.waiting.finish_buffered_batch()?;
        self.ready.extend(self.waiting.next_completed_batch());
        self.waiting_bytes = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{ops::Range, sync::Arc};

    use datafusion::arrow::array::AsArray;
    use datafusion::arrow::{
        array::{ArrayRef, Int64Array, StringViewArray},
        datatypes::Int64Type,
    };

    use super::*;

    /// A batch of numbered rows, each with a text of so many bytes.
    fn batch(numbers: Range<i64>, text_bytes: usize) -> RecordBatch {
        let text = "x".repeat(text_bytes);
        let texts: StringViewArray = numbers.clone().map(|_| Some(text.as_str())).collect();
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(numbers));
        RecordBatch::try_from_iter([("number", numbers), ("text", Arc::new(texts) as ArrayRef)]).unwrap()
    }

    /// How many rows each batch has in the end. The rows themselves are all there, in their order.
    async fn sizes(batches: Vec<RecordBatch>) -> Vec<usize> {
        let schema = batches[0].schema();
        let gathered: Vec<Result<RecordBatch>> = gathered(stream::iter(batches).map(Ok), schema, 8192).collect().await;
        let gathered: Vec<RecordBatch> = gathered.into_iter().map(Result::unwrap).collect();
        let numbers: Vec<i64> = gathered.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
        assert_eq!(numbers, (0..i64::try_from(numbers.len()).unwrap()).collect::<Vec<_>>());
        gathered.iter().map(RecordBatch::num_rows).collect()
    }

    #[tokio::test]
    async fn rows_that_come_one_by_one_go_on_together() {
        let batches = (0..20_000).map(|number| batch(number..number + 1, 10)).collect();
        assert_eq!(sizes(batches).await, [8192, 8192, 20_000 - 2 * 8192]);
    }

    #[tokio::test]
    async fn what_is_large_passes_as_it_is_and_in_its_place() {
        let large = batch(3..5000, 10);
        assert_eq!(sizes(vec![batch(0..3, 10), large, batch(5000..5001, 10), batch(5001..5003, 1 << 20)]).await, [3, 4997, 1, 2]);
        assert_eq!(sizes(vec![batch(0..0, 10)]).await, Vec::<usize>::new());
    }

    #[tokio::test]
    async fn what_waits_is_bounded_in_bytes() {
        let wide = |number| batch(number..number + 1, 300_000);
        assert_eq!(sizes((0..10).map(wide).collect()).await, [4, 4, 2]);
    }

    #[tokio::test]
    async fn an_error_is_passed_on() {
        let schema = batch(0..1, 1).schema();
        let failing = stream::iter([Ok(batch(0..1, 1)), datafusion::common::exec_err!("no")]);
        let all: Vec<Result<RecordBatch>> = gathered(failing, schema, 8192).collect().await;
        assert!(matches!(&all[..], [Err(_)]), "{all:?}");
    }
}
