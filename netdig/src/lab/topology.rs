//! Hosts, underlay and containers of a scenario, as network namespaces and links.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::scenario::{Backend, Container, Host, Net, Scenario};
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
    let places = std::iter::once(SWITCH).chain(scenario.places());
    let names: Vec<String> = places.map(|place| namespace(lab, place)).collect();
    for name in &names {
        if netns::exists(name) {
            bail!(
                "the network namespace {name} exists already and is not this lab's; where another lab \
                 has it (`netdig lab status`), give this one another name with --name, else remove \
                 it with `ip netns delete {name}`"
            );
        }
        before(name)?;
    }
    super::interrupt::check()?;
    netns::add(&names)?;
    let mut later = Vec::new();
    for place in scenario.places() {
        let wanted = sysctls(scenario, place);
        let missing = set_sysctls(&namespace(lab, place), &wanted, true)?;
        later.push((place, missing));
    }
    super::interrupt::check()?;
    ip::batch(Some(&namespace(lab, SWITCH)), &switch(lab, scenario))?;
    for host in &scenario.hosts {
        ip::batch(
            Some(&namespace(lab, &host.name)),
            &inside_host(lab, scenario, host),
        )
        .with_context(|| format!("cannot make the links of [[host]] \"{}\"", host.name))?;
        own_lines(lab, host)?;
    }
    super::interrupt::check()?;
    for container in &scenario.containers {
        let lines = ["link set lo up".to_owned(), "link set eth0 up".to_owned()];
        ip::batch(Some(&namespace(lab, &container.name)), &lines)?;
        if !container.late {
            give_addresses(lab, scenario, container)?;
        }
    }
    for (place, missing) in later {
        set_sysctls(&namespace(lab, place), &missing, false)?;
    }
    Ok(())
}

/// The segments, as bridges with a port for each link of a host.
fn switch(lab: &str, scenario: &Scenario) -> Vec<String> {
    let mut lines = Vec::new();
    let mut bridge = |name: &str, mtu: u32| {
        lines.push(format!(
            "link add name {name} mtu {mtu} type bridge mcast_snooping 0"
        ));
        lines.push(format!("link set dev {name} up"));
    };
    bridge(SWITCH, scenario.underlay.mtu);
    for segment in &scenario.segments {
        bridge(&segment.name, segment.mtu);
    }
    for host in &scenario.hosts {
        let inside = namespace(lab, &host.name);
        let mut attach = |segment: &str, port: &str, mtu: u32, device: &str, own: u32| {
            lines.push(format!(
                "link add name {port} mtu {mtu} type veth peer name {device} mtu {own} netns {inside}"
            ));
            lines.push(format!("link set dev {port} master {segment} up"));
        };
        let mtu = scenario.underlay.mtu;
        attach(SWITCH, &host.name, mtu, "eth0", host.mtu.unwrap_or(mtu));
        for (n, link) in host.links.iter().enumerate() {
            let mut segments = scenario.segments.iter();
            let segment = segments.find(|segment| segment.name == link.segment);
            let mtu = segment.map_or(scenario.underlay.mtu, |segment| segment.mtu);
            let port = format!("{}.{n}", host.name);
            attach(
                &link.segment,
                &port,
                mtu,
                &link.device,
                link.mtu.unwrap_or(mtu),
            );
        }
    }
    lines
}

/// All that `ip` does in a host before the scenario's own lines.
fn inside_host(lab: &str, scenario: &Scenario, host: &Host) -> Vec<String> {
    let mut lines = vec!["link set lo up".to_owned()];
    let mut up = |device: &str, addresses: &[Net]| {
        let added = addresses
            .iter()
            .map(|Net(address)| format!("address add {address} dev {device}"));
        lines.extend(added);
        lines.push(format!("link set dev {device} up"));
    };
    up("eth0", &host.addresses);
    for link in &host.links {
        up(&link.device, &link.addresses);
    }
    let containers = scenario.containers.iter();
    let containers: Vec<_> = containers.filter(|one| one.host == host.name).collect();
    let bridge = &host.bridge.name;
    if let Some(address) = bridge_address(host)
        && (host.bridge.address.is_some() || !containers.is_empty())
    {
        let mtu = bridge_mtu(scenario, host);
        lines.extend([
            format!("link add name {bridge} mtu {mtu} type bridge mcast_snooping 0"),
            format!("address add {address} dev {bridge}"),
            format!("link set dev {bridge} up"),
        ]);
    }
    for container in containers {
        let inside = namespace(lab, &container.name);
        let port = format!("veth-{}", container.name);
        let bridge_mtu = bridge_mtu(scenario, host);
        let mtu = container.mtu.unwrap_or(bridge_mtu);
        lines.extend([
            format!(
                "link add name {port} mtu {bridge_mtu} type veth peer name eth0 mtu {mtu} netns {inside}"
            ),
            format!("link set dev {port} master {bridge} up"),
        ]);
    }
    lines
}

