//! The records that the programs hand over, and the configuration that goes the
//! other way. Both sides use these definitions: `no_std`, no dependency, every
//! struct `repr(C)` with explicit padding and its size asserted.
//!
//! All integers are in the machine's byte order, except ports and IPv4
//! addresses where a field says network order.
#![no_std]

/// Number of syscall numbers that the table covers; both x86_64 and aarch64
/// stay below it.
pub const SYSCALL_TABLE: usize = 512;
/// Words in the bitmap of tunnel ports.
pub const PORT_WORDS: usize = 1024;
/// Payload that the largest record class holds.
pub const PAYLOAD_MAX: usize = 9216;
/// Longest path that a record carries, with its NUL.
pub const PATH_MAX: usize = 512;
/// Longest argument area of an exec record.
pub const ARGS_MAX: usize = 4096;
/// Most descriptors of one SCM_RIGHTS message that are reported.
pub const SCM_MAX: usize = 253;
/// Messages of one sendmmsg or recvmmsg call that are followed (UIO_MAXIOV).
pub const MESSAGES_MAX: u32 = 1024;
/// Vectors of one call that are followed (UIO_MAXIOV).
pub const VECTORS_MAX: u32 = 1024;

/// What a syscall number means to the probe: the values of the syscall table.
pub mod call {
    pub const NONE: u8 = 0;
    pub const READ: u8 = 1;
    pub const WRITE: u8 = 2;
    pub const SENDTO: u8 = 3;
    pub const RECVFROM: u8 = 4;
    pub const READV: u8 = 5;
    pub const WRITEV: u8 = 6;
    pub const SENDMSG: u8 = 7;
    pub const RECVMSG: u8 = 8;
    pub const SENDMMSG: u8 = 9;
    pub const RECVMMSG: u8 = 10;
    /// The first that only changes descriptor tables, processes or files.
    pub const FIRST_STATE: u8 = 16;
    pub const OPEN: u8 = 16;
    pub const OPENAT: u8 = 17;
    pub const OPENAT2: u8 = 18;
    pub const CREAT: u8 = 19;
    pub const SOCKET: u8 = 20;
    pub const SOCKETPAIR: u8 = 21;
    pub const CONNECT: u8 = 22;
    pub const BIND: u8 = 23;
    pub const LISTEN: u8 = 24;
    pub const ACCEPT: u8 = 25;
    pub const DUP: u8 = 26;
    pub const DUP2: u8 = 27;
    pub const DUP3: u8 = 28;
    pub const FCNTL: u8 = 29;
    pub const CLOSE: u8 = 30;
    pub const CLOSE_RANGE: u8 = 31;
    pub const PIPE: u8 = 32;
    pub const PIPE2: u8 = 33;
    pub const IOCTL: u8 = 34;
    pub const PIDFD_GETFD: u8 = 35;
    pub const UNSHARE: u8 = 36;
    /// eventfd, epoll_create, timerfd_create, memfd_create, signalfd, …
    pub const ANON_FD: u8 = 37;
    pub const RENAME: u8 = 40;
    pub const RENAMEAT: u8 = 41;
    pub const UNLINK: u8 = 42;
    pub const UNLINKAT: u8 = 43;
    pub const TRUNCATE: u8 = 44;
    pub const FTRUNCATE: u8 = 45;
    pub const FSYNC: u8 = 46;
    pub const EXECVE: u8 = 48;
    pub const EXECVEAT: u8 = 49;
}

/// Indices into the array of chained programs.
pub mod chain {
    pub const VECTORS: u32 = 0;
    pub const MESSAGE: u32 = 1;
    pub const MESSAGES: u32 = 2;
    pub const DESCRIPTORS: u32 = 3;
    pub const PATHS: u32 = 4;
    pub const SLOTS: u32 = 8;
}

/// Class of a descriptor, from `struct file`.
pub mod class {
    pub const UNKNOWN: u8 = 0;
    pub const TUN: u8 = 1;
    /// INET or INET6 datagram socket on a tunnel port, or of a tun's process.
    pub const TUNNEL: u8 = 2;
    pub const INET_DGRAM: u8 = 3;
    pub const INET_STREAM: u8 = 4;
    pub const UNIX: u8 = 5;
    pub const NETLINK: u8 = 6;
    pub const SOCKET_OTHER: u8 = 7;
    pub const REGULAR: u8 = 8;
    pub const DIRECTORY: u8 = 9;
    pub const PIPE: u8 = 10;
    pub const CHAR: u8 = 11;
    pub const BLOCK: u8 = 12;
    pub const ANON: u8 = 13;
    pub const COUNT: usize = 16;
}

