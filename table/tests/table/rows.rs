//! Rows of the table `events`, and the way back from its files.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, AsArray, Date32Array, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
        TimestampMicrosecondArray, UInt32Array,
    },
    compute::{concat_batches, take_record_batch},
    datatypes::{Field, Int64Type},
};
use bytes::Bytes;
use object_store::{ObjectStoreExt, path::Path};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::{EventDate, Sequence, ShardId, Timestamp, tables};
use table::{DataFile, NewCommit, Picked, Snapshot, Table};

pub(crate) const SHARD: ShardId = ShardId(0);
/// 2026-11-21.
pub(crate) const TODAY: EventDate = EventDate(20_778);
const ROWS: i64 = 6;

/// A few rows of one day, all of one message, sorted by (event_name, timestamp).
pub(crate) fn rows(date: EventDate, shard: ShardId, sequence: Sequence) -> RecordBatch {
    let numbers = 0..ROWS;
    let Timestamp(start) = date.start();
    let text = |value: fn(i64) -> Option<String>| -> ArrayRef { Arc::new(numbers.clone().map(value).collect::<StringArray>()) };
    let time = |value: fn(i64) -> i64| -> ArrayRef {
        let times = numbers.clone().map(|number| start + value(number));
        Arc::new(TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC"))
    };
    let int = |value: i32| -> ArrayRef { Arc::new(Int32Array::from_iter_values(numbers.clone().map(|_| value))) };
    let columns: Vec<ArrayRef> = vec![
        time(|number| number * 1_000_001),
        Arc::new(Date32Array::from_iter_values(numbers.clone().map(|_| date.0))),
        text(|number| (number % 2 == 0).then(|| format!("id-{number}"))),
        text(|number| Some(if number < 3 { "page_view" } else { "purchase" }.to_owned())),
        text(|number| Some(format!("user-{}-é", number % 4))),
        text(|number| (number != 1).then(|| "web".to_owned())),
        text(|_| None),
        text(|number| (number == 2).then(|| "site".to_owned())),
        text(|number| Some(format!("/path/{number}"))),
        tags(),
        text(|number| (number != 0).then(|| format!(r#"{{"price":12.50,"n":{number},"deep":{{"a":[1,null]}}}}"#))),
        time(|number| 86_400_000_000 + number),
        int(i32::from(shard.0)),
        Arc::new(Int64Array::from_iter_values(numbers.clone().map(|_| i64::try_from(sequence.0).unwrap()))),
        Arc::new(Int32Array::from_iter_values(0..i32::try_from(ROWS).unwrap())),
    ];
    RecordBatch::try_new(tables::events(), columns).unwrap()
}

/// Equal rows of [`TODAY`] but for their times, which are a second apart.
pub(crate) fn a_row_every_second(seconds: i64) -> RecordBatch {
    let count = usize::try_from(seconds).unwrap();
    let one = rows(TODAY, SHARD, Sequence(1));
    let all = take_record_batch(&one, &UInt32Array::from_value(0, count)).unwrap();
    let Timestamp(start) = TODAY.start();
    let times = TimestampMicrosecondArray::from_iter_values((0..seconds).map(|second| start + second * 1_000_000)).with_timezone("UTC");
    let mut columns = all.columns().to_vec();
    columns[0] = Arc::new(times);
    RecordBatch::try_new(all.schema(), columns).unwrap()
}

/// Null, empty, one, two, one that is null, ….
fn tags() -> ArrayRef {
    let field = Field::new("element", arrow::datatypes::DataType::Utf8, true);
    let mut tags = ListBuilder::new(StringBuilder::new()).with_field(field);
    for number in 0..ROWS {
        match number {
            0 => tags.append_null(),
            1 => tags.append(true),
            4 => tags.append_value([None::<&str>]),
            _ => tags.append_value((0..number - 1).map(|tag| Some(format!("tag-{tag}")))),
        }
    }
    Arc::new(tags.finish())
}

/// A file with the rows of one message.
async fn file(table: &Table, sequence: u64) -> DataFile {
    table.write(TODAY, &Picked::all(&[rows(TODAY, SHARD, Sequence(sequence))])).await.unwrap()
}

/// A commit of one file that moves the tidemark of [`SHARD`].
pub(crate) async fn new_commit(table: &Table, tidemark: u64) -> NewCommit {
    NewCommit { shard: SHARD, files: vec![file(table, tidemark).await], tidemark: Sequence(tidemark), origin: None }
}

pub(crate) async fn bytes(table: &Table, file: &DataFile) -> Bytes {
    table.object_store().get(&Path::from(file.path.as_ref())).await.unwrap().bytes().await.unwrap()
}

/// All rows of a snapshot, in the order of (sequence, index), with `event_date` put back.
pub(crate) async fn read(table: &Table, snapshot: &Snapshot) -> RecordBatch {
    let mut batches = Vec::new();
    for file in snapshot.files() {
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes(table, file).await).unwrap().build().unwrap();
        batches.extend(reader.map(|batch| with_date(&batch.unwrap(), file.date)));
    }
    let rows = concat_batches(&tables::events(), &batches).unwrap();
    let sequences = rows.column_by_name("_sequence").unwrap().as_primitive::<Int64Type>().clone();
    let mut order: Vec<u32> = (0..u32::try_from(rows.num_rows()).unwrap()).collect();
    order.sort_by_key(|row| sequences.value(*row as usize));
    take_record_batch(&rows, &UInt32Array::from(order)).unwrap()
}

fn with_date(batch: &RecordBatch, date: EventDate) -> RecordBatch {
    let mut columns = batch.columns().to_vec();
    columns.insert(1, Arc::new(Date32Array::from_iter_values((0..batch.num_rows()).map(|_| date.0))));
    RecordBatch::try_new(tables::events(), columns).unwrap()
}
