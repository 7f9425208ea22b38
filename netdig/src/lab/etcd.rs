//! Debian's etcd in a lab: both APIs, one member, nothing that has to last.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::registry::Registry;
use super::scenario::{Api, Backend, Etcd, Host, Overlay, Scenario};
use super::{Lab, netns};

/// The name under which it is in the journal. Nothing of it is worth an
/// orderly end, which takes it more than a second.
pub const WHAT: &str = "etcd";
const CLIENT_PORTS: [u16; 2] = [2379, 4001];
const PEER: &str = "http://127.0.0.1:2380";

/// Where a process at `place` reaches etcd: the addresses that it listens on,
/// its loopback only for itself.
pub fn endpoints(scenario: &Scenario, place: &str) -> Vec<SocketAddrV4> {
    let Some(etcd) = &scenario.etcd else {
        return Vec::new();
    };
    let own = first_address(scenario, &etcd.at);
    let reached = listen(scenario, etcd).into_iter().map(|address| {
        let any = address.ip().is_unspecified();
        match own.filter(|_| any) {
            Some(own) => SocketAddrV4::new(own, address.port()),
            None => address,
        }
    });
    reached
        .filter(|address| etcd.at == place || !address.ip().is_loopback())
        .collect()
}

fn first_address(scenario: &Scenario, place: &str) -> Option<Ipv4Addr> {
    let container = scenario.container(place);
    let host = scenario.host(place).and_then(Host::public);
    host.or(container.map(|container| container.address.0.address))
}

/// Where it listens.
fn listen(scenario: &Scenario, etcd: &Etcd) -> Vec<SocketAddrV4> {
    if !etcd.listen.is_empty() {
        return etcd.listen.clone();
    }
    let addresses = first_address(scenario, &etcd.at)
        .into_iter()
        .chain([Ipv4Addr::LOCALHOST]);
    let ports = |address| CLIENT_PORTS.map(|port| SocketAddrV4::new(address, port));
    addresses.flat_map(ports).collect()
}

fn command(scenario: &Scenario, etcd: &Etcd, data: &Path) -> Command {
    let urls = |addresses: Vec<SocketAddrV4>| {
        let urls = addresses.iter().map(|address| format!("http://{address}"));
        urls.collect::<Vec<_>>().join(",")
    };
    let mut command = Command::new("etcd");
    command
        .args(["--name", "lab", "--enable-v2", "--logger", "zap"])
        .args(["--log-outputs", "stderr", "--unsafe-no-fsync"])
        .arg("--data-dir")
        .arg(data)
        .args(["--listen-client-urls", &urls(listen(scenario, etcd))])
        .args([
            "--advertise-client-urls",
            &urls(endpoints(scenario, &etcd.at)),
        ])
        .args(["--listen-peer-urls", PEER])
        .args(["--initial-advertise-peer-urls", PEER])
        .args(["--initial-cluster", &format!("lab={PEER}")])
        // A member alone waits one election before it leads.
        .args(["--heartbeat-interval", "10", "--election-timeout", "50"]);
    command
}

/// What flannel's key `config` says; `None`: none is to be written.
pub fn flannel_config(overlay: &Overlay) -> Option<String> {
    if let Some(config) = &overlay.config {
        return Some(config.clone()).filter(|config| !config.is_empty());
    }
    let backend = match overlay.backend {
        Backend::Udp => format!(r#"{{"Type":"udp","Port":{}}}"#, overlay.port()),
        Backend::Vxlan => format!(
            r#"{{"Type":"vxlan","VNI":{},"Port":{}}}"#,
            overlay.vni,
            overlay.port()
        ),
        Backend::HostGw => r#"{"Type":"host-gw"}"#.to_owned(),
    };
    Some(format!(
        r#"{{"Network":"{}","SubnetLen":{},"Backend":{backend}}}"#,
        overlay.network.0.network(),
        overlay.subnet_len
    ))
}

impl Lab {
    /// Starts etcd, waits until it serves, and writes the keys that are to
    /// stand before all else.
    pub(super) fn start_etcd(&self) -> Result<()> {
        let Some(etcd) = &self.scenario.etcd else {
            return Ok(());
        };
        let command = command(&self.scenario, etcd, &self.path("etcd"));
        let child = self.start(WHAT, &etcd.at, command)?;
        let namespace = self.namespace(&etcd.at);
        let registry = |api| Registry::new(api, endpoints(&self.scenario, &etcd.at));
        self.wait_for(child, WHAT, || {
            netns::inside(&namespace, || registry(Api::V3).healthy())
        })?;
        netns::inside(&namespace, || {
            self.first_keys().try_for_each(|(api, key, value, ttl_s)| {
                registry(api)
                    .put(&key, &value, ttl_s)
                    .with_context(|| format!("cannot write the key {key}"))
            })
        })?
    }

    fn first_keys(&self) -> impl Iterator<Item = (Api, String, String, Option<u32>)> {
        let config = self.scenario.overlay.as_ref().and_then(|overlay| {
            let key = format!("{}/config", overlay.prefix());
            Some((overlay.api(), key, flannel_config(overlay)?, None))
        });
        let keys = self.scenario.keys.iter();
        config
            .into_iter()
            .chain(keys.map(|key| (key.api, key.key.clone(), key.value.clone(), key.ttl_s)))
    }
}
