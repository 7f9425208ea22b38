//! Live packets: from descriptors, by the probe, and off links.
use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};

use super::{host, opening, output, ports, selection};
use crate::cli::overlay::OverlayArgs;
use crate::commands::{privileges, stop::Stop};
use crate::conclusions::Conclusions;
use crate::context::namespace::Namespace;
use crate::engine::Engine;
use crate::finding::Severity;
use crate::observation::{Observation, ProcessChange};
use crate::output::OutputError;
use crate::selection::Selection;
use crate::source::idle::Idle;
use crate::source::netdev::{Netdev, NetdevError, NetdevOptions};
use crate::source::probe::{Probe, ProbeOptions, unix_now};
use crate::tracker::Tracker;

/// What `-i` calls all tun descriptors and their sockets.
pub const ALL_TUNS: &str = "/dev/net/tun";
/// Events taken before the clock and the signals are looked at again.
const BATCH: usize = 4096;
/// How often what waits is looked at while events flow.
const TICK: Duration = Duration::from_millis(10);

/// How often it is asked whether somebody still reads standard output.
const LOOK: Duration = Duration::from_millis(100);

/// Said with an unknown name: it might have been a tun's.
const NO_TUN: &str = "Nor does a process hold a tun of that name, as far as descriptors could be \
                      read: those of other users' processes take CAP_SYS_PTRACE, as root has";
/// Longest wait for packets that a link has received and not handed over.
const LAST_BLOCK: Duration = Duration::from_millis(500);

/// What a run watches.
struct Watched {
    probe: Option<Probe>,
    links: Vec<Netdev>,
}

/// Runs until a signal, `-M` or `-c` ends it. Returns the worst finding's severity.
///
/// # Errors
/// What could not be watched or written.
pub fn run(args: &OverlayArgs) -> anyhow::Result<Option<Severity>> {
    let netns = args.netns.as_deref().map(Namespace::open).transpose()?;
    let mut tracker = Tracker::from_proc().context("cannot read /proc")?;
    let mut selection = selection(args);
    selection.netns = netns.as_ref().map(|netns| netns.inode);
    let names = choose(args, &tracker, &mut selection);
    let links = open_links(args, &names, netns.as_ref())?;
    let wants_probe = args.iface.is_empty() || links.len() < args.iface.len();
    let output = output(args)?;
    // The clock of -M and the ready file start when everything is attached.
    let probe = match wants_probe {
        true => Some(start_probe(args, &tracker, &selection)?),
        false => None,
    };
    let mut watched = Watched { probe, links };
    if !args.quiet && std::io::stderr().is_terminal() {
        eprintln!("netdig: {}", opening::sentence(args, &mut tracker, &names));
    }
    let mut engine = Engine::new(tracker, ports(args), selection, output, args.count);
    engine.conclude(Conclusions::of_host(host::watch(
        args.netns.as_deref(),
        args.etcd.options()?,
    )?));
    let stop = Stop::watch(args.duration)?;
    if let Some(path) = &args.ready_file {
        ready(path)?;
    }
    privileges::drop_unneeded().context("cannot give up capabilities")?;
    let ran = watched.run(&mut engine, &stop);
    if super::nobody_reads(args, &ran) {
        return ran.map(|()| None);
    }
    let ended = watched.end(&mut engine);
    ran?;
    ended?;
    Ok(engine.worst())
}

/// Divides the names of `-i` into links, which it returns, and tuns, which go
/// into the selection.
fn choose<'a>(args: &'a OverlayArgs, tracker: &Tracker, selection: &mut Selection) -> Vec<&'a str> {
    let tuns = tracker.tun_fds();
    let mut links = Vec::new();
    let mut all = args.iface.is_empty();
    for name in &args.iface {
        let holders = tuns
            .iter()
            .filter(|tun| tun.interface == *name)
            .map(|tun| tun.pid);
        let holders: Vec<u32> = holders.collect();
        if name == ALL_TUNS {
            all = true;
        } else if holders.is_empty() {
            links.push(name.as_str());
        } else {
            selection.tuns.push(name.clone());
            selection.tun_pids.extend(holders);
        }
    }
    if all {
        selection.tuns.clear();
    }
    links
}

/// Memory for the packets of one link.
const LINK_BUFFER: usize = 64 << 20;

/// Memory for events: what was asked for, or what suits this machine.
fn buffer_bytes(args: &OverlayArgs) -> u32 {
    args.buffer_size
        .map_or_else(crate::source::probe::default_ring_bytes, |kib| kib * 1024)
}

