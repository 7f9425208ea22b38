//! Hosts, underlay and containers of a scenario, as network namespaces and links.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::scenario::{Container, Host, Net, Scenario};
use super::tunnel::Ipv4Net;
use super::{flannel, ip, netns};

/// The place that holds the underlay's bridge.
pub const SWITCH: &str = "underlay";

/// Name of the network namespace of a host or container.
pub fn namespace(lab: &str, place: &str) -> String {
    format!("netdig-{lab}-{place}")
}

/// Makes the namespaces and links of `scenario`. `before` hears of every
/// namespace before it is made.
pub fn build(
    lab: &str,
    scenario: &Scenario,
    mut before: impl FnMut(&str) -> Result<()>,
) -> Result<()> {
    let mut add = |place: &str| -> Result<()> {
        super::interrupt::check()?;
        let name = namespace(lab, place);
        if netns::exists(&name) {
            bail!(
                "the network namespace {name} exists already and is not this lab's; remove it with `ip netns delete {name}`"
            );
        }
        before(&name)?;
        netns::add(&name)
    };
    add(SWITCH)?;
    for place in scenario.places() {
        add(place)?;
        set_sysctls(&namespace(lab, place), scenario)?;
    }
    let mtu = scenario.underlay.mtu;
    ip::batch(
        Some(&namespace(lab, SWITCH)),
        &[
            format!("link add br0 mtu {mtu} type bridge mcast_snooping 0"),
            "link set br0 up".to_owned(),
        ],
    )?;
    for host in &scenario.hosts {
        attach_host(lab, scenario, host)?;
    }
    scenario
        .containers
        .iter()
        .try_for_each(|container| attach_container(lab, scenario, container))
}

fn attach_host(lab: &str, scenario: &Scenario, host: &Host) -> Result<()> {
    let (port, mtu, inside) = (
        &host.name,
        scenario.underlay.mtu,
        namespace(lab, &host.name),
    );
    ip::batch(
        Some(&namespace(lab, SWITCH)),
        &[
            format!("link add {port} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {inside}"),
            format!("link set {port} master br0 up"),
        ],
    )?;
    let mut lines: Vec<String> = host
        .addresses
        .iter()
        .map(|Net(address)| format!("address add {address} dev eth0"))
        .collect();
    lines.push("link set eth0 up".to_owned());
    lines.extend(host.routes.iter().map(|route| format!("route add {route}")));
    if let Some(Net(subnet)) = host.subnet
        && scenario
            .containers
            .iter()
            .any(|container| container.host == host.name)
    {
        lines.push(format!(
            "link add docker0 mtu {} type bridge mcast_snooping 0",
            tunnel_mtu(scenario)
        ));
        lines.push(format!(
            "address add {}/{} dev docker0",
            first_address(subnet),
            subnet.prefix
        ));
        lines.push("link set docker0 up".to_owned());
    }
    ip::batch(Some(&inside), &lines)
}

fn attach_container(lab: &str, scenario: &Scenario, container: &Container) -> Result<()> {
    let (inside, mtu) = (namespace(lab, &container.name), tunnel_mtu(scenario));
    let port = format!("veth-{}", container.name);
    ip::batch(
        Some(&namespace(lab, &container.host)),
        &[
            format!("link add {port} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {inside}"),
            format!("link set {port} master docker0 up"),
        ],
    )?;
    let Net(address) = container.address;
    ip::batch(
        Some(&inside),
        &[
            format!("address add {address} dev eth0"),
            "link set eth0 up".to_owned(),
            format!("route add default via {}", first_address(address)),
        ],
    )
}

/// `/proc/sys/net` shows the namespace of the thread that opens it. They are
/// set before there are links, so that `default` counts for every link.
fn set_sysctls(namespace: &str, scenario: &Scenario) -> Result<()> {
    netns::inside(namespace, || {
        // A kernel started without IPv6 has nothing to be switched off.
        let has_ipv6 = Path::new("/proc/sys/net/ipv6").exists();
        scenario
            .sysctls
            .iter()
            .filter(|(name, _)| has_ipv6 || !name.starts_with("net.ipv6."))
            .try_for_each(|(name, value)| {
                let path = Path::new("/proc/sys").join(name.replace('.', "/"));
                std::fs::write(&path, value)
                    .with_context(|| format!("cannot set {name} to {value} in {namespace}"))
            })
    })?
}

/// The MTU that flannel gives its device and writes into subnet.env.
fn tunnel_mtu(scenario: &Scenario) -> u32 {
    let overhead = scenario.overlay.as_ref().map_or(0, flannel::overhead);
    scenario.underlay.mtu.saturating_sub(overhead)
}

/// The address that dockerd gives its bridge.
fn first_address(subnet: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from_bits(subnet.network().address.to_bits() | 1)
}

/// The command line of the tunnel daemon of `host`, whose lease is `subnet`:
/// its tun has the subnet's own address, its routes are the others' leases.
pub fn tunnel_command(
    scenario: &Scenario,
    host: &Host,
    subnet: Ipv4Net,
    ready: &Path,
) -> Result<Command> {
    let overlay = scenario.overlay.as_ref().context("there is no overlay")?;
    let port = overlay.port();
    let public = |host: &Host| host.public().map(|ip| SocketAddrV4::new(ip, port));
    let leased = |host: &Host| {
        let address = host.public_ip.or(host.public());
        address.map(|ip| SocketAddrV4::new(ip, port))
    };
    let executable = std::env::current_exe().context("cannot find netdig's own executable")?;
    let mut command = Command::new(executable);
    command.args(["lab", "tunnel", "--tun", "flannel0"]);
    command.arg("--address").arg(format!(
        "{}/{}",
        subnet.network().address,
        overlay.network.0.prefix
    ));
    command
        .arg("--listen")
        .args(public(host).map(|address| address.to_string()));
    command.arg("--mtu").arg(tunnel_mtu(scenario).to_string());
    for peer in scenario.hosts.iter().filter(|peer| peer.name != host.name) {
        if let (Some(Net(lease)), Some(address)) = (peer.subnet, leased(peer)) {
            command
                .arg("--route")
                .arg(format!("{}={address}", lease.network()));
        }
    }
    command.arg("--ready-file").arg(ready);
    Ok(command)
}
