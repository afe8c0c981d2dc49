//! Rows of one data file, for those who need a few columns of known files: deduplication, verification.
//! Questions go through DataFusion in `query` instead.

use std::{ops::Range, sync::Arc};

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream::BoxStream};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::{
    arrow::{
        ParquetRecordBatchStreamBuilder, ProjectionMask,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
        async_reader::AsyncFileReader,
    },
    errors::{ParquetError, Result as ParquetResult},
    file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataReader},
};

use crate::{DataFile, Error, Table};

mod pages;

const BATCH_ROWS: usize = 64 * 1024;
/// The end of a file that is read at once: the footer, and mostly the page index too.
const FOOTER_BYTES: usize = 64 * 1024;

type Rows = BoxStream<'static, Result<RecordBatch, Error>>;

impl Table {
    /// The rows of a data file in the columns of these names, as they are stored: without the partition column.
    ///
    /// # Errors
    /// When the store fails, or the file is no Parquet file.
    pub async fn read(&self, file: &DataFile, columns: &[&str]) -> Result<Rows, Error> {
        let builder = ParquetRecordBatchStreamBuilder::new(self.reader(file)).await?;
        rows(builder, columns)
    }

    /// As [`read`](Self::read), without the pages that have no row in any of `ranges_us`: event times in microseconds, both ends
    /// included, apart and in order. The pages that have some come whole.
    ///
    /// # Errors
    /// As there.
    pub async fn read_between(&self, file: &DataFile, columns: &[&str], ranges_us: &[(i64, i64)]) -> Result<Rows, Error> {
        let mut reader = self.reader(file);
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Optional);
        let metadata = ArrowReaderMetadata::load_async(&mut reader, options).await?;
        let selection = pages::selection(&metadata, ranges_us)?;
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, metadata);
        rows(selection.into_iter().fold(builder, ParquetRecordBatchStreamBuilder::with_row_selection), columns)
    }

    fn reader(&self, file: &DataFile) -> Reader {
        Reader { store: self.object_store(), path: Path::from(&*file.path), size_bytes: file.size_bytes }
    }
}

fn rows(builder: ParquetRecordBatchStreamBuilder<Reader>, columns: &[&str]) -> Result<Rows, Error> {
    let wanted = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
    Ok(builder.with_batch_size(BATCH_ROWS).with_projection(wanted).build()?.map_err(Error::from).boxed())
}

/// A file of the store, read range by range.
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
