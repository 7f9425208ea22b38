//! Whether the parts of a scenario fit together.

use std::collections::BTreeSet;
use std::path::Path;

use super::super::topology::SWITCH;
use super::source::{Part, Refusal, refuse};
use super::{Backend, Host, Link, Net, Overlay, Scenario, Server, Step};

type Result<T = ()> = std::result::Result<T, Refusal>;

impl Scenario {
    pub(super) fn check(&self) -> Result {
        self.check_names()?;
        let variants = self.variants.iter().map(|one| &one.name);
        distinct("variant", variants)?;
        distinct("announcer", self.announcers.iter().map(|one| &one.name))?;
        distinct("renderer", self.renderers.iter().map(|one| &one.name))?;
        check_sysctls(&[], self.sysctls.keys())?;
        if self.hosts.is_empty() {
            refuse!(["host"], "a scenario has at least one host");
        }
        for (n, host) in self.hosts.iter().enumerate() {
            self.check_host(n, host)?;
        }
        self.check_containers()?;
        self.check_sizes()?;
        self.check_needs_of_etcd()?;
        self.check_parts()?;
        self.check_steps("step", &self.steps)?;
        self.check_steps("traffic", &self.traffic)?;
        self.check_expected()
    }

    /// Names of places and segments, which become names of namespaces and links.
    fn check_names(&self) -> Result {
        let mut names = BTreeSet::new();
        let hosts = self.hosts.iter().map(|one| &one.name).enumerate();
        let containers = self.containers.iter().map(|one| &one.name).enumerate();
        let segments = self.segments.iter().map(|one| &one.name).enumerate();
        let all = (hosts.map(|one| ("host", one)))
            .chain(containers.map(|one| ("container", one)))
            .chain(segments.map(|one| ("segment", one)));
        for (table, (n, name)) in all {
            if !is_name(name, 10) || RESERVED.contains(&name.as_str()) {
                refuse!(
                    [table, n, "name"],
                    "`{name}` cannot name a host, container or segment: 1 to 10 lower-case letters, \
                     digits and hyphens, no hyphen first, and none of: {}",
                    RESERVED.join(", ")
                );
            }
            if !names.insert(name) {
                refuse!(
                    [table, n, "name"],
                    "two hosts, containers or segments are named `{name}`"
                );
            }
        }
        Ok(())
    }

    /// Refuses a name that is no place's; `path` is where it stands.
    pub(super) fn known<const N: usize>(&self, path: [Part; N], place: &str) -> Result {
        if self.places().any(|name| name == place) {
            return Ok(());
        }
        let places: Vec<_> = self.places().collect();
        Err(Refusal {
            path: path.into(),
            sentence: format!(
                "`{place}` is neither a host nor a container; there are: {}",
                places.join(", ")
            ),
        })
    }

    fn check_host(&self, n: usize, host: &Host) -> Result {
        if host.addresses.is_empty() {
            refuse!(["host", n, "addresses"], "a host has at least one address");
        }
        check_sysctls(&["host".into(), n.into()], host.sysctls.keys())?;
        self.check_subnet(n, host)?;
        for (m, link) in host.links.iter().enumerate() {
            self.check_link(n, m, link)?;
        }
        if !is_device(&host.bridge.name) {
            refuse!(
                ["host", n, "bridge", "name"],
                "`{}` cannot name a bridge: {DEVICE}",
                host.bridge.name
            );
        }
        for path in host.files.keys() {
            let shown = Part::Name(path.display().to_string());
            check_private(path, ["host".into(), n.into(), "files".into(), shown])?;
        }
        Ok(())
    }

    /// flannel leases nothing outside of its network.
    fn check_subnet(&self, n: usize, host: &Host) -> Result {
        let Some(Net(subnet)) = host.subnet else {
            return Ok(());
        };
        let Some(overlay) = &self.overlay else {
            refuse!(
                ["host", n, "subnet"],
                "a subnet is a lease of the overlay, but there is no [overlay]"
            );
        };
        let network = overlay.network.0.network();
        if subnet.prefix < network.prefix || !network.contains(subnet.address) {
            refuse!(
                ["host", n, "subnet"],
                "{subnet} is not within the network of the [overlay], {network}"
            );
        }
        Ok(())
    }