/// Kind of a record.
pub mod kind {
    /// Bytes through a descriptor; payload is the bytes.
    pub const IO: u16 = 1;
    /// A new descriptor; payload is the path for an open.
    pub const FD_NEW: u16 = 2;
    /// A descriptor became something more: connect, bind, listen, TUNSETIFF.
    pub const FD_UPDATE: u16 = 3;
    pub const FD_CLOSE: u16 = 4;
    pub const CLOSE_RANGE: u16 = 5;
    /// FD_CLOEXEC changed; `arg0` is 1 when set.
    pub const FD_CLOEXEC: u16 = 6;
    pub const UNSHARED: u16 = 7;
    /// rename, unlink, truncate, ftruncate, fsync; payload is one or two paths.
    pub const PATH: u16 = 8;
    /// A successful exec; payload is the file name, NUL, then the argument area.
    pub const EXEC: u16 = 9;
    /// An exec that failed; payload is the file name.
    pub const EXEC_FAILED: u16 = 10;
    pub const FORK: u16 = 11;
    pub const EXIT: u16 = 12;
    pub const COUNT: usize = 16;
}

/// Flags of a record.
pub mod flag {
    /// Bytes went out (write, send); otherwise they came in.
    pub const WRITE: u16 = 1;
    /// The payload could not be read: a page was not present.
    pub const FAULT: u16 = 2;
    /// `remote` comes from the call's own address, not from the socket.
    pub const CALL_ADDRESS: u16 = 4;
    /// The new descriptor is close-on-exec.
    pub const CLOEXEC: u16 = 8;
    /// fork: the child shares the parent's descriptor table.
    pub const SHARES_FILES: u16 = 16;
    /// fork: the child is a thread of the parent's process.
    pub const THREAD: u16 = 32;
    /// exit: the last thread of the process.
    pub const LAST: u16 = 64;
    /// `remote` was seen on the wire just before the call.
    pub const WIRE_ADDRESS: u16 = 128;
    /// A string in the payload was longer than its field.
    pub const CUT: u16 = 256;
    /// Vectors beyond those followed were left out.
    pub const VECTORS_LEFT: u16 = 512;
}

/// Cause of a loss: the minor index of the counters.
pub mod loss {
    pub const RING_FULL: u32 = 0;
    pub const FAULT: u32 = 1;
    pub const TOO_MANY: u32 = 2;
    pub const COMPAT: u32 = 3;
    pub const CHAIN: u32 = 4;
    /// A program interrupted another of the probe while that made a record.
    pub const NESTED: u32 = 5;
    /// The CPU came online after the probe was loaded, and has no lane.
    pub const NO_LANE: u32 = 6;
    pub const CAUSES: u32 = 8;
}

/// Kind of what was lost: the major index of the counters.
pub mod lost {
    pub const TUN: u32 = 0;
    pub const TUNNEL: u32 = 1;
    pub const SOCKET: u32 = 2;
    pub const FILE: u32 = 3;
    pub const FD: u32 = 4;
    pub const PROCESS: u32 = 5;
    pub const PATH: u32 = 6;
    /// Calls that were never decoded far enough to know.
    pub const CALL: u32 = 7;
    pub const KINDS: u32 = 8;
}

/// Words in the loss counters: kind × cause.
pub const LOSS_SLOTS: u32 = lost::KINDS * loss::CAUSES;

/// An address as the kernel keeps it: 16 bytes, IPv4 in the first four; port in
/// host order; family 2 (INET), 10 (INET6) or 0 for none.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
#[repr(C)]
pub struct Address {
    pub bytes: [u8; 16],
    pub port: u16,
    pub family: u16,
}
const _: () = assert!(size_of::<Address>() == 20);

/// What every record begins with.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Header {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub ts_ns: u64,
    /// See [`kind`].
    pub kind: u16,
    /// See [`flag`].
    pub flags: u16,
    /// Bytes of payload that follow the record's fixed part.
    pub payload_len: u32,
    pub pid: u32,
    pub tid: u32,
    pub comm: [u8; 16],
    /// cgroup v2 id.
    pub cgroup: u64,
    /// Inode number of the network namespace.
    pub netns: u32,
    /// See [`call`].
    pub call: u16,
    pub cpu: u16,
    /// The call's result.
    pub result: i64,
}
const _: () = assert!(size_of::<Header>() == 64);

