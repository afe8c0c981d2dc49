//! Records on their way to the door: gathered by the reader, bounded by number and bytes.

use tokio::sync::mpsc::Sender;

/// A batch this large goes, however few its records are; the door's own limit is far above.
const BATCH_BYTES: usize = 1 << 20;

/// One event of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Its line, item or row, from 1.
    pub(super) number: u64,
    /// One line of JSON, as far as it is JSON; with [`Batch::is_lines`] it is one line in any case.
    pub(super) json: Vec<u8>,
}

/// A record that is not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) record: Record,
    pub(super) code: String,
    /// JSON pointer to what is wrong; empty for the whole.
    pub(super) pointer: String,
    pub(super) message: String,
}

/// Records that follow each other in one file.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Which of the files.
    pub(super) file: usize,
    /// What is counted: a line, an item, a row.
    pub(super) unit: &'static str,
    /// Whether a record is a line as it stood in the file, which may be no JSON.
    pub(super) is_lines: bool,
    pub(super) records: Vec<Record>,
    /// What the reader itself refuses.
    pub(super) refused: Vec<Refusal>,
    /// The number of the last record up to here.
    pub(super) last: u64,
    /// How much of the file was read up to here.
    pub(super) read_bytes: u64,
    /// Whether the file ends here.
    pub(super) is_end: bool,
}

/// Nobody takes batches any more.
#[derive(Debug, thiserror::Error)]
#[error("the import was stopped")]
pub(super) struct Stopped;

/// Gathers the records of one file and hands them on, waiting while there are enough on their way.
pub(super) struct Gatherer {
    sender: Sender<Batch>,
    batch: Batch,
    bytes: usize,
    most: usize,
    /// Records up to here were acknowledged by an earlier import.
    done: u64,
}

impl Gatherer {
    pub(super) fn new(sender: Sender<Batch>, file: usize, most: usize, done: u64) -> Self {
        Self { sender, batch: Batch { file, last: done, ..Batch::default() }, bytes: 0, most, done }
    }

    /// Says what is counted, before the first record.
    pub(super) const fn begin(&mut self, unit: &'static str, is_lines: bool) {
        self.batch.unit = unit;
        self.batch.is_lines = is_lines;
    }

    /// Whether a record was acknowledged by an earlier import.
    pub(super) const fn is_done(&self, number: u64) -> bool {
        number <= self.done
    }

    /// The number of the last record that was taken.
    pub(super) const fn last(&self) -> u64 {
        self.batch.last
    }

    /// Takes a record; `read_bytes` of the file were read up to here.
    pub(super) fn push(&mut self, record: Record, read_bytes: u64) -> Result<(), Stopped> {
        if self.is_done(record.number) {
            return Ok(());
        }
        if self.bytes + record.json.len() > BATCH_BYTES {
            self.flush()?;
        }
        self.took(record.number, record.json.len(), read_bytes);
        self.batch.records.push(record);
        self.flush_full()
    }

    /// Takes a record that need not be sent.
    pub(super) fn refuse(&mut self, refusal: Refusal, read_bytes: u64) -> Result<(), Stopped> {
        if self.is_done(refusal.record.number) {
            return Ok(());
        }
        self.took(refusal.record.number, refusal.record.json.len(), read_bytes);
        self.batch.refused.push(refusal);
        self.flush_full()
    }

    /// Hands on what is left.
    pub(super) fn end(mut self) -> Result<(), Stopped> {
        self.batch.is_end = true;
        self.send()
    }

    /// Hands on what is left of a file that cannot be read further.
    pub(super) fn flush(&mut self) -> Result<(), Stopped> {
        if self.batch.records.is_empty() && self.batch.refused.is_empty() { Ok(()) } else { self.send() }
    }

    const fn took(&mut self, number: u64, bytes: usize, read_bytes: u64) {
        self.batch.last = number;
        self.batch.read_bytes = read_bytes;
        self.bytes += bytes;
    }

    fn flush_full(&mut self) -> Result<(), Stopped> {
        let is_full = self.batch.records.len() + self.batch.refused.len() >= self.most || self.bytes >= BATCH_BYTES;
        if is_full { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), Stopped> {
        let Batch { file, unit, is_lines, last, read_bytes, .. } = self.batch;
        let next = Batch { file, unit, is_lines, last, read_bytes, ..Batch::default() };
        self.bytes = 0;
        self.sender.blocking_send(std::mem::replace(&mut self.batch, next)).map_err(|_| Stopped)
    }
}
