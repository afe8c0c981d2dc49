//! Files of one day become one sorted run of rows: a merge of many, each read once and a little at a time.
//!
//! Each file brings its rows in order. The one whose next row comes first gives rows until another one's comes first; in files of
//! successive commits such runs are long.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    pin::Pin,
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, BooleanArray, RecordBatch},
    compute::{filter_record_batch, interleave_record_batch},
    error::ArrowError,
    row::{OwnedRow, RowConverter, Rows as Keys, SortField},
};
use futures::{Stream, StreamExt, TryStreamExt, stream};
use schemas::{EventDate, tables::EVENT_DATE};

use crate::{DataFile, Error, Scan, Table, scan::Rows, writer::ORDER};

/// Files that are opened at the same time: most of the wait is the store's.
const OPENED_AT_ONCE: usize = 8;
/// Rows of each file that are in memory at a time.
const BATCH_ROWS: usize = 4 * 1024;
/// Rows of each file whose pages are in memory at a time, still compressed: some four megabytes.
const SLICE_ROWS: usize = 128 * 1024;

/// Which rows of a batch of a day stay, in a rewrite that leaves some out.
pub type Keep = Arc<dyn Fn(&RecordBatch, EventDate) -> Result<BooleanArray, ArrowError> + Send + Sync>;

/// The rows of some files, merged.
pub(crate) struct Merge {
    rows: Pin<Box<dyn Stream<Item = Result<RecordBatch, Error>> + Send>>,
    expected_rows: u64,
    is_sorted: bool,
}

impl Merge {
    /// The rows of `files` that stay. Rows without the columns of the order come file by file.
    pub(crate) async fn open(table: &Table, files: &[DataFile], keep: Option<Keep>) -> Result<Self, Error> {
        let schema = table.schema();
        let columns: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).filter(|name| *name != EVENT_DATE).collect();
        let scan = Scan { columns: &columns, batch_rows: Some(BATCH_ROWS), slice_rows: Some(SLICE_ROWS), ..Scan::default() };
        let open = |file: DataFile| {
            let (scan, keep) = (&scan, keep.clone());
            async move {
                let rows = table.scan(&file, scan).await.map_err(|error| error.in_file(&file))?;
                let keep = move |rows| kept(rows, file.date, keep.as_ref());
                let rows = rows.map(move |rows| rows.and_then(&keep).map_err(|error| error.in_file(&file)));
                Ok::<Rows, Error>(rows.try_filter(|rows| std::future::ready(rows.num_rows() > 0)).boxed())
            }
        };
        let sources: Vec<Rows> = stream::iter(files.to_vec()).map(open).buffered(OPENED_AT_ONCE).try_collect().await?;
        let expected_rows = files.iter().map(|file| file.rows).sum();
        let is_sorted = ORDER.iter().all(|name| schema.column_with_name(name).is_some());
        let rows = if is_sorted { Merging::start(files, sources).await? } else { stream::iter(sources).flatten().boxed() };
        Ok(Self { rows, expected_rows, is_sorted })
    }

    /// As many rows as the files have.
    pub(crate) const fn expected_rows(&self) -> u64 {
        self.expected_rows
    }

    pub(crate) const fn is_sorted(&self) -> bool {
        self.is_sorted
    }

    /// The next rows.
    pub(crate) async fn try_next(&mut self) -> Result<Option<RecordBatch>, Error> {
        self.rows.try_next().await
    }
}

fn kept(rows: RecordBatch, date: EventDate, keep: Option<&Keep>) -> Result<RecordBatch, Error> {
    match keep {
        Some(keep) => Ok(filter_record_batch(&rows, &keep(&rows, date)?)?),
        None => Ok(rows),
    }
}

/// A file, and where in it the merge stands.
struct Source {
    file: DataFile,
    rest: Rows,
    batch: RecordBatch,
    keys: Keys,
    at: usize,
}

/// The next key of a source; of equal ones that of the earlier file comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    key: OwnedRow,
    source: usize,
}

