//! Rows become a Parquet file: zstd, page index, statistics at page level, so that every reader can skip what it does not need; and
//! a [`summary`] between the row groups and the footer.

use std::sync::Arc;

use arrow::{
    array::{ArrayRef, AsArray, RecordBatch},
    compute::{SortOptions, max, min},
    datatypes::{DataType, Date32Type, Schema, SchemaRef},
    error::ArrowError,
    row::{RowConverter, SortField},
};
use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart, path::Path};
use parquet::{
    arrow::{ArrowSchemaConverter, ArrowWriter},
    basic::{Compression, Encoding, ZstdLevel},
    errors::ParquetError,
    file::{
        metadata::{KeyValue, SortingColumn},
        properties::{EnabledStatistics, WriterProperties, WriterVersion},
    },
    schema::types::ColumnPath,
};
use schemas::{EventDate, tables::EVENT_DATE};
use uuid::Uuid;

use crate::{
    DataFile, Error, Table,
    data_file::parse_stats,
    stats,
    summary::{self, Directory},
};

/// The order of rows in a file: queries ask for one event over a time.
const ORDER: [&str; 2] = ["event_name", "timestamp"];
/// Free text: a range of it skips nothing, so its pages have none.
const FREE_TEXT: [&str; 2] = ["metadata", "message"];
const ZSTD_LEVEL: i32 = 1;
const ROW_GROUP_ROWS: usize = 1 << 20;
/// The unit that a reader can skip in a row group.
const PAGE_ROWS: usize = 16 * 1024;
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
        let rows = rows.to_vec();
        let encoded = tokio::task::spawn_blocking(move || Encoded::new(&rows)).await.map_err(object_store::Error::from)??;
        let name = Uuid::now_v7();
        let path = format!("{}/{EVENT_DATE}={date}/{name}.parquet", self.name());
        let (size_bytes, written_at_ms) = (encoded.bytes.len() as u64, created_at_ms(name));
        upload(self.object_store().as_ref(), &Path::from(path.as_str()), encoded.bytes).await?;
        let (rows, stats) = parse_stats(encoded.stats).expect("our own statistics have a number of rows");
        Ok(DataFile { path: path.into(), date, size_bytes, rows, written_at_ms, stats: Arc::new(stats) })
    }
}

/// A file that is not stored yet.
struct Encoded {
    bytes: Bytes,
    stats: String,
}

impl Encoded {
    fn new(rows: &[RecordBatch]) -> Result<Self, Error> {
        let batches = rows.iter().map(without_date).collect::<Result<Vec<_>, _>>()?;
        let schema = batches.first().map_or_else(|| Arc::new(Schema::empty()), RecordBatch::schema);
        let properties = properties(&schema, is_sorted(&batches)?)?;
        let mut writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
        batches.iter().try_for_each(|batch| writer.write(batch))?;
        append_summary(&mut writer, &batches)?;
        Ok(Self { bytes: writer.into_inner()?.into(), stats: stats::collect(&batches) })
    }
}

/// Other readers skip what is not in a row group, and ignore keys that they do not know.
fn append_summary(writer: &mut ArrowWriter<Vec<u8>>, rows: &[RecordBatch]) -> Result<(), Error> {
    let encoded = summary::levels(rows).into_iter().map(|(level, cells)| Ok((level, summary::encode(&cells)?)));
    let levels = encoded.collect::<Result<Vec<_>, _>>().map_err(|source: ArrowError| Error::Rows { what: source.to_string() })?;
    if levels.is_empty() {
        return Ok(());
    }
    writer.flush()?;
    let directory = Directory::new(writer.bytes_written() as u64, &levels);
    levels.iter().try_for_each(|(_, bytes)| writer.write_all(bytes)).map_err(ParquetError::from)?;
    writer.append_key_value_metadata(KeyValue::new(summary::KEY.to_owned(), directory.to_text()));
    Ok(())
}

fn properties(schema: &Schema, sorted: bool) -> Result<WriterProperties, Error> {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("tidemark ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE_ROWS);
    for field in schema.fields() {
        let column = ColumnPath::from(field.name().as_str());
        if FREE_TEXT.contains(&field.name().as_str()) {
            properties = properties.set_column_statistics_enabled(column, EnabledStatistics::None);
        } else if matches!(field.data_type(), DataType::Int32 | DataType::Int64 | DataType::Timestamp(..)) {
            let column_encoding = Encoding::DELTA_BINARY_PACKED;
            properties = properties.set_column_dictionary_enabled(column.clone(), false).set_column_encoding(column, column_encoding);
        }
    }
    let order = if sorted { sorting_columns(schema)? } else { None };
    Ok(properties.set_sorting_columns(order).build())
}

/// The order as Parquet says it: by the numbers of leaf columns.
fn sorting_columns(schema: &Schema) -> Result<Option<Vec<SortingColumn>>, Error> {
    let leaves = ArrowSchemaConverter::new().convert(schema)?;
    let leaf = |name: &&str| leaves.columns().iter().position(|leaf| leaf.path().string() == *name);
    let ascending =
        |column: usize| i32::try_from(column).ok().map(|column_idx| SortingColumn { column_idx, descending: false, nulls_first: true });
    Ok(ORDER.iter().map(|name| leaf(name).and_then(ascending)).collect())
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

async fn upload(store: &dyn ObjectStore, path: &Path, bytes: Bytes) -> Result<(), Error> {
    if bytes.len() <= PART_BYTES {
        store.put(path, bytes.into()).await?;
        return Ok(());
    }
    let mut parts = WriteMultipart::new_with_chunk_size(store.put_multipart(path).await?, PART_BYTES);
    parts.put(bytes);
    parts.finish().await?;
    Ok(())
}

/// A version 7 UUID begins with its time.
fn created_at_ms(name: Uuid) -> i64 {
    let (seconds, nanos) = name.get_timestamp().expect("version 7 has a time").to_unix();
    i64::try_from(seconds).expect("not that late") * 1000 + i64::from(nanos) / 1_000_000
}
