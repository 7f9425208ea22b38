//! The overlay's daemons as parts of a lab: the lab's own, or flanneld.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::lease::Config;
use crate::lab::scenario::{Api, Daemon, Host, Net, Overlay, Scenario};
use crate::lab::tunnel::Ipv4Net;
use crate::lab::{Lab, etcd, programs, topology};

/// In a host's own /run.
const SUBNET_FILE: &str = "/run/flannel/subnet.env";

/// How it is learned that a daemon works.
enum Ready {
    /// It makes this file.
    File(PathBuf),
    /// It leads to the others, as far as that can be seen from outside.
    Leads(Leading),
    /// It runs, and waits for what may never come.
    Alive,
}

impl Ready {
    /// Whether the daemon `pid` says so.
    fn is_there(&self, pid: u32) -> bool {
        match self {
            Ready::File(path) => path.exists(),
            Ready::Alive => true,
            Ready::Leads(leading) => leading.works(pid),
        }
    }
}

/// How long flanneld's leading to the others is waited for once it has its
/// lease: some it may never lead to, those with another backend.
const LEADS_WITHIN: Duration = Duration::from_secs(3);
/// flanneld hears of the last lease twice, from the list that it reads and from
/// the watch that begins there, and then sets again what somebody has removed.
const QUIET: Duration = Duration::from_millis(300);

/// What flanneld is to do before it counts as working. It says READY (to
/// systemd) before it has looked for the others.
struct Leading {
    /// The subnets of the others.
    others: Vec<Ipv4Net>,
    log: PathBuf,
}

impl Leading {
    fn works(&self, pid: u32) -> bool {
        // Seen as the daemon sees it: its /run may be its own.
        let subnet_file = PathBuf::from(format!("/proc/{pid}/root{SUBNET_FILE}"));
        // Its MTU is not known before.
        let leased =
            fs::read_to_string(&subnet_file).is_ok_and(|text| text.contains("FLANNEL_MTU="));
        leased
            && untouched(&self.log, QUIET)
            && (untouched(&subnet_file, LEADS_WITHIN) || self.leads_to_all(pid))
    }

    /// By a route, which vxlan and host-gw set last, or, since udp has one for
    /// all, by its log.
    fn leads_to_all(&self, pid: u32) -> bool {
        let routes = fs::read_to_string(format!("/proc/{pid}/net/route")).unwrap_or_default();
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        self.others
            .iter()
            .all(|subnet| has_route(&routes, *subnet) || said_added(&log, *subnet))
    }
}

/// Whether nobody has written a file for so long.
fn untouched(file: &Path, time: Duration) -> bool {
    let written = fs::metadata(file).and_then(|file| file.modified());
    written.is_ok_and(|written| written.elapsed().is_ok_and(|elapsed| elapsed >= time))
}

/// Whether /proc's table of routes has one for all of `subnet`.
fn has_route(routes: &str, subnet: Ipv4Net) -> bool {
    let hex = |address: u32| format!("{:08X}", address.to_be());
    let network = hex(subnet.network().address.to_bits());
    let mask = hex(u32::MAX << (32 - u32::from(subnet.prefix.clamp(1, 32))));
    routes.lines().any(|line| {
        let mut fields = line.split_whitespace();
        fields.nth(1) == Some(&network) && fields.nth(5) == Some(&mask)
    })
}

fn said_added(log: &str, subnet: Ipv4Net) -> bool {
    let added = format!("ubnet added: {}", subnet.network());
    log.lines().any(|line| {
        line.split_once(&added)
            .is_some_and(|(_, rest)| !rest.starts_with(|next: char| next.is_ascii_digit()))
    })
}

impl Lab {
    /// Starts the overlay's daemons, and waits until all can lead to all.
    pub(in crate::lab) fn start_tunnels(&self) -> Result<()> {
        let mut started = Vec::new();
        for host in self.scenario.hosts.iter().filter(|host| host.tunnel) {
            let Some(Net(subnet)) = host.subnet else {
                continue;
            };
            let what = format!("tunnel-{}", host.name);
            let (command, ready) = self.tunnel(host, subnet, &what)?;
            started.push((self.start(&what, &host.name, command)?, what, ready));
        }
        for (child, what, ready) in started {
            let pid = child.id();
            self.wait_for(child, &what, || Ok(ready.is_there(pid)))?;
        }
        Ok(())
    }

