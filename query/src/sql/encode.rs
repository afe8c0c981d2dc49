//! Rows as bytes: one encoder for each format.
//!
//! An [`Encoder`] takes batches and gives the bytes that are ready; [`Encoder::finish`] gives the rest. Encoders of streams
//! give everything at once, those of documents may keep it to the end.

use std::sync::Arc;

use bytes::Bytes;
use datafusion::{
    arrow::{
        array::{Array, ArrayRef, AsArray, RecordBatch, StringBuilder, StringViewArray},
        csv,
        datatypes::{DataType, Field, FieldRef, Schema, SchemaRef},
        error::ArrowError,
        ipc::writer::StreamWriter,
        json::{
            self, EncoderFactory, EncoderOptions, WriterBuilder,
            writer::{JsonArray, LineDelimited, NullableEncoder},
        },
        util::pretty::pretty_format_batches_with_schema,
    },
    common::Result,
    parquet::arrow::ArrowWriter,
};

use super::format::Format;

/// The canonical mark of a text column that holds JSON.
const EXTENSION_NAME: &str = "ARROW:extension:name";
const JSON_EXTENSION: &str = "arrow.json";

/// Turns the batches of one answer into bytes.
pub(super) enum Encoder {
    Json(Box<json::Writer<Vec<u8>, JsonArray>>),
    JsonLines,
    /// The delimiter, and whether the header is still to be written.
    Separated(u8, bool),
    Pretty(Vec<RecordBatch>, SchemaRef),
    Arrow(Box<StreamWriter<Vec<u8>>>),
    Parquet(Box<ArrowWriter<Vec<u8>>>),
}

impl Encoder {
    /// An encoder for rows of this schema.
    pub(super) fn new(format: Format, schema: &SchemaRef) -> Result<Self> {
        Ok(match format {
            Format::Json => Self::Json(Box::new(json_options().build(Vec::new()))),
            Format::JsonLines => Self::JsonLines,
            Format::Csv => Self::Separated(b',', true),
            Format::Tsv => Self::Separated(b'\t', true),
            Format::Pretty => Self::Pretty(Vec::new(), Arc::clone(schema)),
            Format::Arrow => Self::Arrow(Box::new(StreamWriter::try_new(Vec::new(), schema)?)),
            Format::Parquet => Self::Parquet(Box::new(ArrowWriter::try_new(Vec::new(), Arc::clone(schema), None)?)),
        })
    }

    /// Takes a batch; gives the bytes that are ready.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<Bytes> {
        match self {
            Self::Json(writer) => writer.write(batch)?,
            Self::JsonLines => return Ok(json_lines(batch)?),
            Self::Separated(delimiter, has_header) => return Ok(separated(batch, *delimiter, std::mem::take(has_header))?),
            Self::Pretty(batches, _) => batches.push(batch.clone()),
            Self::Arrow(writer) => {
                writer.write(batch)?;
                return Ok(std::mem::take(writer.get_mut()).into());
            }
            Self::Parquet(writer) => writer.write(batch)?,
        }
        Ok(Bytes::new())
    }

    /// The bytes that are still to come.
    pub(super) fn finish(self) -> Result<Bytes> {
        match self {
            Self::Json(mut writer) => {
                writer.finish()?;
                Ok(writer.into_inner().into())
            }
            Self::JsonLines | Self::Separated(..) => Ok(Bytes::new()),
            Self::Pretty(batches, schema) => Ok(pretty(&batches, schema)?.into()),
            Self::Arrow(mut writer) => {
                writer.finish()?;
                Ok(std::mem::take(writer.get_mut()).into())
            }
            Self::Parquet(writer) => Ok(writer.into_inner()?.into()),
        }
    }
}

fn json_options() -> WriterBuilder {
    WriterBuilder::new().with_explicit_nulls(true).with_encoder_factory(Arc::new(RawJson))
}

fn json_lines(batch: &RecordBatch) -> Result<Bytes, ArrowError> {
    let mut writer = json_options().build::<_, LineDelimited>(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner().into())
}

fn separated(batch: &RecordBatch, delimiter: u8, has_header: bool) -> Result<Bytes, ArrowError> {
    let mut writer = csv::WriterBuilder::new().with_header(has_header).with_delimiter(delimiter).build(Vec::new());
    writer.write(&flat(batch)?)?;
    Ok(writer.into_inner().into())
}

fn pretty(batches: &[RecordBatch], schema: SchemaRef) -> Result<String, ArrowError> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let table = pretty_format_batches_with_schema(schema, batches)?;
    Ok(format!("{table}\n({rows} {})\n", if rows == 1 { "row" } else { "rows" }))
}

/// The batch with lists and structs as JSON text, because CSV has neither.
fn flat(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let (mut fields, mut columns): (Vec<FieldRef>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        let is_nested = column.data_type().is_nested();
        fields.push(if is_nested { Arc::new(Field::new(field.name(), DataType::Utf8, true)) } else { Arc::clone(field) });
        columns.push(if is_nested { json_texts(field, column)? } else { Arc::clone(column) });
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

fn json_texts(field: &FieldRef, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let options = EncoderOptions::default();
    let mut encoder = json::writer::make_encoder(field, column, &options)?;
    let mut texts = StringBuilder::new();
    let mut text = Vec::new();
    for row in 0..column.len() {
        if encoder.is_null(row) {
            texts.append_null();
            continue;
        }
        text.clear();
        encoder.encode(row, &mut text);
        texts.append_value(String::from_utf8_lossy(&text));
    }
    Ok(Arc::new(texts.finish()))
}

/// Writes columns that hold JSON as the JSON that they are, not as a text of it.
#[derive(Debug)]
struct RawJson;

impl EncoderFactory for RawJson {
    fn make_default_encoder<'a>(
        &self,
        field: &'a FieldRef,
        array: &'a dyn Array,
        _options: &'a EncoderOptions,
    ) -> Result<Option<NullableEncoder<'a>>, ArrowError> {
        let is_json = field.metadata().get(EXTENSION_NAME).is_some_and(|name| name == JSON_EXTENSION);
        let texts = array.as_string_view_opt().filter(|_| is_json);
        Ok(texts.map(|texts| NullableEncoder::new(Box::new(Raw(texts)), texts.nulls().cloned())))
    }
}

struct Raw<'a>(&'a StringViewArray);

/// Line breaks can stand only between the tokens of a JSON text, and would break a line of JSON lines.
impl json::Encoder for Raw<'_> {
    fn encode(&mut self, row: usize, out: &mut Vec<u8>) {
        out.extend(self.0.value(row).bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
    }
}

#[cfg(test)]
mod tests;
