//! The program on `sys_exit`: the table look-up, the hot path, and the chain.
use aya_ebpf::{macros::btf_tracepoint, programs::BtfTracePointContext};
use netdig_ebpf::{SYSCALL_TABLE, call, chain, loss, lost};

use crate::{
    io::{Call, single},
    kernel::{Task, load, undisturbed},
    maps::{CHAIN, SYSCALLS, config, lose},
};

/// The call that just ended, if the table has it.
#[inline(always)]
pub fn ended_call(ctx: &BtfTracePointContext) -> Option<Call> {
    let regs: u64 = ctx.arg(0);
    let number: u64 = unsafe { load(regs, config!(offsets.regs_nr)) };
    if number >= SYSCALL_TABLE as u64 {
        return None;
    }
    let kind = unsafe { core::ptr::read_volatile(SYSCALLS.as_ptr().add(number as usize)) };
    if kind == call::NONE {
        return None;
    }
    Some(Call::new(regs, kind, ctx.arg(1)))
}

#[btf_tracepoint(function = "sys_exit")]
pub fn call_ended(ctx: BtfTracePointContext) -> i32 {
    let Some(call) = ended_call(&ctx) else {
        return 0;
    };
    if call.kind < call::FIRST_STATE && !call.moved() {
        return 0;
    }
    let task = Task::current();
    if u64::from(task.tgid()) == config!(self_pid) {
        return 0;
    }
    // Constant indices: the kernel turns each into a direct jump.
    unsafe {
        match call.kind {
            call::READ | call::WRITE | call::SENDTO | call::RECVFROM => {
                return undisturbed(|| single(call, task));
            }
            call::READV | call::WRITEV => CHAIN.tail_call(&ctx, chain::VECTORS),
            call::SENDMSG | call::RECVMSG => CHAIN.tail_call(&ctx, chain::MESSAGE),
            call::SENDMMSG | call::RECVMMSG => CHAIN.tail_call(&ctx, chain::MESSAGES),
            call::OPEN..=call::ANON_FD => CHAIN.tail_call(&ctx, chain::DESCRIPTORS),
            _ => CHAIN.tail_call(&ctx, chain::PATHS),
        }
    }
    lose(lost::CALL, loss::CHAIN);
    0
}
