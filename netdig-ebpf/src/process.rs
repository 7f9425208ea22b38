//! Life of processes: fork, exec, exit, from the scheduler's tracepoints.
use aya_ebpf::{
    helpers::generated::{bpf_probe_read_kernel_str, bpf_probe_read_user},
    macros::btf_tracepoint,
    programs::BtfTracePointContext,
};
use netdig_ebpf::{ARGS_MAX, PATH_MAX, Record, flag, kind, lost, record_bytes};

use crate::{
    descriptors::{begin, finish},
    io::copy,
    kernel::{Task, load, undisturbed},
    lanes::reserve,
    maps::{config, work},
};

const CALL_NONE: u8 = 0;

#[btf_tracepoint(function = "sched_process_fork")]
pub fn process_forked(ctx: BtfTracePointContext) -> i32 {
    undisturbed(|| tell_process_forked(&ctx))
}

#[inline(always)]
fn tell_process_forked(ctx: &BtfTracePointContext) {
    let parent = Task(ctx.arg(0));
    let child = Task(ctx.arg(1));
    begin(child.0, kind::FORK, CALL_NONE, 0, -1);
    let mut flags = 0;
    if parent.tgid() == child.tgid() {
        flags |= flag::THREAD;
    }
    unsafe {
        let theirs: u64 = load(parent.0, config!(offsets.task_files));
        let its: u64 = load(child.0, config!(offsets.task_files));
        if same(theirs, its) {
            flags |= flag::SHARES_FILES;
        }
    }
    finish(
        u64::from(parent.tgid()),
        u64::from(parent.pid()),
        flags,
        lost::PROCESS,
    );
}

/// Compares two kernel addresses as numbers; the verifier forbids arithmetic on
/// typed pointers, but not their comparison.
#[inline(always)]
fn same(one: u64, other: u64) -> bool {
    one == other
}

#[repr(C)]
struct Exec {
    record: Record,
    path: [u8; PATH_MAX],
    args: [u8; ARGS_MAX],
}

#[btf_tracepoint(function = "sched_process_exec")]
pub fn process_executed(ctx: BtfTracePointContext) -> i32 {
    undisturbed(|| tell_process_executed(&ctx))
}

#[inline(always)]
fn tell_process_executed(ctx: &BtfTracePointContext) {
    let task = Task(ctx.arg(0));
    let program: u64 = ctx.arg(2);
    begin(task.0, kind::EXEC, CALL_NONE, 0, -1);
    let Some(work) = work() else {
        return;
    };
    let record = &mut work.record;
    unsafe {
        let credentials: u64 = load(task.0, config!(offsets.task_cred));
        let uid: u32 = load(credentials, config!(offsets.cred_uid));
        let parent: u64 = load(task.0, config!(offsets.task_real_parent));
        record.arg0 = u64::from(uid);
        record.arg1 = u64::from(Task(parent).tgid());
        let memory: u64 = load(task.0, config!(offsets.task_mm));
        let start: u64 = load(memory, config!(offsets.mm_arg_start));
        let end: u64 = load(memory, config!(offsets.mm_arg_end));
        let filename: u64 = load(program, config!(offsets.bprm_filename));
        send_exec(record, filename, start, end.wrapping_sub(start));
    }
}

#[inline(always)]
unsafe fn send_exec(record: &Record, filename: u64, args: u64, length: u64) {
    unsafe {
        const ROOM: u64 = record_bytes((PATH_MAX + ARGS_MAX) as u64);
        let Some(slot) = reserve::<Exec>(ROOM, lost::PROCESS) else {
            return;
        };
        let to = slot.to;
        copy(record, &raw mut (*to).record);
        let path = (&raw mut (*to).path).cast::<u8>();
        if bpf_probe_read_kernel_str(path.cast(), PATH_MAX as u32, filename as *const _) < 0 {
            *path = 0;
        }
        let mut size = length;
        if size > ARGS_MAX as u64 {
            size = ARGS_MAX as u64;
            (*to).record.header.flags |= flag::CUT;
        }
        let room = (&raw mut (*to).args).cast();
        if bpf_probe_read_user(room, size as u32, args as *const _) != 0 {
            (*to).record.header.flags |= flag::FAULT;
            size = 0;
        }
        let payload = PATH_MAX as u64 + size;
        (*to).record.header.payload_len = payload as u32;
        slot.commit(record_bytes(payload));
    }
}

#[btf_tracepoint(function = "sched_process_exit")]
pub fn process_exited(ctx: BtfTracePointContext) -> i32 {
    undisturbed(|| tell_process_exited(&ctx))
}

#[inline(always)]
fn tell_process_exited(ctx: &BtfTracePointContext) {
    let task = Task(ctx.arg(0));
    begin(task.0, kind::EXIT, CALL_NONE, 0, -1);
    unsafe {
        let code: u32 = load(task.0, config!(offsets.task_exit_code));
        let signal: u64 = load(task.0, config!(offsets.task_signal));
        let live: u32 = load(signal, config!(offsets.signal_live));
        let flags = if live == 0 { flag::LAST } else { 0 };
        finish(u64::from(code), 0, flags, lost::PROCESS);
    }
}