    fn tunnel(&self, host: &Host, subnet: Ipv4Net, what: &str) -> Result<(Command, Ready)> {
        let overlay = self.scenario.overlay.as_ref();
        let overlay = overlay.context("there is no overlay")?;
        let ready = self.path(&format!("{what}.ready"));
        if self.scenario.etcd.is_none() {
            if overlay.daemon == Daemon::Real {
                bail!("flanneld needs an [etcd]");
            }
            let command = topology::tunnel_command(&self.scenario, host, subnet, &ready)?;
            return Ok((command, Ready::File(ready)));
        }
        let real = match overlay.daemon {
            Daemon::Lab => None,
            Daemon::Any => {
                programs::find("flanneld")?.filter(|flanneld| speaks(flanneld, overlay.api()))
            }
            Daemon::Real => programs::find("flanneld")?,
        };
        let mut command = match &real {
            Some(flanneld) => foretold(flanneld, overlay, subnet),
            None if overlay.daemon == Daemon::Real => bail!(
                "the scenario asks for the real flanneld, which is not on PATH; name it with --flanneld"
            ),
            None => {
                let netdig =
                    std::env::current_exe().context("cannot find netdig's own executable")?;
                let mut command = Command::new(netdig);
                command.args(["lab", "flannel"]);
                command
            }
        };
        add_arguments(&mut command, &self.scenario, overlay, host);
        let expected = expected(&self.scenario, overlay);
        if let Some(flanneld) = &real {
            // The lab's own writes no rules of a firewall, and a scenario's are its fault.
            if version(flanneld).is_some_and(|version| version >= FORWARD_RULES) {
                command.arg("--iptables-forward-rules=false");
            }
            let ready = match expected.is_empty() {
                true => Ready::Alive,
                false => Ready::Leads(Leading {
                    others: others(&self.scenario, host),
                    log: self.log(what),
                }),
            };
            return Ok((command, ready));
        }
        command.args([
            "--api",
            api_name(overlay.api()),
            "--ttl",
            &overlay.ttl_s().to_string(),
        ]);
        command.args(["--subnet", &subnet.network().to_string()]);
        if !expected.is_empty() {
            command.args(["--ready-with", &expected.join(",")]);
        }
        command.arg("--ready-file").arg(&ready);
        Ok((command, Ready::File(ready)))
    }
}

/// Since when flanneld lets the overlay through the FORWARD chain, and can be told
/// not to.
const FORWARD_RULES: (u32, u32) = (0, 11);

/// Whether this flanneld can lease by that API: since 0.18 it speaks v3 alone,
/// before that v2 alone. One that does not say what it is may speak v3.
fn speaks(flanneld: &Path, api: Api) -> bool {
    let newer = version(flanneld).is_none_or(|version| version >= (0, 18));
    newer == (api == Api::V3)
}

