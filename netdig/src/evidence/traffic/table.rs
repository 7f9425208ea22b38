//! A table of bounded size: what was entered first goes out first.
use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// Entries of a table.
pub const MAX_ENTRIES: usize = 4096;

/// Values by key, [`MAX_ENTRIES`] at most. Keys are chosen by whoever sends packets, so
/// they are hashed with a seed that nobody knows.
#[derive(Debug, Clone)]
pub struct Table<K, V> {
    entries: HashMap<K, V>,
    order: VecDeque<K>,
    /// Entries that had to go.
    pub forgotten: u64,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Table {
            entries: HashMap::new(),
            order: VecDeque::new(),
            forgotten: 0,
        }
    }
}

impl<K: Copy + Eq + Hash, V> Table<K, V> {
    pub fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key)
    }

    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        self.entries.get_mut(key)
    }

    /// The entry of `key`, made where there is none, and whether it was.
    pub fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> (&mut V, bool) {
        let is_new = !self.entries.contains_key(&key);
        if is_new {
            if self.order.len() >= MAX_ENTRIES
                && let Some(oldest) = self.order.pop_front()
            {
                self.entries.remove(&oldest);
                self.forgotten += 1;
            }
            self.order.push_back(key);
        }
        (self.entries.entry(key).or_insert_with(make), is_new)
    }

    /// In the order in which they were entered.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.order
            .iter()
            .filter_map(|key| self.entries.get_key_value(key))
    }

    pub fn len(&self) -> usize {
        self.order.len()
    }

    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
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
    }
}
