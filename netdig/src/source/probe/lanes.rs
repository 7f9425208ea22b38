//! Taking records out of the lanes that the programs put them in, one a CPU, and
//! merging them by time.
use std::{
    io, ptr,
    sync::atomic::{AtomicU64, Ordering, fence},
};

use aya::maps::MapData;
use netdig_ebpf::{Lane, RECORD_MAX, Record, lane_size, record_bytes};

use super::monotonic_now;

/// All lanes, mapped.
pub struct Lanes {
    memory: *mut libc::c_void,
    bytes: usize,
    queues: Vec<Queue>,
    /// Keeps the map; the mapping alone would too, but not its name in tools.
    _map: MapData,
}

// SAFETY: the mapping belongs to this value alone, which hands out nothing that
// points into it for longer than a call.
unsafe impl Send for Lanes {}

/// The queue of one CPU.
struct Queue {
    put: *const AtomicU64,
    start: *const AtomicU64,
    taken: *const AtomicU64,
    data: *const u8,
    size: u64,
    /// Up to where records are known to be, and up to where they were taken.
    end: u64,
    at: u64,
    /// Up to where the programs were told.
    told: u64,
}

/// The queue that each CPU gets where they share `total` bytes out.
pub fn queue_bytes(total: u32, cpus: usize) -> u32 {
    /// An eighth of it, which packets leave free, holds the longest exec.
    const LEAST: u32 = 64 << 10;
    /// The verifier wants offsets below 2^29.
    const MOST: u32 = 1 << 28;
    let each = total as usize / cpus.max(1);
    each.checked_ilog2()
        .map_or(LEAST, |power| (1 << power).clamp(LEAST, MOST))
}

/// How many lanes there are: one more than the highest number of a CPU that is
/// online. Machines that could have more CPUs than they have would pay for them.
pub fn cpus() -> usize {
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online");
    let highest = online.ok().and_then(|list| highest(&list));
    highest.map_or_else(|| aya::util::nr_cpus().unwrap_or(1), |cpu| cpu + 1)
}

/// The highest number of a list such as `0-3,5`.
fn highest(list: &str) -> Option<usize> {
    let last = list.trim().rsplit([',', '-']).next()?;
    last.parse().ok()
}

impl Lanes {
    pub fn map(map: MapData, queue: u32, cpus: usize) -> io::Result<Lanes> {
        use std::os::fd::{AsFd, AsRawFd};
        // SAFETY: sysconf takes no pointer.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let bytes = (lane_size(queue) * cpus).next_multiple_of(page);
        // SAFETY: a new shared mapping of a descriptor that is open.
        let memory = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.fd().as_fd().as_raw_fd(),
                0,
            )
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let queues = (0..cpus).map(|cpu| {
            // SAFETY: within the mapping, which holds a lane of this size for each
            // CPU; a lane is aligned to 64 bytes.
            unsafe {
                let lane = memory
                    .cast::<u8>()
                    .add(cpu * lane_size(queue))
                    .cast::<Lane>();
                Queue {
                    put: (&raw const (*lane).put).cast(),
                    start: (&raw const (*lane).start).cast(),
                    taken: (&raw const (*lane).taken).cast(),
                    data: lane.add(1).cast(),
                    size: queue.into(),
                    end: 0,
                    at: 0,
                    told: 0,
                }
            }
        });
        let queues = queues.collect();
        Ok(Lanes {
            memory,
            bytes,
            queues,
            _map: map,
        })
    }

    /// Hands up to `budget` records to `each`, oldest first; returns how many.
    /// Never waits.
    pub fn take(&mut self, budget: usize, mut each: impl FnMut(&[u8])) -> usize {
        let mut count = 0;
        while count < budget {
            // A record that was caused by another of another CPU is the younger,
            // and was made after that was put: whatever is as old as this moment
            // and will ever be put before such a one is seen below.
            let until = monotonic_now();
            fence(Ordering::SeqCst);
            for queue in &mut self.queues {
                queue.look();
            }
            let before = count;
            while count < budget {
                let Some((index, limit)) = self.oldest(until) else {
                    break;
                };
                let queue = &mut self.queues[index];
                while count < budget && queue.time().is_some_and(|time| time <= limit) {
                    queue.next(&mut each);
                    count += 1;
                }
            }
            for queue in &mut self.queues {
                queue.tell();
            }
            if count == before {
                break;
            }
        }
        count
    }

    /// The queue whose next record is the oldest, if it is no younger than
    /// `until`, and how long it stays so.
    fn oldest(&self, until: u64) -> Option<(usize, u64)> {
        let mut first = None;
        let mut limit = until;
        for (index, queue) in self.queues.iter().enumerate() {
            let Some(time) = queue.time() else {
                continue;
            };
            match first {
                Some((_, least)) if time >= least => limit = limit.min(time),
                Some((_, least)) => {
                    limit = limit.min(least);
                    first = Some((index, time));
                }
                None => first = Some((index, time)),
            }
        }
        first
            .filter(|(_, time)| *time <= until)
            .map(|(index, _)| (index, limit))
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        // SAFETY: what was mapped when this was made.
        unsafe { libc::munmap(self.memory, self.bytes) };
    }
}

