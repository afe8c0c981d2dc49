//! Which rows of a file may lie in some ranges of event time, by the page index.

use arrow::{
    array::{Array, AsArray, PrimitiveArray},
    datatypes::TimestampMicrosecondType,
};
use parquet::{
    arrow::arrow_reader::{ArrowReaderMetadata, RowSelection, RowSelector, statistics::StatisticsConverter},
    errors::Result,
};

/// The rows of the pages whose event times may touch one of `ranges_us` (both ends included); `None` when the file has no page index.
pub(super) fn selection(file: &ArrowReaderMetadata, ranges_us: &[(i64, i64)]) -> Result<Option<RowSelection>> {
    let metadata = file.metadata();
    let (Some(columns), Some(offsets)) = (metadata.column_index(), metadata.offset_index()) else { return Ok(None) };
    let times = StatisticsConverter::try_new("timestamp", file.schema(), file.parquet_schema())?;
    let groups: Vec<usize> = (0..metadata.num_row_groups()).collect();
    let least = times.data_page_mins(columns, offsets, &groups)?;
    let greatest = times.data_page_maxes(columns, offsets, &groups)?;
    let Some(rows) = times.data_page_row_counts(offsets, metadata.row_groups(), &groups)? else { return Ok(None) };
    let (least, greatest) = (least.as_primitive::<TimestampMicrosecondType>(), greatest.as_primitive::<TimestampMicrosecondType>());
    let selectors = rows.values().iter().enumerate().map(|(page, rows)| {
        let rows = usize::try_from(*rows).expect("a page is in memory when it is read");
        match bounds(least, greatest, page).is_some_and(|bounds| !touches(bounds, ranges_us)) {
            true => RowSelector::skip(rows),
            false => RowSelector::select(rows),
        }
    });
    Ok(Some(selectors.collect()))
}

fn bounds(
    least: &PrimitiveArray<TimestampMicrosecondType>,
    greatest: &PrimitiveArray<TimestampMicrosecondType>,
    page: usize,
) -> Option<(i64, i64)> {
    (least.is_valid(page) && greatest.is_valid(page)).then(|| (least.value(page), greatest.value(page)))
}

/// Whether the bounds touch one of the ranges, which are apart and in order.
fn touches((least, greatest): (i64, i64), ranges_us: &[(i64, i64)]) -> bool {
    let after = ranges_us.partition_point(|(_, last)| *last < least);
    ranges_us.get(after).is_some_and(|(first, _)| *first <= greatest)
}
