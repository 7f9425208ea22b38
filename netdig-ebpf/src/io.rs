//! Bytes through descriptors: the filter, the snap length, and the record that
//! is filled in place, where the reader will find it.
use core::ptr;

use aya_ebpf::helpers::generated::{bpf_probe_read_kernel, bpf_probe_read_user};
use netdig_ebpf::{
    Descriptor, Header, PAYLOAD_MAX, Record, WIRE_KEY, call, class, flag, kind, loss, lost,
    record_bytes,
};

use crate::{
    file::{File, file_of, user_address},
    kernel::{Task, header, load, user},
    lanes::{Slot, reserve},
    maps::{WIRE, config, lose},
};

pub const MSG_PEEK: u64 = 0x2;
const MSG_ERRQUEUE: u64 = 0x2000;
const EINTR: i64 = -4;
const EAGAIN: i64 = -11;
/// Results from -512 on are the kernel's own: the call will be restarted.
const RESTART: i64 = -512;

/// Where the payload of a record is.
#[derive(Clone, Copy)]
pub enum Payload {
    User(u64),
    Kernel(u64),
}

/// The arguments of the call that just ended.
#[derive(Clone, Copy)]
pub struct Call {
    regs: u64,
    pub kind: u8,
    pub result: i64,
}

impl Call {
    #[inline(always)]
    pub fn new(regs: u64, kind: u8, result: i64) -> Call {
        Call { regs, kind, result }
    }

    #[inline(always)]
    pub fn arg0(self) -> u64 {
        unsafe { load(self.regs, config!(offsets.regs_arg[0])) }
    }
    #[inline(always)]
    pub fn arg1(self) -> u64 {
        unsafe { load(self.regs, config!(offsets.regs_arg[1])) }
    }
    #[inline(always)]
    pub fn arg2(self) -> u64 {
        unsafe { load(self.regs, config!(offsets.regs_arg[2])) }
    }
    #[inline(always)]
    pub fn arg3(self) -> u64 {
        unsafe { load(self.regs, config!(offsets.regs_arg[3])) }
    }
    #[inline(always)]
    pub fn arg4(self) -> u64 {
        unsafe { load(self.regs, config!(offsets.regs_arg[4])) }
    }

    #[inline(always)]
    pub fn is_write(self) -> bool {
        matches!(
            self.kind,
            call::WRITE | call::SENDTO | call::WRITEV | call::SENDMSG | call::SENDMMSG
        )
    }

    /// Whether the result is of interest at all: bytes moved, or a packet that
    /// was handed over and refused.
    #[inline(always)]
    pub fn moved(self) -> bool {
        self.result > 0
            || (self.is_write()
                && self.result < 0
                && self.result > RESTART
                && self.result != EAGAIN
                && self.result != EINTR)
    }
}

/// Whether a receive with these flags takes nothing off the socket, or takes an
/// error instead of data.
#[inline(always)]
pub fn only_looks(flags: u64) -> bool {
    flags & (MSG_PEEK | MSG_ERRQUEUE) != 0
}

/// Which loss counter a class's events belong to.
#[inline(always)]
pub fn lost_kind(of: u8) -> u32 {
    match of {
        class::TUN => lost::TUN,
        class::TUNNEL => lost::TUNNEL,
        class::REGULAR | class::DIRECTORY => lost::FILE,
        _ => lost::SOCKET,
    }
}

/// The classified file of the call's descriptor, if its I/O is wanted.
#[inline(always)]
pub fn wanted_file(task: Task, fd: i32, call: Call) -> Option<File> {
    let mut file = File::classify(task, file_of(task, fd));
    if file.class == class::INET_DGRAM {
        file.sends_to(destination(call));
    }
    if config!(classes) >> (file.class & 31) & 1 == 0 {
        return None;
    }
    // A refused write says something where it is a packet; elsewhere it is noise.
    if call.result < 0 && file.class != class::TUN && file.class != class::TUNNEL {
        return None;
    }
    task.wanted().then_some(file)
}

/// Where the call says that its datagram, or the first of a batch, goes; 0 where
/// it does not.
#[inline(always)]
fn destination(call: Call) -> u64 {
    match call.kind {
        call::SENDTO => call.arg4(),
        // `msg_name` is the first member of both `msghdr` and `mmsghdr`.
        call::SENDMSG | call::SENDMMSG => unsafe { user(call.arg1()) }.unwrap_or(0),
        _ => 0,
    }
}

/// Snap length of a class.
#[inline(always)]
pub fn snap(of: u8) -> u64 {
    match of {
        class::TUN | class::TUNNEL => config!(snap_tunnel),
        _ => config!(snap_other),
    }
}

