//! The eBPF probe as a source of observations.
mod error;
mod lanes;
mod load;
mod offsets;
mod syscalls;
mod translate;

use aya::maps::{HashMap, MapData, PerCpuArray};
use netdig_ebpf::{LOSS_SLOTS, filter, loss, lost};

use crate::observation::{Interface, Loss, LossCause, Observation, UnixNanos};
pub use error::ProbeError;
use load::Loaded;
use translate::Translator;

/// Names of what was lost, by the counters' major index.
const LOST_KINDS: [&str; lost::KINDS as usize] = [
    "tun", "udp", "socket", "file", "fd", "process", "path", "call",
];

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
    /// Memory for records on their way, of all CPUs together.
    pub ring_bytes: u32,
    /// Reads kernel memory by helper even where typed reads are offered.
    pub no_typed_reads: bool,
    /// Keeps other tasks off the CPU while a program works, which the kernel itself
    /// does before Linux 7.0; `None` goes by the kernel's version.
    pub preemptible: Option<bool>,
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
            ring_bytes: default_ring_bytes(),
            no_typed_reads: false,
            preemptible: None,
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
        .fold(
            0,
            |bits, (empty, bit)| if empty { bits } else { bits | bit },
        )
    }
}

/// 64 MiB, or 8 MiB for each CPU where that is more, but no more than 1 GiB: a
/// burst mostly comes through one CPU, and must find room there.
pub fn default_ring_bytes() -> u32 {
    const LEAST: usize = 64 << 20;
    const MOST: usize = 1 << 30;
    const EACH: usize = 8 << 20;
    (lanes::cpus() * EACH).clamp(LEAST, MOST) as u32
}

/// A running probe.
pub struct Probe {
    lanes: lanes::Lanes,
    lost: PerCpuArray<MapData, u64>,
    tun_pids: HashMap<MapData, u32, u8>,
    known_tun_pids: std::collections::HashSet<u32>,
    translator: Translator,
    reported: Vec<u64>,
    reported_ns: UnixNanos,
    watches_wire: bool,
    // Last: dropping it detaches the programs.
    loaded: Loaded,
}

impl Probe {
    /// Loads and attaches the probe. `tun_pids` are processes known to hold a
    /// tun descriptor already.
    ///
    /// # Errors
    /// What the kernel refused, why, and what to do about it.
    pub fn start(
        options: &ProbeOptions,
        ports: decoders::Ports,
        tun_pids: impl IntoIterator<Item = u32>,
    ) -> Result<Probe, ProbeError> {
        let mut loaded = load::load(options)?;
        let lanes = loaded.lanes()?;
        let lost = PerCpuArray::try_from(loaded.take("LOST")?).map_err(ProbeError::map)?;
        let set = HashMap::try_from(loaded.take("TUN_PIDS")?).map_err(ProbeError::map)?;
        let now = unix_now();
        let translator =
            Translator::new(ports, options.snap_tunnel, loaded.tun_known, clock_offset());
        let mut probe = Probe {
            lanes,
            lost,
            tun_pids: set,
            known_tun_pids: Default::default(),
            translator,
            reported: vec![0; LOSS_SLOTS as usize],
            reported_ns: now,
            watches_wire: false,
            loaded,
        };
        for pid in tun_pids {
            probe.holds_tun(pid);
        }
        probe.loaded.attach()?;
        Ok(probe)
    }

    /// Tells the kernel side that a process holds a tun descriptor, so that its
    /// UDP sockets count as tunnels whatever their ports.
    pub fn holds_tun(&mut self, pid: u32) {
        // Such a daemon may receive without asking who sent.
        self.watch_wire();
        if self.known_tun_pids.insert(pid) {
            // A full set only means that odd ports must be named with --encap.
            let _ = self.tun_pids.insert(pid, 1, 0);
        }
    }

    /// Begins to note where tunnel datagrams come from.
    fn watch_wire(&mut self) {
        if !self.watches_wire {
            self.watches_wire = true;
            // Refused: receives that ask for no sender stay without.
            let _ = self.loaded.attach_wire();
        }
    }

    /// A process ended: its number may come again for another.
    pub fn ended(&mut self, pid: u32) {
        if self.known_tun_pids.remove(&pid) {
            let _ = self.tun_pids.remove(&pid);
        }
    }

    /// Detaches the programs: what is in the queues can still be taken, nothing
    /// more comes.
    pub fn detach(&mut self) {
        self.loaded.detach();
    }

    /// Hands up to `budget` events to `each`, oldest first; returns how many
    /// there were. Never waits.
    pub fn poll(
        &mut self,
        budget: usize,
        mut each: impl FnMut(&[Interface], Observation<'_>),
    ) -> usize {
        let translator = &mut self.translator;
        let count = self.lanes.take(budget, |bytes| {
            if let Some(observation) = translator.translate(bytes) {
                each(&translator.interfaces, observation);
            }
        });
        if self.translator.source_unknown {
            self.watch_wire();
        }
        count
    }

    /// Interfaces seen so far, by the index that frames carry.
    pub fn interfaces(&self) -> &[Interface] {
        &self.translator.interfaces
    }

    /// What was lost since the last call.
    pub fn losses(&mut self) -> Vec<Loss> {
        let until = unix_now();
        let window = (std::mem::replace(&mut self.reported_ns, until), until);
        let mut losses = Vec::new();
        for slot in 0..LOSS_SLOTS {
            let Ok(counts) = self.lost.get(&slot, 0) else {
                continue;
            };
            let total: u64 = counts.iter().sum();
            let count = total.saturating_sub(self.reported[slot as usize]);
            if count == 0 {
                continue;
            }
            self.reported[slot as usize] = total;
            let Some(cause) = cause(slot % loss::CAUSES) else {
                continue;
            };
            losses.push(Loss {
                ts_ns: until,
                interface: None,
                source: "probe".to_owned(),
                event_kind: LOST_KINDS[(slot / loss::CAUSES) as usize],
                cause,
                count,
                window,
            });
        }
        losses
    }
}

fn cause(index: u32) -> Option<LossCause> {
    Some(match index {
        loss::RING_FULL => LossCause::RingFull,
        loss::FAULT => LossCause::Fault,
        loss::TOO_MANY => LossCause::TooMany,
        loss::COMPAT => LossCause::Compat,
        loss::CHAIN => LossCause::Chain,
        loss::NESTED => LossCause::Nested,
        loss::NO_LANE => LossCause::NewCpu,
        _ => return None,
    })
}

fn clock(id: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place to write to; these clocks always exist.
    unsafe { libc::clock_gettime(id, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The clock of the programs.
fn monotonic_now() -> u64 {
    clock(libc::CLOCK_MONOTONIC)
}

/// Unix time now.
pub fn unix_now() -> UnixNanos {
    clock(libc::CLOCK_REALTIME)
}

/// Unix time minus CLOCK_MONOTONIC, from the closest of a few readings.
fn clock_offset() -> u64 {
    (0..8)
        .map(|_| {
            let before = monotonic_now();
            let unix = clock(libc::CLOCK_REALTIME);
            let after = monotonic_now();
            (after - before, unix - (before + (after - before) / 2))
        })
        .min()
        .map_or(0, |(_, offset)| offset)
}
