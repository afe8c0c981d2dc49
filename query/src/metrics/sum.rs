//! The answer to a question: the tail and the tallies of all files, added up day by day, and the days in their order.

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
    execution::memory_pool::{MemoryConsumer, MemoryReservation},
};
use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use schemas::{EventDate, Timestamp};
use table::DataFile;
use tokio::sync::Semaphore;

use super::{
    answer::{Key, Measured},
    files::FileTallies,
    question::Uniques,
    rows::RowCounter,
    shape::Shape,
    tally::Tally,
};
use crate::{
    cancel::Cancel,
    cut::Cut,
    engine::{Engine, Lane, Task},
    error::Error,
};

/// How many files are read at the same time: a store that is far away answers many as fast as one.
const FILES_AT_ONCE: usize = 16;
/// How many days are added up at the same time.
const DAYS_AT_ONCE: usize = 16;

/// How many tallies are put together at once: sets of users grow together faster than one after the other.
const TALLIES_TOGETHER: usize = 16;

/// The sum of what was counted so far.
struct Sum {
    shape: Arc<Shape>,
    open: Tally,
    waiting: Vec<Arc<Tally>>,
    reservation: MemoryReservation,
}

/// The totals and the groups of a question in a cut, the groups in no order; event times in microseconds, both ends included.
pub(crate) async fn count(
    engine: &Engine,
    tallies: &Arc<FileTallies>,
    cut: &Cut,
    shape: &Arc<Shape>,
    range_us: (i64, i64),
) -> Result<(Measured, Vec<Measured>), Error> {
    let mut sum = Sum::new(shape, tallies);
    sum.add(vec![Arc::new(tail(cut, shape, range_us)?)], None)?;
    let days_of_tail = days_of_tail(cut);
    let mut days = BTreeMap::<i32, Vec<DataFile>>::new();
    for file in cut.events.files().iter().filter(|file| may_match(file, shape, range_us)) {
        days.entry(file.date.0).or_default().push(file.clone());
    }
    let gate = Arc::new(Semaphore::new(FILES_AT_ONCE));
    let day = |(date, files): (i32, Vec<DataFile>)| {
        let is_alone = shape.times().next().is_some() && files.len() == 1 && !days_of_tail.contains(&date);
        let counting: Vec<_> = files.into_iter().map(|file| counted(engine, tallies, &gate, file, shape, range_us, is_alone)).collect();
        let uniques = shape.uniques;
        let day = engine.spawn(Lane::Metrics, Cancel::default(), async move { all_of(counting, uniques).await });
        async move { Ok::<_, Error>((EventDate(date), day.ended().await??)) }
    };
    let mut counted = stream::iter(days).map(day).buffered(DAYS_AT_ONCE);
    while let Some((date, tallies)) = counted.try_next().await? {
        sum.add(tallies, Some(date))?;
    }
    Ok(sum.finish())
}

/// Counts one file, when it is its turn.
fn counted(
    engine: &Engine,
    tallies: &Arc<FileTallies>,
    gate: &Arc<Semaphore>,
    file: DataFile,
    shape: &Arc<Shape>,
    range_us: (i64, i64),
    is_alone: bool,
) -> Task<Result<Vec<Arc<Tally>>, Error>> {
    let (tallies, gate, shape) = (Arc::clone(tallies), Arc::clone(gate), Arc::clone(shape));
    engine.spawn(Lane::Metrics, Cancel::default(), async move {
        let _turn = gate.acquire().await.expect("the gate is never closed");
        tallies.tallies(&file, &shape, range_us, is_alone).await
    })
}

/// The files of one day: those of a single one as they are, several as one.
async fn all_of(counting: Vec<Task<Result<Vec<Arc<Tally>>, Error>>>, uniques: Uniques) -> Result<Vec<Arc<Tally>>, Error> {
    let is_one = counting.len() == 1;
    let ended = try_join_all(counting.into_iter().map(Task::ended)).await?;
    let tallies = ended.into_iter().collect::<Result<Vec<_>, _>>()?.concat();
    if is_one {
        return Ok(tallies);
    }
    let mut day = Tally::new(uniques);
    day.add_all(&tallies);
    day.settle();
    Ok(vec![Arc::new(day)])
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
fn days_of_tail(cut: &Cut) -> BTreeSet<i32> {
    let times = |rows: &RecordBatch| rows.column_by_name("timestamp").map(|times| times.as_primitive::<TimestampMicrosecondType>().clone());
    let mut days = BTreeSet::new();
    for times in cut.tail.iter().flat_map(|tail| &tail.events).filter_map(times) {
        let mut dates: Vec<i32> = times.values().iter().map(|us| EventDate::of(Timestamp(*us)).0).collect();
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

impl Sum {
    fn new(shape: &Arc<Shape>, tallies: &FileTallies) -> Self {
        let reservation = MemoryConsumer::new("metrics").register(tallies.memory());
        Self { shape: Arc::clone(shape), open: Tally::new(shape.uniques), waiting: Vec::new(), reservation }
    }

    /// Adds a day, or what has none; days come in their order.
    fn add(&mut self, tallies: Vec<Arc<Tally>>, day: Option<EventDate>) -> Result<(), Error> {
        self.waiting.extend(tallies);
        if self.waiting.len() >= TALLIES_TOGETHER {
            self.add_up();
            self.close_until(day);
        }
        Ok(self.reservation.try_resize(self.open.bytes() + self.waiting.iter().map(|tally| tally.bytes()).sum::<usize>())?)
    }

    fn add_up(&mut self) {
        self.open.add_all(&std::mem::take(&mut self.waiting));
    }

    /// All files of this day and of those before it are added.
    fn close_until(&mut self, day: Option<EventDate>) {
        let Some((day, (place, buckets))) = day.zip(self.shape.times().next()) else { return };
        let end = day.next().start().0;
        self.open.close(|keys| matches!(keys[place], Key::Time(bucket) if buckets.after(bucket) <= end));
    }

    fn finish(mut self) -> (Measured, Vec<Measured>) {
        self.add_up();
        (self.open.total(), self.open.into_groups())
    }
}
