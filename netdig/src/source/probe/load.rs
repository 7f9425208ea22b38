//! Putting the probe into the kernel: the constants it is told, the programs,
//! the chain between them.
use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{HashMap, Map, MapData, ProgramArray},
    programs::{BtfTracePoint, ProgramError},
};
use netdig_ebpf::{CONFIG_WORDS, Config, Lane, PORT_WORDS, chain};

use super::{
    ProbeError, ProbeOptions,
    lanes::{Lanes, cpus, queue_bytes},
    offsets, syscalls,
};

/// The object that scripts/build-ebpf makes; CI proves that it is what the
/// sources build.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!("../../../../netdig-ebpf/prebuilt/netdig-probe.o");

/// Programs that are chained to, by their slot.
const CHAINED: &[(&str, u32)] = &[
    ("vectors", chain::VECTORS),
    ("message", chain::MESSAGE),
    ("messages", chain::MESSAGES),
    ("descriptors", chain::DESCRIPTORS),
    ("paths", chain::PATHS),
];
/// Programs that are attached, and their tracepoints; state first, so that no
/// packet comes from a process that was not announced.
const ATTACHED: &[(&str, &str)] = &[
    ("process_forked", "sched_process_fork"),
    ("process_executed", "sched_process_exec"),
    ("process_exited", "sched_process_exit"),
    ("call_ended", "sys_exit"),
];

/// A loaded probe; detached and removed when dropped.
pub struct Loaded {
    ebpf: Ebpf,
    btf: aya::Btf,
    /// Whether interfaces of tun descriptors are told by the kernel side.
    pub tun_known: bool,
    queue: u32,
    cpus: usize,
    /// Keeps the chained programs reachable.
    _chain: ProgramArray<MapData>,
}

/// Loads the programs without attaching them.
pub fn load(options: &ProbeOptions) -> Result<Loaded, ProbeError> {
    /// Before Linux 6.0 no value of an array is larger than 4 MiB.
    const OLD_LIMIT: u32 = 2 << 20;
    let queue = queue_bytes(options.ring_bytes, cpus());
    match load_with(options, queue) {
        Err(ProbeError::Refused {
            errno: Some(libc::E2BIG),
            ..
        }) if queue > OLD_LIMIT => load_with(options, OLD_LIMIT),
        loaded => loaded,
    }
}

/// The same with queues of this size.
fn load_with(options: &ProbeOptions, queue: u32) -> Result<Loaded, ProbeError> {
    let layout = offsets::resolve().map_err(ProbeError::Btf)?;
    let btf = aya::Btf::from_sys_fs().map_err(|e| ProbeError::KernelBtf(e.to_string()))?;
    let mut object = OBJECT.to_vec();
    let cpus = cpus();
    size_lanes(&mut object, queue)?;
    let mut config = config(options, &layout, queue);
    if let Some((types, function)) = offsets::type_ids(&btf, layout.tun_builtin)
        && !options.no_typed_reads
    {
        config.types = types;
        config.cast = 1;
        link_kernel_function(&mut object, CAST, function);
    }
    if options.preemptible.unwrap_or_else(preemptible_tracepoints)
        && let Some((disable, enable)) = offsets::preemption(&btf)
    {
        config.preemptible = 1;
        link_kernel_function(&mut object, PREEMPT_DISABLE, disable);
        link_kernel_function(&mut object, PREEMPT_ENABLE, enable);
    }
    put_constants(&mut object, &config);
    let table = syscalls::table();
    let ports = port_bitmap(&options.ports);
    let ebpf = EbpfLoader::new()
        .btf(Some(&btf))
        .verifier_log_level(VerifierLogLevel::DISABLE)
        .override_global("SYSCALLS", &table[..], true)
        .override_global("PORTS", &ports[..], true)
        .map_max_entries("LANES", cpus as u32)
        .load(&object)
        .map_err(|e| ProbeError::refused("the maps of the probe", &e))?;
    let mut loaded = prepare(ebpf, btf, layout.tun_known, queue, cpus)?;
    loaded.fill_filters(options)?;
    Ok(loaded)
}

