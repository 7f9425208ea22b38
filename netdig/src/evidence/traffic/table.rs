//! A table of bounded size: what was entered first goes out first.
use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;

use crate::evidence::flow::FoldBuilder;

/// Entries of a table.
pub const MAX_ENTRIES: usize = 4096;

/// Values by key, [`MAX_ENTRIES`] at most. Keys are chosen by whoever sends packets, so
/// they are hashed with a seed that nobody knows.
#[derive(Debug, Clone)]
pub struct Table<K, V> {
    hasher: FoldBuilder,
    /// Slots by the hashes of their keys.
    index: HashTable<u32>,
    /// A ring once it is full.
    slots: Vec<Slot<K, V>>,
    /// The slot of the oldest entry, of a full ring.
    oldest: usize,
    /// Entries that had to go.
    pub forgotten: u64,
}

#[derive(Debug, Clone)]
struct Slot<K, V> {
    hash: u64,
    key: K,
    value: V,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Table {
            hasher: FoldBuilder::new(),
            index: HashTable::new(),
            slots: Vec::new(),
            oldest: 0,
            forgotten: 0,
        }
    }
}

impl<K: Copy + Eq + Hash, V> Table<K, V> {
    pub fn get(&self, key: &K) -> Option<&V> {
        let slot = self.find(self.hasher.hash_one(key), key)?;
        Some(&self.slots[slot].value)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let slot = self.find(self.hasher.hash_one(key), key)?;
        Some(&mut self.slots[slot].value)
    }

    /// The entry of `key`, made where there is none, and whether it was.
    pub fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> (&mut V, bool) {
        let (slot, is_new) = self.slot(key, make);
        (&mut self.slots[slot].value, is_new)
    }

    /// As [`Table::entry`], but its place, which is the key's as long as no more entries
    /// are forgotten: [`Table::at`] finds it without hashing.
    pub fn slot(&mut self, key: K, make: impl FnOnce() -> V) -> (usize, bool) {
        let hash = self.hasher.hash_one(key);
        if let Some(slot) = self.find(hash, &key) {
            return (slot, false);
        }
        let value = make();
        let entry = Slot { hash, key, value };
        let slot = match self.slots.len() < MAX_ENTRIES {
            true => {
                self.slots.push(entry);
                self.slots.len() - 1
            }
            false => self.replace_oldest(entry),
        };
        let slots = &self.slots;
        // Slots are few: MAX_ENTRIES.
        let rehash = |&slot: &u32| slots[slot as usize].hash;
        self.index.insert_unique(hash, slot as u32, rehash);
        (slot, true)
    }

    /// The entry in a slot.
    #[inline]
    pub fn at(&mut self, slot: usize) -> Option<&mut V> {
        self.slots.get_mut(slot).map(|slot| &mut slot.value)
    }

    /// In the order in which they were entered.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let (newer, older) = self.slots.split_at(self.oldest);
        let slots = older.iter().chain(newer);
        slots.map(|slot| (&slot.key, &slot.value))
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    #[inline]
    fn find(&self, hash: u64, key: &K) -> Option<usize> {
        let is_it = |&slot: &u32| self.slots[slot as usize].key == *key;
        self.index.find(hash, is_it).map(|&slot| slot as usize)
    }

    fn replace_oldest(&mut self, entry: Slot<K, V>) -> usize {
        let slot = self.oldest;
        let gone = std::mem::replace(&mut self.slots[slot], entry);
        let is_it = |&other: &u32| other as usize == slot;
        if let Ok(known) = self.index.find_entry(gone.hash, is_it) {
            known.remove();
        }
        self.forgotten += 1;
        self.oldest = (slot + 1) % MAX_ENTRIES;
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_and_is_counted() {
        let mut table = Table::default();
        for key in 0..=MAX_ENTRIES {
            let (value, is_new) = table.entry(key, || 1);
            assert!(is_new);
            *value += 1;
        }
        assert_eq!((table.len(), table.forgotten), (MAX_ENTRIES, 1));
        assert_eq!((table.get(&0), table.get(&1)), (None, Some(&2)));
        assert!(!table.entry(1, || 1).1);
        assert_eq!(table.iter().next(), Some((&1, &2)));
        assert_eq!(table.iter().last(), Some((&MAX_ENTRIES, &2)));
        // The newest has taken the place of the first.
        assert_eq!(table.at(0), Some(&mut 2));
        assert_eq!(table.slot(MAX_ENTRIES, || 1), (0, false));
    }
}