fn open_links(
    args: &OverlayArgs,
    names: &[&str],
    netns: Option<&Namespace>,
) -> anyhow::Result<Vec<Netdev>> {
    let process_filters = !args.pid.is_empty()
        || !args.comm.is_empty()
        || !args.container_id.is_empty()
        || !args.container_name.is_empty()
        || !args.cgroup.is_empty();
    let mut links = Vec::new();
    for name in names {
        if process_filters {
            bail!(
                "packets of the link {name} belong to no process: leave out --pid, --comm, \
                 --cgroup and --container-*, or watch descriptors with -i {ALL_TUNS}"
            );
        }
        let options = NetdevOptions {
            snaplen: args.snaplen,
            promiscuous: args.promiscuous,
            netns: netns.map(Namespace::as_fd),
            ring_bytes: args
                .buffer_size
                .map_or(LINK_BUFFER, |kib| kib as usize * 1024),
            ..NetdevOptions::new(name)
        };
        links.push(Netdev::open(&options).map_err(|error| match error {
            NetdevError::Unknown { .. } => anyhow!("{error}. {NO_TUN}"),
            other => other.into(),
        })?);
    }
    Ok(links)
}

fn start_probe(
    args: &OverlayArgs,
    tracker: &Tracker,
    selection: &Selection,
) -> anyhow::Result<Probe> {
    let ports = ports(args);
    let snap = match args.snaplen {
        0 => netdig_ebpf::PAYLOAD_MAX as u32,
        snaplen => snaplen,
    };
    let options = ProbeOptions {
        ports: ports.iter().map(|(port, _)| port).collect(),
        snap_tunnel: snap,
        pids: selection.pids.clone(),
        comms: selection.comms.clone(),
        cgroups: args
            .cgroup
            .iter()
            .map(|path| cgroup_id(path))
            .collect::<Result<_, _>>()?,
        netns: selection.netns.into_iter().collect(),
        ring_bytes: buffer_bytes(args),
        ..ProbeOptions::default()
    };
    let holders = tracker.tun_fds().into_iter().map(|tun| tun.pid);
    Probe::start(&options, ports, holders).context("cannot watch descriptors")
}

/// Where cgroup v2 is mounted: alone, or beside v1.
const CGROUP_ROOTS: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// Id of a cgroup, which is the inode number of its folder; `path` as
/// /proc/PID/cgroup has it, or with the mount point before it.
fn cgroup_id(path: &str) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let below = CGROUP_ROOTS
        .iter()
        .map(|root| Path::new(root).join(path.trim_start_matches('/')));
    let is_v2 = |folder: &Path| folder.join("cgroup.controllers").exists();
    std::iter::once(Path::new(path).to_path_buf())
        .chain(below)
        .filter(|folder| is_v2(folder))
        .find_map(|folder| folder.metadata().ok())
        .map(|folder| folder.ino())
        .with_context(|| {
            format!(
                "--cgroup {path}: there is no such cgroup (v2); `cat /proc/PID/cgroup` shows a \
                 process's, on the line that begins with 0::"
            )
        })
}

fn ready(path: &Path) -> anyhow::Result<()> {
    std::fs::write(path, b"")
        .with_context(|| format!("cannot create the ready file {}", path.display()))
}

impl Watched {
    fn run(&mut self, engine: &mut Engine, stop: &Stop) -> anyhow::Result<()> {
        let mut last_tick = Instant::now();
        let mut last_loss = Instant::now();
        let mut last_look = Instant::now();
        let mut idle = Idle::default();
        while !engine.is_done() && !stop.is_due() {
            let count = self.poll_probe(engine)? + self.poll_links(engine)?;
            if count == 0 || last_tick.elapsed() >= TICK {
                last_tick = Instant::now();
                engine.tick(unix_now())?;
                engine.flush()?;
            }
            if last_look.elapsed() >= LOOK {
                last_look = Instant::now();
                engine.check_reader()?;
            }
            if last_loss.elapsed() >= Duration::from_secs(1) {
                last_loss = Instant::now();
                self.report_losses(engine)?;
            }
            match count {
                0 => idle.sleep(),
                _ => idle.reset(),
            }
        }
        Ok(())
    }

