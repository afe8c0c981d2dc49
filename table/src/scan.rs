//! Rows of one data file, for those who need a few columns of known files: deduplication, verification, metrics.
//! SQL goes through DataFusion in `query` instead.

use std::{ops::Range, sync::Arc};

use arrow::{
    array::{RecordBatch, new_null_array},
    datatypes::{DataType, FieldRef, Schema, SchemaRef},
};
use bytes::Bytes;
use futures::{
    FutureExt, StreamExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::{
    arrow::{
        ParquetRecordBatchStreamBuilder, ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, RowSelector},
        async_reader::AsyncFileReader,
    },
    errors::{ParquetError, Result as ParquetResult},
    file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader},
};

use schemas::raw::Field;

use crate::{DataFile, Error, Table};

mod cells;
mod pages;

pub use self::cells::Summary;

const BATCH_ROWS: usize = 64 * 1024;
/// The end of a file that is read at once: the footer, and mostly the page index too.
const FOOTER_BYTES: usize = 64 * 1024;

/// Rows, batch by batch.
pub(crate) type Rows = BoxStream<'static, Result<RecordBatch, Error>>;

/// Which rows of a file are wanted, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scan<'a> {
    /// The columns; the partition column is in no file.
    pub columns: &'a [&'a str],
    /// Event times in microseconds, both ends included, apart and in order. Pages that have no such row are skipped, the others come
    /// whole.
    pub ranges_us: Option<&'a [(i64, i64)]>,
    /// Pages without this event name are skipped, the others come whole.
    pub event_name: Option<&'a str>,
    /// How texts come.
    pub texts: Texts,
    /// How many rows come at a time; many unless given.
    pub batch_rows: Option<usize>,
    /// Of how many rows at most the pages are in memory, where the file says where they are and none are skipped; those of a row group
    /// unless given.
    pub slice_rows: Option<usize>,
}

/// How columns of text come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Texts {
    /// One by one.
    #[default]
    Plain,
    /// As numbers into a dictionary, as Parquet mostly stores them: each value is looked at once, not once a row. Ids of users are too many
    /// for the dictionary of a column, and come as views.
    Dictionary,
}

impl Table {
    /// Rows of a data file, in the wanted columns of the table. A column that is younger than the file is null in every row.
    ///
    /// # Errors
    /// When the store fails, or the file is no Parquet file.
    pub async fn scan(&self, file: &DataFile, scan: &Scan<'_>) -> Result<Rows, Error> {
        let mut reader = self.reader(file);
        let is_picky = scan.ranges_us.is_some() || scan.event_name.is_some();
        let policy = if is_picky || scan.slice_rows.is_some() { PageIndexPolicy::Optional } else { PageIndexPolicy::Skip };
        let options = ArrowReaderOptions::new().with_page_index_policy(policy);
        let mut metadata = ArrowReaderMetadata::load_async(&mut reader, options.clone()).await?;
        let selection = if is_picky { pages::selection(&metadata, scan)? } else { None };
        if scan.texts == Texts::Dictionary {
            let schema = with_dictionaries(metadata.schema());
            metadata = ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options.with_schema(schema))?;
        }
        let younger = Younger::than(&self.schema(), metadata.schema(), scan.columns);
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader.clone(), metadata.clone());
        let rows = match scan.slice_rows {
            Some(slice_rows) if selection.is_none() && metadata.metadata().offset_index().is_some() => {
                sliced(&reader, &metadata, scan, slice_rows)
            }
            _ => rows(selection.into_iter().fold(builder, ParquetRecordBatchStreamBuilder::with_row_selection), scan)?,
        };
        Ok(if younger.0.is_empty() { rows } else { rows.map(move |batch| younger.add_to(&batch?)).boxed() })
    }

    /// Decodes every value of a data file, whatever its columns are, and keeps none.
    ///
    /// # Errors
    /// When the store fails, or anything in the file cannot be read.
    pub async fn read_through(&self, file: &DataFile) -> Result<(), Error> {
        let builder = ParquetRecordBatchStreamBuilder::new(self.reader(file)).await?;
        let mut rows = builder.with_batch_size(BATCH_ROWS).build()?;
        while rows.try_next().await?.is_some() {}
        Ok(())
    }

    /// What a data file says about its rows; `None` when it says nothing.
    ///
    /// # Errors
    /// When the store fails, or the file is no Parquet file.
    pub async fn summary(&self, file: &DataFile) -> Result<Option<Summary>, Error> {
        Ok(Summary::of(self.reader(file)).await?)
    }

    fn reader(&self, file: &DataFile) -> Reader {
        Reader { store: self.object_store(), path: Path::from(&*file.path), size_bytes: file.size_bytes }
    }
}

