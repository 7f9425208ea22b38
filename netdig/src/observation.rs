//! What can be seen: the one vocabulary that every source speaks and the
//! engine understands. A recording enters as the same observations as a live
//! source, so live and replayed runs print the same.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Nanoseconds since the Unix epoch.
pub type UnixNanos = u64;

/// Which way a frame was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// A process read it from a tun descriptor: the kernel routed it into the overlay.
    TunRead,
    /// A process wrote it to a tun descriptor: it enters the kernel from the overlay.
    TunWrite,
    /// A process sent it as the payload of a UDP datagram: it leaves for a peer.
    UdpSend,
    /// A process received it as the payload of a UDP datagram: it came from a peer.
    UdpRecv,
    /// Seen on a network link.
    Link,
    /// Read from a capture that does not say how it was seen.
    File,
}

impl Via {
    /// Name in JSON and in capture comments.
    pub const fn name(self) -> &'static str {
        match self {
            Via::TunRead => "tun-read",
            Via::TunWrite => "tun-write",
            Via::UdpSend => "udp-send",
            Via::UdpRecv => "udp-recv",
            Via::Link => "link",
            Via::File => "file",
        }
    }

    /// The inverse of [`Via::name`].
    pub fn from_name(name: &str) -> Option<Via> {
        [
            Via::TunRead,
            Via::TunWrite,
            Via::UdpSend,
            Via::UdpRecv,
            Via::Link,
            Via::File,
        ]
        .into_iter()
        .find(|via| via.name() == name)
    }

    /// Whether the frame has, or should have, another side: tun and UDP socket
    /// of one tunnel daemon see the same packet.
    pub const fn is_tunnel_side(self) -> bool {
        matches!(
            self,
            Via::TunRead | Via::TunWrite | Via::UdpSend | Via::UdpRecv
        )
    }
}

/// How a packet met its link, as packet(7) tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PacketType {
    /// Addressed to this host.
    Host,
    Broadcast,
    Multicast,
    /// Addressed to another host, seen in promiscuous mode.
    OtherHost,
    /// Sent by this host.
    Outgoing,
}

/// A process as a frame or event names it: what the kernel side saw at that
/// moment. Everything else about it is the tracker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Actor {
    /// Thread group id in the initial pid namespace.
    pub pid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// `comm`, padded with NUL.
    pub comm: [u8; 16],
}

impl Actor {
    /// `comm` without its padding; any bytes, not necessarily UTF-8.
    pub fn comm(&self) -> &[u8] {
        let end = self
            .comm
            .iter()
            .position(|&b| b == 0)
            .unwrap_or(self.comm.len());
        &self.comm[..end]
    }
}

/// What a descriptor is, as classified from `struct file` in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum FdKind {
    /// `/dev/net/tun`; `interface` is empty until TUNSETIFF.
    Tun {
        interface: Arc<str>,
        tap: bool,
        packet_info: bool,
        vnet_header: u8,
    },
    /// An INET or INET6 socket. `protocol` is the IP protocol number.
    Inet {
        protocol: u8,
        stream: bool,
        local: SocketAddr,
        remote: Option<SocketAddr>,
    },
    Unix,
    Netlink,
    /// Any other socket, by address family.
    OtherSocket {
        family: u16,
    },
    /// A regular file.
    Regular,
    Directory,
    Pipe,
    /// eventfd, epoll, timerfd, bpf, …
    AnonInode,
    Char {
        major: u32,
        minor: u32,
    },
    Block {
        major: u32,
        minor: u32,
    },
    Unknown,
}

/// A descriptor as seen with one event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FdView {
    pub num: i32,
    pub kind: FdKind,
    /// Inode number of the file or socket; 0 where unknown.
    pub inode: u64,
}

