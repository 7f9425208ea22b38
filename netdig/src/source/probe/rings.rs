//! The two rings that records come through: a small one that stays in the cache
//! and is used as long as it has room, and a large one for what overflows. Their
//! records are merged by time.
use aya::maps::{MapData, RingBuf};

pub struct Rings {
    pub hot: RingBuf<MapData>,
    pub large: RingBuf<MapData>,
}

impl Rings {
    /// Hands up to `budget` records to `each`, oldest first; returns how many.
    /// Never waits.
    pub fn take(&mut self, budget: usize, mut each: impl FnMut(&[u8])) -> usize {
        for count in 0..budget {
            let from_large = match (next_time(&mut self.large), &mut self.hot) {
                (None, _) => false,
                (Some(large), hot) => next_time(hot).is_none_or(|hot| large < hot),
            };
            let ring = if from_large {
                &mut self.large
            } else {
                &mut self.hot
            };
            let Some(record) = ring.next() else {
                return count;
            };
            each(&record);
        }
        budget
    }
}

/// When the ring's next record was made, which is its first field; it stays the
/// next one.
fn next_time(ring: &mut RingBuf<MapData>) -> Option<u64> {
    let record = ring.next()?;
    let time = record
        .first_chunk()
        .map_or(0, |bytes| u64::from_ne_bytes(*bytes));
    // Its destructor is what would move the ring on.
    std::mem::forget(record);
    Some(time)
}