/// A descriptor, described from `struct file`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Descriptor {
    pub inode: u64,
    pub num: i32,
    /// See [`class`].
    pub class: u8,
    /// IP protocol of an INET socket.
    pub protocol: u8,
    /// Address family of a socket.
    pub family: u16,
    /// Device number of a character or block device (kernel encoding).
    pub rdev: u32,
    /// TUN_* flags of a tun device (IFF_TUN, IFF_TAP, IFF_NO_PI, IFF_VNET_HDR …).
    pub tun_flags: u32,
    /// Bytes of virtio-net header that precede each packet of a tun.
    pub vnet_hdr_len: u32,
    pub local: Address,
    /// The socket's remote end, or the call's address (see [`flag`]).
    /// For a tun, `local.bytes` holds the interface's name.
    pub remote: Address,
    pub pad: u32,
}
const _: () = assert!(size_of::<Descriptor>() == 72);

/// Fixed part of every record: header, descriptor (zeroed where it does not
/// apply) and two numbers whose meaning goes by kind.
///
/// | kind | arg0 | arg1 |
/// |---|---|---|
/// | IO | bytes the packet really had | index of the message in its batch |
/// | FD_NEW | the older descriptor, listener, dirfd, socket | open flags, target fd |
/// | CLOSE_RANGE | first | last |
/// | PATH | length for truncate; dirfd of the first path | dirfd of the second |
/// | EXEC | uid | parent's pid |
/// | FORK | parent's pid | parent's tid |
/// | EXIT | exit code | |
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Record {
    pub header: Header,
    pub fd: Descriptor,
    pub arg0: u64,
    pub arg1: u64,
}
const _: () = assert!(size_of::<Record>() == 152);

/// Bytes that the longest record takes: what lies behind each queue, so that a
/// record which begins near its end need not be split.
pub const RECORD_MAX: usize = (size_of::<Record>() + PAYLOAD_MAX).next_multiple_of(64);
const _: () = assert!(RECORD_MAX >= size_of::<Record>() + PATH_MAX + ARGS_MAX);

/// Bytes that a record with this much payload takes in its queue. Large ones are
/// a whole number of lines of the cache: of a row of them none shares a line with
/// the next, which the reader may be looking at.
#[inline(always)]
pub const fn record_bytes(payload: u64) -> u64 {
    const LARGE: u64 = 256;
    let bytes = size_of::<Record>() as u64 + payload;
    let unit = if bytes < LARGE { 8 } else { 64 };
    (bytes + unit - 1) & !(unit - 1)
}

/// Where one CPU's records pass: a queue, which is a ring of
/// [`Config::lane_bytes`] bytes, a power of two, with [`RECORD_MAX`] more behind
/// it. Counts of bytes only ever grow; their low bits are the place in the queue,
/// which follows this struct.
///
/// When the reader has caught up, the queue starts over at its beginning: as
/// long as it keeps up, the same memory is used again and again, and that stays
/// in the CPU's cache.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Lane {
    /// For the kernel side alone, so that the line stays with its CPU: where the
    /// next record, or the one that is being made, begins; where the queue last
    /// started over; 1 as long as a record is not finished.
    pub next: u64,
    pub started: u64,
    pub busy: u64,
    pub pad: [u64; 5],
    /// Bytes put in, and where the queue last started over: what lies before was
    /// taken. Written by the kernel side, for the reader.
    pub put: u64,
    pub start: u64,
    pub pad_put: [u64; 6],
    /// Bytes taken out; written by the reader alone.
    pub taken: u64,
    pub pad_taken: [u64; 7],
}
const _: () = assert!(size_of::<Lane>() == 192);

/// Size of a lane with a queue of this many bytes.
pub const fn lane_size(queue: u32) -> usize {
    (size_of::<Lane>() + queue as usize + RECORD_MAX).next_multiple_of(64)
}