/// One packet seen somewhere, with its bytes.
#[derive(Debug, Clone)]
pub struct Frame<'a> {
    pub ts_ns: UnixNanos,
    pub via: Via,
    /// How `data` begins.
    pub link: decoders::LinkType,
    /// Index of the source's interface list.
    pub interface: u32,
    /// Captured bytes, from the link layer (or the bare IP packet) on.
    pub data: &'a [u8],
    /// Bytes the packet really had; never less than `data.len()`.
    pub orig_len: u32,
    pub process: Option<Actor>,
    pub fd: Option<FdView>,
    /// The tunnel's other end: where a `UdpSend` went, where a `UdpRecv` came from.
    pub peer: Option<SocketAddr>,
    /// Encapsulation whose payload `data` is, for `UdpSend` and `UdpRecv`.
    pub encap: Option<decoders::Encap>,
    /// errno of a call that failed: the packet was handed over and not taken.
    pub errno: Option<i32>,
    /// Network namespace of the process (inode number), where known.
    pub netns: Option<u32>,
    /// cgroup v2 id of the process, where known.
    pub cgroup: Option<u64>,
    /// Frame number in the file it was read from (1-based).
    pub file_n: Option<u64>,
}

impl<'a> Frame<'a> {
    /// A whole frame of the source's first interface, of which no more is known.
    #[inline]
    pub fn new(ts_ns: UnixNanos, via: Via, link: decoders::LinkType, data: &'a [u8]) -> Frame<'a> {
        Frame {
            ts_ns,
            via,
            link,
            interface: 0,
            data,
            orig_len: data.len() as u32,
            process: None,
            fd: None,
            peer: None,
            encap: None,
            errno: None,
            netns: None,
            cgroup: None,
            file_n: None,
        }
    }
}

/// How a new descriptor came to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FdOrigin {
    /// open, openat, openat2, creat: `path` as the process gave it, `dirfd` as given.
    Open {
        path: Vec<u8>,
        dirfd: i32,
        flags: u64,
    },
    Socket,
    Accept {
        listener: i32,
    },
    /// dup, dup2, dup3, fcntl(F_DUPFD*).
    Dup {
        from: i32,
    },
    Pipe,
    SocketPair,
    /// Received over a Unix socket as SCM_RIGHTS.
    ScmRights {
        socket: i32,
    },
    /// pidfd_getfd: taken out of another process.
    PidfdGetfd {
        pidfd: i32,
        target_fd: i32,
    },
    /// eventfd, epoll_create, timerfd_create, memfd_create, …
    Other,
}

/// Something that changed a process's descriptor table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FdChange {
    New {
        fd: FdView,
        origin: FdOrigin,
        cloexec: bool,
    },
    /// The same descriptor became something more: connect, bind, listen, TUNSETIFF.
    Updated {
        fd: FdView,
    },
    /// FD_CLOEXEC set or cleared (fcntl F_SETFD, FIOCLEX, FIONCLEX).
    CloseOnExec {
        num: i32,
        on: bool,
    },
    Close {
        num: i32,
    },
    /// close_range(first, last); `cloexec_only` marks, does not close; `unshare`
    /// gives the process a table of its own first.
    CloseRange {
        first: u32,
        last: u32,
        cloexec_only: bool,
        unshare: bool,
    },
    /// unshare(CLONE_FILES), CLOSE_RANGE_UNSHARE: the table became the process's own.
    Unshared,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FdEvent {
    pub ts_ns: UnixNanos,
    pub actor: Actor,
    pub change: FdChange,
}

/// Life of processes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessChange {
    /// `actor` is the child. `shares_files`: CLONE_FILES, one table for both.
    Fork {
        parent: u32,
        thread: bool,
        shares_files: bool,
    },
    /// A successful execve: `filename` as the kernel resolved it, `args` as far
    /// as they were captured (`cut` tells that there were more).
    Exec {
        filename: Vec<u8>,
        args: Vec<Vec<u8>>,
        cut: bool,
        uid: u32,
        parent: u32,
    },
    /// An execve that failed with this errno.
    ExecFailed { filename: Vec<u8>, errno: i32 },
    /// A thread ended; `last` when it was the process's last one.
    Exit { code: i32, last: bool },
    /// All that a recording says about a process.
    Described(ProcessInfo),
}

