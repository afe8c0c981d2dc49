//! Sets of users, to be counted: exactly, as 64-bit hashes, or approximately, as sketches.
//!
//! A hash is SipHash of the user's id under keys that each process draws for itself, so nobody can choose two users that are one.
//! By chance two of 100 million users are one with a probability of 0.03 %.

use std::{borrow::Cow, collections::hash_map::RandomState, hash::BuildHasher, sync::LazyLock};

use table::{Users, UsersUnion};

use super::question::Uniques;

/// New hashes are put in order when there are so many, and as many as are in order.
const FEW: usize = 4096;

/// The hash of a user's id.
pub(super) fn hash(user_id: &str) -> u64 {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEYS.hash_one(user_id)
}

/// Some users.
#[derive(Clone, Debug)]
pub(super) enum UserSet {
    Exact(Hashes),
    /// An approximate set without users.
    Nobody,
    /// From rows, or from one other set.
    Sketch(Users),
    /// From several other sets.
    Union(Box<UsersUnion>),
}

impl UserSet {
    pub(super) fn new(uniques: Uniques) -> Self {
        match uniques {
            Uniques::Exact => Self::Exact(Hashes::default()),
            Uniques::Approximate => Self::Nobody,
        }
    }

    /// One more, who may be there already.
    pub(super) fn add(&mut self, user_id: &str, hash: impl FnOnce() -> u64) {
        match self {
            Self::Exact(hashes) => hashes.add(hash()),
            Self::Nobody => {
                let mut users = Users::new();
                users.add(user_id);
                *self = Self::Sketch(users);
            }
            Self::Sketch(users) => users.add(user_id),
            Self::Union(union) => {
                let mut one = Users::new();
                one.add(user_id);
                union.add(&one);
            }
        }
    }

    /// All users of a sketch.
    pub(super) fn add_sketch(&mut self, users: Cow<'_, Users>) {
        match self {
            Self::Nobody => *self = Self::Sketch(users.into_owned()),
            _ => self.union().add(&users),
        }
    }

    /// All users of another set of the same kind.
    pub(super) fn add_all(&mut self, other: &Self) {
        match (&mut *self, other) {
            (_, Self::Nobody) => {}
            (Self::Exact(hashes), Self::Exact(others)) => hashes.add_all(others),
            (_, Self::Sketch(users)) => self.add_sketch(Cow::Borrowed(users)),
            (_, Self::Union(union)) => self.add_sketch(Cow::Owned(union.to_users())),
            (_, Self::Exact(_)) => unreachable!("the sets of one question are of one kind"),
        }
    }

    /// Puts it into its smallest form.
    pub(super) fn settle(&mut self) {
        match self {
            Self::Exact(hashes) => hashes.settle(),
            Self::Nobody => {}
            Self::Sketch(users) => users.unite(),
            Self::Union(union) => *self = Self::Sketch(union.to_users()),
        }
    }

    /// How many they are.
    pub(super) fn count(&self) -> u64 {
        match self {
            Self::Exact(hashes) => hashes.count(),
            Self::Nobody => 0,
            Self::Sketch(users) => users.estimate(),
            Self::Union(union) => union.to_users().estimate(),
        }
    }

    /// Roughly how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        /// A matrix of 2^11 words of 64 bits, at most.
        const UNION_BYTES: usize = 16 << 10;
        match self {
            Self::Exact(hashes) => hashes.bytes(),
            Self::Nobody => 0,
            Self::Sketch(users) => users.bytes(),
            Self::Union(_) => UNION_BYTES,
        }
    }

    fn union(&mut self) -> &mut UsersUnion {
        if let Self::Sketch(users) = self {
            let mut union = UsersUnion::new();
            union.add(users);
            *self = Self::Union(Box::new(union));
        }
        match self {
            Self::Union(union) => union,
            Self::Exact(_) | Self::Nobody | Self::Sketch(_) => unreachable!("the sets of one question are of one kind"),
        }
    }
}

/// Different hashes.
#[derive(Clone, Debug, Default)]
pub(super) struct Hashes {
    /// In order, each once.
    sorted: Vec<u64>,
    /// Not looked at yet.
    new: Vec<u64>,
}

impl Hashes {
    fn add(&mut self, hash: u64) {
        self.new.push(hash);
        if self.new.len() >= self.sorted.len().max(FEW) {
            self.settle();
        }
    }

    fn add_all(&mut self, other: &Self) {
        self.settle();
        self.sorted = union(std::mem::take(&mut self.sorted), &other.sorted);
        other.new.iter().for_each(|hash| self.add(*hash));
    }

    fn settle(&mut self) {
        self.new.sort_unstable();
        self.new.dedup();
        self.sorted = union(std::mem::take(&mut self.new), &self.sorted);
    }

    fn count(&self) -> u64 {
        let beside = if self.new.is_empty() { 0 } else { self.new_ones() };
        (self.sorted.len() + beside) as u64
    }

    fn new_ones(&self) -> usize {
        let mut new: Vec<u64> = self.new.iter().copied().filter(|hash| self.sorted.binary_search(hash).is_err()).collect();
        new.sort_unstable();
        new.dedup();
        new.len()
    }

    fn bytes(&self) -> usize {
        (self.sorted.capacity() + self.new.capacity()) * size_of::<u64>()
    }
}

/// Two ordered sets as one.
fn union(one: Vec<u64>, other: &[u64]) -> Vec<u64> {
    if one.is_empty() {
        return other.to_vec();
    }
    if other.is_empty() {
        return one;
    }
    let mut both = Vec::with_capacity(one.len() + other.len());
    let (mut a, mut b) = (0, 0);
    while a < one.len() && b < other.len() {
        let (left, right) = (one[a], other[b]);
        both.push(left.min(right));
        a += usize::from(left <= right);
        b += usize::from(right <= left);
    }
    both.extend_from_slice(&one[a..]);
    both.extend_from_slice(&other[b..]);
    both.shrink_to_fit();
    both
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn hashes_are_a_set_however_they_come(parts in prop::collection::vec(prop::collection::vec(0_u64..5000, 0..9000), 1..4)) {
            let mut all = Hashes::default();
            for part in &parts {
                let mut hashes = Hashes::default();
                part.iter().for_each(|hash| hashes.add(*hash));
                prop_assert_eq!(hashes.count(), part.iter().collect::<BTreeSet<_>>().len() as u64);
                all.add_all(&hashes);
            }
            let different: BTreeSet<u64> = parts.concat().into_iter().collect();
            prop_assert_eq!(all.count(), different.len() as u64);
            all.settle();
            prop_assert_eq!(all.sorted, different.into_iter().collect::<Vec<_>>());
        }
    }
}
