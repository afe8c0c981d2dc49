//! Rows become a Parquet file of the store. It is no part of the table until it is committed.

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    compute::{SortOptions, max, min},
    datatypes::{Date32Type, Schema, SchemaRef},
    error::ArrowError,
    row::{RowConverter, SortField},
};
use object_store::{ObjectStoreExt, WriteMultipart, path::Path};
use schemas::{EventDate, tables::EVENT_DATE};
use uuid::Uuid;

use crate::{DataFile, Error, Table, data_file::parse_stats, merge::Merge};

mod encoder;

use encoder::{Effort, Encoder};

/// The order of rows in a file: queries ask for one event over a time.
pub(crate) const ORDER: [&str; 2] = ["event_name", "timestamp"];
/// A larger file is uploaded in parts of this size.
const PART_BYTES: usize = 16 << 20;

impl Table {
    /// Writes rows of one day as one file, on disk when it returns. It is no part of the table until it is committed.
    ///
    /// `rows` have the table's schema and are sorted by (event_name, timestamp); if they are not, the file does not say they are.
    ///
    /// # Errors
    /// [`Error::Rows`] when there are none, or they have other columns or another day; else when encoding or the store fails.
    pub async fn write(&self, date: EventDate, rows: &[RecordBatch]) -> Result<DataFile, Error> {
        check(&self.schema(), date, rows)?;
        let (schema, rows) = (self.schema(), rows.to_vec());
        let encoded = tokio::task::spawn_blocking(move || encode(&schema, &rows)).await.map_err(object_store::Error::from)??;
        let upload = Upload::new(self, date);
        upload.at_once(encoded).await
    }

    /// Writes the rows of a merge as one file, while they are read; nothing when there are none.
    pub(crate) async fn write_merged(&self, date: EventDate, mut merge: Merge) -> Result<Option<DataFile>, Error> {
        let mut upload = Upload::new(self, date);
        let mut encoder = Encoder::new(&self.schema(), merge.expected_rows(), merge.is_sorted(), Effort::Thorough)?;
        while let Some(rows) = merge.try_next().await? {
            encoder.push(&rows)?;
            upload.push(encoder.take()?).await?;
        }
        if encoder.rows() == 0 {
            return Ok(None);
        }
        upload.finish(encoder.finish()?).await.map(Some)
    }
}

fn encode(schema: &SchemaRef, rows: &[RecordBatch]) -> Result<(Vec<u8>, String), Error> {
    let batches = rows.iter().map(without_date).collect::<Result<Vec<_>, _>>()?;
    let count = batches.iter().map(|batch| batch.num_rows() as u64).sum();
    let mut encoder = Encoder::new(schema, count, is_sorted(&batches)?, Effort::Quick)?;
    batches.iter().try_for_each(|batch| encoder.push(batch))?;
    encoder.finish()
}

/// A file on its way to the store.
struct Upload<'a> {
    table: &'a Table,
    date: EventDate,
    name: Uuid,
    path: String,
    bytes: u64,
    buffer: Vec<u8>,
    /// Once there is more than one part.
    parts: Option<WriteMultipart>,
}

impl<'a> Upload<'a> {
    fn new(table: &'a Table, date: EventDate) -> Self {
        let name = Uuid::now_v7();
        let path = format!("{}/{EVENT_DATE}={date}/{name}.parquet", table.name());
        Self { table, date, name, path, bytes: 0, buffer: Vec::new(), parts: None }
    }

    /// The next bytes; stored when there are enough for a part.
    async fn push(&mut self, bytes: Vec<u8>) -> Result<(), Error> {
        self.bytes += bytes.len() as u64;
        self.buffer.extend(bytes);
        if self.buffer.len() < PART_BYTES {
            return Ok(());
        }
        if self.parts.is_none() {
            let upload = self.table.object_store().put_multipart(&Path::from(self.path.as_str())).await?;
            self.parts = Some(WriteMultipart::new_with_chunk_size(upload, PART_BYTES));
        }
        if let Some(parts) = &mut self.parts {
            parts.wait_for_capacity(1).await?;
            parts.put(std::mem::take(&mut self.buffer).into());
        }
        Ok(())
    }