struct Merging {
    sources: Vec<Source>,
    next: BinaryHeap<Reverse<Next>>,
    converter: RowConverter,
}

impl Merging {
    async fn start(files: &[DataFile], streams: Vec<Rows>) -> Result<Rows, Error> {
        let mut merging = Self { sources: Vec::new(), next: BinaryHeap::new(), converter: RowConverter::new(Vec::new())? };
        for (file, mut rest) in files.iter().zip(streams) {
            let Some(batch) = rest.try_next().await? else { continue };
            if merging.sources.is_empty() {
                let fields = keys(&batch).iter().map(|key| SortField::new(key.data_type().clone())).collect();
                merging.converter = RowConverter::new(fields)?;
            }
            let keys = checked(merging.converter.convert_columns(&keys(&batch))?, file)?;
            merging.sources.push(Source { file: file.clone(), rest, batch, keys, at: 0 });
            merging.enqueue(merging.sources.len() - 1);
        }
        Ok(stream::try_unfold(merging, |mut merging| async move { Ok(merging.step().await?.map(|rows| (rows, merging))) }).boxed())
    }

    fn enqueue(&mut self, source: usize) {
        let Source { keys, at, .. } = &self.sources[source];
        self.next.push(Reverse(Next { key: keys.row(*at).owned(), source }));
    }

    /// Rows in order, up to where the batch of a source ends.
    async fn step(&mut self) -> Result<Option<RecordBatch>, Error> {
        let mut places: Vec<(usize, usize)> = Vec::new();
        while let Some(Reverse(first)) = self.next.pop() {
            let source = &mut self.sources[first.source];
            let to = source.run(first.source, self.next.peek().map(|Reverse(next)| next));
            places.extend((source.at..to).map(|row| (first.source, row)));
            source.at = to;
            if to == source.batch.num_rows() {
                let batches: Vec<&RecordBatch> = self.sources.iter().map(|source| &source.batch).collect();
                let rows = interleave_record_batch(&batches, &places)?;
                self.refill(first.source).await?;
                return Ok(Some(rows));
            }
            self.enqueue(first.source);
        }
        Ok(None)
    }

    /// The next batch of a source whose batch has ended.
    async fn refill(&mut self, number: usize) -> Result<(), Error> {
        let source = &mut self.sources[number];
        let Some(batch) = source.rest.try_next().await? else {
            source.batch = source.batch.slice(0, 0);
            return Ok(());
        };
        let keys = self.converter.convert_columns(&keys(&batch))?;
        if source.keys.row(source.keys.num_rows() - 1) > keys.row(0) {
            return Err(unsorted(&source.file));
        }
        (source.batch, source.keys, source.at) = (batch, checked(keys, &source.file)?, 0);
        self.enqueue(number);
        Ok(())
    }
}

impl Source {
    /// The end of the rows that come before the next row of all others.
    fn run(&self, number: usize, other: Option<&Next>) -> usize {
        let Some(other) = other else { return self.batch.num_rows() };
        let comes_first = |row: &usize| match self.keys.row(*row).cmp(&other.key.row()) {
            Ordering::Equal => number < other.source,
            order => order == Ordering::Less,
        };
        // The first was chosen because it comes first.
        (self.at + 1..self.batch.num_rows()).find(|row| !comes_first(row)).unwrap_or(self.batch.num_rows())
    }
}

/// The keys, if they are in order.
fn checked(keys: Keys, file: &DataFile) -> Result<Keys, Error> {
    if keys.iter().is_sorted() { Ok(keys) } else { Err(unsorted(file)) }
}

fn unsorted(file: &DataFile) -> Error {
    Error::Rows { what: format!("they are not in the order {ORDER:?}") }.in_file(file)
}

fn keys(batch: &RecordBatch) -> Vec<ArrayRef> {
    ORDER.iter().map(|name| Arc::clone(batch.column_by_name(name).expect("a scan has the columns that were asked for"))).collect()
}
