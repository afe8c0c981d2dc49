//! The summary of a file, level by level.

use parquet::{arrow::async_reader::AsyncFileReader, errors::Result as ParquetResult};

use super::Reader;
use crate::{
    Cell, Error, Level,
    summary::{self, Directory, Place},
};

/// What a data file says about its rows without being scanned.
#[derive(Debug)]
pub struct Summary {
    reader: Reader,
    directory: Directory,
}

impl Summary {
    pub(super) async fn of(mut reader: Reader) -> ParquetResult<Option<Self>> {
        let metadata = reader.get_metadata(None).await?;
        let entries = metadata.file_metadata().key_value_metadata().into_iter().flatten();
        let directory = entries.filter(|entry| entry.key == summary::KEY).find_map(|entry| entry.value.as_deref());
        Ok(directory.and_then(Directory::of).map(|directory| Self { reader, directory }))
    }

    /// The wanted cells of a level; `None` when the file has no such level, or not what was written.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn cells(&mut self, level: Level, is_wanted: impl Fn(&Place) -> bool) -> Result<Option<Vec<Cell>>, Error> {
        let Some(extent) = self.directory.extent(level) else { return Ok(None) };
        let bytes = self.reader.get_bytes(extent.offset..extent.offset.saturating_add(extent.bytes)).await?;
        let cells = if extent.holds(&bytes) { summary::decode(&bytes, is_wanted) } else { None };
        if cells.is_none() {
            tracing::warn!(file = %self.reader.path, ?level, "this level of the file's summary is damaged; what it should tell is read elsewhere in the file");
        }
        Ok(cells)
    }
}
