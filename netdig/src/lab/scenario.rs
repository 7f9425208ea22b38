//! What a scenario file says: topology, parts, traffic, expectations. Unknown
//! keys are refused with line and column.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use super::tunnel::Ipv4Net;

/// The scenarios that are part of the program: slug and file.
const BUILT_IN: &[(&str, &str)] = &[
    (
        "flannel-udp",
        include_str!("../../../scenarios/flannel-udp/scenario.toml"),
    ),
    (
        "overlay-swallows-underlay",
        include_str!("../../../scenarios/overlay-swallows-underlay/scenario.toml"),
    ),
];

/// Slugs of all built-in scenarios, in the order of the list.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILT_IN.iter().map(|(name, _)| *name)
}

/// Reads the built-in scenario of this name.
pub fn load(name: &str) -> Result<Scenario> {
    let Some((_, text)) = BUILT_IN.iter().find(|(slug, _)| *slug == name) else {
        bail!(
            "there is no scenario `{name}`; there are: {}",
            names().collect::<Vec<_>>().join(", ")
        );
    };
    Scenario::parse(name, text)
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The folder's name; not in the file.
    #[serde(skip)]
    pub name: String,
    /// One line.
    pub title: String,
    /// What goes on, for the person who starts it.
    pub story: String,
    /// Set in every host and container, dotted names under `net`.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    pub underlay: Underlay,
    pub overlay: Overlay,
    #[serde(rename = "host")]
    pub hosts: Vec<Host>,
    #[serde(rename = "container", default)]
    pub containers: Vec<Container>,
    #[serde(rename = "server", default)]
    pub servers: Vec<Server>,
    pub watch: Watch,
    #[serde(default)]
    pub traffic: Vec<Traffic>,
    #[serde(rename = "expect", default)]
    pub expectations: Vec<Expectation>,
}

/// The segment that all hosts share: a bridge in a namespace of its own.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Underlay {
    /// Bytes.
    pub mtu: u32,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// flannel's `Network`.
    pub network: Net,
    /// UDP port of the tunnel.
    pub port: u16,
}

/// A machine: a network namespace with `eth0` on the underlay.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    pub name: String,
    /// Addresses of `eth0`; the first is the public address of its tunnel.
    pub addresses: Vec<Net>,
    /// What `ip route add` takes.
    #[serde(default)]
    pub routes: Vec<String>,
    /// Becomes the host's `/etc/resolv.conf`.
    pub nameserver: Option<Ipv4Addr>,
    /// Its lease. With one it has a tunnel and, where it has containers, a
    /// bridge `docker0` with the subnet's first address.
    pub subnet: Option<Net>,
}

/// Something with an address in its host's subnet, in a namespace of its own.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    pub name: String,
    pub host: String,
    pub address: Net,
}

/// A real server program.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Server {
    /// nginx, which answers every request with 200 and `body`.
    Http {
        at: String,
        listen: SocketAddrV4,
        body: String,
    },
    /// dnsmasq, which knows `records` and nothing else.
    Dns {
        at: String,
        listen: SocketAddrV4,
        records: BTreeMap<String, Ipv4Addr>,
    },
}

impl Server {
    /// Host or container that it runs in.
    pub fn at(&self) -> &str {
        match self {
            Server::Http { at, .. } | Server::Dns { at, .. } => at,
        }
    }
}

/// How `netdig overlay` is started for this scenario.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Host whose traffic is looked at; given to netdig as `--netns`.
    pub host: String,
    /// More of netdig's arguments.
    pub arguments: Vec<String>,
}

/// A command that makes traffic, and what is to come of it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Host or container that it runs in.
    pub on: String,
    pub run: Vec<String>,
    #[serde(default)]
    pub outcome: Outcome,
    /// Seconds until it is stopped and counts as hanging.
    #[serde(default = "ten")]
    pub deadline_s: u32,
    /// Must be in what it prints.
    pub prints: Option<String>,
}

const fn ten() -> u32 {
    10
}

impl Traffic {
    /// The command as a person would type it.
    pub fn shell(&self) -> String {
        let plain = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b"-_./:@+=,".contains(&b))
        };
        let quoted = self.run.iter().map(|word| match plain(word) {
            true => word.clone(),
            false => format!("'{}'", word.replace('\'', r"'\''")),
        });
        quoted.collect::<Vec<_>>().join(" ")
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Exit code 0.
    #[default]
    Succeeds,
    /// Another exit code.
    Fails,
    /// Still there at the deadline.
    Hangs,
}

