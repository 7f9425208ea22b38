//! What a scenario file says: topology, parts, fault, traffic, expectations. What
//! is wrong is refused with file, line, column and table. `docs/scenarios.md` has every key.

mod check;
mod check_expected;
mod expected;
mod load;
mod network;
mod parts;
mod source;
mod steps;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::Deserialize;

pub use expected::{Absent, By, Conclusion, Expectation, Severity, Watch};
pub use load::{find, names, read};
pub use network::{
    Backend, Bridge, Container, Host, Link, Net, Overlay, Runtime, Segment, Underlay,
};
pub use parts::{Announcer, Api, Daemon, Etcd, Key, Renderer, Server, Via};
pub use steps::{Outcome, Step, shell};

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The folder's name, with the variant's behind a slash; not in the file.
    #[serde(skip)]
    pub name: String,
    /// The file's own text.
    #[serde(skip)]
    pub text: String,
    /// One line.
    pub title: String,
    /// What goes on, for the person who starts it.
    pub story: String,
    /// Codes of the findings that it is about.
    #[serde(default)]
    pub finding: Vec<String>,
    /// Programs that have to be there besides those of its parts.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Whether it disturbs others that run at the same time.
    #[serde(default)]
    pub alone: bool,
    /// What `${NAME}` stands for in the strings of the rest.
    #[serde(default)]
    pub values: BTreeMap<String, String>,
    #[serde(rename = "variant", default)]
    pub variants: Vec<Variant>,
    /// Set in every host and container, dotted names under `net`.
    #[serde(default)]
    pub sysctls: BTreeMap<String, String>,
    #[serde(default)]
    pub underlay: Underlay,
    #[serde(rename = "segment", default)]
    pub segments: Vec<Segment>,
    pub overlay: Option<Overlay>,
    pub etcd: Option<Etcd>,
    #[serde(rename = "key", default)]
    pub keys: Vec<Key>,
    #[serde(rename = "host")]
    pub hosts: Vec<Host>,
    #[serde(rename = "container", default)]
    pub containers: Vec<Container>,
    #[serde(rename = "server", default)]
    pub servers: Vec<Server>,
    #[serde(rename = "announcer", default)]
    pub announcers: Vec<Announcer>,
    #[serde(rename = "renderer", default)]
    pub renderers: Vec<Renderer>,
    #[serde(rename = "step", default)]
    pub steps: Vec<Step>,
    pub watch: Option<Watch>,
    #[serde(rename = "traffic", default)]
    pub traffic: Vec<Step>,
    #[serde(rename = "expect", default)]
    pub expectations: Vec<Expectation>,
    #[serde(rename = "conclusion", default)]
    pub conclusions: Vec<Conclusion>,
    #[serde(default)]
    pub none: Absent,
}

/// Another face of the same fault.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    pub name: String,
    #[serde(default)]
    pub values: BTreeMap<String, String>,
}

impl Scenario {
    /// Every name that traffic and servers may refer to.
    pub fn places(&self) -> impl Iterator<Item = &str> {
        self.hosts
            .iter()
            .map(|host| host.name.as_str())
            .chain(self.containers.iter().map(|c| c.name.as_str()))
    }

    /// The host of this name.
    pub fn host(&self, name: &str) -> Option<&Host> {
        self.hosts.iter().find(|host| host.name == name)
    }

    /// The container of this name.
    pub fn container(&self, name: &str) -> Option<&Container> {
        let mut containers = self.containers.iter();
        containers.find(|container| container.name == name)
    }

    /// The resolver that a process at `place` is to ask.
    pub fn nameserver(&self, place: &str) -> Option<Ipv4Addr> {
        self.host(place).and_then(|host| host.nameserver)
    }
}
