//! What happens to files by name: rename, unlink, truncate; and fsync, and execs
//! that failed.
use aya_ebpf::{
    helpers::generated::bpf_probe_read_user_str, macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use netdig_ebpf::{PATH_MAX, Record, call, flag, kind, loss, lost, record_bytes};

use crate::{
    descriptors::{begin, describe, finish},
    entry::ended_call,
    io::{Call, copy},
    kernel::{Task, undisturbed},
    lanes::reserve,
    maps::{lose, work},
};

#[repr(C)]
struct Paths<const COUNT: usize> {
    record: Record,
    paths: [[u8; PATH_MAX]; COUNT],
}

/// Sends `work`'s record with paths of the caller's, each in a field of its own.
#[inline(always)]
fn send_paths<const COUNT: usize>(addresses: [u64; COUNT], what: u32) {
    let Some(work) = work() else {
        return;
    };
    unsafe {
        let payload = (COUNT * PATH_MAX) as u64;
        let Some(slot) = reserve::<Paths<COUNT>>(record_bytes(payload), what) else {
            return;
        };
        let room = slot.to;
        copy(&work.record, &raw mut (*room).record);
        let mut index = 0;
        while index < COUNT {
            let to = (&raw mut (*room).paths[index]).cast::<u8>();
            let length =
                bpf_probe_read_user_str(to.cast(), PATH_MAX as u32, addresses[index] as *const _);
            if length < 0 {
                *to = 0;
                (*room).record.header.flags |= flag::FAULT;
                lose(what, loss::FAULT);
            } else if length as usize >= PATH_MAX {
                (*room).record.header.flags |= flag::CUT;
            }
            index += 1;
        }
        (*room).record.header.payload_len = payload as u32;
        slot.commit(record_bytes(payload));
    }
}

/// Sends the record with one path behind it.
#[inline(never)]
pub fn finish_path(path: u64, arg0: u64, arg1: u64, what: u32) -> u64 {
    if let Some(work) = work() {
        work.record.arg0 = arg0;
        work.record.arg1 = arg1;
        send_paths::<1>([path], what);
    }
    0
}

/// Sends the record with the paths that a rename names.
#[inline(never)]
fn finish_rename(from: u64, to: u64, from_dirfd: u64, to_dirfd: u64) -> u64 {
    if let Some(work) = work() {
        work.record.arg0 = from_dirfd;
        work.record.arg1 = to_dirfd;
        send_paths::<2>([from, to], lost::PATH);
    }
    0
}

#[inline(always)]
fn one_path(task: Task, call: Call, kind: u16, path: u64, arg0: u64) {
    begin(task.0, kind, call.kind, call.result, -1);
    finish_path(
        path,
        arg0,
        0,
        if kind == kind::PATH {
            lost::PATH
        } else {
            lost::PROCESS
        },
    );
}

#[inline(always)]
fn on_descriptor(task: Task, call: Call, length: u64) {
    begin(
        task.0,
        kind::PATH,
        call.kind,
        call.result,
        call.arg0() as i32,
    );
    describe(task.0);
    finish(length, 0, 0, lost::PATH);
}

#[btf_tracepoint(function = "sys_exit")]
pub fn paths(ctx: BtfTracePointContext) -> i32 {
    undisturbed(|| tell_paths(&ctx))
}

#[inline(always)]
fn tell_paths(ctx: &BtfTracePointContext) {
    let Some(call) = ended_call(ctx) else {
        return;
    };
    let task = Task::current();
    const HERE: u64 = -100i64 as u64;
    match call.kind {
        call::RENAME => {
            begin(task.0, kind::PATH, call.kind, call.result, -1);
            finish_rename(call.arg0(), call.arg1(), HERE, HERE);
        }
        call::RENAMEAT => {
            begin(task.0, kind::PATH, call.kind, call.result, -1);
            finish_rename(call.arg1(), call.arg3(), call.arg0(), call.arg2());
        }
        // Deleting what is not there is everyday noise.
        call::UNLINK if call.result == 0 => one_path(task, call, kind::PATH, call.arg0(), HERE),
        call::UNLINKAT if call.result == 0 => {
            one_path(task, call, kind::PATH, call.arg1(), call.arg0());
        }
        call::TRUNCATE => one_path(task, call, kind::PATH, call.arg0(), call.arg1()),
        call::FTRUNCATE => on_descriptor(task, call, call.arg1()),
        call::FSYNC => on_descriptor(task, call, 0),
        // Success is told by the exec tracepoint: the arguments are gone by now.
        call::EXECVE if call.result < 0 => {
            one_path(task, call, kind::EXEC_FAILED, call.arg0(), HERE);
        }
        call::EXECVEAT if call.result < 0 => {
            one_path(task, call, kind::EXEC_FAILED, call.arg1(), call.arg0());
        }
        _ => {}
    }
}