impl Queue {
    /// Looks how far the programs are.
    fn look(&mut self) {
        // SAFETY: in the mapping, aligned, and written by whole words only.
        unsafe {
            self.end = (*self.put).load(Ordering::Acquire);
            // What lies before was taken, or it would not have started over.
            self.at = self.at.max((*self.start).load(Ordering::Relaxed));
        }
    }

    /// Tells the programs what room is theirs again.
    fn tell(&mut self) {
        if self.told != self.at {
            self.told = self.at;
            // SAFETY: as above; only this side writes it.
            unsafe { (*self.taken).store(self.at, Ordering::Release) };
        }
    }

    fn record(&self) -> *const Record {
        // SAFETY: within the queue.
        unsafe { self.data.add((self.at & (self.size - 1)) as usize).cast() }
    }

    /// When the next record was made.
    fn time(&self) -> Option<u64> {
        // SAFETY: between `at` and `end` there are whole records.
        (self.at < self.end).then(|| unsafe { (*self.record()).header.ts_ns })
    }

    /// Hands over the next record, which there must be.
    fn next(&mut self, each: &mut impl FnMut(&[u8])) {
        let record = self.record();
        // SAFETY: a whole record is there; the programs do not touch it until
        // they are told that it was taken. Its length is kept to what is there.
        let bytes = unsafe {
            let payload = u64::from((*record).header.payload_len);
            let length = size_of::<Record>() as u64 + payload;
            let length = length.min(self.end - self.at).min(RECORD_MAX as u64);
            std::slice::from_raw_parts(record.cast::<u8>(), length as usize)
        };
        debug_assert!(bytes.len() >= size_of::<Record>(), "not a whole record");
        if bytes.len() < size_of::<Record>() {
            self.at = self.end;
            return;
        }
        each(bytes);
        self.at += record_bytes((bytes.len() - size_of::<Record>()) as u64);
        // Often enough that a writer close behind has room, seldom enough that
        // the line is not fought for.
        if self.at - self.told >= self.size / 16 {
            self.tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_shared_out_among_cpus_by_powers_of_two() {
        assert_eq!(queue_bytes(64 << 20, 2), 32 << 20);
        assert_eq!(queue_bytes(64 << 20, 6), 8 << 20);
        assert_eq!(queue_bytes(64 << 20, 128), 512 << 10);
        assert_eq!(queue_bytes(64 << 10, 64), 64 << 10);
        assert_eq!(queue_bytes(1 << 30, 1), 1 << 28);
        assert_eq!(queue_bytes(0, 0), 64 << 10);
    }

    #[test]
    fn the_highest_cpu_of_a_list() {
        for (list, cpu) in [("0\n", 0), ("0-3\n", 3), ("0,2\n", 2), ("0-1,4-7", 7)] {
            assert_eq!(highest(list), Some(cpu));
        }
        assert_eq!(highest(""), None);
    }
}
