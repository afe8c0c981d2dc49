//! Small batches put together, for operators to which a batch is dear whatever its size.
//!
//! Arrow's `BatchCoalescer` does so too, with a bound in rows alone: it reserves a whole batch for the rows that come, which the next
//! operator is charged for, and holds the arrays that a slice of a row came from.

use std::{collections::VecDeque, mem, sync::Arc};

use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray, RecordBatch},
        compute::concat_batches,
        datatypes::{DataType, SchemaRef},
    },
    common::Result,
};
use futures::{Stream, StreamExt, stream};

use crate::widths;

/// So many bytes are enough for one batch, however few rows they are.
const ENOUGH_BYTES: u128 = 1 << 20;
/// What rows that wait may hold in memory besides themselves, as parts of larger arrays.
const MOST_HELD_BYTES: usize = 16 << 20;

/// The same rows in the same order, in batches of up to `rows` and [`ENOUGH_BYTES`]; what has half of either passes as it is.
pub(crate) fn gathered(
    batches: impl Stream<Item = Result<RecordBatch>>,
    schema: SchemaRef,
    rows: usize,
) -> impl Stream<Item = Result<RecordBatch>> {
    let gather = Gather { schema, most_rows: rows, waiting: Vec::new(), rows: 0, bytes: 0, held_bytes: 0, ready: VecDeque::new() };
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
    schema: SchemaRef,
    most_rows: usize,
    waiting: Vec<RecordBatch>,
    /// Of what waits: rows, what they would take by themselves, and what they keep from being freed.
    rows: usize,
    bytes: u128,
    held_bytes: usize,
    ready: VecDeque<RecordBatch>,
}

impl Gather {
    fn add(&mut self, batch: RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        if rows >= self.most_rows.div_ceil(2) {
            return self.pass(batch);
        }
        let bytes: u128 = widths::of_rows(&batch)?.into_iter().sum();
        if bytes >= ENOUGH_BYTES / 2 {
            return self.pass(batch);
        }
        if self.rows + rows > self.most_rows || self.bytes + bytes > ENOUGH_BYTES || self.held_bytes > MOST_HELD_BYTES {
            self.finish()?;
        }
        self.rows += rows;
        self.bytes += bytes;
        self.held_bytes += batch.get_array_memory_size();
        if rows > 0 {
            self.waiting.push(batch);
        }
        Ok(())
    }

    /// What waits goes first.
    fn pass(&mut self, batch: RecordBatch) -> Result<()> {
        self.finish()?;
        self.ready.push_back(batch);
        Ok(())
    }

    /// What waits is ready as well.
    fn finish(&mut self) -> Result<()> {
        let waiting = mem::take(&mut self.waiting);
        (self.rows, self.bytes, self.held_bytes) = (0, 0, 0);
        if waiting.len() > 1 {
            let columns = concat_batches(&self.schema, &waiting)?.columns().iter().map(dense).collect();
            self.ready.push_back(RecordBatch::try_new(Arc::clone(&self.schema), columns)?);
        } else {
            self.ready.extend(waiting);
        }
        Ok(())
    }
}

/// Views with texts of their own: together they would hold all arrays that they came from.
fn dense(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => Arc::clone(column),
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use datafusion::{
        arrow::{
            array::{Int64Array, StringViewArray},
            datatypes::Int64Type,
        },
        common::exec_err,
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
        assert_eq!(sizes((0..10).map(wide).collect()).await, [3, 3, 3, 1]);
        let half = |number| batch(number..number + 1, 1 << 19);
        assert_eq!(sizes((0..3).map(half).collect()).await, [1, 1, 1], "what is half of it passes as it is");
    }

    #[tokio::test]
    async fn what_waits_holds_little_of_what_it_came_from() {
        let large = batch(0..8192, 1000);
        let parts = (0..100).map(|number| large.slice(number, 1)).collect();
        let held = large.get_array_memory_size();
        assert!((4 << 20..16 << 20).contains(&held), "{held}");
        assert_eq!(sizes(parts).await.first(), Some(&(MOST_HELD_BYTES / held + 1)));
        let schema = large.schema();
        let few = stream::iter((0..2).map(|number| Ok(large.slice(number, 1))));
        let gathered: Vec<Result<RecordBatch>> = gathered(few, schema, 8192).collect().await;
        assert!(gathered[0].as_ref().unwrap().get_array_memory_size() < 64 << 10, "the rows have texts of their own");
    }

    #[tokio::test]
    async fn an_error_is_passed_on() {
        let schema = batch(0..1, 1).schema();
        let failing = stream::iter([Ok(batch(0..1, 1)), exec_err!("no")]);
        let all: Vec<Result<RecordBatch>> = gathered(failing, schema, 8192).collect().await;
        assert!(matches!(&all[..], [Err(_)]), "{all:?}");
    }
}
