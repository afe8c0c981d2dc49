//! Rows to the bytes of a Parquet file: zstd, page index, statistics at page level, so that every reader can skip what it does not
//! need; and a [`summary`] between the row groups and the footer.

use arrow::{
    array::RecordBatch,
    datatypes::{DataType, Schema, SchemaRef},
    error::ArrowError,
};
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
use schemas::tables::EVENT_DATE;

use super::ORDER;
use crate::{
    Error, stats,
    summary::{self, Directory},
};

/// Free text: a range of it skips nothing, so its pages have none.
const FREE_TEXT: [&str; 2] = ["metadata", "message"];
const ROW_GROUP_ROWS: usize = 1 << 20;
/// The unit that a reader can skip in a row group.
const PAGE_ROWS: usize = 16 * 1024;

/// How much work goes into a small file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Effort {
    /// For rows that somebody waits for.
    Quick,
    /// For files that stay.
    Thorough,
}

impl Effort {
    const fn zstd_level(self) -> i32 {
        match self {
            Self::Quick => 1,
            Self::Thorough => 6,
        }
    }
}

/// A file while its rows pass.
pub(super) struct Encoder {
    writer: ArrowWriter<Vec<u8>>,
    summary: summary::Maker,
    stats: stats::Collector,
}

impl Encoder {
    /// A file with the columns of `schema` but for the partition column, for about `rows` rows.
    pub(super) fn new(schema: &SchemaRef, rows: u64, is_sorted: bool, effort: Effort) -> Result<Self, Error> {
        let stored = schema.fields().iter().filter(|field| field.name() != EVENT_DATE).cloned();
        let schema = SchemaRef::new(Schema::new(stored.collect::<Vec<_>>()));
        let properties = properties(&schema, is_sorted, effort)?;
        let writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
        Ok(Self { writer, summary: summary::Maker::new(rows), stats: stats::Collector::default() })
    }

    /// The next rows, without the partition column.
    pub(super) fn push(&mut self, rows: &RecordBatch) -> Result<(), Error> {
        self.summary.push(rows);
        self.stats.push(rows);
        Ok(self.writer.write(rows)?)
    }

    /// How many rows there are so far.
    pub(super) const fn rows(&self) -> u64 {
        self.stats.rows()
    }

    /// The bytes since the last call.
    pub(super) fn take(&mut self) -> Result<Vec<u8>, Error> {
        self.writer.sync().map_err(ParquetError::from)?;
        Ok(std::mem::take(self.writer.inner_mut()))
    }

    /// The last bytes, and the statistics for the Delta log.
    pub(super) fn finish(mut self) -> Result<(Vec<u8>, String), Error> {
        append(self.summary, &mut self.writer)?;
        Ok((self.writer.into_inner()?, self.stats.finish()))
    }
}

/// Other readers skip what is not in a row group, and ignore keys that they do not know.
fn append(summary: summary::Maker, writer: &mut ArrowWriter<Vec<u8>>) -> Result<(), Error> {
    let encoded = summary.finish().into_iter().map(|(level, cells)| Ok((level, summary::encode(&cells)?)));
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

fn properties(schema: &Schema, is_sorted: bool, effort: Effort) -> Result<WriterProperties, Error> {
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("tidemark ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(effort.zstd_level())?))
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
    let order = if is_sorted { sorting_columns(schema)? } else { None };
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
