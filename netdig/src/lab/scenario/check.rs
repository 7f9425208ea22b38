//! Whether the parts of a scenario fit together.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, bail};

use super::super::topology::SWITCH;
use super::{Backend, By, Expectation, Net, Overlay, Scenario};

impl Scenario {
    pub(super) fn check(&self) -> Result<()> {
        let mut names = BTreeSet::new();
        let segments = self.segments.iter().map(|segment| segment.name.as_str());
        for name in self.places().chain(segments) {
            if !is_name(name, 10) || RESERVED.contains(&name) {
                bail!(
                    "`{name}` cannot name a host, container or segment: 1 to 10 lower-case letters, \
                     digits and hyphens, no hyphen first, and none of: {}",
                    RESERVED.join(", ")
                );
            }
            if !names.insert(name) {
                bail!("two hosts, containers or segments are named `{name}`");
            }
        }
        let variants = self.variants.iter().map(|one| &one.name);
        distinct("variant", variants)?;
        distinct("announcer", self.announcers.iter().map(|one| &one.name))?;
        distinct("renderer", self.renderers.iter().map(|one| &one.name))?;
        check_sysctls(self.sysctls.keys())?;
        self.check_hosts()?;
        self.check_containers()?;
        self.check_parts()?;
        self.check_expected()
    }

    fn known(&self, place: &str) -> Result<()> {
        match self.places().any(|name| name == place) {
            true => Ok(()),
            false => bail!("`{place}` is neither a host nor a container"),
        }
    }

    fn check_hosts(&self) -> Result<()> {
        for host in &self.hosts {
            let name = &host.name;
            if host.addresses.is_empty() {
                bail!("the host `{name}` has no address");
            }
            check_sysctls(host.sysctls.keys())?;
            if host.subnet.is_some() && self.overlay.is_none() {
                bail!("the host `{name}` has a subnet, but there is no [overlay]");
            }
            for link in &host.links {
                if self
                    .segments
                    .iter()
                    .all(|segment| segment.name != link.segment)
                {
                    bail!(
                        "the host `{name}` has a link in `{}`, which is no segment",
                        link.segment
                    );
                }
                if !is_device(&link.device) || matches!(&link.device[..], "eth0" | "lo") {
                    bail!("`{}` cannot name a link of the host `{name}`", link.device);
                }
            }
            if !is_device(&host.bridge.name) {
                bail!(
                    "`{}` cannot name the bridge of the host `{name}`",
                    host.bridge.name
                );
            }
            for path in host.files.keys() {
                check_private(path)?;
            }
        }
        Ok(())
    }

    fn check_containers(&self) -> Result<()> {
        for container in &self.containers {
            let Some(host) = self.host(&container.host) else {
                bail!(
                    "`{}` is no host that the container `{}` could be on",
                    container.host,
                    container.name
                );
            };
            let bridge = host.bridge.address.or(host.subnet);
            let Some(Net(subnet)) = bridge else {
                bail!(
                    "the container `{}` needs a bridge: give its host `{}` a subnet, or its bridge an address",
                    container.name,
                    host.name
                );
            };
            if !subnet.contains(container.address.0.address) {
                bail!(
                    "the container `{}` is not in the subnet of its host `{}`",
                    container.name,
                    container.host
                );
            }
        }
        Ok(())
    }

    fn check_parts(&self) -> Result<()> {
        let needs_etcd = [
            (!self.keys.is_empty(), "keys"),
            (!self.announcers.is_empty(), "announcers"),
            (!self.renderers.is_empty(), "renderers"),
            (
                self.overlay
                    .as_ref()
                    .is_some_and(|overlay| overlay.backend != Backend::Udp),
                "another backend than udp",
            ),
        ];
        if let Some((_, what)) = needs_etcd.iter().find(|(needed, _)| *needed)
            && self.etcd.is_none()
        {
            bail!("there is no [etcd] for {what}");
        }
        if let Some(key) = self.overlay.as_ref().and_then(Overlay::needs_etcd)
            && self.etcd.is_none()
        {
            bail!("`{key}` of the [overlay] is about etcd, but there is no [etcd]");
        }
        if let Some(etcd) = &self.etcd {
            self.known(&etcd.at)?;
        }
        for server in &self.servers {
            self.known(server.at())?;
        }
        for announcer in &self.announcers {
            self.known(&announcer.on)?;
            if let Some(container) = &announcer.container
                && self.container(container).is_none()
            {
                bail!(
                    "`{container}` is no container that the announcer `{}` could announce",
                    announcer.name
                );
            }
        }
        for renderer in &self.renderers {
            self.known(&renderer.on)?;
            check_private(&renderer.dest)?;
        }
        for step in self.steps.iter().chain(&self.traffic) {
            self.known(&step.on)?;
            if step.run.is_empty() {
                bail!("a step has nothing to run");
            }
        }
        Ok(())
    }

