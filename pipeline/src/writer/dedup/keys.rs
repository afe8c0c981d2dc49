//! A set of identities, each with the minute of event time in which it was first seen, in 18 to 23 bytes each.
//!
//! A slot of 16 bytes holds 94 bits of the identity and 34 bits of the minute, so that one look finds an identity whatever its
//! minute, and a minute can be forgotten. (Among 10^9 identities two share 94 bits with a probability of 2.5 in 10^11.)
//! Open addressing with linear probing; the set is cut into parts that grow one at a time, each by a fifth when it is 85 % full:
//! between 71 % and 85 % of its slots are in use, and growing never needs much more memory. Identities are hashes already,
//! so their upper bits say the part and the slot. All ones mark a free slot, as no tag has them. (Not zeros: those an allocator may
//! leave to the kernel, which maps each page twice then, first when it is read and again when it is written.)

const PARTS: usize = 256;
const MIN_SLOTS: usize = 4;
const TAG_BITS: u32 = 34;
const TAG: u128 = (1 << TAG_BITS) - 1;

/// A free slot.
const FREE: u128 = u128::MAX;

/// A minute as a slot has it: below 2^34 - 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::writer) struct Tag(u64);

impl Tag {
    /// # Panics
    /// When it does not fit.
    pub(in crate::writer) fn new(tag: u64) -> Self {
        assert!(u128::from(tag) < TAG, "`{tag}` is no tag");
        Self(tag)
    }
}

fn tagged(key: u128, tag: Tag) -> u128 {
    key & !TAG | u128::from(tag.0)
}

/// A set of identities with their minutes.
#[derive(Clone, Debug)]
pub(in crate::writer) struct KeySet {
    parts: Vec<Part>,
}

impl Default for KeySet {
    fn default() -> Self {
        Self { parts: vec![Part::default(); PARTS] }
    }
}

impl KeySet {
    /// Adds the identity unless it is there, under whatever tag. True when it was not.
    pub(in crate::writer) fn admit(&mut self, key: u128, tag: Tag) -> bool {
        self.part(key).insert(tagged(key, tag), |slot| slot & !TAG == key & !TAG)
    }

    /// Adds the identity under this tag. True when it was not there under this tag.
    pub(in crate::writer) fn learn(&mut self, key: u128, tag: Tag) -> bool {
        let wanted = tagged(key, tag);
        self.part(key).insert(wanted, |slot| slot == wanted)
    }

    /// Forgets every identity of a part whose tag is not kept. The part after it, unless it was the last.
    pub(in crate::writer) fn sweep(&mut self, part: usize, is_kept: impl Fn(Tag) -> bool) -> Option<usize> {
        self.parts[part].retain(|slot| is_kept(Tag(u64::try_from(slot & TAG).expect("a tag has 34 bits"))));
        Some(part + 1).filter(|next| *next < PARTS)
    }

    pub(in crate::writer) fn size_bytes(&self) -> usize {
        self.parts.iter().map(|part| size_of::<Part>() + part.slots.capacity() * size_of::<u128>()).sum()
    }

    fn part(&mut self, key: u128) -> &mut Part {
        &mut self.parts[usize::from(key.to_be_bytes()[0])]
    }
}

/// The identities that begin with the same byte.
#[derive(Clone, Debug, Default)]
struct Part {
    slots: Vec<u128>,
    used: usize,
}

impl Part {
    /// Adds a slot unless there is one that counts as the same. True when there was none.
    fn insert(&mut self, slot: u128, is_same: impl Fn(u128) -> bool) -> bool {
        self.make_room();
        self.put(slot, is_same)
    }

    fn put(&mut self, slot: u128, is_same: impl Fn(u128) -> bool) -> bool {
        let mut places = self.places(slot);
        let (place, found) = places.find(|(_, found)| *found == FREE || is_same(*found)).expect("there always is a free slot");
        drop(places);
        if found == FREE {
            self.slots[place] = slot;
            self.used += 1;
        }
        found == FREE
    }

