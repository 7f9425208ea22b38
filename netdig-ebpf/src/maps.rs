//! Maps, and the constants that the loader fills in.
use aya_ebpf::{
    bindings::BPF_F_MMAPABLE,
    macros::map,
    maps::{Array, HashMap, LruHashMap, PerCpuArray, ProgramArray},
};
use netdig_ebpf::{
    Address, LOSS_SLOTS, Lane, PORT_WORDS, Record, SYSCALL_TABLE, WIRE_KEY, WireSource, chain, loss,
};

/// What each syscall number of this architecture means (`netdig_ebpf::call`).
#[unsafe(no_mangle)]
pub static SYSCALLS: [u8; SYSCALL_TABLE] = [0; SYSCALL_TABLE];
/// One bit a UDP port: those that carry a tunnel.
#[unsafe(no_mangle)]
pub static PORTS: [u64; PORT_WORDS] = [0; PORT_WORDS];

/// A word of [`netdig_ebpf::Config`], which the loader puts in; of an array, the
/// one at a constant index.
macro_rules! config {
    ($field:ident $(.$inner:ident)? $([$index:expr])?) => {
        {
            let word: u64;
            #[allow(unused_unsafe)]
            unsafe {
                core::arch::asm!(
                    "{} = {}",
                    out(reg) word,
                    const netdig_ebpf::placeholder(
                        core::mem::offset_of!(netdig_ebpf::Config, $field $(.$inner)?)
                            $(+ 4 * $index)?
                    ),
                    options(nomem, nostack, preserves_flags),
                );
            }
            word
        }
    };
}
pub(crate) use config;

/// A lane for each CPU. The loader puts their number in, and the size of one with
/// its queues.
#[map]
pub static LANES: Array<Lane> = Array::with_max_entries(1, BPF_F_MMAPABLE);
#[map]
pub static CHAIN: ProgramArray = ProgramArray::with_max_entries(chain::SLOTS, 0);
/// Per-CPU counters of what was lost: kind × cause.
#[map]
static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(LOSS_SLOTS, 0);
/// Room to gather vectors and strings in before their length is known.
#[map]
static WORK: PerCpuArray<Work> = PerCpuArray::with_max_entries(1, 0);

#[map]
pub static PIDS: HashMap<u32, u8> = HashMap::with_max_entries(8192, 0);
#[map]
pub static COMMS: HashMap<[u8; 16], u8> = HashMap::with_max_entries(64, 0);
#[map]
pub static CGROUPS: HashMap<u64, u8> = HashMap::with_max_entries(4096, 0);
#[map]
pub static NETNS: HashMap<u32, u8> = HashMap::with_max_entries(1024, 0);
/// Processes that hold a tun descriptor.
#[map]
pub static TUN_PIDS: HashMap<u32, u8> = HashMap::with_max_entries(8192, 0);
/// Where datagrams on tunnel ports came from, by their first bytes.
#[map]
pub static WIRE: LruHashMap<[u8; WIRE_KEY], WireSource> = LruHashMap::with_max_entries(16384, 0);

/// More than a record's payload. The room is twice this, so that an offset and a
/// length that are each below it are within: the verifier asks for that, and a
/// per-CPU value may not exceed 32 KiB.
pub const SCRATCH: usize = 12288;

/// What a loop over vectors carries along. It lies in the map and not on the
/// stack, where the verifier would follow its every value.
#[repr(C)]
pub struct Gather {
    pub vectors: u64,
    pub gathered: u64,
    pub left: u64,
    pub failed: u64,
}

#[repr(C)]
pub struct Work {
    pub record: Record,
    pub gather: Gather,
    /// The socket's own remote end, which each message of a batch starts from.
    pub peer: Address,
    pub pad: u32,
    pub data: [u8; 2 * SCRATCH],
}

#[inline(always)]
pub fn work() -> Option<&'static mut Work> {
    WORK.get_ptr_mut(0).map(|work| unsafe { &mut *work })
}

/// Counts one event of `what` as lost for `cause`.
#[inline(always)]
pub fn lose(what: u32, cause: u32) {
    if let Some(counter) = LOST.get_ptr_mut(what * loss::CAUSES + cause) {
        unsafe { *counter += 1 };
    }
}
