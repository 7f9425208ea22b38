//! Handing records over: each CPU has a lane of its own, so that neither a lock
//! nor an atomic operation is needed, and a record takes just its own bytes.
use core::{
    arch::asm,
    ptr,
    sync::atomic::{Ordering, compiler_fence},
};

use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use netdig_ebpf::{Lane, RECORD_MAX, loss, lost};

use crate::maps::{LANES, config, lose};

/// How far into its queue a lane may be when the reader has caught up; beyond, it
/// starts over.
const NEAR: u64 = 16 << 10;

/// Room for a record, at `to`.
pub struct Slot<T> {
    pub to: *mut T,
    lane: *mut Lane,
}

/// Room for a record of `bytes` ([`netdig_ebpf::record_bytes`]). Where there is
/// none it is counted as a loss of `what`. What tells of state may use all of a
/// lane; packets leave a part of it free for that.
#[inline(always)]
pub fn reserve<T>(bytes: u64, what: u32) -> Option<Slot<T>> {
    const { assert!(size_of::<T>() <= RECORD_MAX) };
    let Some(lane) = LANES.get_ptr_mut(unsafe { bpf_get_smp_processor_id() }) else {
        lose(what, loss::NO_LANE);
        return None;
    };
    let size = config!(lane_bytes);
    let usable = if what <= lost::FILE {
        size - size / 8
    } else {
        size
    };
    unsafe {
        if load(&raw const (*lane).busy) != 0 {
            lose(what, loss::NESTED);
            return None;
        }
        let mut next = load(&raw const (*lane).next);
        let mut taken = load(&raw const (*lane).taken);
        if next == taken && next & (size - 1) > NEAR {
            next = (next | (size - 1)) + 1;
            store(&raw mut (*lane).next, next);
            store(&raw mut (*lane).started, next);
            store(&raw mut (*lane).start, next);
        }
        // The reader may not have told yet that it started over too.
        let started = load(&raw const (*lane).started);
        if taken < started {
            taken = started;
        }
        if next - taken + bytes > usable {
            lose(what, loss::RING_FULL);
            return None;
        }
        store(&raw mut (*lane).busy, 1);
        let queue = lane.add(1).cast::<u8>();
        Some(Slot {
            to: queue.add((next & (size - 1)) as usize).cast(),
            lane,
        })
    }
}

impl<T> Slot<T> {
    /// Hands the record over, which took `bytes`.
    #[inline(always)]
    pub fn commit(self, bytes: u64) {
        unsafe {
            let end = load(&raw const (*self.lane).next) + bytes;
            let put = &raw mut (*self.lane).put;
            store(&raw mut (*self.lane).next, end);
            compiler_fence(Ordering::Release);
            if config!(weak_order) != 0 {
                let more = end - load(put);
                // BPF orders an atomic that fetches in both ways. Rust has none for
                // this target.
                asm!(
                    "{more} = atomic_fetch_add((u64 *)({put} + 0), {more})",
                    put = in(reg) put,
                    more = inout(reg) more => _,
                );
            } else {
                store(put, end);
            }
            store(&raw mut (*self.lane).busy, 0);
        }
    }
}

#[inline(always)]
unsafe fn load(from: *const u64) -> u64 {
    unsafe { ptr::read_volatile(from) }
}

#[inline(always)]
unsafe fn store(to: *mut u64, value: u64) {
    unsafe { ptr::write_volatile(to, value) }
}
