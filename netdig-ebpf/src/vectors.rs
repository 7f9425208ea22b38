//! Calls with vectors of buffers, with messages, and with batches of messages.
use core::ffi::c_void;

use aya_ebpf::{
    helpers::generated::{bpf_loop, bpf_probe_read_user},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use netdig_ebpf::{MESSAGES_MAX, VECTORS_MAX, call, class, flag, kind, loss, lost};

use crate::{
    descriptors::announce,
    entry::ended_call,
    file::{File, bare_ip, file_of, user_address},
    io::{Call, Payload, clear, emit, lost_kind, only_looks, snap, wanted_file, wire_source},
    kernel::{Task, header, undisturbed, user},
    maps::{Gather, SCRATCH, lose, work},
};

/// `struct iovec` of the caller.
#[derive(Clone, Copy)]
#[repr(C)]
struct Vector {
    base: u64,
    len: u64,
}

/// `struct user_msghdr`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Message {
    name: u64,
    name_len: u64,
    vectors: u64,
    vector_count: u64,
    control: u64,
    control_len: u64,
    flags: u64,
}
const MMSGHDR: u64 = 64;

/// Copies one vector behind the others; stops when enough is there.
unsafe extern "C" fn gather_one(index: u64, _state: *mut c_void) -> i64 {
    let Some(work) = work() else {
        return 1;
    };
    let state = &mut work.gather;
    let Some(vector) = (unsafe { user::<Vector>(state.vectors + (index & 0xffff) * 16) }) else {
        state.failed = 1;
        return 1;
    };
    let mut length = if vector.len < state.left {
        vector.len
    } else {
        state.left
    };
    if length >= SCRATCH as u64 {
        length = SCRATCH as u64 - 1;
    }
    let at = state.gathered;
    if at >= SCRATCH as u64 {
        return 1;
    }
    let failed = unsafe {
        bpf_probe_read_user(
            work.data.as_mut_ptr().add(at as usize).cast(),
            length as u32,
            vector.base as *const _,
        )
    };
    if failed != 0 {
        state.failed = 1;
        return 1;
    }
    state.gathered += length;
    state.left -= length;
    i64::from(state.left == 0)
}

/// Sends `work`'s record with the bytes of the vectors behind it: straight from
/// the caller where there is one vector, gathered first where there are more.
#[inline(never)]
fn emit_vectors(vectors: u64, count: u64, length: u64, of: u8) -> u64 {
    let Some(work) = work() else {
        return 1;
    };
    let mut from = Payload::User(0);
    let mut present = 0;
    match unsafe { user::<Vector>(vectors) } {
        None => {
            work.record.header.flags |= flag::FAULT;
            lose(lost_kind(of), loss::FAULT);
        }
        Some(first) if count <= 1 || first.len >= length => {
            from = Payload::User(first.base);
            present = if length < first.len {
                length
            } else {
                first.len
            };
        }
        Some(_) => {
            from = Payload::Kernel(work.data.as_ptr() as u64);
            present = gather(vectors, count, length, of);
        }
    }
    emit(&work.record, from, present, of);
    0
}

/// Gathers vectors into `work`; returns how many bytes.
#[inline(always)]
fn gather(vectors: u64, count: u64, length: u64, of: u8) -> u64 {
    let limit = snap(of);
    let wanted = if length < limit { length } else { limit };
    let Some(work) = work() else {
        return 0;
    };
    work.gather = Gather {
        vectors,
        gathered: 0,
        left: wanted,
        failed: 0,
    };
    loop_over(count, gather_one);
    if work.gather.failed != 0 {
        work.record.header.flags |= flag::FAULT;
        lose(lost_kind(of), loss::FAULT);
    }
    work.gather.gathered
}

/// Calls `each` for up to [`VECTORS_MAX`] vectors; what it carries along is in
/// the per-CPU room.
#[inline(always)]
fn loop_over(count: u64, each: unsafe extern "C" fn(u64, *mut c_void) -> i64) {
    let rounds = if count > u64::from(VECTORS_MAX) {
        VECTORS_MAX
    } else {
        count as u32
    };
    unsafe {
        bpf_loop(
            rounds,
            each as *const () as *mut c_void,
            core::ptr::null_mut(),
            0,
        );
    }
}

/// The file of a call that is wanted, after the record that all its messages
/// share was put into `work`.
#[inline(always)]
fn start(call: Call) -> Option<File> {
    let task = Task::current();
    let fd = call.arg0() as i32;
    let file = wanted_file(task, fd, call)?;
    if task.compat() {
        lose(lost_kind(file.class), loss::COMPAT);
        return None;
    }
    let work = work()?;
    let flags = if call.is_write() { flag::WRITE } else { 0 };
    clear(&mut work.record);
    work.record.header = header(task, kind::IO, flags, call.kind, call.result);
    work.record.arg0 = call.result as u64;
    file.describe(fd, &mut work.record.fd);
    work.peer = work.record.fd.remote;
    Some(file)
}