/// What netdig's JSON lines must, or must not, show.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// What it is about, for the report.
    pub what: String,
    /// `kind` of the objects that count.
    pub kind: String,
    /// Dotted paths and the values to be found there; in an array any element may fit.
    #[serde(rename = "where", default)]
    pub fields: BTreeMap<String, toml::Value>,
    /// Dotted paths that must hold something.
    #[serde(default)]
    pub present: Vec<String>,
    #[serde(default = "one")]
    pub at_least: usize,
    pub at_most: Option<usize>,
    /// Not concluded yet: failing is counted and forgiven, holding is an error.
    #[serde(default)]
    pub pending: bool,
}

const fn one() -> usize {
    1
}

/// An address with its prefix length, from a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Net(pub Ipv4Net);

impl TryFrom<String> for Net {
    type Error = String;

    fn try_from(text: String) -> Result<Net, String> {
        text.parse().map(Net)
    }
}

impl Scenario {
    /// Parses and checks the text of a scenario file.
    pub fn parse(name: &str, text: &str) -> Result<Scenario> {
        let mut scenario: Scenario = toml::from_str(text)
            .with_context(|| format!("the scenario `{name}` cannot be read"))?;
        scenario.name = name.to_owned();
        scenario
            .check()
            .with_context(|| format!("the scenario `{name}` does not fit together"))?;
        Ok(scenario)
    }

    /// Every name that traffic and servers may refer to.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.hosts
            .iter()
            .map(|host| host.name.as_str())
            .chain(self.containers.iter().map(|c| c.name.as_str()))
    }

    /// The resolver that a process at `place` is to ask.
    pub fn nameserver(&self, place: &str) -> Option<Ipv4Addr> {
        self.hosts
            .iter()
            .find(|host| host.name == place)
            .and_then(|host| host.nameserver)
    }

    fn check(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        for name in self.places() {
            if !is_name(name) || name == super::topology::SWITCH {
                bail!(
                    "`{name}` cannot name a host: 1 to 10 lower-case letters, digits and hyphens, and not `{}`",
                    super::topology::SWITCH
                );
            }
            if !names.insert(name) {
                bail!("two hosts or containers are named `{name}`");
            }
        }
        let known = |place: &str| match names.contains(place) {
            true => Ok(()),
            false => Err(anyhow::anyhow!(
                "`{place}` is neither a host nor a container"
            )),
        };
        for host in &self.hosts {
            if host.addresses.is_empty() {
                bail!("the host `{}` has no address", host.name);
            }
        }
        for container in &self.containers {
            let host = self.hosts.iter().find(|host| host.name == container.host);
            let subnet = host.and_then(|host| host.subnet);
            if !subnet.is_some_and(|Net(subnet)| subnet.contains(container.address.0.address)) {
                bail!(
                    "the container `{}` is not in the subnet of its host `{}`",
                    container.name,
                    container.host
                );
            }
        }
        self.servers
            .iter()
            .try_for_each(|server| known(server.at()))?;
        self.traffic
            .iter()
            .try_for_each(|traffic| known(&traffic.on))?;
        if self.traffic.iter().any(|traffic| traffic.run.is_empty()) {
            bail!("a traffic step has nothing to run");
        }
        known(&self.watch.host)
    }
}

/// Whether this can be part of namespace and device names. Ten characters:
/// `docker0` ports and switch ports carry the name within the kernel's fifteen.
fn is_name(name: &str) -> bool {
    (1..=10).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_scenario_can_be_read() {
        for name in names() {
            let scenario = load(name).unwrap_or_else(|error| panic!("{name}: {error:#}"));
            assert!(!scenario.expectations.is_empty(), "{name} expects nothing");
            assert!(!scenario.title.contains('\n'));
        }
    }

    #[test]
    fn every_scenario_folder_is_built_in() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");
        let mut folders: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        folders.sort();
        let mut built_in: Vec<_> = names().collect();
        built_in.sort_unstable();
        assert_eq!(folders, built_in);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let text = BUILT_IN[0]
            .1
            .replacen("[underlay]", "[underlay]\ncolour = 3", 1);
        let line = text
            .lines()
            .position(|line| line.starts_with("colour"))
            .unwrap()
            + 1;
        let error = format!("{:#}", Scenario::parse("x", &text).unwrap_err());
        assert!(
            error.contains(&format!("line {line}, column 1")) && error.contains("colour"),
            "{error}"
        );
    }

    #[test]
    fn a_reference_to_nothing_is_refused() {
        let text = BUILT_IN[0]
            .1
            .replacen("on = \"balancer\"", "on = \"nobody\"", 1);
        let error = format!("{:#}", Scenario::parse("x", &text).unwrap_err());
        assert!(error.contains("`nobody` is neither"), "{error}");
    }
}