    async fn at_once(mut self, (bytes, stats): (Vec<u8>, String)) -> Result<DataFile, Error> {
        self.push(bytes).await?;
        self.finish((Vec::new(), stats)).await
    }

    /// The last bytes, and what the log says about the file. On disk when it returns.
    async fn finish(mut self, (bytes, stats): (Vec<u8>, String)) -> Result<DataFile, Error> {
        self.bytes += bytes.len() as u64;
        self.buffer.extend(bytes);
        match self.parts.take() {
            Some(mut parts) => {
                parts.put(self.buffer.into());
                parts.finish().await?;
            }
            None => {
                self.table.object_store().put(&Path::from(self.path.as_str()), self.buffer.into()).await?;
            }
        }
        let (rows, stats) = parse_stats(stats).expect("our own statistics have a number of rows");
        let written_at_ms = created_at_ms(self.name);
        Ok(DataFile { path: self.path.into(), date: self.date, size_bytes: self.bytes, rows, written_at_ms, stats: stats.into() })
    }
}

/// True when the rows have the columns of [`ORDER`] and are in that order, over all batches.
fn is_sorted(batches: &[RecordBatch]) -> Result<bool, Error> {
    let keys = |batch: &RecordBatch| ORDER.iter().map(|name| batch.column_by_name(name).cloned()).collect::<Option<Vec<ArrayRef>>>();
    let Some(keys) = batches.iter().map(keys).collect::<Option<Vec<_>>>() else { return Ok(false) };
    let fields = keys.first().into_iter().flatten().map(|key| SortField::new_with_options(key.data_type().clone(), SortOptions::default()));
    let converter = RowConverter::new(fields.collect()).map_err(unsortable)?;
    let rows = keys.iter().map(|keys| converter.convert_columns(keys)).collect::<Result<Vec<_>, _>>().map_err(unsortable)?;
    Ok(rows.iter().flat_map(|rows| rows.iter()).is_sorted())
}

fn unsortable(source: ArrowError) -> Error {
    Error::Rows { what: source.to_string() }
}

/// Delta keeps the partition's value in the log and the path, not in the file.
fn without_date(batch: &RecordBatch) -> Result<RecordBatch, Error> {
    let kept: Vec<usize> = (0..batch.num_columns()).filter(|index| batch.schema_ref().field(*index).name() != EVENT_DATE).collect();
    batch.project(&kept).map_err(|source| Error::Rows { what: source.to_string() })
}

fn check(schema: &SchemaRef, date: EventDate, rows: &[RecordBatch]) -> Result<(), Error> {
    let wrong = |what: String| Err(Error::Rows { what });
    if rows.iter().all(|batch| batch.num_rows() == 0) {
        return wrong("there are none".to_owned());
    }
    for batch in rows {
        let columns =
            |schema: &Schema| schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect::<Vec<_>>();
        if columns(batch.schema_ref()) != columns(schema) {
            return wrong(format!("their columns are {:?}, the table's {:?}", columns(batch.schema_ref()), columns(schema)));
        }
        let dates = batch.column_by_name(EVENT_DATE).expect("every table of ours has it").as_primitive::<Date32Type>();
        if let Some(other) = [min(dates), max(dates)].into_iter().flatten().find(|other| *other != date.0) {
            return wrong(format!("some lie in {}, not in {date}", EventDate(other)));
        }
    }
    Ok(())
}

/// A version 7 UUID begins with its time.
fn created_at_ms(name: Uuid) -> i64 {
    let (seconds, nanos) = name.get_timestamp().expect("version 7 has a time").to_unix();
    i64::try_from(seconds).expect("not that late") * 1000 + i64::from(nanos) / 1_000_000
}
