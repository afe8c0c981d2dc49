//! Which rows of a file may be wanted, by the page index.

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, Datum, StringArray},
    compute::{
        and, is_null,
        kernels::cmp::{gt_eq, lt_eq},
        or_kleene,
    },
    datatypes::TimestampMicrosecondType,
    error::ArrowError,
};
use parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, RowSelection, RowSelector, statistics::StatisticsConverter},
    errors::Result,
    file::metadata::{ParquetColumnIndex, ParquetOffsetIndex},
};

use super::Scan;

/// The rows of the pages that may have a wanted row; `None` when the file has no page index, or all pages may.
pub(super) fn selection(file: &ArrowReaderMetadata, scan: &Scan<'_>) -> Result<Option<RowSelection>> {
    let (Some(columns), Some(offsets)) = (file.metadata().column_index(), file.metadata().offset_index()) else { return Ok(None) };
    let index = Index { file, columns, offsets, groups: (0..file.metadata().num_row_groups()).collect() };
    let by_time = scan.ranges_us.map(|ranges_us| index.touching(ranges_us)).transpose()?.flatten();
    let by_name = scan.event_name.map(|event_name| index.naming(event_name)).transpose()?.flatten();
    Ok(match (by_time, by_name) {
        (Some(by_time), Some(by_name)) => Some(by_time.intersection(&by_name)),
        (one, other) => one.or(other),
    })
}

struct Index<'a> {
    file: &'a ArrowReaderMetadata,
    columns: &'a ParquetColumnIndex,
    offsets: &'a ParquetOffsetIndex,
    groups: Vec<usize>,
}

/// The pages of one column: their bounds, null where unknown, and how many rows they have.
struct Pages {
    least: ArrayRef,
    greatest: ArrayRef,
    rows: Vec<u64>,
}

impl Index<'_> {
    /// The pages whose event times may touch one of the ranges (both ends included), which are apart and in order.
    fn touching(&self, ranges_us: &[(i64, i64)]) -> Result<Option<RowSelection>> {
        let Some(pages) = self.pages("timestamp")? else { return Ok(None) };
        let (least, greatest) =
            (pages.least.as_primitive::<TimestampMicrosecondType>(), pages.greatest.as_primitive::<TimestampMicrosecondType>());
        let may_match = |page| {
            let is_known = least.is_valid(page) && greatest.is_valid(page);
            !is_known || touches((least.value(page), greatest.value(page)), ranges_us)
        };
        Ok(Some(pages.select(may_match)))
    }

    /// The pages that may have an event of this name.
    fn naming(&self, event_name: &str) -> Result<Option<RowSelection>> {
        let Some(pages) = self.pages("event_name")? else { return Ok(None) };
        let wanted = within(&pages, &StringArray::new_scalar(event_name))?;
        Ok(Some(pages.select(|page| wanted.is_null(page) || wanted.value(page))))
    }

    fn pages(&self, column: &str) -> Result<Option<Pages>> {
        let converter = StatisticsConverter::try_new(column, self.file.schema(), self.file.parquet_schema())?;
        let least = converter.data_page_mins(self.columns, self.offsets, &self.groups)?;
        let greatest = converter.data_page_maxes(self.columns, self.offsets, &self.groups)?;
        let rows = converter.data_page_row_counts(self.offsets, self.file.metadata().row_groups(), &self.groups)?;
        Ok(rows.map(|rows| Pages { least, greatest, rows: rows.values().to_vec() }))
    }
}

impl Pages {
    fn select(&self, may_match: impl Fn(usize) -> bool) -> RowSelection {
        let selector = |(page, rows): (usize, &u64)| {
            let rows = usize::try_from(*rows).expect("a page is in memory when it is read");
            if may_match(page) { RowSelector::select(rows) } else { RowSelector::skip(rows) }
        };
        self.rows.iter().enumerate().map(selector).collect()
    }
}

/// Whether the bounds of a page hold a value; true where they are unknown.
fn within(pages: &Pages, value: &dyn Datum) -> Result<BooleanArray, ArrowError> {
    let unknown = or_kleene(&is_null(&pages.least)?, &is_null(&pages.greatest)?)?;
    or_kleene(&unknown, &and(&lt_eq(&pages.least, value)?, &gt_eq(&pages.greatest, value)?)?)
}

/// Whether the bounds touch one of the ranges, which are apart and in order.
fn touches((least, greatest): (i64, i64), ranges_us: &[(i64, i64)]) -> bool {
    let after = ranges_us.partition_point(|(_, last)| *last < least);
    ranges_us.get(after).is_some_and(|(first, _)| *first <= greatest)
}
