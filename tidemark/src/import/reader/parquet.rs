//! Parquet: columns by name, row by row as JSON. Times keep their microseconds; lists and structures become what they are in JSON.

use std::{borrow::Cow, sync::Arc};

use arrow::{
    array::{ArrayRef, RecordBatch},
    compute::cast,
    datatypes::{DataType, Field, Schema, TimeUnit},
    json::LineDelimitedWriter,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use schemas::raw::Field as EventField;
use serde_json::value::RawValue;

use super::Out;
use crate::{
    import::{
        Others,
        columns::{Cell, Columns},
        source::{Opened, Source},
    },
    members::Members,
};

/// Rows that are in memory at a time, a few times over.
const BATCH_ROWS: usize = 1024;

pub(super) fn read(source: &Source, opened: Opened, others: Others, out: &mut Out<'_>) -> anyhow::Result<()> {
    let file = source.seekable(opened)?;
    let bytes = file.metadata()?.len();
    let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default().max(1);
    let names: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
    let columns = Columns::new(names.iter().map(String::as_str), others)?;
    let mut number = 0;
    for batch in builder.with_batch_size(BATCH_ROWS).build()? {
        for event in events(&columns, &names, &batch?)? {
            number += 1;
            out.read_bytes = Box::new(move || bytes * number / rows);
            out.record(number, event)?;
        }
    }
    Ok(())
}

/// The events of some rows.
fn events(columns: &Columns, names: &[String], batch: &RecordBatch) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut lines = LineDelimitedWriter::new(Vec::new());
    lines.write(&in_utc(columns, batch)?)?;
    lines.finish()?;
    let lines = lines.into_inner();
    let rows = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    rows.map(|row| Ok(columns.event(cells(columns, names, &serde_json::from_slice(row)?)))).collect()
}

/// The cells of a row; it has its columns in order, without those that are null.
fn cells<'a>(columns: &Columns, names: &[String], Members(row): &'a Members) -> Vec<Option<Cell<'a>>> {
    let mut row = row.iter().peekable();
    let cell = |(column, name): (usize, &String)| {
        let (_, value) = row.next_if(|(found, _)| found == name)?;
        Some(cell(columns.field(column), value))
    };
    names.iter().enumerate().map(cell).collect()
}

/// A text in the column of a field is read as in CSV; everything else means what it is.
fn cell(field: Option<EventField>, value: &RawValue) -> Cell<'_> {
    match serde_json::from_str::<String>(value.get()) {
        Ok(text) if field.is_some() => Cell::Text(Cow::Owned(text)),
        _ => Cell::Json(value.get()),
    }
}

/// The same rows with every time in UTC, so that it is written with its zone; a day as the time of an event is its first instant.
fn in_utc(columns: &Columns, batch: &RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
    let utc = |unit| DataType::Timestamp(unit, Some("UTC".into()));
    let wanted = |(number, field): (usize, &Arc<Field>)| match field.data_type() {
        DataType::Timestamp(unit, _) => utc(*unit),
        DataType::Date32 | DataType::Date64 if columns.field(number) == Some(EventField::Timestamp) => utc(TimeUnit::Millisecond),
        other => other.clone(),
    };
    let schema = batch.schema();
    let types: Vec<DataType> = schema.fields().iter().enumerate().map(wanted).collect();
    let cast: Result<Vec<ArrayRef>, _> = batch.columns().iter().zip(&types).map(|(column, wanted)| cast(column, wanted)).collect();
    let fields = schema.fields().iter().zip(types).map(|(field, wanted)| field.as_ref().clone().with_data_type(wanted));
    RecordBatch::try_new(Arc::new(Schema::new(fields.collect::<Vec<_>>())), cast?)
}
