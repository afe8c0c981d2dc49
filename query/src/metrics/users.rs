//! Sets of users, to be counted: exactly, as 64-bit hashes, or approximately, as sketches.
//!
//! A hash is SipHash of the user's id under keys that each process draws for itself, so nobody can choose two users that are one.
//! By chance two of 100 million users are one with a probability of 0.03 %.

use std::{borrow::Cow, collections::hash_map::RandomState, hash::BuildHasher, iter::once, sync::LazyLock};

use table::{Users, UsersUnion};

use super::question::Uniques;

/// New hashes are put in order when there are so many, and as many as are in order.
const FEW: usize = 4096;
/// So many hashes of all sets are united at a time: a quarter of a megabyte.
const PIECE: usize = 1 << 15;

/// The hash of a user's id.
fn hash(user_id: &str) -> u64 {
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
    pub(super) fn add(&mut self, user_id: &str) {
        match self {
            Self::Exact(hashes) => hashes.add(hash(user_id)),
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

    /// All users of other sets of the same kind.
    pub(super) fn add_all(&mut self, others: &[&Self]) {
        if let Self::Exact(hashes) = self {
            let others = others.iter().map(|other| match other {
                Self::Exact(hashes) => hashes,
                Self::Nobody | Self::Sketch(_) | Self::Union(_) => unreachable!("the sets of one question are of one kind"),
            });
            return hashes.add_all(&others.collect::<Vec<_>>());
        }
        for other in others {
            match other {
                Self::Nobody => {}
                Self::Sketch(users) => self.add_sketch(Cow::Borrowed(users)),
                Self::Union(union) => self.add_sketch(Cow::Owned(union.to_users())),
                Self::Exact(_) => unreachable!("the sets of one question are of one kind"),
            }
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

    /// How many they are with those of another set of the same kind; both are in their smallest form.
    pub(super) fn count_with(&self, other: &Self) -> u64 {
        if let (Self::Exact(one), Self::Exact(other)) = (self, other) {
            return one.count_with(other);
        }
        let mut both = self.clone();
        both.add_all(&[other]);
        both.count()
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

    fn add_all(&mut self, others: &[&Self]) {
        self.settle();
        if others.iter().any(|other| !other.sorted.is_empty()) {
            let own = std::mem::take(&mut self.sorted);
            let sets: Vec<&[u64]> = once(&own[..]).chain(others.iter().map(|other| &other.sorted[..])).collect();
            self.sorted = union(&sets);
        }
        others.iter().flat_map(|other| &other.new).for_each(|hash| self.add(*hash));
    }

    fn settle(&mut self) {
        if self.new.is_empty() {
            return;
        }
        self.new.sort_unstable();
        self.new.dedup();
        self.sorted = union(&[&self.sorted, &self.new]);
        self.new = Vec::new();
    }

    fn count(&self) -> u64 {
        let beside = if self.new.is_empty() { 0 } else { self.new_ones() };
        (self.sorted.len() + beside) as u64
    }

    fn count_with(&self, other: &Self) -> u64 {
        (self.sorted.len() + other.sorted.len() - common(&self.sorted, &other.sorted)) as u64
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

/// Ordered sets of hashes as one.
///
/// Hashes are spread evenly, so those that begin with the same bits are about as many for any bits. Sets are united piece by piece, each
/// so small that a core keeps it at hand while one set after the other is added.
fn union(sets: &[&[u64]]) -> Vec<u64> {
    let mut rest: Vec<&[u64]> = sets.iter().copied().filter(|set| !set.is_empty()).collect();
    if let [only] = &rest[..] {
        return only.to_vec();
    }
    let pieces = (rest.iter().map(|set| set.len()).sum::<usize>() / PIECE).next_power_of_two() as u64;
    let mut united = Vec::with_capacity(rest.iter().map(|set| set.len()).max().unwrap_or_default());
    let (mut piece, mut larger) = (Vec::new(), Vec::new());
    for number in 1..=pieces {
        let last = (u64::MAX / pieces).saturating_mul(number).max(if number == pieces { u64::MAX } else { 0 });
        for set in &mut rest {
            let (first, others) = set.split_at(set.partition_point(|hash| *hash <= last));
            *set = others;
            merge(&piece, first, &mut larger);
            std::mem::swap(&mut piece, &mut larger);
        }
        united.append(&mut piece);
    }
    united.shrink_to_fit();
    united
}

/// Two ordered sets as one, in the place of what was there.
fn merge(one: &[u64], other: &[u64], both: &mut Vec<u64>) {
    both.clear();
    both.reserve(one.len() + other.len());
    let (mut a, mut b) = (0, 0);
    while a < one.len() && b < other.len() {
        let (left, right) = (one[a], other[b]);
        both.push(left.min(right));
        a += usize::from(left <= right);
        b += usize::from(right <= left);
    }
    both.extend_from_slice(&one[a..]);
    both.extend_from_slice(&other[b..]);
}

/// How many hashes two ordered sets have in common.
fn common(one: &[u64], other: &[u64]) -> usize {
    let (mut a, mut b, mut common) = (0, 0, 0);
    while a < one.len() && b < other.len() {
        let (left, right) = (one[a], other[b]);
        common += usize::from(left == right);
        a += usize::from(left <= right);
        b += usize::from(right <= left);
    }
    common
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// As evenly spread as the hashes of users.
    fn hashes(of: impl IntoIterator<Item = u64>) -> Hashes {
        let mut hashes = Hashes::default();
        of.into_iter().for_each(|number| hashes.add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        hashes
    }

    proptest! {
        #[test]
        fn hashes_are_a_set_however_they_come(parts in prop::collection::vec(prop::collection::vec(0_u64..5000, 0..9000), 1..4)) {
            let all: Vec<Hashes> = parts.iter().map(|part| hashes(part.iter().copied())).collect();
            for (part, hashes) in parts.iter().zip(&all) {
                prop_assert_eq!(hashes.count(), part.iter().collect::<BTreeSet<_>>().len() as u64);
            }
            let mut both = hashes([1, 2]);
            both.add_all(&all.iter().collect::<Vec<_>>());
            let different: BTreeSet<u64> = parts.concat().into_iter().chain([1, 2]).collect();
            prop_assert_eq!(both.count(), different.len() as u64);
            both.settle();
            let of_all = all.iter().cloned().map(|mut part| { part.settle(); part.count_with(&both) });
            prop_assert!(of_all.eq(all.iter().map(|_| both.count())));
            prop_assert_eq!(both.sorted, different.into_iter().map(|number| number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn many_large_sets_are_one() {
        let sets: Vec<Hashes> = (0..9).map(|set| hashes((0..40_000).map(|number| set * 10_000 + number))).collect();
        let mut all = Hashes::default();
        all.add_all(&sets.iter().collect::<Vec<_>>());
        assert_eq!(all.count(), 120_000);
        all.settle();
        assert!(all.sorted.is_sorted_by(|one, other| one < other), "in order, each once");
        let ends = [&[0, 7, u64::MAX][..], &[u64::MAX - 1, u64::MAX]];
        assert_eq!(union(&ends), [0, 7, u64::MAX - 1, u64::MAX]);
    }
}
