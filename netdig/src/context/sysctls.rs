//! The sysctls that rules ask for, from /proc/sys of the calling thread's network namespace.
//!
//! A key is the full name with dots, `net.ipv4.conf.eth0.rp_filter`. A link's name is kept as
//! it is, dots and all: `net.ipv4.conf.eth0.100.rp_filter` is that of `eth0.100`, where
//! sysctl(8) would write `eth0/100`.
use std::path::Path;

use super::{Context, Part, bounded};

/// Of the whole namespace or machine, by their path below /proc/sys. Those of the machine are
/// not to be seen in every namespace.
const SINGLE: [&str; 10] = [
    "net/ipv4/ip_forward",
    "net/ipv4/neigh/default/gc_thresh1",
    "net/ipv4/neigh/default/gc_thresh2",
    "net/ipv4/neigh/default/gc_thresh3",
    "net/ipv6/neigh/default/gc_thresh1",
    "net/ipv6/neigh/default/gc_thresh2",
    "net/ipv6/neigh/default/gc_thresh3",
    "net/bridge/bridge-nf-call-iptables",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_count",
];
/// Of every link, and of `all` and `default`.
const IPV4: [&str; 4] = ["forwarding", "rp_filter", "accept_local", "proxy_arp"];
const IPV6: [&str; 2] = ["forwarding", "disable_ipv6"];

/// Reads them for the links that `context` has.
pub fn read(context: &mut Context) {
    read_below(context, Path::new("/proc/sys"));
}

fn read_below(context: &mut Context, folder: &Path) {
    for path in SINGLE {
        add(context, folder, path, path.replace('/', "."));
    }
    let links: Vec<String> = context.net.links.iter().map(|l| l.name.clone()).collect();
    let links = links.iter().map(String::as_str);
    for link in ["all", "default"].into_iter().chain(links) {
        // The kernel allows neither in a name; a saved context may hold anything.
        if link.contains('/') || link.starts_with("..") {
            continue;
        }
        for (family, names) in [("ipv4", &IPV4[..]), ("ipv6", &IPV6[..])] {
            for name in names {
                let path = format!("net/{family}/conf/{link}/{name}");
                add(
                    context,
                    folder,
                    &path,
                    format!("net.{family}.conf.{link}.{name}"),
                );
            }
        }
    }
    if !context.sysctls.contains_key("net.ipv4.ip_forward") {
        let why = format!("{} cannot be read", folder.join(SINGLE[0]).display());
        let hint = "mount /proc, and run netdig outside of a sandbox that hides /proc/sys";
        context.lacks(Part::Sysctls, why, Some(hint.to_owned()));
    }
}

/// Adds one. That it is not there is no news: no such family, no such module, a link gone.
fn add(context: &mut Context, folder: &Path, path: &str, name: String) {
    if let Ok(bytes) = std::fs::File::open(folder.join(path)).and_then(|f| bounded::contents(&f)) {
        let value = String::from_utf8_lossy(&bytes).trim().to_owned();
        context.sysctls.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::bounded::testing::Folder;
    use super::*;
    use crate::context::net::Link;

    fn with_links(names: &[&str]) -> Context {
        let link = |name: &&str| Link {
            name: (*name).to_owned(),
            ..Link::default()
        };
        let mut context = Context::default();
        context.net.links = names.iter().map(link).collect();
        context
    }

    #[test]
    fn a_link_s_name_stays_as_it_is() {
        let folder = Folder::with(&[
            ("net/ipv4/ip_forward", b"1\n"),
            ("net/ipv4/conf/all/rp_filter", b"2\n"),
            ("net/ipv4/conf/eth0.100/rp_filter", b"1\n"),
            ("net/ipv6/conf/eth0.100/forwarding", b"\xff\n"),
            ("net/netfilter/nf_conntrack_max", b"262144\n"),
        ]);
        let mut context = with_links(&["eth0.100", "../all", ".."]);
        read_below(&mut context, folder.path());
        assert_eq!(context.sysctl("net.ipv4.conf.eth0.100.rp_filter"), Some(1));
        assert_eq!(context.sysctl("net.ipv4.conf.all.rp_filter"), Some(2));
        assert_eq!(
            context.sysctl("net.netfilter.nf_conntrack_max"),
            Some(262_144)
        );
        assert_eq!(context.sysctl("net.ipv6.conf.eth0.100.forwarding"), None);
        assert_eq!(context.sysctls.len(), 5);
        assert!(context.unread.is_empty());
    }

    #[test]
    fn without_proc_sys_the_part_is_lacking() {
        let mut context = with_links(&[]);
        read_below(&mut context, Path::new("/nonexistent"));
        assert!(!context.has(Part::Sysctls));
    }

    #[test]
    fn this_machine_has_some() {
        let mut context = with_links(&["lo"]);
        read(&mut context);
        assert!(context.sysctl("net.ipv4.conf.lo.rp_filter").is_some());
    }
}
