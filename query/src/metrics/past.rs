//! Days that are over, counted as one for every question to come.
//!
//! The exact users of a month are as many hashes as there are users; kept by file they are as many for each day, too many to keep and
//! slow to put together. So what exact questions count in days that are over is kept as one tally: all of it where groups are not of
//! time, else all groups together, as groups of time are closed with their day. A tally is known to be of these files; when a commit
//! adds some, or a day is over, only those are added, and when one is gone, because it was merged or rows were erased, it is made again.

use std::{collections::BTreeSet, mem, sync::Arc};

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use schemas::EventDate;
use table::DataFile;

use super::{
    files::FileTallies,
    kept::{Files, Kept, Of},
    question::Uniques,
    shape::Shape,
    sum::TALLIES_TOGETHER,
    tally::Tally,
    turns::Turn,
};
use crate::error::Error;

/// The newest days of the table get most new files, and those are merged until they have rested for a day (`maintenance.rest`).
const NEWEST_DAYS: i32 = 3;
/// A tally of the same days without the last ones is added to, when those are at most so many: a table may have no events for some days.
const DAYS_BEHIND: i32 = 7;

/// Where a count goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The answer, and nowhere else.
    Answer,
    /// The past, and with it the answer.
    Past,
}

/// What is to be counted in a file: that which is not known yet has a goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) groups: Option<Goal>,
    pub(super) total: Option<Goal>,
}

impl Wanted {
    /// All of a file that is not of the past.
    pub(super) const ALL: Self = Self { groups: Some(Goal::Answer), total: Some(Goal::Answer) };
}

/// The days that are over, of one question: several files.
pub(super) struct Past<'a> {
    tallies: &'a FileTallies,
    shape: Arc<Shape>,
    /// Whether the groups are kept too, not only all of them together.
    has_groups: bool,
    first: EventDate,
    last: EventDate,
    files: Files,
    known: Option<Kept>,
    /// What was counted since, not added to what is known yet.
    waiting: Vec<Arc<Tally>>,
    reservation: MemoryReservation,
    /// Held while something is not known yet.
    _turn: Option<Turn>,
}

impl<'a> Past<'a> {
    /// Of a question over these files, in a table whose newest day is `newest`. Where somebody makes the same, waits for that.
    pub(super) async fn of(
        question: &Arc<Shape>,
        tallies: &'a FileTallies,
        files: &[&DataFile],
        newest: Option<EventDate>,
        (first_us, last_us): (i64, i64),
    ) -> Option<Self> {
        let is_over = |date: EventDate| newest.is_some_and(|newest| date.0 <= newest.0 - NEWEST_DAYS);
        let is_whole = |date: EventDate| first_us <= date.start().0 && date.next().start().0 - 1 <= last_us;
        let of_past = files.iter().filter(|file| question.uniques == Uniques::Exact && is_over(file.date) && is_whole(file.date));
        let files: BTreeSet<_> = of_past.map(|file| (file.date, Arc::clone(&file.path))).collect();
        // A single file is kept as such.
        let ((first, _), (last, _)) = files.first().zip(files.last()).filter(|(first, last)| first != last)?;
        let has_groups = question.times().next().is_none();
        let mut past = Self {
            tallies,
            shape: if has_groups { Arc::clone(question) } else { Arc::new(question.without_groups()) },
            has_groups,
            first: *first,
            last: *last,
            files: Arc::new(files),
            known: None,
            waiting: Vec::new(),
            reservation: MemoryConsumer::new("metrics").register(tallies.memory()),
            _turn: None,
        };
        past.known = past.kept();
        if !past.is_complete() {
            let turn = tallies.turns().to_make(&past.until(past.last)).await;
            past.known = past.kept();
            past._turn = (!past.is_complete()).then_some(turn);
        }
        Some(past)
    }

    fn until(&self, last: EventDate) -> Of {
        Of::Days { shape: Arc::clone(&self.shape), first: self.first, last }
    }

    fn kept(&self) -> Option<Kept> {
        let earlier = (0..=DAYS_BEHIND).map(|days| EventDate(self.last.0 - days)).take_while(|last| self.first <= *last);
        let mut kept = earlier.filter_map(|last| self.tallies.kept().get(&self.until(last)));
        kept.find(|kept| kept.files.is_subset(&self.files))
    }

    fn is_complete(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.files == self.files)
    }

    /// What is to be counted in a file.
    pub(super) fn wanted(&self, file: &DataFile) -> Wanted {
        let file = (file.date, Arc::clone(&file.path));
        if !self.files.contains(&file) {
            return Wanted::ALL;
        }
        let goal = (!self.is_known(&file)).then_some(Goal::Past);
        Wanted { groups: if self.has_groups { goal } else { Some(Goal::Answer) }, total: goal }
    }

    fn is_known(&self, file: &(EventDate, Arc<str>)) -> bool {
        self.known.as_ref().is_some_and(|known| known.files.contains(file))
    }

    /// Adds what was not known of a day; days come in their order.
    pub(super) fn add(&mut self, day: EventDate, tallies: Vec<Arc<Tally>>) -> Result<(), Error> {
        self.waiting.extend(tallies);
        if self.waiting.len() >= TALLIES_TOGETHER {
            self.add_up(day);
        }
        let waiting = self.waiting.iter().chain(self.known.iter().map(|known| &known.tally));
        Ok(self.reservation.try_resize(waiting.map(|tally| tally.bytes()).sum())?)
    }

    /// All until this day is known from now on, also to who asks again because there was no time for the rest.
    fn add_up(&mut self, day: EventDate) {
        let files = self.files.iter().filter(|file| file.0 <= day || self.is_known(file)).cloned().collect();
        let mut parts = mem::take(&mut self.waiting);
        parts.extend(self.known.take().map(|known| known.tally));
        let mut tally = Tally::new(self.shape.uniques);
        tally.add_all(&parts);
        tally.settle();
        let known = Kept { tally: Arc::new(tally), files: Arc::new(files) };
        self.tallies.keep(self.until(self.last), known.clone());
        self.known = Some(known);
    }

    /// All of it.
    pub(super) fn finish(&mut self) -> Option<Arc<Tally>> {
        if !self.waiting.is_empty() {
            self.add_up(self.last);
        }
        self.known.as_ref().map(|known| Arc::clone(&known.tally))
    }
}