/// readv, writev and their kin.
#[btf_tracepoint(function = "sys_exit")]
pub fn vectors(ctx: BtfTracePointContext) -> i32 {
    undisturbed(|| tell_vectors(&ctx))
}

#[inline(always)]
fn tell_vectors(ctx: &BtfTracePointContext) {
    let Some(call) = ended_call(ctx) else {
        return;
    };
    let Some(file) = start(call) else {
        return;
    };
    if file.class == class::TUNNEL && !call.is_write() {
        find_source(call.arg1());
    }
    let length = if call.result < 0 {
        sum(call.arg1(), call.arg2())
    } else {
        call.result as u64
    };
    if file.by_process && !first_is_bare_ip(call.arg1(), length) {
        return;
    }
    if let Some(work) = work() {
        work.record.arg0 = length;
    }
    emit_vectors(call.arg1(), call.arg2(), length, file.class);
}

unsafe extern "C" fn add_one(index: u64, _state: *mut c_void) -> i64 {
    let Some(work) = work() else {
        return 1;
    };
    let state = &mut work.gather;
    match unsafe { user::<Vector>(state.vectors + (index & 0xffff) * 16) } {
        Some(vector) => {
            state.gathered += vector.len;
            0
        }
        None => 1,
    }
}

/// Length of all vectors together: what a refused call wanted to write.
#[inline(never)]
fn sum(vectors: u64, count: u64) -> u64 {
    let Some(work) = work() else {
        return 0;
    };
    work.gather = Gather {
        vectors,
        gathered: 0,
        left: 0,
        failed: 0,
    };
    loop_over(count, add_one);
    work.gather.gathered
}

/// Whether what begins in the first vector is one bare IP packet.
#[inline(always)]
fn first_is_bare_ip(vectors: u64, length: u64) -> bool {
    match unsafe { user::<Vector>(vectors) } {
        Some(first) => bare_ip(first.base, length),
        None => false,
    }
}

/// Looks up where a datagram came from whose receiver did not ask.
#[inline(always)]
fn find_source(vectors: u64) {
    let Some(work) = work() else {
        return;
    };
    if work.record.fd.remote.family != 0 {
        return;
    }
    if let Some(first) = unsafe { user::<Vector>(vectors) } {
        work.record.header.flags |= wire_source(first.base, &mut work.record.fd);
    }
}

/// Sends one message of a call: its own address, its own bytes.
#[inline(never)]
fn emit_message(message: &Message, length: u64, write: bool, of: u8) -> u64 {
    let Some(work) = work() else {
        return 1;
    };
    work.record.arg0 = length;
    if message.name_len as u32 != 0 && user_address(message.name, &mut work.record.fd.remote) {
        work.record.header.flags |= flag::CALL_ADDRESS;
    } else if of == class::TUNNEL && !write {
        find_source(message.vectors);
    }
    emit_vectors(message.vectors, message.vector_count, length, of)
}

/// sendmsg and recvmsg.
#[btf_tracepoint(function = "sys_exit")]
pub fn message(ctx: BtfTracePointContext) -> i32 {
    undisturbed(|| tell_message(&ctx))
}

#[inline(always)]
fn tell_message(ctx: &BtfTracePointContext) {
    let Some(call) = ended_call(ctx) else {
        return;
    };
    if call.kind == call::RECVMSG {
        if only_looks(call.arg2()) {
            return;
        }
        let task = Task::current();
        if File::classify(task, file_of(task, call.arg0() as i32)).class == class::UNIX {
            passed_descriptors(call);
        }
    }
    let Some(file) = start(call) else {
        return;
    };
    let Some(message) = (unsafe { user::<Message>(call.arg1()) }) else {
        lose(lost_kind(file.class), loss::FAULT);
        return;
    };
    let length = if call.result < 0 {
        sum(message.vectors, message.vector_count)
    } else {
        call.result as u64
    };
    if file.by_process && !first_is_bare_ip(message.vectors, length) {
        return;
    }
    emit_message(&message, length, call.is_write(), file.class);
}

/// What the loop over a batch carries along.
#[repr(C)]
struct Batch {
    messages: u64,
    class: u64,
    write: u64,
    /// Length of the message where the call as a whole was refused.
    refused: u64,
    /// Only what has a tunnel's shape is shown.
    by_process: u64,
}