    fn check_expected(&self) -> Result<()> {
        let codes = self.conclusions.iter().map(|wanted| &wanted.code);
        for code in codes.chain(&self.none.codes).chain(&self.finding) {
            let number = code.strip_prefix("ND").unwrap_or_default();
            if number.len() != 3 || !number.bytes().all(|b| b.is_ascii_digit()) {
                bail!("`{code}` is no code of a finding, such as ND101");
            }
        }
        self.expectations.iter().try_for_each(check_counts)?;
        for on in self.conclusions.iter().filter_map(|one| one.on.as_deref()) {
            self.known(on)?;
        }
        let Some(watch) = &self.watch else {
            if !self.expectations.is_empty() {
                bail!("there are expectations of what netdig shows, but no [watch]");
            }
            if let Some(conclusion) = self.conclusions.iter().find(|one| one.by == By::Overlay) {
                bail!(
                    "netdig overlay is to conclude {}, but there is no [watch] that says how it is started",
                    conclusion.code
                );
            }
            if let Some(conclusion) = self.conclusions.iter().find(|wanted| wanted.on.is_none()) {
                bail!(
                    "there is no [watch], so the conclusion {} has to say `on` which host",
                    conclusion.code
                );
            }
            return Ok(());
        };
        self.known(&watch.host)
    }
}

/// Only these folders are a host's own.
fn check_private(path: &Path) -> Result<()> {
    let is_private = ["/etc", "/run", "/var/run"]
        .iter()
        .any(|folder| path.starts_with(folder))
        && path
            .components()
            .all(|part| part != std::path::Component::ParentDir);
    let is_the_labs = ["/run/netdig", "/var/run/netdig"]
        .iter()
        .any(|folder| path.starts_with(folder));
    match (is_private, is_the_labs) {
        (true, false) => Ok(()),
        (true, true) => bail!("{} is in the folder of the labs themselves", path.display()),
        (false, _) => bail!("{} is not under /etc or /run", path.display()),
    }
}

fn check_counts(expectation: &Expectation) -> Result<()> {
    let what = &expectation.what;
    let least = expectation.least();
    if let Some(most) = expectation.at_most
        && least > most
    {
        bail!("`{what}` wants at least {least} and at most {most}: no number is both");
    }
    for (path, value) in &expectation.fields {
        match value {
            toml::Value::Table(_) => bail!(
                "`{what}` compares `{path}` with a table; a dotted path is quoted in `where`: \
                 `\"{path}.…\" = …`"
            ),
            toml::Value::Array(_) => bail!(
                "`{what}` compares `{path}` with a list; name one value, which any element may be"
            ),
            toml::Value::Datetime(_) => bail!(
                "`{what}` compares `{path}` with a time; times are texts in JSON, so put it in quotes"
            ),
            _ => {}
        }
    }
    Ok(())
}

fn check_sysctls<'a>(mut names: impl Iterator<Item = &'a String>) -> Result<()> {
    match names.find(|name| !name.starts_with("net.")) {
        None => Ok(()),
        Some(name) => bail!(
            "the sysctl `{name}` is the whole machine's: a lab sets only what begins with `net.`"
        ),
    }
}

/// Names of parts, which become names of processes, files and labs.
fn distinct<'a>(what: &str, names: impl Iterator<Item = &'a String>) -> Result<()> {
    let mut known = BTreeSet::new();
    for name in names {
        if !is_name(name, 40) {
            bail!(
                "`{name}` cannot name a {what}: 1 to 40 lower-case letters, digits and hyphens, no \
                 hyphen first"
            );
        }
        if !known.insert(name) {
            bail!("two {what}s are named `{name}`");
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

fn is_device(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}
