//! Rows become a Parquet file of the store. It is no part of the table until it is committed.

use arrow::{
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
};
use object_store::{ObjectStoreExt, WriteMultipart, path::Path};
use schemas::{EventDate, tables::EVENT_DATE};
use uuid::Uuid;

use crate::{DataFile, Error, Picked, Table, data_file::parse_stats, merge::Merge};

mod encoder;

use encoder::{Effort, Encoder};

/// The order of rows in a file: queries ask for one event over a time.
pub(crate) const ORDER: [&str; 2] = ["event_name", "timestamp"];
/// So many rows are copied into their order at a time, so that they are still in the processor's cache when they are encoded.
const CHUNK_ROWS: usize = 16 * 1024;
/// A larger file is uploaded in parts of this size.
const PART_BYTES: usize = 16 << 20;

impl Table {
    /// Writes rows of one day as one file, on disk when it returns. It is no part of the table until it is committed.
    ///
    /// `rows` have the table's schema and are sorted by (event_name, timestamp); if they are not, the file does not say they are.
    ///
    /// # Errors
    /// [`Error::Rows`] when there are none, or they have other columns or another day; else when encoding or the store fails.
    pub async fn write(&self, date: EventDate, rows: &Picked) -> Result<DataFile, Error> {
        check(&self.schema(), date, rows)?;
        let (schema, rows) = (self.schema(), rows.clone());
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

/// The bytes of a file and its statistics. Delta keeps the partition's value in the log and the path, not in the file.
fn encode(schema: &SchemaRef, rows: &Picked) -> Result<(Vec<u8>, String), Error> {
    let stored: Vec<usize> = (0..schema.fields().len()).filter(|index| schema.field(*index).name() != EVENT_DATE).collect();
    let mut encoder = Encoder::new(schema, rows.num_rows() as u64, rows.is_sorted(), Effort::Quick)?;
    let unwritable = |source: ArrowError| Error::Rows { what: source.to_string() };
    let rows = rows.project(&stored).map_err(unwritable)?;
    rows.chunks(CHUNK_ROWS).try_for_each(|rows| encoder.push(&rows.map_err(unwritable)?))?;
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

fn check(schema: &SchemaRef, date: EventDate, rows: &Picked) -> Result<(), Error> {
    let wrong = |what: String| Err(Error::Rows { what });
    if rows.num_rows() == 0 {
        return wrong("there are none".to_owned());
    }
    for batch in rows.batches() {
        let columns =
            |schema: &Schema| schema.fields().iter().map(|field| (field.name().clone(), field.data_type().clone())).collect::<Vec<_>>();
        if columns(batch.schema_ref()) != columns(schema) {
            return wrong(format!("their columns are {:?}, the table's {:?}", columns(batch.schema_ref()), columns(schema)));
        }
    }
    match rows.other_day(date) {
        Some(other) => wrong(format!("some lie in {other}, not in {date}")),
        None => Ok(()),
    }
}

/// A version 7 UUID begins with its time.
fn created_at_ms(name: Uuid) -> i64 {
    let (seconds, nanos) = name.get_timestamp().expect("version 7 has a time").to_unix();
    i64::try_from(seconds).expect("not that late") * 1000 + i64::from(nanos) / 1_000_000
}