    /// The slots in which a key may stand, from the one where it belongs; the first free one ends the search.
    fn places(&self, key: u128) -> impl Iterator<Item = (usize, u128)> + '_ {
        let slots = self.slots.len();
        #[expect(clippy::cast_possible_truncation, reason = "the product's upper half is below the number of slots")]
        let first = ((((key << 8) >> 64) * slots as u128) >> 64) as usize;
        (first..slots).chain(0..first).map(|place| (place, self.slots[place]))
    }

    fn make_room(&mut self) {
        if (self.used + 1) * 20 > self.slots.len() * 17 {
            self.resize(MIN_SLOTS.max(self.slots.len() + (self.slots.len() / 5).max(1)), |_| true);
        }
    }

    fn retain(&mut self, is_kept: impl Fn(u128) -> bool) {
        let kept = self.slots.iter().filter(|slot| **slot != FREE && is_kept(**slot)).count();
        if kept < self.used {
            self.resize(if kept == 0 { 0 } else { MIN_SLOTS.max(kept * 5 / 4 + 1) }, is_kept);
        }
    }

    fn resize(&mut self, slots: usize, is_kept: impl Fn(u128) -> bool) {
        let old = std::mem::replace(&mut self.slots, vec![FREE; slots]);
        self.used = 0;
        for slot in old.into_iter().filter(|slot| *slot != FREE && is_kept(*slot)) {
            self.put(slot, |_| false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    fn retain(keys: &mut KeySet, is_kept: impl Fn(Tag) -> bool) {
        let mut next = Some(0);
        while let Some(part) = next {
            next = keys.sweep(part, &is_kept);
        }
    }

    /// Well spread keys, as hashes are.
    fn key(number: u64) -> u128 {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&blake3::hash(&number.to_le_bytes()).as_bytes()[..16]);
        u128::from_be_bytes(bytes)
    }

    /// Spread keys, keys that want the same slot, and the ends of the range.
    fn keys() -> Vec<u128> {
        let crowded = (0..500u128).map(|low| (u128::MAX << 64) | (low << TAG_BITS));
        (0..5000).map(key).chain(crowded).chain([0, u128::MAX]).collect()
    }

    #[test]
    fn an_identity_is_admitted_once_whatever_its_minute() {
        let (mut ours, mut model) = (KeySet::default(), HashSet::new());
        for (number, key) in (0..).zip(keys().iter().chain(&keys())) {
            assert_eq!(ours.admit(*key, Tag::new(1 + number % 7)), model.insert(key & !TAG));
        }
    }

    #[test]
    fn what_is_learnt_under_two_minutes_outlives_one_of_them() {
        let mut ours = KeySet::default();
        for key in keys() {
            assert!(ours.learn(key, Tag::new(1)) && ours.learn(key, Tag::new(2)) && !ours.learn(key, Tag::new(1)));
        }
        retain(&mut ours, |tag| tag == Tag::new(2));
        assert!(keys().into_iter().all(|key| !ours.admit(key, Tag::new(1))));
        retain(&mut ours, |_| false);
        assert!(keys().into_iter().all(|key| ours.admit(key, Tag::new(1))));
    }

    #[test]
    fn forgetting_a_minute_forgets_nothing_else() {
        let (mut ours, mut model) = (KeySet::default(), HashMap::new());
        for number in 0..20_000 {
            let tag = Tag::new(1 + number % 11);
            ours.admit(key(number), tag);
            model.insert(number, tag);
        }
        retain(&mut ours, |tag| tag != Tag::new(4));
        for (number, tag) in model {
            assert_eq!(ours.admit(key(number), tag), tag == Tag::new(4));
        }
    }

    #[test]
    fn a_key_takes_at_most_24_bytes_at_any_size() {
        let mut keys = KeySet::default();
        for number in 0..1_000_000u64 {
            keys.admit(key(number), Tag::new(1));
            let count = usize::try_from(number).unwrap() + 1;
            assert!(count < 50_000 || count % 1000 > 0 || keys.size_bytes() <= count * 24, "{} bytes for {count} keys", keys.size_bytes());
        }
    }
}