unsafe extern "C" fn one_of_batch(index: u64, state: *mut c_void) -> i64 {
    let state = unsafe { &*state.cast::<Batch>() };
    let address = state.messages + (index & 0xffff) * MMSGHDR;
    let of = state.class as u8;
    let Some(message) = (unsafe { user::<Message>(address) }) else {
        lose(lost_kind(of), loss::FAULT);
        return 0;
    };
    let length = if state.refused != 0 {
        state.refused
    } else {
        match unsafe { user::<u32>(address + size_of::<Message>() as u64) } {
            Some(length) => u64::from(length),
            None => {
                lose(lost_kind(of), loss::FAULT);
                return 0;
            }
        }
    };
    let Some(work) = work() else {
        return 1;
    };
    if state.by_process != 0 && !first_is_bare_ip(message.vectors, length) {
        return 0;
    }
    // The record is used for every message: take back what the last one set.
    work.record.arg1 = index & 0xffff;
    work.record.fd.remote = work.peer;
    work.record.header.flags &= !(flag::CALL_ADDRESS | flag::WIRE_ADDRESS | flag::FAULT);
    emit_message(&message, length, state.write != 0, of);
    0
}

/// sendmmsg and recvmmsg: each message is a record of its own.
#[btf_tracepoint(function = "sys_exit")]
pub fn messages(ctx: BtfTracePointContext) -> i32 {
    undisturbed(|| tell_messages(&ctx))
}

#[inline(always)]
fn tell_messages(ctx: &BtfTracePointContext) {
    let Some(call) = ended_call(ctx) else {
        return;
    };
    if call.kind == call::RECVMMSG && only_looks(call.arg3()) {
        return;
    }
    let Some(file) = start(call) else {
        return;
    };
    let mut state = Batch {
        messages: call.arg1(),
        class: u64::from(file.class),
        write: u64::from(call.is_write()),
        refused: 0,
        by_process: u64::from(file.by_process),
    };
    let mut count = call.result as u64;
    if call.result < 0 {
        // The first message is the one that was refused.
        let Some(message) = (unsafe { user::<Message>(call.arg1()) }) else {
            return;
        };
        state.refused = sum(message.vectors, message.vector_count);
        count = 1;
    }
    if count > u64::from(MESSAGES_MAX) {
        lose(lost_kind(file.class), loss::TOO_MANY);
        count = u64::from(MESSAGES_MAX);
    }
    unsafe {
        bpf_loop(
            count as u32,
            one_of_batch as *const () as *mut c_void,
            (&raw mut state).cast(),
            0,
        );
    }
}

/// `struct cmsghdr` of the caller.
#[derive(Clone, Copy)]
#[repr(C)]
struct Control {
    len: u64,
    level: i32,
    kind: i32,
}
const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
/// Control messages of one call that are looked at.
const CONTROLS: usize = 4;

#[repr(C)]
struct Passed {
    numbers: u64,
    socket: u64,
    result: i64,
}

unsafe extern "C" fn one_passed(index: u64, state: *mut c_void) -> i64 {
    let state = unsafe { &*state.cast::<Passed>() };
    let Some(number) = (unsafe { user::<i32>(state.numbers + (index & 0xffff) * 4) }) else {
        lose(lost::FD, loss::FAULT);
        return 1;
    };
    announce(
        Task::current(),
        call::RECVMSG,
        state.result,
        number,
        state.socket,
        0,
    );
    0
}

/// Descriptors that came over a Unix socket (SCM_RIGHTS).
#[inline(always)]
fn passed_descriptors(call: Call) {
    let Some(message) = (unsafe { user::<Message>(call.arg1()) }) else {
        return;
    };
    let mut at = 0u64;
    for _ in 0..CONTROLS {
        if at + 16 > message.control_len {
            return;
        }
        let Some(control) = (unsafe { user::<Control>(message.control + at) }) else {
            return;
        };
        if control.len < 16 {
            return;
        }
        if control.level == SOL_SOCKET && control.kind == SCM_RIGHTS {
            let count = (control.len - 16) / 4;
            let count = if count > netdig_ebpf::SCM_MAX as u64 {
                netdig_ebpf::SCM_MAX as u32
            } else {
                count as u32
            };
            let mut state = Passed {
                numbers: message.control + at + 16,
                socket: call.arg0(),
                result: call.result,
            };
            unsafe {
                bpf_loop(
                    count,
                    one_passed as *const () as *mut c_void,
                    (&raw mut state).cast(),
                    0,
                );
            }
        }
        at += (control.len + 7) & !7;
    }
}