/// A process as a recording describes it, or as `/proc` showed it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessInfo {
    pub pid: u32,
    pub parent: Option<u32>,
    pub comm: Vec<u8>,
    pub args: Vec<Vec<u8>>,
    pub uid: Option<u32>,
    pub user: Option<String>,
    /// Start, Unix time.
    pub start_ns: Option<UnixNanos>,
    pub container_id: Option<String>,
    pub container_name: Option<String>,
    /// Network namespace, inode number.
    pub netns: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessEvent {
    pub ts_ns: UnixNanos,
    pub actor: Actor,
    pub cgroup: u64,
    pub netns: u32,
    pub change: ProcessChange,
}

/// A file operation that is not I/O on a descriptor's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileOp {
    Rename {
        from: Vec<u8>,
        to: Vec<u8>,
        from_dirfd: i32,
        to_dirfd: i32,
    },
    Unlink {
        path: Vec<u8>,
        dirfd: i32,
    },
    Truncate {
        path: Vec<u8>,
        len: i64,
    },
    Ftruncate {
        fd: FdView,
        len: i64,
    },
    Fsync {
        fd: FdView,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEvent {
    pub ts_ns: UnixNanos,
    pub actor: Actor,
    /// 0, or the negative errno of the call.
    pub result: i64,
    pub op: FileOp,
}

/// Bytes that went through a descriptor that is not a tunnel's.
#[derive(Debug, Clone)]
pub struct Io<'a> {
    pub ts_ns: UnixNanos,
    pub actor: Actor,
    pub fd: FdView,
    pub write: bool,
    /// Bytes moved, or the negative errno.
    pub result: i64,
    pub data: &'a [u8],
}

/// Why events were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LossCause {
    /// The ring buffer was full.
    RingFull,
    /// A page of the payload was not readable from the probe.
    Fault,
    /// More messages or vectors in one call than the probe follows.
    TooMany,
    /// A 32-bit call on a 64-bit kernel, which the probe does not decode.
    Compat,
    /// The kernel refused to chain to the handler.
    Chain,
    /// A program of the probe interrupted another while that made a record.
    Nested,
    /// It came from a CPU that was put online after the probe was loaded.
    NewCpu,
    /// The packet socket's ring was full.
    SocketFull,
}

impl LossCause {
    pub const fn name(self) -> &'static str {
        match self {
            LossCause::RingFull => "ring-full",
            LossCause::Fault => "page-fault",
            LossCause::TooMany => "too-many-vectors",
            LossCause::Compat => "compat-syscall",
            LossCause::Chain => "tail-call",
            LossCause::Nested => "nested",
            LossCause::NewCpu => "new-cpu",
            LossCause::SocketFull => "socket-full",
        }
    }
}

/// Events that the source knows it did not deliver since its last report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    pub ts_ns: UnixNanos,
    /// Interface index where the loss belongs to one, for pcapng statistics.
    pub interface: Option<u32>,
    /// `probe`, or the interface's name.
    pub source: String,
    /// What kind of event: `tun`, `udp`, `file`, `fd`, `process`, `packet`, …
    pub event_kind: &'static str,
    pub cause: LossCause,
    pub count: u64,
    /// The window in which they were lost: since, until.
    pub window: (UnixNanos, UnixNanos),
}

/// One interface of a source, as pcapng names them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// `flannel0`, `tun:758:5`, `udp:8285`, `eth0`.
    pub name: String,
    pub link: decoders::LinkType,
    pub snaplen: u32,
    /// Addresses of the device, where known.
    pub addresses: Vec<IpAddr>,
}

#[derive(Debug, Clone)]
pub enum Observation<'a> {
    Frame(Frame<'a>),
    Io(Io<'a>),
    Fd(FdEvent),
    Process(ProcessEvent),
    File(FileEvent),
    Loss(Loss),
}