    fn check_link(&self, n: usize, m: usize, link: &Link) -> Result {
        let segments = self.segments.iter().map(|one| one.name.as_str());
        let segments: Vec<_> = segments.collect();
        if !segments.contains(&link.segment.as_str()) {
            let there_are = match segments.is_empty() {
                true => "there is no [[segment]]".to_owned(),
                false => format!("there are: {}", segments.join(", ")),
            };
            refuse!(
                ["host", n, "links", m, "segment"],
                "`{}` is no segment; {there_are} (the underlay needs no link, `eth0` is in it)",
                link.segment
            );
        }
        if !is_device(&link.device) || matches!(&link.device[..], "eth0" | "lo") {
            refuse!(
                ["host", n, "links", m, "device"],
                "`{}` cannot name a link: {DEVICE}; `eth0` and `lo` are there already",
                link.device
            );
        }
        Ok(())
    }

    fn check_containers(&self) -> Result {
        for (n, container) in self.containers.iter().enumerate() {
            let Some(host) = self.host(&container.host) else {
                let hosts: Vec<_> = self.hosts.iter().map(|one| one.name.as_str()).collect();
                refuse!(
                    ["container", n, "host"],
                    "`{}` is no host; there are: {}",
                    container.host,
                    hosts.join(", ")
                );
            };
            let Some(Net(subnet)) = host.bridge.address.or(host.subnet) else {
                refuse!(
                    ["container", n, "host"],
                    "a container needs a bridge: give its host `{}` a subnet, or its bridge an address",
                    host.name
                );
            };
            if !subnet.contains(container.address.0.address) {
                refuse!(
                    ["container", n, "address"],
                    "{} is not in the subnet of its host `{}`, {}",
                    container.address.0,
                    host.name,
                    subnet.network()
                );
            }
        }
        Ok(())
    }

    /// Numbers that `ip` could not even read.
    fn check_sizes(&self) -> Result {
        check_mtu(Some(self.underlay.mtu), ["underlay".into(), "mtu".into()])?;
        for (n, segment) in self.segments.iter().enumerate() {
            check_mtu(
                Some(segment.mtu),
                ["segment".into(), n.into(), "mtu".into()],
            )?;
        }
        for (n, host) in self.hosts.iter().enumerate() {
            let of = |more: &[Part]| [&["host".into(), n.into()], more].concat();
            check_mtu(host.mtu, of(&["mtu".into()]))?;
            check_mtu(host.bridge.mtu, of(&["bridge".into(), "mtu".into()]))?;
            for (m, link) in host.links.iter().enumerate() {
                check_mtu(link.mtu, of(&["links".into(), m.into(), "mtu".into()]))?;
            }
        }
        for (n, container) in self.containers.iter().enumerate() {
            check_mtu(container.mtu, ["container".into(), n.into(), "mtu".into()])?;
        }
        match &self.overlay {
            Some(overlay) if overlay.vni >= 1 << 24 => {
                refuse!(["overlay", "vni"], "a VNI has 24 bits: 16777215 at most")
            }
            _ => Ok(()),
        }
    }

    fn check_needs_of_etcd(&self) -> Result {
        if self.etcd.is_some() {
            return Ok(());
        }
        for (table, is_empty) in [
            ("key", self.keys.is_empty()),
            ("announcer", self.announcers.is_empty()),
            ("renderer", self.renderers.is_empty()),
        ] {
            if !is_empty {
                refuse!([table, 0], "this is about etcd, but there is no [etcd]");
            }
        }
        let Some(overlay) = &self.overlay else {
            return Ok(());
        };
        if overlay.backend != Backend::Udp {
            refuse!(
                ["overlay", "backend"],
                "this backend takes its leases from etcd, but there is no [etcd]; only udp does without"
            );
        }
        if let Some(key) = Overlay::needs_etcd(overlay) {
            refuse!(
                ["overlay", key],
                "`{key}` is about etcd, but there is no [etcd]"
            );
        }
        Ok(())
    }