    /// Takes what the programs sent; returns how many events.
    fn poll_probe(&mut self, engine: &mut Engine) -> anyhow::Result<usize> {
        let Some(probe) = &mut self.probe else {
            return Ok(0);
        };
        let mut failed = None;
        let mut holders = Vec::new();
        let mut ended = Vec::new();
        let count = probe.poll(BATCH, |interfaces, observation| {
            if failed.is_some() {
                return;
            }
            notice(&observation, &mut holders, &mut ended);
            failed = engine.observe(0, interfaces, &observation, None).err();
        });
        for pid in holders {
            probe.holds_tun(pid);
        }
        for pid in ended {
            probe.ended(pid);
        }
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(count),
        }
    }

    /// Takes packets off the links; returns how many.
    fn poll_links(&mut self, engine: &mut Engine) -> anyhow::Result<usize> {
        let mut count = 0;
        for (index, link) in self.links.iter_mut().enumerate() {
            let interface = link.interface().clone();
            for _ in 0..BATCH {
                let Some(seen) = link.next()? else {
                    break;
                };
                count += 1;
                let packet_type = Some(seen.packet_type);
                let interfaces = std::slice::from_ref(&interface);
                engine.observe(
                    index + 1,
                    interfaces,
                    &Observation::Frame(seen.frame),
                    packet_type,
                )?;
            }
        }
        Ok(count)
    }

    fn report_losses(&mut self, engine: &mut Engine) -> anyhow::Result<()> {
        if let Some(probe) = &mut self.probe {
            for loss in probe.losses() {
                engine.observe(0, probe.interfaces(), &Observation::Loss(loss), None)?;
            }
        }
        for (index, link) in self.links.iter_mut().enumerate() {
            if let Some(loss) = link.loss()? {
                let interfaces = std::slice::from_ref(link.interface());
                engine.observe(index + 1, interfaces, &Observation::Loss(loss), None)?;
            }
        }
        Ok(())
    }

    /// Takes what is still on its way, once, and closes everything.
    fn end(mut self, engine: &mut Engine) -> anyhow::Result<()> {
        let drained = self.drain(engine);
        let lost = self.report_losses(engine);
        let noted = self.note_totals(engine);
        drop(self);
        let finished = engine.finish(unix_now());
        drained.and(lost)?;
        noted?;
        Ok(finished?)
    }

    /// What was there when the run ended; not what comes meanwhile, or a busy
    /// host would keep it from ending.
    fn drain(&mut self, engine: &mut Engine) -> anyhow::Result<()> {
        if let Some(probe) = &mut self.probe {
            probe.detach();
        }
        while !engine.is_done() && self.poll_probe(engine)? > 0 {}
        self.drain_links(engine)
    }

    /// The kernel holds a link's last packets back until their block's time is
    /// over.
    fn drain_links(&mut self, engine: &mut Engine) -> anyhow::Result<()> {
        for link in &mut self.links {
            link.stop()?;
        }
        let until = Instant::now() + LAST_BLOCK;
        let mut idle = Idle::default();
        let mut drained = Ok(());
        loop {
            // One link's end must not cost another its packets.
            let polled = self.poll_links(engine).map(drop);
            drained = drained.and(polled);
            self.report_losses(engine)?;
            let pending = self.links.iter().any(|link| link.pending() > 0);
            if !pending || engine.is_done() || Instant::now() >= until {
                return drained;
            }
            idle.sleep();
        }
    }

    fn note_totals(&mut self, engine: &mut Engine) -> Result<(), OutputError> {
        for link in &self.links {
            let (received, dropped) = link.totals();
            engine.statistics(link.interface(), received, dropped)?;
        }
        Ok(())
    }
}

/// Who came to hold a tun, and who ended.
fn notice(observation: &Observation<'_>, holders: &mut Vec<u32>, ended: &mut Vec<u32>) {
    use crate::observation::{FdChange, FdKind, Via};
    match observation {
        Observation::Frame(frame) if matches!(frame.via, Via::TunRead | Via::TunWrite) => {
            if let Some(actor) = frame.process
                && holders.last() != Some(&actor.pid)
            {
                holders.push(actor.pid);
            }
        }
        Observation::Fd(event) => {
            if let FdChange::New { fd, .. } | FdChange::Updated { fd } = &event.change
                && matches!(fd.kind, FdKind::Tun { .. })
            {
                holders.push(event.actor.pid);
            }
        }
        Observation::Process(event) => {
            if let ProcessChange::Exit { last: true, .. } = event.change {
                ended.push(event.actor.pid);
            }
        }
        _ => {}
    }
}
