//! What was counted: all events and their users, and the same by group. Tallies of different rows add up.

use std::{
    borrow::Cow,
    collections::{HashMap, hash_map::Entry},
};

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

    fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.users.add_all(&other.users);
    }

    fn measured(&self, keys: &[Key]) -> Measured {
        Measured { keys: keys.to_vec(), total: self.events, unique: self.users.count() }
    }
}

/// The events of a question, as far as they were counted.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    uniques: Uniques,
    pub(super) total: Counted,
    groups: HashMap<Keys, Counted>,
}

impl Tally {
    pub(super) fn new(uniques: Uniques) -> Self {
        Self { uniques, total: Counted::new(uniques), groups: HashMap::new() }
    }

    /// Of rows that were counted by group: the users of all are those of the groups.
    pub(super) fn of_groups(uniques: Uniques, events: u64, groups: HashMap<Keys, Counted>) -> Self {
        let mut tally = Self { uniques, total: Counted { events, users: UserSet::new(uniques) }, groups };
        for group in tally.groups.values_mut() {
            group.users.settle();
            tally.total.users.add_all(&group.users);
        }
        tally.total.users.settle();
        tally
    }

    /// The group of these keys.
    pub(super) fn group(&mut self, keys: Keys) -> &mut Counted {
        self.groups.entry(keys).or_insert_with(|| Counted::new(self.uniques))
    }

    /// Adds what was counted of other rows.
    pub(super) fn add(&mut self, other: Self) {
        self.total.add(&other.total);
        for (keys, counted) in other.groups {
            match self.groups.entry(keys) {
                Entry::Occupied(group) => group.into_mut().add(&counted),
                Entry::Vacant(place) => drop(place.insert(counted)),
            }
        }
    }

    /// Puts all sets into their smallest form.
    pub(super) fn settle(&mut self) {
        std::iter::once(&mut self.total).chain(self.groups.values_mut()).for_each(|counted| counted.users.settle());
    }

    /// Takes out the groups that get no more rows.
    pub(super) fn take(&mut self, is_over: impl Fn(&[Key]) -> bool) -> Vec<Measured> {
        self.groups.extract_if(|keys, _| is_over(keys)).map(|(keys, counted)| counted.measured(&keys)).collect()
    }

    /// The numbers of all events.
    pub(super) fn total(&self) -> Measured {
        self.total.measured(&[])
    }

    /// Roughly how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        let texts = |keys: &Keys| keys.iter().map(Key::bytes).sum::<usize>();
        let groups: usize = self.groups.iter().map(|(keys, counted)| GROUP_BYTES + texts(keys) + counted.users.bytes()).sum();
        GROUP_BYTES + self.total.users.bytes() + groups
    }
}
