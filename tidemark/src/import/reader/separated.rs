//! CSV: the first record has the names, each other one is an event. An empty cell is no value.

use std::borrow::Cow;

use csv::{ByteRecord, ReaderBuilder};

use super::{MAX_RECORD_BYTES, Out};
use crate::import::{
    Others,
    columns::{Cell, Columns},
    source::Opened,
};

/// Tried in this order; the one that stands most often in the header separates.
const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

pub(super) fn read(opened: Opened, delimiter: Option<u8>, others: Others, out: &mut Out<'_>) -> anyhow::Result<()> {
    let delimiter = delimiter.unwrap_or_else(|| found(&opened.head));
    let mut reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(opened.bytes);
    let names = reader.headers()?.clone();
    let columns = Columns::new(&names, others)?;
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        match event(&columns, &record) {
            Ok(event) => out.record(line, event)?,
            Err((code, message)) => out.refuse(line, record.iter().collect::<Vec<_>>().join(&delimiter), code, message)?,
        }
    }
    Ok(())
}

/// The event of a record, or code and message of why there is none.
fn event(columns: &Columns, record: &ByteRecord) -> Result<Vec<u8>, (&'static str, String)> {
    if record.len() != columns.len() {
        return Err(("wrong_number_of_cells", format!("the record has {} cells, and the header {}", record.len(), columns.len())));
    }
    if record.as_slice().len() > MAX_RECORD_BYTES {
        return Err(("too_long", format!("the record has more than {} MiB", MAX_RECORD_BYTES >> 20)));
    }
    let cells: Result<Vec<&str>, _> = record.iter().map(std::str::from_utf8).collect();
    let cells = cells.map_err(|_| ("invalid_utf8", "the record is not UTF-8".to_owned()))?;
    Ok(columns.event(cells.into_iter().map(|cell| (!cell.is_empty()).then_some(Cell::Text(Cow::Borrowed(cell))))))
}

/// What separates the names of the header.
fn found(head: &[u8]) -> u8 {
    let header = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let times = |delimiter: u8| header.iter().filter(|byte| **byte == delimiter).count();
    // The last of equals would win, and the first is the usual one.
    DELIMITERS.into_iter().rev().max_by_key(|delimiter| times(*delimiter)).unwrap_or(b',')
}
