//! Rows of one data file, for those who need a few columns of known files: deduplication, verification.
//! Questions go through DataFusion in `query` instead.

use std::{ops::Range, sync::Arc};

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream::BoxStream};
use object_store::{ObjectStore, ObjectStoreExt, path::Path};
use parquet::{
    arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask, arrow_reader::ArrowReaderOptions, async_reader::AsyncFileReader},
    errors::{ParquetError, Result as ParquetResult},
    file::metadata::{ParquetMetaData, ParquetMetaDataReader},
};

use crate::{DataFile, Error, Table};

const BATCH_ROWS: usize = 64 * 1024;

impl Table {
    /// The rows of a data file in the columns of these names, as they are stored: without the partition column.
    ///
    /// # Errors
    /// When the store fails, or the file is no Parquet file.
    pub async fn read(&self, file: &DataFile, columns: &[&str]) -> Result<BoxStream<'static, Result<RecordBatch, Error>>, Error> {
        let reader = Reader { store: self.object_store(), path: Path::from(&*file.path), size_bytes: file.size_bytes };
        let builder = ParquetRecordBatchStreamBuilder::new(reader).await?.with_batch_size(BATCH_ROWS);
        let wanted = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        Ok(builder.with_projection(wanted).build()?.map_err(Error::from).boxed())
    }
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
            let metadata = ParquetMetaDataReader::new().with_arrow_reader_options(options).load_and_finish(self, size_bytes).await?;
            Ok(Arc::new(metadata))
        }
        .boxed()
    }
}

fn failed(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}
