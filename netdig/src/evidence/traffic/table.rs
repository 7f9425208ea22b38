//! A table of bounded size: what was entered first goes out first.
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

use crate::evidence::flow::FoldBuilder;

/// Entries of a table.
pub const MAX_ENTRIES: usize = 4096;

/// Values by key, [`MAX_ENTRIES`] at most. Keys are chosen by whoever sends packets, so
/// they are hashed with a seed that nobody knows.
#[derive(Debug, Clone)]
pub struct Table<K, V> {
    index: HashMap<K, usize, FoldBuilder>,
    /// A ring once it is full.
    slots: Vec<(K, V)>,
    /// The slot of the oldest entry, of a full ring.
    oldest: usize,
    /// Entries that had to go.
    pub forgotten: u64,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Table {
            index: HashMap::with_hasher(FoldBuilder::new()),
            slots: Vec::new(),
            oldest: 0,
            forgotten: 0,
        }
    }
}

impl<K: Copy + Eq + Hash, V> Table<K, V> {
    pub fn get(&self, key: &K) -> Option<&V> {
        self.index.get(key).map(|&slot| &self.slots[slot].1)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let slot = *self.index.get(key)?;
        Some(&mut self.slots[slot].1)
    }

    /// The entry of `key`, made where there is none, and whether it was.
    pub fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> (&mut V, bool) {
        let (slot, is_new) = self.slot(key, make);
        (&mut self.slots[slot].1, is_new)
    }

    /// As [`Table::entry`], but its place, which is the key's until that is forgotten:
    /// [`Table::at`] finds it without hashing.
    pub fn slot(&mut self, key: K, make: impl FnOnce() -> V) -> (usize, bool) {
        let is_full = self.slots.len() >= MAX_ENTRIES;
        let slot = match is_full {
            true => self.oldest,
            false => self.slots.len(),
        };
        match self.index.entry(key) {
            Entry::Occupied(known) => return (*known.get(), false),
            Entry::Vacant(free) => free.insert(slot),
        };
        if !is_full {
            self.slots.push((key, make()));
            return (slot, true);
        }
        let (gone, _) = std::mem::replace(&mut self.slots[slot], (key, make()));
        self.index.remove(&gone);
        self.forgotten += 1;
        self.oldest = (slot + 1) % MAX_ENTRIES;
        (slot, true)
    }

    /// The entry in a slot, if it is still that of `key`.
    #[inline]
    pub fn at(&mut self, slot: usize, key: &K) -> Option<&mut V> {
        let (known, value) = self.slots.get_mut(slot)?;
        (known == key).then_some(value)
    }

    /// In the order in which they were entered.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        let (newer, older) = self.slots.split_at(self.oldest);
        older.iter().chain(newer).map(|(key, value)| (key, value))
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
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
        assert_eq!(table.at(0, &0), None);
        assert_eq!(table.at(0, &MAX_ENTRIES), Some(&mut 2));
    }
}