/// What `flanneld --version` says, as `v0.22.3`: major and minor.
fn version(flanneld: &Path) -> Option<(u32, u32)> {
    let output = Command::new("timeout")
        .arg("2")
        .arg(flanneld)
        .arg("--version")
        .stdin(Stdio::null())
        .output()
        .ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    said.split_whitespace().find_map(|word| {
        let mut parts = word.trim_start_matches('v').split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

const fn api_name(api: Api) -> &'static str {
    match api {
        Api::V2 => "v2",
        Api::V3 => "v3",
    }
}

/// What flanneld is told, and in the same words the lab's own.
fn add_arguments(command: &mut Command, scenario: &Scenario, overlay: &Overlay, host: &Host) {
    let endpoints = etcd::endpoints(scenario, &host.name).into_iter();
    let urls: Vec<String> = endpoints
        .map(|address| format!("http://{address}"))
        .collect();
    command.args(["--etcd-endpoints", &urls.join(",")]);
    command.args(["--etcd-prefix", overlay.prefix(), "--iface", "eth0"]);
    if let Some(address) = host.public_ip {
        command.args(["--public-ip", &address.to_string()]);
    }
    command.args(["--subnet-file", SUBNET_FILE]);
}

/// flanneld, which leases the subnet that it finds in the file of an earlier one,
/// if it is free: the file is written first.
fn foretold(flanneld: &Path, overlay: &Overlay, subnet: Ipv4Net) -> Command {
    let first = Ipv4Addr::from_bits(subnet.network().address.to_bits() | 1);
    let script = format!(
        "mkdir -p /run/flannel && echo FLANNEL_NETWORK={} > {SUBNET_FILE} && \
         echo FLANNEL_SUBNET={first}/{} >> {SUBNET_FILE} && exec \"$0\" \"$@\"",
        overlay.network.0.network(),
        subnet.prefix
    );
    let mut command = Command::new("sh");
    command.args(["-c", &script]).arg(flanneld);
    command
}

/// The subnets of all other hosts that get one.
fn others(scenario: &Scenario, host: &Host) -> Vec<Ipv4Net> {
    let hosts = scenario.hosts.iter();
    hosts
        .filter(|other| other.tunnel && other.name != host.name)
        .filter_map(|other| other.subnet.map(|Net(subnet)| subnet.network()))
        .collect()
}

/// Public addresses of all whose leases will come; none where the
/// configuration is such that none can.
fn expected(scenario: &Scenario, overlay: &Overlay) -> Vec<String> {
    let works = etcd::flannel_config(overlay).is_some_and(|config| Config::parse(&config).is_ok());
    let hosts = scenario.hosts.iter();
    let hosts = hosts.filter(|host| works && host.tunnel && host.subnet.is_some());
    let addresses = hosts.filter_map(|host| host.public_ip.or(host.public()));
    addresses.map(|address| address.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scripts stand for flanneld: what they say of their version decides.
    #[test]
    fn a_flanneld_is_taken_for_the_api_that_it_speaks() {
        let folder = std::env::temp_dir().join(format!("netdig-flanneld-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let cases = [
            ("echo v0.5.5 >&2", Some((0, 5)), Api::V2),
            ("echo v0.17.0", Some((0, 17)), Api::V2),
            ("echo v0.18.0", Some((0, 18)), Api::V3),
            ("echo flanneld 0.22.3+dirty", Some((0, 22)), Api::V3),
            ("echo v1.0.0", Some((1, 0)), Api::V3),
            ("exit 1", None, Api::V3),
            ("echo no number", None, Api::V3),
        ];
        for (n, (says, number, api)) in cases.into_iter().enumerate() {
            let flanneld = folder.join(format!("flanneld-{n}"));
            fs::write(
                &flanneld,
                format!("#!/bin/sh\n[ \"$1\" = --version ] && {says}\n"),
            )
            .unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(&flanneld, mode).unwrap();
            assert_eq!(version(&flanneld), number, "{says}");
            assert!(speaks(&flanneld, api), "{says}");
            let other = if api == Api::V2 { Api::V3 } else { Api::V2 };
            assert!(!speaks(&flanneld, other), "{says}");
        }
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn flanneld_leads_where_a_route_or_its_log_says_so() {
        let head = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n";
        let routes = format!("{head}flannel.1\t000DA8C0\t000DA8C0\t0007\t0\t0\t0\t00FFFFFF\t0\n");
        let subnet = |text: &str| text.parse().unwrap();
        assert!(has_route(&routes, subnet("192.168.13.0/24")));
        assert!(!has_route(&routes, subnet("192.168.13.0/25")));
        assert!(!has_route(&routes, subnet("192.168.1.0/24")));
        let log = "I1121 udp.go:1] Subnet added: 10.5.1.0/24\nI1121 Subnet added: 10.5.2.0/24 via 10.1.1.5\n";
        assert!(said_added(log, subnet("10.5.1.0/24")));
        assert!(said_added(log, subnet("10.5.2.0/24")));
        assert!(!said_added(log, subnet("10.5.1.0/2")));
        assert!(!said_added(log, subnet("10.5.3.0/24")));
    }
}