/// A call with one plain buffer: read, write, sendto, recvfrom and their kin.
#[inline(always)]
pub fn single(call: Call, task: Task) {
    let message = call.kind == call::SENDTO || call.kind == call::RECVFROM;
    if call.kind == call::RECVFROM && only_looks(call.arg3()) {
        return;
    }
    let fd = call.arg0() as i32;
    let Some(file) = wanted_file(task, fd, call) else {
        return;
    };
    if task.compat() {
        return lose(lost_kind(file.class), loss::COMPAT);
    }
    let buffer = call.arg1();
    let room = call.arg2();
    let length = if call.result < 0 {
        room
    } else {
        call.result as u64
    };
    if !file.carries(buffer, length) {
        return;
    }
    // With MSG_TRUNC the result may exceed the buffer.
    let present = if length < room { length } else { room };
    let limit = snap(file.class);
    let wanted = if present < limit { present } else { limit };
    let what = lost_kind(file.class);
    let Some(slot) = reserve(record_bytes(wanted), what) else {
        return;
    };
    let record: &mut Record = unsafe { &mut *slot.to };
    clear(record);
    let mut flags = if call.is_write() { flag::WRITE } else { 0 };
    record.header = header(task, kind::IO, flags, call.kind, call.result);
    file.describe(fd, &mut record.fd);
    record.arg0 = length;
    if message && user_address(call.arg4(), &mut record.fd.remote) {
        flags |= flag::CALL_ADDRESS;
    }
    if file.class == class::TUNNEL && flags & flag::WRITE == 0 && record.fd.remote.family == 0 {
        flags |= wire_source(buffer, &mut record.fd);
    }
    record.header.flags = flags;
    fill_and_commit(slot, Payload::User(buffer), wanted, what);
}

/// Where a datagram came from that was received without asking for its source.
#[inline(always)]
pub fn wire_source(buffer: u64, fd: &mut Descriptor) -> u16 {
    let Some(key) = (unsafe { user::<[u8; WIRE_KEY]>(buffer) }) else {
        return 0;
    };
    match unsafe { WIRE.get(&key) } {
        Some(seen) => {
            fd.remote = seen.source;
            flag::WIRE_ADDRESS
        }
        None => 0,
    }
}

/// Sends a copy of `record` with up to a snap length of its payload.
#[inline(always)]
pub fn emit(record: &Record, from: Payload, length: u64, of: u8) {
    let limit = snap(of);
    let wanted = if length < limit { length } else { limit };
    send(record, from, wanted, lost_kind(of));
}

/// Sends a copy of `record` with `wanted` bytes of payload.
#[inline(always)]
pub fn send(record: &Record, from: Payload, wanted: u64, what: u32) {
    if let Some(slot) = reserve(record_bytes(wanted), what) {
        copy(record, slot.to);
        fill_and_commit(slot, from, wanted, what);
    }
}

/// Zeroes all but the header, word by word: a call of memset would cost more
/// than the rest of the record.
#[inline(always)]
pub fn clear(record: &mut Record) {
    const FIRST: usize = size_of::<Header>() / 8;
    let words = ptr::from_mut(record).cast::<u64>();
    let mut index = FIRST;
    while index < size_of::<Record>() / 8 {
        unsafe { ptr::write_volatile(words.add(index), 0) };
        index += 1;
    }
}

/// Copies a record word by word, for the same reason.
#[inline(always)]
pub fn copy(from: &Record, to: *mut Record) {
    let source = ptr::from_ref(from).cast::<u64>();
    let mut index = 0;
    while index < size_of::<Record>() / 8 {
        unsafe { ptr::write_volatile(to.cast::<u64>().add(index), *source.add(index)) };
        index += 1;
    }
}

/// Reads the payload into a reserved record, and hands it over.
#[inline(always)]
fn fill_and_commit(slot: Slot<Record>, from: Payload, wanted: u64, what: u32) {
    unsafe {
        let record = slot.to;
        let mut size = if wanted > PAYLOAD_MAX as u64 {
            PAYLOAD_MAX as u64
        } else {
            wanted
        };
        let to = record.add(1).cast();
        let failed = match from {
            // Nothing to read, which the helpers take for a fault.
            _ if size == 0 => 0,
            Payload::User(address) => bpf_probe_read_user(to, size as u32, address as *const _),
            Payload::Kernel(address) => bpf_probe_read_kernel(to, size as u32, address as *const _),
        };
        if failed != 0 {
            (*record).header.flags |= flag::FAULT;
            lose(what, loss::FAULT);
            size = 0;
        }
        (*record).header.payload_len = size as u32;
        slot.commit(record_bytes(size));
    }
}
