//! Reading kernel memory: typed where the kernel offers it, by helper otherwise.
use core::{mem::MaybeUninit, ptr::read_volatile};

use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_get_current_cgroup_id, bpf_get_current_task_btf,
    bpf_ktime_get_ns, bpf_probe_read_kernel, bpf_probe_read_user,
};
use netdig_ebpf::{Header, filter};

use crate::maps::{CGROUPS, COMMS, NETNS, PIDS, config};

/// Placeholder for the call of `bpf_rdonly_cast`, which the loader turns into a
/// call of that kernel function; on kernels without it, it stays in dead code.
const RDONLY_CAST: usize = 0x4e44;

/// The same for `bpf_preempt_disable` and `bpf_preempt_enable`.
const PREEMPT_DISABLE: usize = 0x4e45;
const PREEMPT_ENABLE: usize = 0x4e46;

/// Runs a program's work so that no other task's comes between on this CPU, on
/// kernels whose tracepoints do not see to it (from 7.0 on): the room to gather
/// in and the lane belong to the CPU. Returns what a program returns.
#[inline(always)]
pub fn undisturbed(work: impl FnOnce()) -> i32 {
    type Function = unsafe extern "C" fn();
    if config!(preemptible) != 0 {
        unsafe { core::mem::transmute::<usize, Function>(PREEMPT_DISABLE)() };
    }
    work();
    if config!(preemptible) != 0 {
        unsafe { core::mem::transmute::<usize, Function>(PREEMPT_ENABLE)() };
    }
    0
}

/// Gives a kernel address a type, so that its fields can be loaded directly.
#[inline(always)]
unsafe fn rdonly_cast(address: u64, type_id: u64) -> u64 {
    let cast: unsafe extern "C" fn(u64, u64) -> u64 = unsafe { core::mem::transmute(RDONLY_CAST) };
    unsafe { cast(address, type_id) }
}

/// Loads a field of a pointer that the verifier knows the type of.
#[inline(always)]
pub unsafe fn load<T: Copy>(base: u64, offset: u64) -> T {
    unsafe { read_volatile((base + offset) as *const T) }
}

/// Reads from any kernel address by helper. Zero where it faults.
#[inline(always)]
pub unsafe fn read<T: Copy>(address: u64) -> T {
    let mut value = MaybeUninit::<T>::zeroed();
    unsafe {
        bpf_probe_read_kernel(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address as *const _,
        );
        value.assume_init()
    }
}

/// A struct of the kernel's at an address that nobody vouches for. Reads of what
/// is not there give zero.
#[derive(Clone, Copy)]
pub struct Object {
    address: u64,
    typed: bool,
}

impl Object {
    /// The struct with this BTF id at `address`; 0 for one that cannot be named.
    #[inline(always)]
    pub unsafe fn new(address: u64, type_id: u64) -> Object {
        if config!(cast) != 0 && type_id != 0 {
            Object {
                address: unsafe { rdonly_cast(address, type_id) },
                typed: true,
            }
        } else {
            Object {
                address,
                typed: false,
            }
        }
    }

    #[inline(always)]
    pub unsafe fn get<T: Copy>(self, offset: u64) -> T {
        unsafe {
            if self.typed {
                load(self.address, offset)
            } else {
                read(self.address + offset)
            }
        }
    }
}

/// Reads from user memory; `None` where the page is not there.
#[inline(always)]
pub unsafe fn user<T: Copy>(address: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let result = unsafe {
        bpf_probe_read_user(
            value.as_mut_ptr().cast(),
            size_of::<T>() as u32,
            address as *const _,
        )
    };
    (result == 0).then(|| unsafe { value.assume_init() })
}

#[inline(always)]
pub fn now() -> u64 {
    unsafe { bpf_ktime_get_ns() }
}

/// The current task, as a typed pointer.
#[derive(Clone, Copy)]
pub struct Task(pub u64);

impl Task {
    #[inline(always)]
    pub fn current() -> Task {
        Task(unsafe { bpf_get_current_task_btf() } as u64)
    }

    #[inline(always)]
    pub fn tgid(self) -> u32 {
        unsafe { load(self.0, config!(offsets.task_tgid)) }
    }

    #[inline(always)]
    pub fn pid(self) -> u32 {
        unsafe { load(self.0, config!(offsets.task_pid)) }
    }

    #[inline(always)]
    pub fn comm(self) -> [u8; 16] {
        let comm: [u64; 2] = unsafe {
            [
                load(self.0, config!(offsets.task_comm)),
                load(self.0, config!(offsets.task_comm) + 8),
            ]
        };
        unsafe { core::mem::transmute(comm) }
    }

    /// Whether the current call is a 32-bit one.
    #[inline(always)]
    pub fn compat(self) -> bool {
        let word: u32 = unsafe { load(self.0, config!(offsets.task_compat)) };
        u64::from(word) & config!(compat_mask) != 0
    }

    #[inline(always)]
    pub fn netns(self) -> u32 {
        unsafe {
            let proxy: u64 = load(self.0, config!(offsets.task_nsproxy));
            if proxy == 0 {
                return 0;
            }
            let net: u64 = load(proxy, config!(offsets.nsproxy_net));
            load(net, config!(offsets.net_inum))
        }
    }

    /// cgroup v2 id.
    #[inline(always)]
    pub fn cgroup(self) -> u64 {
        unsafe {
            if config!(cgroup_known) == 0 {
                return bpf_get_current_cgroup_id();
            }
            let set: u64 = load(self.0, config!(offsets.task_cgroups));
            let cgroup: u64 = load(set, config!(offsets.css_set_cgroup));
            let node: u64 = load(cgroup, config!(offsets.cgroup_kn));
            load(node, config!(offsets.kn_id))
        }
    }

    /// Whether the filters of the loader let this task's I/O pass.
    #[inline(always)]
    pub fn wanted(self) -> bool {
        let filters = config!(filters) as u32;
        if filters == 0 {
            return true;
        }
        unsafe {
            if filters & filter::PID != 0 && PIDS.get(&self.tgid()).is_none() {
                return false;
            }
            if filters & filter::COMM != 0 && COMMS.get(&self.comm()).is_none() {
                return false;
            }
            if filters & filter::CGROUP != 0 && !in_wanted_cgroup() {
                return false;
            }
            filters & filter::NETNS == 0 || NETNS.get(&self.netns()).is_some()
        }
    }
}

/// Levels of the cgroup tree that are looked at, from the root down.
const CGROUP_LEVELS: i32 = 16;

/// Whether the task is in a wanted cgroup or anywhere below one.
#[inline(always)]
fn in_wanted_cgroup() -> bool {
    let mut level = 0;
    while level < CGROUP_LEVELS {
        let id = unsafe { bpf_get_current_ancestor_cgroup_id(level) };
        if id == 0 {
            return false;
        }
        if unsafe { CGROUPS.get(&id) }.is_some() {
            return true;
        }
        level += 1;
    }
    false
}

/// Fills the header that every record begins with.
#[inline(always)]
pub fn header(task: Task, kind: u16, flags: u16, call: u8, result: i64) -> Header {
    Header {
        ts_ns: now(),
        kind,
        flags,
        payload_len: 0,
        pid: task.tgid(),
        tid: task.pid(),
        comm: task.comm(),
        cgroup: task.cgroup(),
        netns: task.netns(),
        call: u16::from(call),
        cpu: 0,
        result,
    }
}
