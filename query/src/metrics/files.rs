//! What a question counts in one file. A file never changes, so neither does its tally: tallies are kept, and made once even when many
//! ask at the same time. After a commit only the tallies of its files are new.
//!
//! A summary has cells of the whole day and cells of hours: the day's are taken when no bucket and no end of the range cuts them, and
//! of hours that are cut the rows are counted.

use std::{borrow::Cow, sync::Arc};

use datafusion::{
    common::DataFusionError,
    execution::memory_pool::{MemoryConsumer, MemoryPool},
};
use futures::TryStreamExt;
use table::{Cell, DataFile, Level, Place, Scan, Span, Summary, Table, Texts};

use super::{
    answer::Key,
    kept::{Files, Kept, KeptTallies, Of},
    past::Goal,
    question::{Dimension, Uniques},
    rows::RowCounter,
    shape::Shape,
    tally::{Keys, Tally},
    turns::Turns,
};
use crate::{error::Error, measures};

const ALWAYS: (i64, i64) = (i64::MIN, i64::MAX);
/// The files of days that are over have what nothing else uses of the memory, and at least this part of it.
const SHARE_OF_PAST_FILES: u64 = 4;

/// The tallies of files.
pub(crate) struct FileTallies {
    events: Table,
    memory: Arc<dyn MemoryPool>,
    kept: KeptTallies,
    /// Of files whose counts are in the past as well, for the next time that one of them changes. Apart, because they are many, and
    /// would drive out everything else.
    past_files: KeptTallies,
    kept_bytes: u64,
    turns: Turns,
}

/// What was counted in a file, by group.
pub(super) struct Groups {
    pub(super) tally: Arc<Tally>,
    /// All groups together, where they are not in the tally and were counted with it.
    pub(super) new_total: Option<Arc<Tally>>,
}

/// Whether all rows of a file lie in a time range, both ends included.
fn is_whole(file: &DataFile, range_us: (i64, i64)) -> bool {
    file.stats.timestamp.is_some_and(|(first, last)| range_us.0 <= first && last <= range_us.1)
}

impl FileTallies {
    /// The tallies of this table's files. Those that are kept take at most `kept_bytes`; what is being counted takes from `memory`.
    pub(crate) fn new(events: Table, kept_bytes: u64, memory: Arc<dyn MemoryPool>) -> Self {
        let past_files_bytes = kept_bytes / SHARE_OF_PAST_FILES;
        let (kept, past_files) = (KeptTallies::new(kept_bytes - past_files_bytes), KeptTallies::new(past_files_bytes));
        Self { events, memory, kept, past_files, kept_bytes, turns: Turns::default() }
    }

    /// The memory that questions take from.
    pub(super) fn memory(&self) -> &Arc<dyn MemoryPool> {
        &self.memory
    }

    /// What is kept for the next question.
    pub(super) const fn kept(&self) -> &KeptTallies {
        &self.kept
    }

    /// Who makes what of it.
    pub(super) const fn turns(&self) -> &Turns {
        &self.turns
    }

    /// Keeps what was made.
    pub(super) fn keep(&self, of: Of, kept: Kept) {
        self.kept.keep(of, kept);
        self.share();
    }

    fn share(&self) {
        let unused = self.kept_bytes.saturating_sub(self.kept.bytes());
        self.past_files.keep_at_most(unused.max(self.kept_bytes / SHARE_OF_PAST_FILES));
    }

    /// What is kept of a file for this goal, and for the other.
    const fn kept_for(&self, goal: Goal) -> (&KeptTallies, &KeptTallies) {
        match goal {
            Goal::Answer => (&self.kept, &self.past_files),
            Goal::Past => (&self.past_files, &self.kept),
        }
    }

    async fn kept_or_made(&self, of: &Of, goal: Goal, make: impl AsyncFnOnce() -> Result<Tally, Error>) -> Result<Arc<Tally>, Error> {
        let (kept, elsewhere) = self.kept_for(goal);
        if let Some(known) = elsewhere.get(of) {
            return Ok(known.tally);
        }
        let tally = kept.or_made(of, make).await?;
        self.share();
        Ok(tally)
    }

    /// What a question of this shape counts in a file by group, of the event times in `range_us` (both ends included). When the file has all
    /// events of its day, the groups of that day are closed: their numbers take hardly any memory, and are not added to anything.
    pub(super) async fn groups(
        &self,
        file: &DataFile,
        shape: &Arc<Shape>,
        range_us: (i64, i64),
        is_alone: bool,
        goal: Goal,
    ) -> Result<Groups, Error> {
        let range_us = always_if_whole(file, range_us);
        let (mut is_kept, mut new_total) = (true, None);
        let key = of_file(file, shape, range_us, is_alone);
        let groups = self.kept_or_made(&key, goal, async || {
            is_kept = false;
            let mut tally = self.counted(file, shape, range_us).await?;
            if has_shared_total(shape) {
                new_total = Some(Arc::new(tally.take_total()));
            }
            if is_alone {
                tally.close(|keys| shape.is_of_day(keys, file.date));
            }
            Ok(tally)
        });
        let tally = groups.await?;
        if is_kept {
            measures::file("kept");
        }
        Ok(Groups { tally, new_total })
    }

    /// All groups together, where they are not in the tally by group: exact users are kept apart from the groups, for every question with
    /// the same filters.
    pub(super) async fn total(
        &self,
        file: &DataFile,
        shape: &Shape,
        range_us: (i64, i64),
        goal: Goal,
        new: Option<Arc<Tally>>,
    ) -> Result<Option<Arc<Tally>>, Error> {
        if !has_shared_total(shape) {
            return Ok(None);
        }
        let range_us = always_if_whole(file, range_us);
        let of_all = Arc::new(shape.without_groups());
        let key = of_file(file, &of_all, range_us, false);
        let Some(tally) = new else {
            return self.kept_or_made(&key, goal, async || self.counted(file, &of_all, range_us).await).await.map(Some);
        };
        self.kept_for(goal).0.keep(key, Kept { tally: Arc::clone(&tally), files: Files::default() });
        self.share();
        Ok(Some(tally))
    }

