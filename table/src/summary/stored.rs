//! Cells as an Arrow IPC stream, and back.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, PrimitiveArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array},
    datatypes::{DataType, Field, Schema, TimestampMicrosecondType, UInt64Type},
    error::ArrowError,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use schemas::tables::timestamp_type;

use super::{Cell, Users};

/// The cells of a level.
pub(crate) fn encode(cells: &[Cell]) -> Result<Vec<u8>, ArrowError> {
    let schema = Schema::new(vec![
        Field::new("hour", timestamp_type(), false),
        Field::new("event_name", DataType::Utf8, true),
        Field::new("channel", DataType::Utf8, true),
        Field::new("events", DataType::UInt64, false),
        Field::new("users", DataType::Binary, false),
    ]);
    let hours = TimestampMicrosecondArray::from_iter_values(cells.iter().map(|cell| cell.start_us)).with_timezone("UTC");
    let text = |text: fn(&Cell) -> Option<&str>| -> ArrayRef { Arc::new(cells.iter().map(text).collect::<StringArray>()) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(hours),
        text(|cell| cell.event_name.as_deref()),
        text(|cell| cell.channel.as_deref()),
        Arc::new(UInt64Array::from_iter_values(cells.iter().map(|cell| cell.events))),
        Arc::new(BinaryArray::from_iter_values(cells.iter().map(|cell| cell.users.to_bytes()))),
    ];
    let batch = RecordBatch::try_new(Arc::new(schema), columns)?;
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
    writer.write(&batch)?;
    writer.into_inner()
}

/// The cells of a level, from bytes whose checksum is right; `None` when they are in another form nevertheless.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<Cell>> {
    let batches = StreamReader::try_new(bytes, None).ok()?.collect::<Result<Vec<_>, _>>().ok()?;
    batches.iter().map(cells).collect::<Option<Vec<_>>>().map(|cells| cells.concat())
}

fn cells(batch: &RecordBatch) -> Option<Vec<Cell>> {
    let hours: &PrimitiveArray<TimestampMicrosecondType> = batch.column_by_name("hour")?.as_primitive_opt()?;
    let events: &PrimitiveArray<UInt64Type> = batch.column_by_name("events")?.as_primitive_opt()?;
    let users: &BinaryArray = batch.column_by_name("users")?.as_binary_opt()?;
    let text = |name| batch.column_by_name(name)?.as_string_opt::<i32>();
    let (event_names, channels) = (text("event_name")?, text("channel")?);
    let value = |texts: &StringArray, row| texts.is_valid(row).then(|| Arc::from(texts.value(row)));
    let cell = |row| {
        Some(Cell {
            start_us: hours.value(row),
            event_name: value(event_names, row),
            channel: value(channels, row),
            events: events.value(row),
            users: Users::from_bytes(users.value(row))?,
        })
    };
    (0..batch.num_rows()).map(cell).collect()
}
