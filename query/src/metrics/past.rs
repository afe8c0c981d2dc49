//! Days that are over, counted as one for every question to come.
//!
//! The exact users of a month are as many hashes as there are users; kept by file they are as many for each day, too many to keep and
//! slow to put together. So what exact questions count in days that are over is kept as one tally: all of it where groups are not of
//! time, else all groups together, as groups of time are closed with their day. A tally is known to be of these files; when a commit
//! adds some, only those are added, and when one is gone, because it was merged or rows were erased, it is made again.

use std::sync::Arc;

use schemas::EventDate;
use table::DataFile;

use super::{
    files::{FileTallies, is_whole},
    kept::{Files, Kept, Of},
    question::Uniques,
    shape::Shape,
    sum::Sum,
    tally::Tally,
};
use crate::error::Error;

/// The newest days of the table get most new files, and those are merged soon.
const NEWEST_DAYS: i32 = 2;

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

/// The days that are over, of one question.
pub(super) struct Past<'a> {
    tallies: &'a FileTallies,
    /// Whether the groups are kept too, not only all of them together.
    has_groups: bool,
    of: Of,
    files: Files,
    known: Option<Kept>,
    sum: Sum,
}

impl<'a> Past<'a> {
    /// Of a question over these files, in a table whose newest day is `newest`.
    pub(super) fn of(
        question: &Arc<Shape>,
        tallies: &'a FileTallies,
        files: &[&DataFile],
        newest: Option<EventDate>,
        range_us: (i64, i64),
    ) -> Self {
        let is_over = |date: EventDate| newest.is_some_and(|newest| date.0 <= newest.0 - NEWEST_DAYS);
        let is_past = |file: &&&DataFile| question.uniques == Uniques::Exact && is_over(file.date) && is_whole(file, range_us);
        let files: Vec<&DataFile> = files.iter().filter(is_past).copied().collect();
        let has_groups = question.times().next().is_none();
        let shape = if has_groups { Arc::clone(question) } else { Arc::new(question.without_groups()) };
        let sum = Sum::new(&shape, tallies);
        let days = files.iter().map(|file| file.date).fold(None, |days, date| {
            let (first, last) = days.unwrap_or((date, date));
            Some((date.min(first), date.max(last)))
        });
        let of = Of::Days { shape, days };
        let files: Files = Arc::new(files.iter().map(|file| Arc::clone(&file.path)).collect());
        let known = tallies.kept().get(&of).filter(|known| known.files.is_subset(&files));
        Self { tallies, has_groups, of, files, known, sum }
    }

    /// What is to be counted in a file.
    pub(super) fn wanted(&self, file: &DataFile) -> Wanted {
        if !self.files.contains(&file.path) {
            return Wanted { groups: Some(Goal::Answer), total: Some(Goal::Answer) };
        }
        let goal = (!self.is_known(file)).then_some(Goal::Past);
        Wanted { groups: if self.has_groups { goal } else { Some(Goal::Answer) }, total: goal }
    }

    fn is_known(&self, file: &DataFile) -> bool {
        self.known.as_ref().is_some_and(|known| known.files.contains(&file.path))
    }

    /// Adds what was not known of some files.
    pub(super) fn add(&mut self, tallies: Vec<Arc<Tally>>) -> Result<(), Error> {
        self.sum.add(tallies, None)
    }

    /// All of it, which is known from now on; `None` when there is nothing.
    pub(super) fn finish(mut self) -> Result<Option<Arc<Tally>>, Error> {
        if self.files.is_empty() {
            return Ok(None);
        }
        if let Some(known) = self.known.take() {
            if known.files == self.files {
                return Ok(Some(known.tally));
            }
            self.sum.add(vec![known.tally], None)?;
        }
        let tally = Arc::new(self.sum.into_tally());
        self.tallies.kept().keep(self.of, &tally, &self.files);
        Ok(Some(tally))
    }
}