/// The scenario's own lines for a host, each by itself: of one that it cannot parse,
/// `ip` does not say which of several it is.
fn own_lines(lab: &str, host: &Host) -> Result<()> {
    let namespace = namespace(lab, &host.name);
    let routes = host.routes.iter().map(|route| format!("route add {route}"));
    let own = host.ip.iter().cloned();
    let own = own.enumerate().map(|line| ("ip", line));
    let lines = routes.enumerate().map(|line| ("routes", line)).chain(own);
    for (key, (n, line)) in lines {
        ip::batch(Some(&namespace), &[line])
            .with_context(|| format!("[[host]] \"{}\", `{key}[{n}]`", host.name))?;
    }
    Ok(())
}

/// Gives a container its address and routes.
fn give_addresses(lab: &str, scenario: &Scenario, container: &Container) -> Result<()> {
    let name = &container.name;
    let namespace = namespace(lab, name);
    let Net(address) = container.address;
    let mut lines = vec![format!("address add {address} dev eth0")];
    if container.routes.is_none() {
        let bridge = scenario.host(&container.host).and_then(bridge_address);
        let bridge = bridge.with_context(|| format!("the container `{name}` has no bridge"))?;
        lines.push(format!("route add default via {}", bridge.address));
    }
    ip::batch(Some(&namespace), &lines)
        .with_context(|| format!("cannot give [[container]] \"{name}\" its address"))?;
    for (n, route) in container.routes.iter().flatten().enumerate() {
        ip::batch(Some(&namespace), &[format!("route add {route}")])
            .with_context(|| format!("[[container]] \"{name}\", `routes[{n}]`"))?;
    }
    Ok(())
}

/// Gives the containers that are `late` what the others have had from the start.
pub fn give_late_addresses(lab: &str, scenario: &Scenario) -> Result<()> {
    let mut late = scenario.containers.iter().filter(|one| one.late);
    late.try_for_each(|container| give_addresses(lab, scenario, container))
}

/// What dockerd would give the bridge of `host`.
fn bridge_address(host: &Host) -> Option<Ipv4Net> {
    let of_subnet = |Net(subnet): Net| Ipv4Net {
        address: first_address(subnet),
        ..subnet
    };
    host.bridge
        .address
        .map(|Net(address)| address)
        .or_else(|| host.subnet.map(of_subnet))
}

fn bridge_mtu(scenario: &Scenario, host: &Host) -> u32 {
    host.bridge.mtu.unwrap_or_else(|| overlay_mtu(scenario))
}

/// The scenario's sysctls for `place`, a host's own after those for all.
fn sysctls<'a>(scenario: &'a Scenario, place: &str) -> Vec<(&'a str, &'a str)> {
    let own = scenario
        .host(place)
        .into_iter()
        .flat_map(|host| &host.sysctls);
    let all = scenario.sysctls.iter().chain(own);
    all.map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

/// `/proc/sys/net` shows the namespace of the thread that opens it. They are
/// set before there are links, so that `default` counts for every link; those
/// of a link itself are returned (`early`), to be set when it is there.
fn set_sysctls<'a>(
    namespace: &str,
    wanted: &[(&'a str, &'a str)],
    early: bool,
) -> Result<Vec<(&'a str, &'a str)>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    netns::inside(namespace, || {
        // A kernel started without IPv6 has nothing to be switched off.
        let has_ipv6 = Path::new("/proc/sys/net/ipv6").exists();
        let mut missing = Vec::new();
        for &(name, value) in wanted {
            let path = Path::new("/proc/sys").join(name.replace('.', "/"));
            if !has_ipv6 && name.starts_with("net.ipv6.") {
                continue;
            }
            if early && !path.exists() {
                missing.push((name, value));
                continue;
            }
            std::fs::write(&path, value)
                .with_context(|| format!("cannot set {name} to {value} in {namespace}"))?;
        }
        Ok(missing)
    })?
}

/// The MTU that flannel gives its device and writes into subnet.env.
pub fn overlay_mtu(scenario: &Scenario) -> u32 {
    let header = match scenario.overlay.as_ref().map(|overlay| overlay.backend) {
        Some(Backend::Udp) => flannel::UDP_HEADER,
        Some(Backend::Vxlan) => flannel::VXLAN_HEADER,
        Some(Backend::HostGw) | None => 0,
    };
    scenario.underlay.mtu.saturating_sub(header)
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
    command.arg("--mtu").arg(overlay_mtu(scenario).to_string());
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
