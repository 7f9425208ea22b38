//! Life of descriptors: every call that makes, names, copies or ends one.
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use netdig_ebpf::{call, flag, kind, lost};

use crate::{
    entry::ended_call,
    file::{File, cloexec, file_of, user_address},
    io::{Call, Payload, clear, send},
    kernel::{Task, header, undisturbed, user},
    maps::work,
    paths::finish_path,
};

const F_DUPFD: u32 = 0;
const F_SETFD: u32 = 2;
const F_DUPFD_CLOEXEC: u32 = 1030;
const TUNSETIFF: u32 = 0x4004_54ca;
const FIOCLEX: u32 = 0x5451;
const FIONCLEX: u32 = 0x5450;
const CLONE_FILES: u64 = 0x400;
const EINPROGRESS: i64 = -115;

/// The per-CPU record, begun: header filled, descriptor `num` not yet described.
/// State changes are built there, off the stack and out of line; they are rare
/// beside I/O, and every inlined copy would lengthen the load.
#[inline(never)]
pub fn begin(task: u64, kind: u16, call: u8, result: i64, num: i32) -> u64 {
    let Some(work) = work() else {
        return 1;
    };
    clear(&mut work.record);
    work.record.header = header(Task(task), kind, 0, call, result);
    work.record.fd.num = num;
    0
}

/// Describes the record's descriptor from its file.
#[inline(never)]
pub fn describe(task: u64) -> u64 {
    let Some(work) = work() else {
        return 1;
    };
    let record = &mut work.record;
    let num = record.fd.num;
    let task = Task(task);
    File::classify(task, file_of(task, num)).describe(num, &mut record.fd);
    if record.header.kind == kind::FD_NEW && cloexec(task, num) {
        record.header.flags |= flag::CLOEXEC;
    }
    0
}

/// Sends the record, without payload.
#[inline(never)]
pub fn finish(arg0: u64, arg1: u64, flags: u16, what: u32) -> u64 {
    let Some(work) = work() else {
        return 1;
    };
    work.record.arg0 = arg0;
    work.record.arg1 = arg1;
    work.record.header.flags |= flags;
    send(&work.record, Payload::Kernel(0), 0, what);
    0
}

/// Tells of a new descriptor.
#[inline(always)]
pub fn announce(task: Task, call: u8, result: i64, num: i32, arg0: u64, arg1: u64) {
    begin(task.0, kind::FD_NEW, call, result, num);
    describe(task.0);
    finish(arg0, arg1, 0, lost::FD);
}

/// Tells of a new descriptor and the path that it was opened by.
#[inline(always)]
fn announce_path(task: Task, call: Call, path: u64, dirfd: u64, flags: u64) {
    begin(
        task.0,
        kind::FD_NEW,
        call.kind,
        call.result,
        call.result as i32,
    );
    describe(task.0);
    finish_path(path, dirfd, flags, lost::FD);
}

/// Two new descriptors in an array of the caller's.
#[inline(always)]
fn announce_pair(task: Task, call: Call, address: u64) {
    if let Some(pair) = unsafe { user::<[i32; 2]>(address) } {
        announce(task, call.kind, call.result, pair[0], pair[1] as u64, 0);
        announce(task, call.kind, call.result, pair[1], pair[0] as u64, 0);
    }
}

#[inline(always)]
fn update(task: Task, call: Call, address: u64) {
    begin(
        task.0,
        kind::FD_UPDATE,
        call.kind,
        call.result,
        call.arg0() as i32,
    );
    describe(task.0);
    if let Some(work) = work()
        && address != 0
        && work.record.fd.remote.family == 0
    {
        user_address(address, &mut work.record.fd.remote);
    }
    finish(0, 0, 0, lost::FD);
}

#[inline(always)]
fn mark_cloexec(task: Task, call: Call, on: bool) {
    begin(
        task.0,
        kind::FD_CLOEXEC,
        call.kind,
        call.result,
        call.arg0() as i32,
    );
    finish(u64::from(on), 0, 0, lost::FD);
}

#[inline(always)]
fn fcntl(task: Task, call: Call) {
    match call.arg1() as u32 {
        F_DUPFD | F_DUPFD_CLOEXEC => copied(task, call),
        F_SETFD => mark_cloexec(task, call, call.arg2() & 1 == 1),
        _ => {}
    }
}

#[inline(always)]
fn ioctl(task: Task, call: Call) {
    match call.arg1() as u32 {
        TUNSETIFF => update(task, call, 0),
        FIOCLEX => mark_cloexec(task, call, true),
        FIONCLEX => mark_cloexec(task, call, false),
        _ => {}
    }
}

/// dup and its kin: the result is the copy, the first argument the original.
#[inline(always)]
fn copied(task: Task, call: Call) {
    announce(
        task,
        call.kind,
        call.result,
        call.result as i32,
        call.arg0(),
        0,
    );
}

#[inline(always)]
fn close_range(task: Task, call: Call) {
    begin(
        task.0,
        kind::CLOSE_RANGE,
        call.kind,
        call.result,
        call.arg2() as i32,
    );
    finish(call.arg0(), call.arg1(), 0, lost::FD);
}

#[btf_tracepoint(function = "sys_exit")]
pub fn descriptors(ctx: BtfTracePointContext) -> i32 {
    undisturbed(|| tell_descriptors(&ctx))
}

#[inline(always)]
fn tell_descriptors(ctx: &BtfTracePointContext) {
    let Some(call) = ended_call(ctx) else {
        return;
    };
    let task = Task::current();
    // A connect that fails or goes on in the background says where it went; of
    // the others only success changes anything. close(2) frees the descriptor
    // whatever it returns, but for EBADF.
    if call.result < 0 && call.kind != call::CONNECT {
        return;
    }
    if call.result < 0 && call.result != EINPROGRESS && call.result < -133 {
        return;
    }
    match call.kind {
        call::OPEN => announce_path(task, call, call.arg0(), -100i64 as u64, call.arg1()),
        call::CREAT => announce_path(task, call, call.arg0(), -100i64 as u64, 0o1101),
        call::OPENAT => announce_path(task, call, call.arg1(), call.arg0(), call.arg2()),
        call::OPENAT2 => {
            let flags = unsafe { user::<u64>(call.arg2()) }.unwrap_or(0);
            announce_path(task, call, call.arg1(), call.arg0(), flags);
        }
        call::SOCKET | call::ANON_FD => {
            announce(task, call.kind, call.result, call.result as i32, 0, 0);
        }
        call::ACCEPT | call::DUP | call::DUP2 | call::DUP3 => copied(task, call),
        call::PIDFD_GETFD => {
            announce(
                task,
                call.kind,
                call.result,
                call.result as i32,
                call.arg0(),
                call.arg1(),
            );
        }
        call::SOCKETPAIR => announce_pair(task, call, call.arg3()),
        call::PIPE | call::PIPE2 => announce_pair(task, call, call.arg0()),
        call::CONNECT => update(task, call, call.arg1()),
        call::BIND | call::LISTEN => update(task, call, 0),
        call::FCNTL => fcntl(task, call),
        call::IOCTL => ioctl(task, call),
        call::CLOSE => {
            begin(
                task.0,
                kind::FD_CLOSE,
                call.kind,
                call.result,
                call.arg0() as i32,
            );
            finish(0, 0, 0, lost::FD);
        }
        call::CLOSE_RANGE => close_range(task, call),
        call::UNSHARE => {
            if call.arg0() & CLONE_FILES != 0 {
                begin(task.0, kind::UNSHARED, call.kind, call.result, -1);
                finish(0, 0, 0, lost::FD);
            }
        }
        _ => {}
    }
}
