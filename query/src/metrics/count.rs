//! The count of a question: the tail and the tallies of all files, added up day by day, and the days in their order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use datafusion::{
    arrow::{
        array::{AsArray, RecordBatch},
        datatypes::TimestampMicrosecondType,
    },
    common::DataFusionError,
};
use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use schemas::{EventDate, Timestamp};
use table::DataFile;
use tokio::sync::Semaphore;

use super::{
    answer::Measured,
    files::FileTallies,
    past::{Goal, Past, Wanted},
    question::Uniques,
    rows::RowCounter,
    shape::Shape,
    sum::Sum,
    tally::Tally,
};
use crate::{
    cancel::Cancel,
    cut::Cut,
    engine::{Engine, Lane, Task},
    error::Error,
    measures,
};

/// How many files are read at the same time: a store that is far away answers many as fast as one.
const FILES_AT_ONCE: usize = 16;
/// How many days are added up at the same time.
const DAYS_AT_ONCE: usize = 16;

/// The totals and the groups of a question in a cut, the groups in no order; event times in microseconds, both ends included.
pub(crate) async fn count(
    engine: &Engine,
    tallies: &Arc<FileTallies>,
    cut: &Cut,
    shape: &Arc<Shape>,
    range_us: (i64, i64),
) -> Result<(Measured, Vec<Measured>), Error> {
    let files: Vec<&DataFile> = cut.events.files().iter().filter(|file| may_match(file, shape, range_us)).collect();
    let newest = cut.events.files().iter().map(|file| file.date).max();
    let mut past = Past::of(shape, tallies, &files, newest, range_us).await;
    let mut sum = Sum::new(shape, tallies);
    sum.add(vec![Arc::new(tail(cut, shape, range_us)?)], None)?;
    let days_of_tail = days_of_tail(cut);
    let mut days = BTreeMap::<EventDate, Vec<(DataFile, Wanted)>>::new();
    for file in files {
        let wanted = past.as_ref().map_or(Wanted::ALL, |past| past.wanted(file));
        days.entry(file.date).or_default().push((file.clone(), wanted));
    }
    let counter =
        Counter { tallies: Arc::clone(tallies), gate: Arc::new(Semaphore::new(FILES_AT_ONCE)), shape: Arc::clone(shape), range_us };
    let day = |(date, files): (EventDate, Vec<(DataFile, Wanted)>)| {
        let is_alone = shape.times().next().is_some() && files.len() == 1 && !days_of_tail.contains(&date);
        let counting: Vec<_> = files.into_iter().map(|(file, wanted)| counter.clone().start(engine, file, wanted, is_alone)).collect();
        let uniques = shape.uniques;
        let day = engine.spawn(Lane::Metrics, Cancel::default(), async move { all_of(counting, uniques).await });
        async move { Ok::<_, Error>((date, day.ended().await??)) }
    };
    let mut counted = stream::iter(days).map(day).buffered(DAYS_AT_ONCE);
    while let Some((date, day)) = counted.try_next().await? {
        sum.add(day.answer, Some(date))?;
        if let Some(past) = &mut past {
            past.add(date, day.past)?;
        }
    }
    let past_tally = past.as_mut().and_then(Past::finish);
    Ok(sum.finish(past_tally.as_deref()))
}

/// What was counted, in tallies that add up, by where it goes.
#[derive(Default)]
struct Counts {
    answer: Vec<Arc<Tally>>,
    past: Vec<Arc<Tally>>,
}

impl Counts {
    fn of(&mut self, goal: Goal) -> &mut Vec<Arc<Tally>> {
        match goal {
            Goal::Answer => &mut self.answer,
            Goal::Past => &mut self.past,
        }
    }
}

/// Counts the files of one question.
#[derive(Clone)]
struct Counter {
    tallies: Arc<FileTallies>,
    gate: Arc<Semaphore>,
    shape: Arc<Shape>,
    range_us: (i64, i64),
}

impl Counter {
    /// Counts one file, when it is its turn.
    fn start(self, engine: &Engine, file: DataFile, wanted: Wanted, is_alone: bool) -> Task<Result<Counts, Error>> {
        engine.spawn(Lane::Metrics, Cancel::default(), async move { self.counted(&file, wanted, is_alone).await })
    }

    async fn counted(self, file: &DataFile, wanted: Wanted, is_alone: bool) -> Result<Counts, Error> {
        let _turn = self.gate.acquire().await.expect("the gate is never closed");
        let mut counts = Counts::default();
        let mut new_total = None;
        if let Some(goal) = wanted.groups {
            let groups = self.tallies.groups(file, &self.shape, self.range_us, is_alone, goal).await?;
            counts.of(goal).push(groups.tally);
            new_total = groups.new_total;
        } else {
            measures::file("kept");
        }
        if let Some(goal) = wanted.total {
            let total = self.tallies.total(file, &self.shape, self.range_us, goal, new_total).await?;
            counts.of(goal).extend(total);
        }
        Ok(counts)
    }
}

/// The files of one day: those of a single one as they are, several as one.
async fn all_of(counting: Vec<Task<Result<Counts, Error>>>, uniques: Uniques) -> Result<Counts, Error> {
    let is_one = counting.len() == 1;
    let mut day = Counts::default();
    for counts in try_join_all(counting.into_iter().map(Task::ended)).await? {
        let counts = counts?;
        day.answer.extend(counts.answer);
        day.past.extend(counts.past);
    }
    if is_one {
        return Ok(day);
    }
    Ok(Counts { answer: as_one(day.answer, uniques), past: as_one(day.past, uniques) })
}

fn as_one(tallies: Vec<Arc<Tally>>, uniques: Uniques) -> Vec<Arc<Tally>> {
    if tallies.len() <= 1 {
        return tallies;
    }
    let mut one = Tally::new(uniques);
    one.add_all(&tallies);
    one.settle();
    vec![Arc::new(one)]
}

/// What is not committed yet.
fn tail(cut: &Cut, shape: &Shape, range_us: (i64, i64)) -> Result<Tally, Error> {
    let ranges_us = [range_us];
    let mut counter = RowCounter::new(shape, &ranges_us);
    for rows in cut.tail.iter().flat_map(|tail| &tail.events) {
        counter.add(rows).map_err(DataFusionError::from)?;
    }
    Ok(counter.finish())
}

/// The days of what is not committed yet.
fn days_of_tail(cut: &Cut) -> BTreeSet<EventDate> {
    let times = |rows: &RecordBatch| rows.column_by_name("timestamp").map(|times| times.as_primitive::<TimestampMicrosecondType>().clone());
    let mut days = BTreeSet::new();
    for times in cut.tail.iter().flat_map(|tail| &tail.events).filter_map(times) {
        let mut dates: Vec<EventDate> = times.values().iter().map(|us| EventDate::of(Timestamp(*us))).collect();
        dates.dedup();
        days.extend(dates);
    }
    days
}

/// Whether a file may hold rows of the question, by what the log says of it.
fn may_match(file: &DataFile, shape: &Shape, (first, last): (i64, i64)) -> bool {
    let is_in_time = file.stats.timestamp.is_none_or(|(least, greatest)| least <= last && first <= greatest);
    let has_name = match (&file.stats.event_name, shape.filters.event_name()) {
        (Some((least, greatest)), Some(wanted)) => least.as_str() <= wanted && wanted <= greatest.as_str(),
        _ => true,
    };
    is_in_time && has_name
}
