//! What a question asks of every row, whatever the time range: questions of one shape share what was counted in a file.

use std::hash::{Hash, Hasher};

use schemas::EventDate;
use table::{Level, Span};

use super::{
    answer::Key,
    question::{Dimension, Filters, MetricsQuestion, NamedZone, Uniques},
};
use crate::buckets::{Buckets, Unit, Zone};

/// Filters, groups, and how users are counted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(super) filters: Filters,
    pub(super) group_by: Vec<Dimension>,
    pub(super) uniques: Uniques,
    zone: NamedZone,
}

impl PartialEq for NamedZone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for NamedZone {}

impl Hash for NamedZone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl Shape {
    /// The shape of a question. Its zone plays a part where groups are of time.
    pub(super) fn of(question: &MetricsQuestion) -> Self {
        let shape = Self::in_utc(question.filters.clone(), question.group_by.clone(), question.uniques);
        if shape.times().next().is_some() { Self { zone: question.zone.clone(), ..shape } } else { shape }
    }

    /// A shape in which no zone plays a part.
    pub(crate) fn in_utc(filters: Filters, group_by: Vec<Dimension>, uniques: Uniques) -> Self {
        Self { filters, group_by, uniques, zone: NamedZone { name: "UTC".to_owned(), zone: Zone::Utc } }
    }

    /// The same rows, all together: zones play no part either.
    pub(super) fn without_groups(&self) -> Self {
        Self::in_utc(self.filters.clone(), Vec::new(), self.uniques)
    }

    /// The cutting of time for a unit.
    pub(super) const fn buckets(&self, unit: Unit) -> Buckets {
        Buckets { unit, zone: self.zone.zone }
    }

    /// Each dimension of time: its place among the keys, and its cutting.
    pub(super) fn times(&self) -> impl Iterator<Item = (usize, Buckets)> {
        self.group_by.iter().enumerate().filter_map(|(place, dimension)| match dimension {
            Dimension::Time(unit) => Some((place, self.buckets(*unit))),
            Dimension::Column(_) | Dimension::Tag => None,
        })
    }

    /// The columns that decide.
    pub(super) fn columns(&self) -> Vec<&'static str> {
        let grouped = self.group_by.iter().filter_map(|dimension| match dimension {
            Dimension::Time(_) => None,
            Dimension::Column(name) => Some(*name),
            Dimension::Tag => Some("tags"),
        });
        let filtered = self.filters.equal.iter().map(|(name, _)| *name).chain(self.filters.tag.iter().map(|_| "tags"));
        let mut columns: Vec<&str> = ["timestamp", "user_id"].into_iter().chain(grouped).chain(filtered).collect();
        columns.sort_unstable();
        columns.dedup();
        columns
    }

    /// Whether the summary of a file can tell enough.
    pub(super) fn is_summed(&self) -> bool {
        let is_summed = |name: &str| matches!(name, "event_name" | "channel");
        let are_groups_summed = self.group_by.iter().all(|dimension| match dimension {
            Dimension::Time(unit) => *unit != Unit::Minute,
            Dimension::Column(name) => is_summed(name),
            Dimension::Tag => false,
        });
        let are_filters_summed = self.filters.tag.is_none() && self.filters.equal.iter().all(|(name, _)| is_summed(name));
        self.uniques == Uniques::Approximate && are_groups_summed && are_filters_summed
    }

    /// The coarsest level of a summary whose cells tell the groups apart.
    pub(super) fn level_of_groups(&self, span: Span) -> Level {
        let columns = self.columns();
        Level::of(span, columns.contains(&"event_name"), columns.contains(&"channel"))
    }

    /// The coarsest level of a summary whose cells pass the filters or do not.
    pub(super) fn level_of_total(&self, span: Span) -> Level {
        let is_filtered = |name| self.filters.equal.iter().any(|(column, _)| *column == name);
        Level::of(span, is_filtered("event_name"), is_filtered("channel"))
    }

    /// Whether all rows of a group are of this day.
    pub(super) fn is_of_day(&self, keys: &[Key], date: EventDate) -> bool {
        let is_within = |(place, buckets): (usize, Buckets)| matches!(keys[place], Key::Time(start) if date.start().0 <= start && buckets.after(start) <= date.next().start().0);
        self.times().next().is_some_and(is_within)
    }

    /// Whether time buckets do not cut this span, which starts at `start_us`.
    pub(super) fn has_one_bucket(&self, start_us: i64, span: Span) -> bool {
        self.times().all(|(_, buckets)| buckets.start_of(start_us) == buckets.start_of(start_us + span.us() - 1))
    }
}