fn prepare(
    mut ebpf: Ebpf,
    btf: aya::Btf,
    tun_known: bool,
    queue: u32,
    cpus: usize,
) -> Result<Loaded, ProbeError> {
    for (name, tracepoint) in ATTACHED {
        program(&mut ebpf, name)?
            .load(tracepoint, &btf)
            .map_err(|e| refused_program(name, &e))?;
    }
    let map = ebpf
        .take_map("CHAIN")
        .ok_or_else(|| ProbeError::Object("CHAIN".to_owned()))?;
    let mut array = ProgramArray::try_from(map).map_err(ProbeError::map)?;
    for (name, slot) in CHAINED {
        let program = program(&mut ebpf, name)?;
        program
            .load("sys_exit", &btf)
            .map_err(|e| refused_program(name, &e))?;
        let fd = program.fd().map_err(|e| refused_program(name, &e))?;
        array
            .set(*slot, fd, 0)
            .map_err(|e| refused_program(name, &e))?;
    }
    Ok(Loaded {
        ebpf,
        btf,
        tun_known,
        queue,
        cpus,
        _chain: array,
    })
}

impl Loaded {
    /// Attaches every program: events arrive from here on.
    pub fn attach(&mut self) -> Result<(), ProbeError> {
        for (name, tracepoint) in ATTACHED {
            program(&mut self.ebpf, name)?
                .attach()
                .map_err(|e: ProgramError| {
                    ProbeError::refused(&format!("attaching to {tracepoint}"), &e)
                })?;
        }
        Ok(())
    }

    /// Attaches the program that remembers where tunnel datagrams come from.
    pub fn attach_wire(&mut self) -> Result<(), ProbeError> {
        const TRACEPOINT: &str = "netif_receive_skb";
        let program = program(&mut self.ebpf, "datagram_arrived")?;
        program
            .load(TRACEPOINT, &self.btf)
            .and_then(|()| program.attach())
            .map_err(|e| ProbeError::refused(&format!("attaching to {TRACEPOINT}"), &e))?;
        Ok(())
    }

    /// Detaches and unloads what was attached.
    pub fn detach(&mut self) {
        for (name, _) in ATTACHED {
            if let Ok(program) = program(&mut self.ebpf, name) {
                // Not loaded any more is what is wanted.
                let _ = program.unload();
            }
        }
    }

    /// What the records come through; to be taken once.
    pub fn lanes(&mut self) -> Result<Lanes, ProbeError> {
        match self.take("LANES")? {
            Map::Array(map) => Lanes::map(map, self.queue, self.cpus)
                .map_err(|e| ProbeError::refused("mapping the memory of its records", &e)),
            _ => Err(ProbeError::Object("LANES".to_owned())),
        }
    }

    /// Takes a map out, to be used by itself.
    pub fn take(&mut self, name: &str) -> Result<Map, ProbeError> {
        self.ebpf
            .take_map(name)
            .ok_or_else(|| ProbeError::Object(name.to_owned()))
    }

    fn fill_filters(&mut self, options: &ProbeOptions) -> Result<(), ProbeError> {
        let comms = options.comms.iter().map(|comm| {
            let mut padded = [0; 16];
            let length = comm.len().min(15);
            padded[..length].copy_from_slice(&comm[..length]);
            padded
        });
        self.fill("PIDS", options.pids.iter().copied())?;
        self.fill("COMMS", comms)?;
        self.fill("CGROUPS", options.cgroups.iter().copied())?;
        self.fill("NETNS", options.netns.iter().copied())
    }

    fn fill<K: aya::Pod>(
        &mut self,
        name: &str,
        keys: impl Iterator<Item = K>,
    ) -> Result<(), ProbeError> {
        let map = self
            .ebpf
            .map_mut(name)
            .ok_or_else(|| ProbeError::Object(name.to_owned()))?;
        let mut set: HashMap<_, K, u8> = HashMap::try_from(map).map_err(ProbeError::map)?;
        for key in keys {
            set.insert(key, 1, 0).map_err(ProbeError::map)?;
        }
        Ok(())
    }
}

