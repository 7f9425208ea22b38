//! Putting the probe into the kernel: the constants it is told, the programs,
//! the chain between them.
use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::{HashMap, MapData, ProgramArray},
    programs::{BtfTracePoint, ProgramError},
};
use netdig_ebpf::{Config, PORT_WORDS, chain, class};

use super::{ProbeError, ProbeOptions, offsets, syscalls};

/// The object that scripts/build-ebpf makes; CI proves that it is what the
/// sources build.
static OBJECT: &[u8] =
    aya::include_bytes_aligned!("../../../../netdig-ebpf/prebuilt/netdig-probe.o");

/// Size of the ring that is used first, and of the other from which on it is used.
const HOT_RING: u32 = 1 << 20;
const ENOUGH_RING: u32 = 8 << 20;

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
    /// Keeps the chained programs reachable.
    _chain: ProgramArray<MapData>,
}

/// Loads the programs without attaching them.
pub fn load(options: &ProbeOptions) -> Result<Loaded, ProbeError> {
    let layout = offsets::resolve().map_err(ProbeError::Btf)?;
    let btf = aya::Btf::from_sys_fs().map_err(|e| ProbeError::KernelBtf(e.to_string()))?;
    let mut object = OBJECT.to_vec();
    let mut config = config(options, &layout);
    if let Some((types, function)) = offsets::type_ids(&btf, layout.tun_builtin)
        && !options.no_typed_reads
    {
        config.types = types;
        config.cast = 1;
        link_kernel_function(&mut object, function);
    }
    let table = syscalls::table();
    let ports = port_bitmap(&options.ports);
    let ebpf = EbpfLoader::new()
        .btf(Some(&btf))
        .verifier_log_level(VerifierLogLevel::DISABLE)
        .override_global("CONFIG", bytes_of(&config), true)
        .override_global("SYSCALLS", &table[..], true)
        .override_global("PORTS", &ports[..], true)
        .map_max_entries("EVENTS", options.ring_bytes)
        .map_max_entries("HOT", hot_bytes(options.ring_bytes))
        .load(&object)
        .map_err(|e| ProbeError::refused("the maps of the probe", &e))?;
    let mut loaded = prepare(ebpf, btf, layout.tun_known)?;
    loaded.fill_filters(options)?;
    Ok(loaded)
}

fn prepare(mut ebpf: Ebpf, btf: aya::Btf, tun_known: bool) -> Result<Loaded, ProbeError> {
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

    /// Takes a map out, to be used by itself.
    pub fn take(&mut self, name: &str) -> Result<aya::maps::Map, ProbeError> {
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

fn config(options: &ProbeOptions, layout: &offsets::Layout) -> Config {
    let mut snap = [options.snap_other; class::COUNT];
    snap[usize::from(class::TUN)] = options.snap_tunnel;
    snap[usize::from(class::TUNNEL)] = options.snap_tunnel;
    for length in &mut snap {
        *length = (*length).min(netdig_ebpf::PAYLOAD_MAX as u32);
    }
    Config {
        offsets: layout.offsets,
        self_pid: std::process::id(),
        compat_mask: layout.compat_mask,
        classes: options
            .classes
            .iter()
            .fold(0, |bits, class| bits | 1 << class),
        filters: options.filters(),
        snap,
        tun_known: layout.tun_known.into(),
        follow_tun_processes: options.follow_tun_processes.into(),
        ..Config::default()
    }
}

/// Size of the ring that is used first. What it is good for is to stay in the
/// cache; beside a small ring it would only be more room than was asked for.
fn hot_bytes(ring_bytes: u32) -> u32 {
    const PAGE: u32 = 4096;
    match ring_bytes {
        0..ENOUGH_RING => PAGE,
        _ => HOT_RING,
    }
}

fn port_bitmap(ports: &[u16]) -> [u64; PORT_WORDS] {
    let mut bitmap = [0; PORT_WORDS];
    for &port in ports {
        bitmap[usize::from(port >> 6)] |= 1 << (port & 63);
    }
    bitmap
}

fn bytes_of(config: &Config) -> &[u8] {
    // SAFETY: `Config` is repr(C), made of u32 alone, without padding.
    unsafe { std::slice::from_raw_parts((&raw const *config).cast(), size_of::<Config>()) }
}

/// Turns the placeholder calls of the programs into calls of the kernel function
/// with this BTF id. A BPF instruction is 8 bytes: code, registers, offset, imm.
fn link_kernel_function(object: &mut [u8], function: u32) {
    const PLACEHOLDER: [u8; 8] = [0x85, 0, 0, 0, 0x44, 0x4e, 0, 0];
    const PSEUDO_KFUNC_CALL: u8 = 2 << 4;
    for instruction in object.chunks_exact_mut(8) {
        if instruction == PLACEHOLDER {
            instruction[1] = PSEUDO_KFUNC_CALL;
            instruction[4..].copy_from_slice(&function.to_ne_bytes());
        }
    }
}