/// Offsets into kernel structs, from BTF; in bytes.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
pub struct Offsets {
    pub regs_nr: u32,
    pub regs_arg: [u32; 6],
    pub task_tgid: u32,
    pub task_pid: u32,
    pub task_comm: u32,
    pub task_files: u32,
    pub task_nsproxy: u32,
    pub task_mm: u32,
    pub task_real_parent: u32,
    pub task_cred: u32,
    pub task_signal: u32,
    pub task_exit_code: u32,
    /// Word of the task in which `compat_mask` tells a 32-bit call.
    pub task_compat: u32,
    pub signal_live: u32,
    pub cred_uid: u32,
    pub mm_arg_start: u32,
    pub mm_arg_end: u32,
    pub task_cgroups: u32,
    pub css_set_cgroup: u32,
    pub cgroup_kn: u32,
    pub kn_id: u32,
    pub nsproxy_net: u32,
    pub net_inum: u32,
    pub files_fdt: u32,
    pub fdt_max: u32,
    pub fdt_fd: u32,
    pub fdt_cloexec: u32,
    pub file_inode: u32,
    pub file_private: u32,
    pub inode_mode: u32,
    pub inode_rdev: u32,
    pub inode_ino: u32,
    pub socket_type: u32,
    pub socket_sk: u32,
    pub sk_family: u32,
    pub sk_protocol: u32,
    pub sk_num: u32,
    pub sk_dport: u32,
    pub sk_rcv_saddr: u32,
    pub sk_daddr: u32,
    pub sk_v6_rcv_saddr: u32,
    pub sk_v6_daddr: u32,
    pub tfile_tun: u32,
    pub tun_flags: u32,
    pub tun_vnet_hdr: u32,
    pub tun_dev: u32,
    pub dev_name: u32,
    pub skb_data: u32,
    pub skb_len: u32,
    pub skb_data_len: u32,
    pub bprm_filename: u32,
}

/// BTF type ids for typed reads with `bpf_rdonly_cast`; all 0 where the kernel
/// lacks it.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
pub struct TypeIds {
    pub file: u32,
    pub inode: u32,
    pub socket: u32,
    pub sock: u32,
    pub tun_file: u32,
    pub tun_struct: u32,
    pub net_device: u32,
    /// A struct whose first member is a pointer: reads one slot of an array.
    pub slot: u32,
}

/// What the probe is told when it is loaded: each word becomes an immediate of
/// the instructions that use it, so that neither a load is needed nor a branch
/// that is never taken. Every word is below 2^31.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C)]
pub struct Config {
    pub offsets: Offsets,
    pub types: TypeIds,
    /// The tracing process itself, never traced.
    pub self_pid: u32,
    pub compat_mask: u32,
    /// Bit per class whose I/O is wanted.
    pub classes: u32,
    /// See [`filter`].
    pub filters: u32,
    /// Snap lengths, at most [`PAYLOAD_MAX`]: of tuns and tunnel sockets, and of
    /// everything else.
    pub snap_tunnel: u32,
    pub snap_other: u32,
    /// 1: tun offsets are known.
    pub tun_known: u32,
    /// 1: sockets of processes that hold a tun descriptor count as tunnels.
    pub follow_tun_processes: u32,
    /// 1: where a task keeps its cgroup is known.
    pub cgroup_known: u32,
    /// 1: `bpf_rdonly_cast` may be used.
    pub cast: u32,
    /// Size of the queue of a [`Lane`], a power of two.
    pub lane_bytes: u32,
    /// 1: the kernel lets a task be preempted in a program on a tracepoint.
    pub preemptible: u32,
    /// 1: stores of this machine may be seen out of order.
    pub weak_order: u32,
}
const _: () = assert!(align_of::<Config>() == 4);
/// Words of [`Config`].
pub const CONFIG_WORDS: usize = size_of::<Config>() / 4;

/// What stands in an instruction in the place of the word of [`Config`] at this
/// byte offset, until the loader puts the word there.
pub const fn placeholder(offset: usize) -> i32 {
    PLACEHOLDERS + (offset / 4) as i32
}
/// The first placeholder.
pub const PLACEHOLDERS: i32 = 0x6e64_0000;

/// Which filters are on; each set is a hash map of its own.
pub mod filter {
    pub const PID: u32 = 1;
    pub const COMM: u32 = 2;
    pub const CGROUP: u32 = 4;
    pub const NETNS: u32 = 8;
}

/// Key under which the wire program leaves the outer source of a datagram: the
/// first bytes of its payload, as the receiver will read them.
pub const WIRE_KEY: usize = 28;

/// What the wire program knows of a datagram.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct WireSource {
    pub source: Address,
    pub pad: u32,
}
const _: () = assert!(size_of::<WireSource>() == 24);
