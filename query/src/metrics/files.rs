//! What a question counts in one file. A file never changes, so neither does its tally: tallies are kept, and made once even when many
//! ask at the same time. After a commit only the tallies of its files are new.

use std::sync::Arc;

use datafusion::{
    common::DataFusionError,
    execution::memory_pool::{MemoryConsumer, MemoryPool},
};
use futures::TryStreamExt;
use quick_cache::{Weighter, sync::Cache};
use table::{Cell, DataFile, Scan, Table, Texts};

use super::{
    answer::Key,
    question::Dimension,
    rows::RowCounter,
    shape::Shape,
    tally::{Keys, Tally},
};
use crate::{error::Error, measures};

/// A guess, for the cache to lay out its shards.
const TALLY_BYTES: usize = 16 << 10;
const ALWAYS: (i64, i64) = (i64::MIN, i64::MAX);

/// The tallies of files.
pub(crate) struct FileTallies {
    events: Table,
    memory: Arc<dyn MemoryPool>,
    kept: Cache<TallyKey, Arc<Tally>, Bytes>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct TallyKey {
    path: Arc<str>,
    shape: Arc<Shape>,
    /// [`ALWAYS`] when the whole file is asked for.
    range_us: (i64, i64),
}

#[derive(Clone)]
struct Bytes;

impl Weighter<TallyKey, Arc<Tally>> for Bytes {
    fn weight(&self, _: &TallyKey, tally: &Arc<Tally>) -> u64 {
        tally.bytes() as u64
    }
}

impl FileTallies {
    /// The tallies of this table's files. Those that are kept take at most `kept_bytes`; what is being counted takes from `memory`.
    pub(crate) fn new(events: Table, kept_bytes: u64, memory: Arc<dyn MemoryPool>) -> Self {
        let items = usize::try_from(kept_bytes).unwrap_or(usize::MAX) / TALLY_BYTES;
        Self { events, memory, kept: Cache::with_weighter(items, kept_bytes, Bytes) }
    }

    /// The memory that questions take from.
    pub(super) fn memory(&self) -> &Arc<dyn MemoryPool> {
        &self.memory
    }

    /// What a question of this shape counts in a file, of the event times in `range_us` (both ends included).
    pub(super) async fn tally(&self, file: &DataFile, shape: &Arc<Shape>, range_us: (i64, i64)) -> Result<Arc<Tally>, Error> {
        let is_whole = file.stats.timestamp.is_some_and(|(first, last)| range_us.0 <= first && last <= range_us.1);
        let range_us = if is_whole { ALWAYS } else { range_us };
        let key = TallyKey { path: Arc::clone(&file.path), shape: Arc::clone(shape), range_us };
        let mut is_kept = true;
        let tally = self.kept.get_or_insert_async(&key, async {
            is_kept = false;
            self.counted(file, shape, range_us).await.map(Arc::new)
        });
        let tally = tally.await?;
        if is_kept {
            measures::file("kept");
        }
        Ok(tally)
    }

    async fn counted(&self, file: &DataFile, shape: &Shape, range_us: (i64, i64)) -> Result<Tally, Error> {
        let cells = match shape.level() {
            Some(level) => self.events.summary(file, level).await.map_err(unavailable)?,
            None => None,
        };
        let Some(cells) = cells else {
            measures::file("rows");
            return self.scanned(file, shape, &[range_us]).await;
        };
        measures::file("summary");
        let (mut tally, ranges_us) = from_cells(&cells, shape, range_us);
        if !ranges_us.is_empty() {
            tally.add(&self.scanned(file, shape, &ranges_us).await?);
        }
        tally.settle();
        Ok(tally)
    }

    /// Counts rows.
    async fn scanned(&self, file: &DataFile, shape: &Shape, ranges_us: &[(i64, i64)]) -> Result<Tally, Error> {
        let reservation = MemoryConsumer::new("metrics").register(&self.memory);
        let scan = Scan {
            columns: &shape.columns(),
            ranges_us: (ranges_us != [ALWAYS]).then_some(ranges_us),
            event_name: shape.filters.event_name(),
            texts: Texts::Dictionary,
            ..Scan::default()
        };
        let mut batches = self.events.scan(file, &scan).await.map_err(unavailable)?;
        let mut counter = RowCounter::new(shape, ranges_us);
        while let Some(rows) = batches.try_next().await.map_err(unavailable)? {
            counter.add(&rows).map_err(DataFusionError::from)?;
            reservation.try_resize(counter.bytes())?;
            // Decoding does not wait for anything when the file is at hand; a question that was given up ends here.
            tokio::task::yield_now().await;
        }
        Ok(counter.finish())
    }
}

fn unavailable(error: table::Error) -> Error {
    Error::Unavailable(Arc::new(error))
}

/// What the cells tell, and the time ranges of which they cannot: hours that lie only partly in the range or in a bucket.
fn from_cells(cells: &[Cell], shape: &Shape, (first, last): (i64, i64)) -> (Tally, Vec<(i64, i64)>) {
    let mut tally = Tally::new(shape.uniques);
    let mut untold = Vec::new();
    for cell in cells.iter().filter(|cell| is_wanted(cell, shape) && cell.start_us <= last && first <= cell.last_us()) {
        let is_told = first <= cell.start_us && cell.last_us() <= last && has_one_bucket(cell, shape);
        if is_told {
            let keys = (!shape.group_by.is_empty()).then(|| keys(cell, shape));
            tally.add_cell(keys, cell.events, &cell.users);
        } else {
            untold.push((cell.start_us.max(first), cell.last_us().min(last)));
        }
    }
    (tally, joined(untold))
}

fn is_wanted(cell: &Cell, shape: &Shape) -> bool {
    let value = |name: &str| if name == "event_name" { &cell.event_name } else { &cell.channel };
    shape.filters.equal.iter().all(|(name, wanted)| value(name).as_deref() == Some(wanted))
}

fn has_one_bucket(cell: &Cell, shape: &Shape) -> bool {
    shape.times().all(|(_, buckets)| buckets.start_of(cell.start_us) == buckets.start_of(cell.last_us()))
}

fn keys(cell: &Cell, shape: &Shape) -> Keys {
    let text = |text: &Option<Arc<str>>| Key::Text(text.as_deref().map(str::to_owned));
    let key = |dimension: &Dimension| match dimension {
        Dimension::Time(unit) => Key::Time(shape.buckets(*unit).start_of(cell.start_us)),
        Dimension::Column("event_name") => text(&cell.event_name),
        Dimension::Column(_) | Dimension::Tag => text(&cell.channel),
    };
    shape.group_by.iter().map(key).collect()
}

/// Ranges in order, those that touch put together.
fn joined(mut ranges: Vec<(i64, i64)>) -> Vec<(i64, i64)> {
    ranges.sort_unstable();
    let mut apart: Vec<(i64, i64)> = Vec::new();
    for (first, last) in ranges {
        match apart.last_mut() {
            Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
            _ => apart.push((first, last)),
        }
    }
    apart
}
