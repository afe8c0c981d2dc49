//! Cells as an Arrow IPC stream, and back.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BinaryArray, PrimitiveArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array},
    datatypes::{DataType, Field, Schema, TimestampMicrosecondType, UInt64Type},
    error::ArrowError,
    ipc::{reader::StreamReader, writer::StreamWriter},
};
use schemas::tables::timestamp_type;

use super::{Cell, Place, Users};

/// The cells of a level.
pub(crate) fn encode(cells: &[Cell]) -> Result<Vec<u8>, ArrowError> {
    let schema = Schema::new(vec![
        Field::new("start", timestamp_type(), false),
        Field::new("event_name", DataType::Utf8, true),
        Field::new("channel", DataType::Utf8, true),
        Field::new("events", DataType::UInt64, false),
        Field::new("users", DataType::Binary, false),
    ]);
    let starts = TimestampMicrosecondArray::from_iter_values(cells.iter().map(|cell| cell.place.start_us)).with_timezone("UTC");
    let text = |text: fn(&Cell) -> Option<&str>| -> ArrayRef { Arc::new(cells.iter().map(text).collect::<StringArray>()) };
    let columns: Vec<ArrayRef> = vec![
        Arc::new(starts),
        text(|cell| cell.place.event_name.as_deref()),
        text(|cell| cell.place.channel.as_deref()),
        Arc::new(UInt64Array::from_iter_values(cells.iter().map(|cell| cell.events))),
        Arc::new(BinaryArray::from_iter_values(cells.iter().map(|cell| cell.users.to_bytes()))),
    ];
    let batch = RecordBatch::try_new(Arc::new(schema), columns)?;
    let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
    writer.write(&batch)?;
    writer.into_inner()
}

/// The wanted cells of a level, from bytes whose checksum is right; `None` when they are in another form nevertheless.
pub(crate) fn decode(bytes: &[u8], is_wanted: impl Fn(&Place) -> bool) -> Option<Vec<Cell>> {
    let mut wanted = Vec::new();
    for batch in StreamReader::try_new(bytes, None).ok()? {
        let batch = batch.ok()?;
        let stored = Stored::of(&batch)?;
        for row in 0..batch.num_rows() {
            let place = stored.place(row);
            if is_wanted(&place) {
                // Here is the work: the sketch is compressed.
                wanted.push(Cell { place, events: stored.events.value(row), users: Users::from_bytes(stored.users.value(row))? });
            }
        }
    }
    Some(wanted)
}

struct Stored<'a> {
    starts: &'a PrimitiveArray<TimestampMicrosecondType>,
    event_names: &'a StringArray,
    channels: &'a StringArray,
    events: &'a PrimitiveArray<UInt64Type>,
    users: &'a BinaryArray,
}

impl<'a> Stored<'a> {
    fn of(batch: &'a RecordBatch) -> Option<Self> {
        let text = |name| batch.column_by_name(name)?.as_string_opt::<i32>();
        Some(Self {
            starts: batch.column_by_name("start").or_else(|| batch.column_by_name("hour"))?.as_primitive_opt()?,
            event_names: text("event_name")?,
            channels: text("channel")?,
            events: batch.column_by_name("events")?.as_primitive_opt()?,
            users: batch.column_by_name("users")?.as_binary_opt()?,
        })
    }

    fn place(&self, row: usize) -> Place {
        let value = |texts: &StringArray| texts.is_valid(row).then(|| Arc::from(texts.value(row)));
        Place { start_us: self.starts.value(row), event_name: value(self.event_names), channel: value(self.channels) }
    }
}
