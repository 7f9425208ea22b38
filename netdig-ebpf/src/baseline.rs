//! What the benchmarks hold the probe against: the least that a program on
//! `sys_exit` costs, and the least that a record costs which is sent from there.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::{
        bindings::BPF_RB_NO_WAKEUP,
        helpers::generated::{
            bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_ktime_get_ns, bpf_probe_read_user,
            bpf_ringbuf_reserve, bpf_ringbuf_submit,
        },
        macros::{btf_tracepoint, map},
        maps::RingBuf,
        programs::BtfTracePointContext,
    };

    /// Byte offsets of the call's number and six arguments in `pt_regs`; set by
    /// the loader.
    #[unsafe(no_mangle)]
    static REGISTERS: [u32; 7] = [0; 7];

    #[map]
    static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 26, 0);

    /// 144 bytes, as a tracer's record without payload has.
    #[repr(C)]
    struct Bare {
        ts_ns: u64,
        pid_tgid: u64,
        number: u64,
        result: u64,
        args: [u64; 6],
        comm: [u8; 16],
        rest: [u64; 6],
    }

    /// The same with room for a packet.
    #[repr(C)]
    struct WithPayload {
        bare: Bare,
        payload: [u8; 1408],
    }

    #[btf_tracepoint(function = "sys_exit")]
    pub fn empty(_ctx: BtfTracePointContext) -> i32 {
        0
    }

    #[inline(always)]
    fn register(regs: u64, index: usize) -> u64 {
        unsafe {
            let offset = core::ptr::read_volatile((&raw const REGISTERS).cast::<u32>().add(index));
            core::ptr::read_volatile((regs + u64::from(offset)) as *const u64)
        }
    }

    #[inline(always)]
    unsafe fn fill(bare: *mut Bare, ctx: &BtfTracePointContext) {
        let regs: u64 = ctx.arg(0);
        unsafe {
            (*bare).ts_ns = bpf_ktime_get_ns();
            (*bare).pid_tgid = bpf_get_current_pid_tgid();
            (*bare).number = register(regs, 0);
            (*bare).result = ctx.arg(1);
            let mut index = 0;
            while index < 6 {
                (*bare).args[index] = register(regs, index + 1);
                core::ptr::write_volatile(&raw mut (*bare).rest[index], 0);
                index += 1;
            }
            bpf_get_current_comm((&raw mut (*bare).comm).cast(), 16);
        }
    }

    #[inline(always)]
    unsafe fn reserve<T>() -> *mut T {
        unsafe {
            let ring = (&raw const EVENTS).cast_mut().cast();
            bpf_ringbuf_reserve(ring, size_of::<T>() as u64, 0).cast()
        }
    }

    #[btf_tracepoint(function = "sys_exit")]
    pub fn bare_record(ctx: BtfTracePointContext) -> i32 {
        unsafe {
            let slot = reserve::<Bare>();
            if !slot.is_null() {
                fill(slot, &ctx);
                bpf_ringbuf_submit(slot.cast(), u64::from(BPF_RB_NO_WAKEUP));
            }
        }
        0
    }

    #[btf_tracepoint(function = "sys_exit")]
    pub fn payload_record(ctx: BtfTracePointContext) -> i32 {
        unsafe {
            let slot = reserve::<WithPayload>();
            if !slot.is_null() {
                fill(&raw mut (*slot).bare, &ctx);
                let result: i64 = ctx.arg(1);
                let length = if result < 0 {
                    0
                } else if result > 1408 {
                    1408
                } else {
                    result as u64
                };
                let from = register(ctx.arg(0), 2);
                let to = (&raw mut (*slot).payload).cast();
                bpf_probe_read_user(to, length as u32, from as *const _);
                bpf_ringbuf_submit(slot.cast(), u64::from(BPF_RB_NO_WAKEUP));
            }
        }
        0
    }
}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
