//! What was counted: all events and their users, and the same by group. Tallies of different rows add up.

use std::{borrow::Cow, collections::HashMap, sync::Arc};

use table::Cell;

use super::{
    answer::{Key, Measured},
    question::Uniques,
    users::UserSet,
};

/// The keys of a group, in the order of `group_by`.
pub(super) type Keys = Box<[Key]>;

/// The memory that a group takes besides its users and texts.
const GROUP_BYTES: usize = 160;

/// Some events and their users.
#[derive(Clone, Debug)]
pub(super) struct Counted {
    pub(super) events: u64,
    pub(super) users: UserSet,
}

impl Counted {
    pub(super) fn new(uniques: Uniques) -> Self {
        Self { events: 0, users: UserSet::new(uniques) }
    }

    /// Adds the events of a cell.
    pub(super) fn add_cell(&mut self, cell: Cow<'_, Cell>) {
        self.events += cell.events;
        let users = match cell {
            Cow::Owned(cell) => Cow::Owned(cell.users),
            Cow::Borrowed(cell) => Cow::Borrowed(&cell.users),
        };
        self.users.add_sketch(users);
    }

    fn add_all(&mut self, others: &[&Self]) {
        self.events += others.iter().map(|other| other.events).sum::<u64>();
        self.users.add_all(&others.iter().map(|other| &other.users).collect::<Vec<_>>());
    }

    fn measured(&self, keys: &[Key]) -> Measured {
        Measured { keys: keys.to_vec(), total: self.events, unique: self.users.count() }
    }

    /// Of both: users of both count once.
    fn measured_with(&self, other: &Self, keys: &[Key]) -> Measured {
        Measured { keys: keys.to_vec(), total: self.events + other.events, unique: self.users.count_with(&other.users) }
    }
}

/// The events of a question, as far as they were counted.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    uniques: Uniques,
    pub(super) total: Counted,
    groups: HashMap<Keys, Counted>,
    /// The groups that get no more rows: their numbers, without their users.
    closed: Vec<Measured>,
}

impl Tally {
    pub(super) fn new(uniques: Uniques) -> Self {
        Self { uniques, total: Counted::new(uniques), groups: HashMap::new(), closed: Vec::new() }
    }

    /// Of rows that were counted by group: the users of all are those of the groups.
    pub(super) fn of_groups(uniques: Uniques, events: u64, mut groups: HashMap<Keys, Counted>) -> Self {
        groups.values_mut().for_each(|group| group.users.settle());
        let mut total = Counted { events, users: UserSet::new(uniques) };
        total.users.add_all(&groups.values().map(|group| &group.users).collect::<Vec<_>>());
        total.users.settle();
        Self { uniques, total, groups, closed: Vec::new() }
    }

    /// The group of these keys.
    pub(super) fn group(&mut self, keys: Keys) -> &mut Counted {
        self.groups.entry(keys).or_insert_with(|| Counted::new(self.uniques))
    }

    /// Adds what was counted of other rows.
    pub(super) fn add_all(&mut self, others: &[Arc<Self>]) {
        self.total.add_all(&others.iter().map(|other| &other.total).collect::<Vec<_>>());
        let mut groups = HashMap::<&Keys, Vec<&Counted>>::new();
        for (keys, counted) in others.iter().flat_map(|other| &other.groups) {
            groups.entry(keys).or_default().push(counted);
        }
        for (keys, counted) in groups {
            self.groups.entry(keys.clone()).or_insert_with(|| Counted::new(self.uniques)).add_all(&counted);
        }
        self.closed.extend(others.iter().flat_map(|other| &other.closed).cloned());
    }

    /// Puts all sets into their smallest form.
    pub(super) fn settle(&mut self) {
        std::iter::once(&mut self.total).chain(self.groups.values_mut()).for_each(|counted| counted.users.settle());
    }

    /// Takes out what was counted of all groups together.
    pub(super) fn take_total(&mut self) -> Self {
        let total = std::mem::replace(&mut self.total, Counted::new(self.uniques));
        Self { total, ..Self::new(self.uniques) }
    }

    /// Lets go of the users of groups that get no more rows.
    pub(super) fn close(&mut self, is_over: impl Fn(&[Key]) -> bool) {
        self.closed.extend(self.groups.extract_if(|keys, _| is_over(keys)).map(|(keys, counted)| counted.measured(&keys)));
    }

    /// The numbers of all groups.
    pub(super) fn into_groups(mut self) -> Vec<Measured> {
        self.close(|_| true);
        self.closed
    }

    /// The numbers of all events.
    pub(super) fn total(&self) -> Measured {
        self.total.measured(&[])
    }

    /// The numbers of all events and of all groups, of these rows and of those of another tally, which has no closed groups.
    pub(super) fn measured_with(mut self, other: &Self) -> (Measured, Vec<Measured>) {
        self.settle();
        let mut groups = self.closed;
        groups.extend(self.groups.iter().map(|(keys, counted)| match other.groups.get(keys) {
            Some(others) => counted.measured_with(others, keys),
            None => counted.measured(keys),
        }));
        let only_there = other.groups.iter().filter(|(keys, _)| !self.groups.contains_key(*keys));
        groups.extend(only_there.map(|(keys, counted)| counted.measured(keys)));
        (self.total.measured_with(&other.total, &[]), groups)
    }

    /// Roughly how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let texts = |keys: &[Key]| keys.iter().map(Key::bytes).sum::<usize>();
        let groups: usize = self.groups.iter().map(|(keys, counted)| GROUP_BYTES + texts(keys) + counted.users.bytes()).sum();
        let closed: usize = self.closed.iter().map(|group| GROUP_BYTES + texts(&group.keys)).sum();
        GROUP_BYTES + self.total.users.bytes() + groups + closed
    }
}
