//! What values would take if nobody shared their memory. Arrow's own sums have of a view only its place, and of a part of a list all of it.

use std::iter::zip;

use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, OffsetSizeTrait, RecordBatch},
        compute::{cast, kernels::length::length},
        datatypes::{DataType, Int64Type},
    },
    common::Result,
};

/// What a number takes, and at least any value.
pub(crate) const NUMBER_BYTES: u128 = 8;
/// What a text takes beside its bytes, as a view.
const VIEW_BYTES: u128 = 16;

/// Bytes of each row, with the place of each of its values.
pub(crate) fn of_rows(batch: &RecordBatch) -> Result<Vec<u128>> {
    sums(batch.columns(), batch.num_rows())
}

/// Bytes of each value: exact for texts and bytes, for a list as much as its elements and their places take on average, on average for
/// anything else.
pub(crate) fn of_values(values: &ArrayRef) -> Result<Vec<u128>> {
    let widths = match values.data_type() {
        kind if kind.is_string() || kind.is_binary() => {
            let lengths = cast(&length(values)?, &DataType::Int64)?;
            lengths.as_primitive::<Int64Type>().iter().map(|bytes| u128::try_from(bytes.unwrap_or_default()).unwrap_or_default()).collect()
        }
        DataType::List(_) => of_lists(values.as_list::<i32>().value_offsets(), values.as_list::<i32>().values())?,
        DataType::LargeList(_) => of_lists(values.as_list::<i64>().value_offsets(), values.as_list::<i64>().values())?,
        DataType::Struct(_) => sums(values.as_struct().columns(), values.len())?,
        _ => {
            let bytes = values.to_data().get_slice_memory_size().unwrap_or_else(|_| values.get_array_memory_size());
            vec![(bytes.div_ceil(values.len().max(1)) as u128).max(NUMBER_BYTES); values.len()]
        }
    };
    Ok(widths)
}

/// What a value of this kind takes in a list, beside what it is.
pub(crate) fn place_of(kind: &DataType) -> u128 {
    match kind {
        kind if kind.is_string() || kind.is_binary() => VIEW_BYTES,
        kind if kind.is_nested() => NUMBER_BYTES,
        _ => 0,
    }
}

fn sums(columns: &[ArrayRef], rows: usize) -> Result<Vec<u128>> {
    let places = vec![NUMBER_BYTES * columns.len() as u128; rows];
    columns.iter().try_fold(places, |sums, column| Ok(zip(sums, of_values(column)?).map(|(sum, width)| sum + width).collect()))
}

fn of_lists<O: OffsetSizeTrait>(offsets: &[O], elements: &ArrayRef) -> Result<Vec<u128>> {
    let all: u128 = of_values(elements)?.into_iter().sum();
    let each = all.div_ceil(elements.len().max(1) as u128) + place_of(elements.data_type());
    Ok(offsets.windows(2).map(|ends| (ends[1] - ends[0]).as_usize() as u128 * each).collect())
}
