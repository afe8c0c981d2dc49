//! A set of 128-bit identities in 18 to 23 bytes each.
//!
//! Open addressing with linear probing over one array, which grows by a fifth when it is 85 % full: between 71 % and 85 % of its
//! 16-byte slots are in use. Identities are hashes already, so the upper half says the slot. Zero marks a free slot.

const MIN_SLOTS: usize = 16;

/// A set of identities.
#[derive(Clone, Debug, Default)]
pub(in crate::writer) struct KeySet {
    slots: Vec<u128>,
    used: usize,
    has_zero: bool,
}

impl KeySet {
    /// True when the key was not there before.
    pub(in crate::writer) fn insert(&mut self, key: u128) -> bool {
        if key == 0 {
            return !std::mem::replace(&mut self.has_zero, true);
        }
        if (self.used + 1) * 20 > self.slots.len() * 17 {
            self.grow();
        }
        let slot = self.find(key);
        let is_new = self.slots[slot] == 0;
        if is_new {
            self.slots[slot] = key;
            self.used += 1;
        }
        is_new
    }

    pub(in crate::writer) fn contains(&self, key: u128) -> bool {
        if key == 0 { self.has_zero } else { !self.slots.is_empty() && self.slots[self.find(key)] == key }
    }

    pub(in crate::writer) fn size_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u128>()
    }

    /// The slot of a key, or the free one where it belongs. There is always a free one.
    fn find(&self, key: u128) -> usize {
        let slots = self.slots.len();
        #[expect(clippy::cast_possible_truncation, reason = "the product's upper half is below the number of slots")]
        let mut slot = (((key >> 64) * slots as u128) >> 64) as usize;
        while self.slots[slot] != 0 && self.slots[slot] != key {
            slot = if slot + 1 == slots { 0 } else { slot + 1 };
        }
        slot
    }

    fn grow(&mut self) {
        let slots = MIN_SLOTS.max(self.slots.len() + self.slots.len() / 5);
        let old = std::mem::replace(&mut self.slots, vec![0; slots]);
        for key in old.into_iter().filter(|key| *key != 0) {
            let slot = self.find(key);
            self.slots[slot] = key;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    /// Well spread keys, as hashes are.
    fn key(number: u64) -> u128 {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&blake3::hash(&number.to_le_bytes()).as_bytes()[..16]);
        u128::from_be_bytes(bytes)
    }

    #[test]
    fn it_is_a_set_also_with_zero_and_with_keys_that_want_one_slot() {
        let crowded = (0..500u128).map(|low| (u128::MAX << 64) | low);
        let all: Vec<u128> = (0..5000).map(key).chain(crowded).chain([0, 1, u128::MAX]).collect();
        let (mut ours, mut model) = (KeySet::default(), HashSet::new());
        for key in all.iter().chain(&all) {
            assert_eq!(ours.contains(*key), model.contains(key));
            assert_eq!(ours.insert(*key), model.insert(*key));
        }
    }

    #[test]
    fn a_key_takes_at_most_24_bytes_at_any_size() {
        let mut keys = KeySet::default();
        for number in 0..300_000u64 {
            keys.insert(key(number));
            let count = usize::try_from(number).unwrap() + 1;
            assert!(count < 1000 || keys.size_bytes() <= count * 24, "{} bytes for {count} keys", keys.size_bytes());
        }
    }
}