fn refused_program(name: &str, error: &(dyn std::error::Error + 'static)) -> ProbeError {
    ProbeError::refused(&format!("the program {name}"), error)
}

fn program<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut BtfTracePoint, ProbeError> {
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or_else(|| ProbeError::Object(name.to_owned()))
}

fn config(options: &ProbeOptions, layout: &offsets::Layout, queue: u32) -> Config {
    let longest = netdig_ebpf::PAYLOAD_MAX as u32;
    Config {
        offsets: layout.offsets,
        self_pid: std::process::id(),
        compat_mask: layout.compat_mask,
        classes: options
            .classes
            .iter()
            .fold(0, |bits, class| bits | 1 << class),
        filters: options.filters(),
        snap_tunnel: options.snap_tunnel.min(longest),
        snap_other: options.snap_other.min(longest),
        cgroup_known: layout.cgroup_known.into(),
        tun_known: layout.tun_known.into(),
        follow_tun_processes: options.follow_tun_processes.into(),
        lane_bytes: queue,
        weak_order: (!cfg!(target_arch = "x86_64")).into(),
        ..Config::default()
    }
}

fn port_bitmap(ports: &[u16]) -> [u64; PORT_WORDS] {
    let mut bitmap = [0; PORT_WORDS];
    for &port in ports {
        bitmap[usize::from(port >> 6)] |= 1 << (port & 63);
    }
    bitmap
}

/// Puts the constants into the instructions that wait for them: those that set a
/// register to a placeholder.
fn put_constants(object: &mut [u8], config: &Config) {
    const MOVE_IMMEDIATE: u8 = 0xb7;
    // SAFETY: `Config` is repr(C), made of u32 alone, without padding.
    let words: &[u32; CONFIG_WORDS] = unsafe { &*(&raw const *config).cast() };
    debug_assert!(words.iter().all(|word| word >> 31 == 0), "sign-extended");
    for instruction in object.as_chunks_mut::<8>().0 {
        let [MOVE_IMMEDIATE, 0..=9, 0, 0, immediate @ ..] = instruction else {
            continue;
        };
        let word = i32::from_ne_bytes(*immediate).wrapping_sub(netdig_ebpf::PLACEHOLDERS);
        if let Some(word) = usize::try_from(word).ok().and_then(|at| words.get(at)) {
            *immediate = word.to_ne_bytes();
        }
    }
}

/// Placeholders for calls of kernel functions, as in netdig-ebpf/src/kernel.rs.
const CAST: u8 = 0x44;
const PREEMPT_DISABLE: u8 = 0x45;
const PREEMPT_ENABLE: u8 = 0x46;

/// Whether programs on tracepoints can be preempted: since Linux 7.0.
fn preemptible_tracepoints() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let major = release
        .split('.')
        .next()
        .and_then(|major| major.parse().ok());
    major.is_none_or(|major: u32| major >= 7)
}

/// Turns the placeholder calls of the programs into calls of the kernel function
/// with this BTF id. A BPF instruction is 8 bytes: code, registers, offset, imm.
fn link_kernel_function(object: &mut [u8], placeholder: u8, function: u32) {
    let placeholder = [0x85, 0, 0, 0, placeholder, 0x4e, 0, 0];
    const PSEUDO_KFUNC_CALL: u8 = 2 << 4;
    for instruction in object.chunks_exact_mut(8) {
        if instruction == placeholder {
            instruction[1] = PSEUDO_KFUNC_CALL;
            instruction[4..].copy_from_slice(&function.to_ne_bytes());
        }
    }
}

/// Puts the size of a lane with its queue into the definition of their map, which
/// the object has without queues.
fn size_lanes(object: &mut [u8], queue: u32) -> Result<(), ProbeError> {
    const ARRAY: u32 = 2;
    const MMAPABLE: u32 = 1 << 10;
    // Type, size of a key, of a value, number of entries, flags.
    let words = [ARRAY, 4, size_of::<Lane>() as u32, 1, MMAPABLE];
    let definition: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let at = object
        .windows(definition.len())
        .position(|bytes| bytes == definition)
        .ok_or_else(|| ProbeError::Object("LANES".to_owned()))?;
    let bytes = netdig_ebpf::lane_size(queue) as u32;
    object[at + 8..at + 12].copy_from_slice(&bytes.to_ne_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_placeholder_is_filled() {
        let waiting = |object: &[u8]| {
            let waits = |bytes: &&[u8]| {
                let word = i32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                let last = netdig_ebpf::PLACEHOLDERS + CONFIG_WORDS as i32;
                (netdig_ebpf::PLACEHOLDERS..last).contains(&word)
            };
            object.windows(4).filter(waits).count()
        };
        let mut object = OBJECT.to_vec();
        assert!(waiting(&object) > 100, "the object has placeholders");
        put_constants(&mut object, &Config::default());
        assert_eq!(waiting(&object), 0);
        size_lanes(&mut object, 1 << 20).expect("the object has lanes");
    }
}
