//! Files become batches, one file after the other, on a thread that may block.

use std::sync::{Arc, atomic::Ordering};

use anyhow::Context;
use schemas::IdentityRule;
use tokio::sync::mpsc::Sender;

use self::exported::restored;
use super::{
    Format, Others,
    batch::{Batch, Gatherer, Record, Refusal, Stopped},
    format::recognise,
    source::Source,
};

mod document;
mod exported;
mod lines;
mod parquet;
mod separated;

/// A record that is longer is none: no door takes it, and nobody wants it in memory.
const MAX_RECORD_BYTES: usize = 64 << 20;

/// How files are read.
pub(super) struct Reader {
    pub(super) format: Option<Format>,
    pub(super) delimiter: Option<u8>,
    pub(super) others: Others,
    pub(super) batch_records: usize,
    /// By which the door makes ids of its own.
    pub(super) rule: IdentityRule,
    /// For each file: the records up to this one were acknowledged by an earlier import; `None` = all.
    pub(super) done: Vec<Option<u64>>,
}

impl Reader {
    /// Reads all files and hands their records on.
    ///
    /// # Errors
    /// The first file that cannot be read to its end, and the place; what came before it is handed on.
    pub(super) fn read_all(&self, sources: &[Source], sender: Sender<Batch>) -> anyhow::Result<()> {
        for (file, (source, done)) in sources.iter().zip(&self.done).enumerate() {
            let Some(done) = *done else { continue };
            let mut gatherer = Gatherer::new(sender.clone(), file, self.batch_records, done);
            match self.read(source, &mut gatherer) {
                Ok(()) => gatherer.end()?,
                Err(error) => {
                    gatherer.flush()?;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn read(&self, source: &Source, gatherer: &mut Gatherer) -> anyhow::Result<()> {
        let name = &source.name;
        let opened = source.open().with_context(|| format!("cannot read `{name}`"))?;
        let format = self.format.unwrap_or_else(|| recognise(name, &opened.head));
        let (unit, is_lines) = match format {
            Format::Ndjson => ("line", true),
            Format::Json => ("item", false),
            Format::Csv => ("line", false),
            Format::Parquet => ("row", false),
        };
        gatherer.begin(unit, is_lines);
        let read = Arc::clone(&opened.read);
        let mut out = Out { gatherer, rule: &self.rule, read_bytes: Box::new(move || read.load(Ordering::Relaxed)) };
        let result = match format {
            Format::Ndjson => lines::read(opened, &mut out),
            Format::Json => document::read(opened, &mut out),
            Format::Csv => separated::read(opened, self.delimiter, self.others, &mut out),
            Format::Parquet => parquet::read(source, opened, self.others, &mut out),
        };
        result.with_context(|| match out.gatherer.last() {
            0 => format!("`{name}` cannot be read"),
            last => format!("`{name}` cannot be read beyond {unit} {last}"),
        })
    }
}

/// Takes the records of one file.
struct Out<'a> {
    gatherer: &'a mut Gatherer,
    rule: &'a IdentityRule,
    /// How much of the file was read.
    read_bytes: Box<dyn Fn() -> u64>,
}

impl Out<'_> {
    fn record(&mut self, number: u64, json: Vec<u8>) -> Result<(), Stopped> {
        if self.gatherer.is_done(number) {
            return Ok(());
        }
        let json = restored(&json, self.rule).unwrap_or(json);
        self.gatherer.push(Record { number, json }, (self.read_bytes)())
    }

    /// A record that no door would take.
    fn refuse(&mut self, number: u64, text: Vec<u8>, code: &str, message: String) -> Result<(), Stopped> {
        let record = Record { number, json: text };
        let refusal = Refusal { record, code: code.to_owned(), pointer: String::new(), message };
        self.gatherer.refuse(refusal, (self.read_bytes)())
    }
}
