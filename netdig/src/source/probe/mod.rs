//! The eBPF probe as a source of observations.
mod load;
mod offsets;
mod syscalls;

use netdig_ebpf::filter;

pub use load::load;

/// What the probe is asked to watch.
#[derive(Debug, Clone)]
pub struct ProbeOptions {
    /// Classes of descriptors ([`netdig_ebpf::class`]) whose I/O is wanted.
    pub classes: Vec<u8>,
    /// UDP ports that carry tunnels.
    pub ports: Vec<u16>,
    /// Whether UDP sockets of processes that hold a tun count as tunnels.
    pub follow_tun_processes: bool,
    /// Bytes kept of each packet of a tun or tunnel socket.
    pub snap_tunnel: u32,
    /// Bytes kept of other I/O.
    pub snap_other: u32,
    pub pids: Vec<u32>,
    pub comms: Vec<Vec<u8>>,
    /// cgroup v2 ids.
    pub cgroups: Vec<u64>,
    /// Network namespaces by inode number.
    pub netns: Vec<u32>,
    /// Size of the ring buffer; a power of two.
    pub ring_bytes: u32,
    /// Reads kernel memory by helper even where typed reads are offered.
    pub no_typed_reads: bool,
}

impl Default for ProbeOptions {
    fn default() -> Self {
        ProbeOptions {
            classes: vec![netdig_ebpf::class::TUN, netdig_ebpf::class::TUNNEL],
            ports: Vec::new(),
            follow_tun_processes: true,
            snap_tunnel: netdig_ebpf::PAYLOAD_MAX as u32,
            snap_other: 80,
            pids: Vec::new(),
            comms: Vec::new(),
            cgroups: Vec::new(),
            netns: Vec::new(),
            ring_bytes: 64 << 20,
            no_typed_reads: false,
        }
    }
}

impl ProbeOptions {
    fn filters(&self) -> u32 {
        [
            (self.pids.is_empty(), filter::PID),
            (self.comms.is_empty(), filter::COMM),
            (self.cgroups.is_empty(), filter::CGROUP),
            (self.netns.is_empty(), filter::NETNS),
        ]
        .into_iter()
        .fold(0, |bits, (empty, bit)| if empty { bits } else { bits | bit })
    }
}

/// Why the probe could not be put into the kernel.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("{0}")]
    Btf(crate::btf::BtfError),
    #[error("cannot read the kernel's type information: {0}")]
    KernelBtf(String),
    #[error("the embedded BPF object lacks `{0}`: this build is broken")]
    Object(&'static str),
    #[error("loading {what}: {why}")]
    Load { what: String, why: String },
    #[error("attaching {what}: {why}")]
    Attach { what: String, why: String },
}

impl ProbeError {
    fn load(what: &str, error: &dyn std::error::Error) -> ProbeError {
        ProbeError::Load { what: what.to_owned(), why: chain(error) }
    }
    fn attach(what: &str, error: &dyn std::error::Error) -> ProbeError {
        ProbeError::Attach { what: what.to_owned(), why: chain(error) }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
