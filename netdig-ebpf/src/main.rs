//! The programs of netdig's probe, one file a syscall family.
//!
//! One program on `sys_exit` sees number, arguments and result of every call:
//! the argument registers are still in `pt_regs` at exit. It looks the number
//! up in a table before it does anything else. Calls with one plain buffer are
//! handled in place, as they are the hot path; the others are chained to.
//! Processes come from three `sched_process_*` tracepoints, because the child of
//! a fork and a thread's end have no exit of a call of their own.
//!
//! Licence of this binary: dual MIT/GPL, as the kernel's helpers require.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]

#[cfg(target_arch = "bpf")]
mod descriptors;
#[cfg(target_arch = "bpf")]
mod entry;
#[cfg(target_arch = "bpf")]
mod file;
#[cfg(target_arch = "bpf")]
mod io;
#[cfg(target_arch = "bpf")]
mod kernel;
#[cfg(target_arch = "bpf")]
mod lanes;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod paths;
#[cfg(target_arch = "bpf")]
mod process;
#[cfg(target_arch = "bpf")]
mod vectors;
#[cfg(target_arch = "bpf")]
mod wire;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
