//! Programs that a lab runs, and the Debian packages that they come from.

use anyhow::Result;

use super::programs;

/// Program and package, where the package is not known by the program's name.
const PACKAGES: &[(&str, &str)] = &[
    ("arping", "iputils-arping"),
    ("awk", "mawk"),
    ("bridge", "iproute2"),
    ("dig", "bind9-dnsutils"),
    ("dnsmasq", "dnsmasq-base"),
    ("etcd", "etcd-server"),
    ("etcdctl", "etcd-client"),
    ("getent", "libc-bin"),
    ("host", "bind9-host"),
    ("ip", "iproute2"),
    ("ip6tables", "iptables"),
    ("ip6tables-save", "iptables"),
    ("iptables-legacy", "iptables"),
    ("iptables-nft", "iptables"),
    ("iptables-restore", "iptables"),
    ("iptables-save", "iptables"),
    ("killall", "psmisc"),
    ("mtr", "mtr-tiny"),
    ("nc", "netcat-openbsd"),
    ("nft", "nftables"),
    ("nginx", "nginx-light"),
    ("nsenter", "util-linux"),
    ("nslookup", "bind9-dnsutils"),
    ("nstat", "iproute2"),
    ("pgrep", "procps"),
    ("ping", "iputils-ping"),
    ("pkill", "procps"),
    ("ps", "procps"),
    ("ss", "iproute2"),
    ("sysctl", "procps"),
    ("tc", "iproute2"),
    ("telnet", "inetutils-telnet"),
    ("tracepath", "iputils-tracepath"),
    ("unshare", "util-linux"),
];

/// Packages that have a program of their own name.
const OF_THAT_NAME: &[&str] = &[
    "bash",
    "conntrack",
    "crun",
    "curl",
    "ethtool",
    "haproxy",
    "ipset",
    "iptables",
    "ipvsadm",
    "jq",
    "perl",
    "python3",
    "runc",
    "socat",
    "strace",
    "tcpdump",
    "traceroute",
    "wget",
];

/// An error that names what of `programs` is missing, and the packages to install.
pub fn require<'a>(programs: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let mut missing = Vec::new();
    for program in programs {
        if programs::on_path(program).is_none() && !missing.contains(&program) {
            missing.push(program);
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(Missing(advice(&missing)).into()),
    }
}

/// What is missing, and what to do about it.
fn advice(missing: &[&str]) -> String {
    let mut packages: Vec<&str> = Vec::new();
    let mut unknown: Vec<&str> = Vec::new();
    for program in missing {
        match package(program) {
            Some(package) if packages.contains(&package) => {}
            Some(package) => packages.push(package),
            None => unknown.push(program),
        }
    }
    let mut text = format!("this lab needs {}, not found on PATH", missing.join(", "));
    if !packages.is_empty() {
        text += &format!(
            "; install: apt-get install --no-install-recommends {}  (or run scripts/setup lab)",
            packages.join(" ")
        );
    }
    if !unknown.is_empty() {
        text += &format!(
            "; which package has {} netdig does not know",
            unknown.join(" and ")
        );
    }
    text
}

fn package(program: &str) -> Option<&'static str> {
    let mut packages = PACKAGES.iter();
    let other = packages.find(|(name, _)| *name == program);
    let same = || OF_THAT_NAME.iter().find(|name| **name == program).copied();
    other.map(|(_, package)| *package).or_else(same)
}

/// Programs are missing: the lab can be built where they are installed.
#[derive(Debug)]
pub struct Missing(pub(super) String);

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Missing {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_looked_up_in_their_packages() {
        for (missing, wanted) in [
            (&["etcd", "etcdctl"][..], "etcd-server etcd-client  ("),
            (&["tc", "bridge", "ip"], "recommends iproute2  ("),
            (&["nft", "iptables"], "nftables iptables  ("),
            (
                &["curl", "frobnicate"],
                "curl  (or run scripts/setup lab); which package has frobnicate netdig",
            ),
            (&["frobnicate"], "on PATH; which package has frobnicate"),
        ] {
            let text = advice(missing);
            assert!(text.contains(wanted), "{text}");
        }
    }

    #[test]
    fn no_program_has_two_packages() {
        let names = PACKAGES.iter().map(|(name, _)| name);
        let mut names: Vec<_> = names.chain(OF_THAT_NAME).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