fn with_dictionaries(schema: &Schema) -> SchemaRef {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 if field.name() == Field::UserId.name() => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8View)),
        DataType::Utf8 => Arc::new(field.as_ref().clone().with_data_type(dictionary.clone())),
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()))
}

fn rows(builder: ParquetRecordBatchStreamBuilder<Reader>, scan: &Scan<'_>) -> Result<Rows, Error> {
    let wanted = ProjectionMask::columns(builder.parquet_schema(), scan.columns.iter().copied());
    Ok(builder.with_batch_size(scan.batch_rows.unwrap_or(BATCH_ROWS)).with_projection(wanted).build()?.map_err(Error::from).boxed())
}

/// All rows, slice by slice: a reader fetches the pages of all that it was asked for, a row group at a time.
fn sliced(reader: &Reader, metadata: &ArrowReaderMetadata, scan: &Scan<'_>, slice_rows: usize) -> Rows {
    let (reader, metadata, batch_rows) = (reader.clone(), metadata.clone(), scan.batch_rows);
    let columns: Vec<String> = scan.columns.iter().map(|column| (*column).to_owned()).collect();
    let all = usize::try_from(metadata.metadata().file_metadata().num_rows()).unwrap_or_default();
    let slice = move |first: usize| {
        let selection = vec![RowSelector::skip(first), RowSelector::select(slice_rows.min(all - first))];
        let builder =
            ParquetRecordBatchStreamBuilder::new_with_metadata(reader.clone(), metadata.clone()).with_row_selection(selection.into());
        let columns: Vec<&str> = columns.iter().map(String::as_str).collect();
        rows(builder, &Scan { columns: &columns, batch_rows, ..Scan::default() })
    };
    stream::iter((0..all).step_by(slice_rows)).map(slice).try_flatten().boxed()
}

/// The columns of the table that a file does not have yet, where they belong.
struct Younger(Vec<(usize, FieldRef)>);

impl Younger {
    fn than(table: &Schema, file: &Schema, columns: &[&str]) -> Self {
        let wanted = table.fields().iter().filter(|field| columns.contains(&field.name().as_str())).enumerate();
        let missing = wanted.filter(|(_, field)| file.column_with_name(field.name()).is_none());
        Self(missing.map(|(place, field)| (place, Arc::clone(field))).collect())
    }

    fn add_to(&self, rows: &RecordBatch) -> Result<RecordBatch, Error> {
        let (mut fields, mut columns) = (rows.schema().fields().to_vec(), rows.columns().to_vec());
        for (place, field) in &self.0 {
            columns.insert(*place, new_null_array(field.data_type(), rows.num_rows()));
            fields.insert(*place, Arc::clone(field));
        }
        Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
    }
}

/// A file of the store, read range by range.
#[derive(Clone, Debug)]
struct Reader {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size_bytes: u64,
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        async move { self.store.get_range(&self.path, range).await.map_err(failed) }.boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move { self.store.get_ranges(&self.path, &ranges).await.map_err(failed) }.boxed()
    }

    fn get_metadata<'a>(&'a mut self, options: Option<&'a ArrowReaderOptions>) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        let size_bytes = self.size_bytes;
        async move {
            let reader = ParquetMetaDataReader::new().with_arrow_reader_options(options).with_prefetch_hint(Some(FOOTER_BYTES));
            Ok(Arc::new(reader.load_and_finish(self, size_bytes).await?))
        }
        .boxed()
    }
}

fn failed(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}