    fn check_parts(&self) -> Result {
        if let Some(etcd) = &self.etcd {
            self.known(["etcd".into(), "at".into()], &etcd.at)?;
        }
        for (n, server) in self.servers.iter().enumerate() {
            self.known(["server".into(), n.into(), "at".into()], Server::at(server))?;
        }
        for (n, announcer) in self.announcers.iter().enumerate() {
            self.known(["announcer".into(), n.into(), "on".into()], &announcer.on)?;
            if let Some(container) = &announcer.container
                && self.container(container).is_none()
            {
                refuse!(
                    ["announcer", n, "container"],
                    "`{container}` is no container whose address could be written"
                );
            }
        }
        for (n, renderer) in self.renderers.iter().enumerate() {
            self.known(["renderer".into(), n.into(), "on".into()], &renderer.on)?;
            let at = ["renderer".into(), n.into(), "dest".into()];
            check_private(&renderer.dest, at)?;
        }
        Ok(())
    }

    fn check_steps(&self, table: &str, steps: &[Step]) -> Result {
        for (n, step) in steps.iter().enumerate() {
            self.known([table.into(), n.into(), "on".into()], &step.on)?;
            if step.run.is_empty() {
                refuse!([table, n, "run"], "there is nothing to run");
            }
            if step.background && step.until.is_some() {
                refuse!(
                    [table, n, "until"],
                    "what runs in the background is not tried again: leave out `until` or `background`; \
                     with `prints` it is waited for, `deadline_s` at most"
                );
            }
        }
        Ok(())
    }
}

/// The kernel's links take these MTUs; `at` is where it stands.
fn check_mtu(mtu: Option<u32>, at: impl Into<Vec<Part>>) -> Result {
    match mtu {
        Some(mtu) if !(68..=65_535).contains(&mtu) => Err(Refusal {
            path: at.into(),
            sentence: format!("a link's MTU is 68 to 65535 bytes, not {mtu}"),
        }),
        _ => Ok(()),
    }
}

/// Only these folders are a host's own. `at` is where the path stands.
fn check_private<const N: usize>(path: &Path, at: [Part; N]) -> Result {
    let is_private = ["/etc", "/run", "/var/run"]
        .iter()
        .any(|folder| path.starts_with(folder))
        && path
            .components()
            .all(|part| part != std::path::Component::ParentDir);
    let is_the_labs = ["/run/netdig", "/var/run/netdig"]
        .iter()
        .any(|folder| path.starts_with(folder));
    let sentence = match (is_private, is_the_labs) {
        (true, false) => return Ok(()),
        (true, true) => format!("{} is in the folder of the labs themselves", path.display()),
        (false, _) => format!("{} is not under /etc or /run", path.display()),
    };
    Err(Refusal {
        path: at.into(),
        sentence,
    })
}

fn check_sysctls<'a>(table: &[Part], mut names: impl Iterator<Item = &'a String>) -> Result {
    let Some(name) = names.find(|name| !name.starts_with("net.")) else {
        return Ok(());
    };
    let mut path = table.to_vec();
    path.extend(["sysctls".into(), Part::Name(name.clone())]);
    Err(Refusal {
        path,
        sentence: format!(
            "the sysctl `{name}` is the whole machine's: a lab sets only what begins with `net.`"
        ),
    })
}

/// Names of parts, which become names of processes, files and labs.
fn distinct<'a>(table: &str, names: impl Iterator<Item = &'a String>) -> Result {
    let mut known = BTreeSet::new();
    for (n, name) in names.enumerate() {
        if !is_name(name, 40) {
            refuse!(
                [table, n, "name"],
                "`{name}` cannot name a {table}: 1 to 40 lower-case letters, digits and hyphens, no \
                 hyphen first"
            );
        }
        if !known.insert(name) {
            refuse!([table, n, "name"], "two {table}s are named `{name}`");
        }
    }
    Ok(())
}

/// Names that a lab needs for itself.
const RESERVED: &[&str] = &[SWITCH, "underlay", "lo"];

/// Whether this can be part of namespace and device names. Those of hosts have
/// ten characters: `docker0` ports and switch ports carry the name within the
/// kernel's fifteen.
fn is_name(name: &str, most: usize) -> bool {
    (1..=most).contains(&name.len())
        && !name.starts_with('-')
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

const DEVICE: &str = "1 to 15 letters, digits, `-`, `.` and `_`";

fn is_device(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}