    async fn counted(&self, file: &DataFile, shape: &Shape, range_us: (i64, i64)) -> Result<Tally, Error> {
        if shape.is_summed()
            && let Some(tally) = self.summed(file, shape, range_us).await?
        {
            measures::file("summary");
            return Ok(tally);
        }
        measures::file("rows");
        self.scanned(file, shape, &[range_us]).await
    }

    /// Counts cells, and the rows of those that are cut; `None` when the file does not have them.
    async fn summed(&self, file: &DataFile, shape: &Shape, range_us: (i64, i64)) -> Result<Option<Tally>, Error> {
        let Some(mut summary) = self.events.summary(file).await.map_err(unavailable)? else { return Ok(None) };
        let Some(Cells { told, total, untold_us }) = Cells::read(&mut summary, file, shape, range_us).await? else { return Ok(None) };
        let mut tally = Tally::new(shape.uniques);
        match total {
            Some(total) => total.into_iter().for_each(|cell| tally.total.add_cell(Cow::Owned(cell))),
            None => told.iter().for_each(|cell| tally.total.add_cell(Cow::Borrowed(cell))),
        }
        if !shape.group_by.is_empty() {
            told.into_iter().for_each(|cell| tally.group(keys(&cell.place, shape)).add_cell(Cow::Owned(cell)));
        }
        if !untold_us.is_empty() {
            tally.add_all(&[Arc::new(self.scanned(file, shape, &untold_us).await?)]);
        }
        tally.settle();
        Ok(Some(tally))
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

fn has_shared_total(shape: &Shape) -> bool {
    !shape.group_by.is_empty() && shape.uniques == Uniques::Exact
}

fn always_if_whole(file: &DataFile, range_us: (i64, i64)) -> (i64, i64) {
    if is_whole(file, range_us) { ALWAYS } else { range_us }
}

fn of_file(file: &DataFile, shape: &Arc<Shape>, range_us: (i64, i64), is_alone: bool) -> Of {
    Of::File { path: Arc::clone(&file.path), shape: Arc::clone(shape), range_us, is_alone }
}

fn unavailable(error: table::Error) -> Error {
    Error::Unavailable(Arc::new(error))
}

/// What a summary tells of a question.
struct Cells {
    /// Of one group each.
    told: Vec<Cell>,
    /// The same rows in fewer cells, when the file has such.
    total: Option<Vec<Cell>>,
    /// The time ranges of hours that lie only partly in the range or in a bucket.
    untold_us: Vec<(i64, i64)>,
}

impl Cells {
    /// Of the longest spans that the question does not cut and the file has.
    async fn read(summary: &mut Summary, file: &DataFile, shape: &Shape, range_us: (i64, i64)) -> Result<Option<Self>, Error> {
        let is_whole = range_us == ALWAYS;
        let day = (is_whole && shape.has_one_bucket(file.date.start().0, Span::Day)).then_some(Span::Day);
        for span in day.into_iter().chain([Span::Hour]) {
            if let Some(cells) = read(summary, shape.level_of_groups(span), |place| is_wanted(place, span, shape, range_us)).await? {
                let mut cells = Self::told(cells, span, shape, range_us);
                let of_total = shape.level_of_total(if is_whole { Span::Day } else { span });
                if cells.untold_us.is_empty() && of_total != shape.level_of_groups(span) {
                    cells.total = read(summary, of_total, |place| is_wanted(place, of_total.span(), shape, range_us)).await?;
                }
                return Ok(Some(cells));
            }
        }
        Ok(None)
    }

    fn told(cells: Vec<Cell>, span: Span, shape: &Shape, (first, last): (i64, i64)) -> Self {
        let is_within = |place: &Place| first <= place.start_us && last_us(place, span) <= last;
        let is_told = |cell: &Cell| is_within(&cell.place) && shape.has_one_bucket(cell.place.start_us, span);
        let (told, untold): (Vec<Cell>, Vec<Cell>) = cells.into_iter().partition(is_told);
        let range = |cell: &Cell| (cell.place.start_us.max(first), last_us(&cell.place, span).min(last));
        Self { told, total: None, untold_us: joined(untold.iter().map(range).collect()) }
    }
}

async fn read(summary: &mut Summary, level: Level, is_wanted: impl Fn(&Place) -> bool) -> Result<Option<Vec<Cell>>, Error> {
    summary.cells(level, is_wanted).await.map_err(unavailable)
}

const fn last_us(place: &Place, span: Span) -> i64 {
    place.start_us + (span.us() - 1)
}

fn is_wanted(place: &Place, span: Span, shape: &Shape, (first, last): (i64, i64)) -> bool {
    let value = |name: &str| if name == "event_name" { &place.event_name } else { &place.channel };
    let passes = shape.filters.equal.iter().all(|(name, wanted)| value(name).as_deref() == Some(wanted));
    passes && place.start_us <= last && first <= last_us(place, span)
}

fn keys(place: &Place, shape: &Shape) -> Keys {
    let text = |text: &Option<Arc<str>>| Key::Text(text.as_deref().map(str::to_owned));
    let key = |dimension: &Dimension| match dimension {
        Dimension::Time(unit) => Key::Time(shape.buckets(*unit).start_of(place.start_us)),
        Dimension::Column("event_name") => text(&place.event_name),
        Dimension::Column(_) | Dimension::Tag => text(&place.channel),
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
