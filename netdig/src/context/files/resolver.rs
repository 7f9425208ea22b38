//! resolv.conf(5), and the servers behind systemd-resolved's stub.
use std::net::IpAddr;
use std::path::Path;

use super::{Nameserver, Place, not_understood, text};
use crate::context::{Context, Part, bounded};

const RESOLV_CONF: &str = "/etc/resolv.conf";
/// Where systemd-resolved writes the servers that it asks itself, and networkd each link's.
const BEHIND: &str = "/run/systemd/resolve/resolv.conf";
const LINKS: &str = "/run/systemd/resolve/netif";
const MAX_LINKS: usize = 64;
/// Addresses of its stub (systemd-resolved.service(8)).
const STUBS: [&str; 2] = ["127.0.0.53", "127.0.0.54"];

pub fn read(context: &mut Context, root: &Path) {
    let Some(text) = text(context, root, RESOLV_CONF, Part::Resolver) else {
        return;
    };
    let mut found = nameservers(RESOLV_CONF, &text, false);
    context.files.resolver_options = options(&text);
    for (line, why) in not_addresses(&text) {
        let place = format!("{RESOLV_CONF}:{line}");
        not_understood(context, Part::Resolver, &place, why);
    }
    let is_stub = |one: &Nameserver| STUBS.contains(&one.address.to_string().as_str());
    if found.iter().any(is_stub) {
        found.extend(behind(context, root));
    }
    context.files.nameservers.extend(found);
}

/// Nameservers of a container's own resolv.conf.
pub fn of_container(root: &Path) -> Vec<Nameserver> {
    match bounded::file(root, RESOLV_CONF) {
        Ok(bytes) => nameservers(RESOLV_CONF, &String::from_utf8_lossy(&bytes), false),
        Err(_) => Vec::new(),
    }
}

fn nameservers(file: &str, text: &str, behind_stub: bool) -> Vec<Nameserver> {
    let lines = text.lines().zip(1..);
    let found = lines.filter_map(|(line, number)| {
        let mut words = line.split_whitespace();
        let address = match words.next() {
            Some("nameserver") => words.next().and_then(address)?,
            _ => return None,
        };
        Some(Nameserver {
            address,
            place: Place {
                file: file.to_owned(),
                line: number,
            },
            behind_stub,
        })
    });
    found.collect()
}

/// `nameserver` lines that name no address.
fn not_addresses(text: &str) -> Vec<(u32, String)> {
    let lines = text.lines().zip(1..);
    let wrong = lines.filter_map(|(line, number)| {
        let mut words = line.split_whitespace();
        let named =
            (words.next() == Some("nameserver")).then(|| words.next().unwrap_or_default())?;
        let why = format!(
            "`nameserver {named}` names no whole address: the C library passes over the line, or \
             takes a short one for another (10.1.0 is 10.1.0.0)"
        );
        address(named).is_none().then_some((number, why))
    });
    wrong.collect()
}

/// An address, as resolv.conf and systemd write it: `fe80::1%eth0`, `10.0.0.1:53#name`.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.split(['%', '#']).next()?;
    let socket = || text.parse::<std::net::SocketAddr>().ok();
    text.parse().ok().or_else(|| socket().map(|one| one.ip()))
}

/// Words of all `options` lines.
fn options(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::split_whitespace);
    let options = lines.filter_map(|mut words| (words.next() == Some("options")).then_some(words));
    options.flatten().map(str::to_owned).collect()
}

/// The servers that systemd-resolved asks: its own list, and what links add to it.
fn behind(context: &mut Context, root: &Path) -> Vec<Nameserver> {
    let mut found = match text(context, root, BEHIND, Part::Resolver) {
        Some(text) => nameservers(BEHIND, &text, true),
        None => Vec::new(),
    };
    let links = bounded::names(root, LINKS, MAX_LINKS).unwrap_or_default();
    for link in links {
        let file = format!("{LINKS}/{link}");
        // The files of netif are resolved's own, and readable by it alone.
        let Ok(bytes) = bounded::file(root, &file) else {
            continue;
        };
        for (line, number) in String::from_utf8_lossy(&bytes).lines().zip(1..) {
            let servers = line.strip_prefix("SERVERS=").unwrap_or_default();
            for address in servers.split_whitespace().filter_map(address) {
                if found.iter().any(|known| known.address == address) {
                    continue;
                }
                let place = Place {
                    file: file.clone(),
                    line: number,
                };
                found.push(Nameserver {
                    address,
                    place,
                    behind_stub: true,
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::bounded::testing::Folder;

    fn read_from(files: &[(&str, &[u8])]) -> Context {
        let folder = Folder::with(files);
        let mut context = Context::default();
        read(&mut context, folder.path());
        context
    }

    fn shown(context: &Context) -> Vec<String> {
        let all = context.files.nameservers.iter();
        all.map(|one| format!("{} {} {}", one.address, one.place, one.behind_stub))
            .collect()
    }

    #[test]
    fn lines_have_their_numbers() {
        let context = read_from(&[(
            "etc/resolv.conf",
            b"# by hand\nnameserver 10.1.0.2\n\tnameserver\tfe80::1%eth0 # x\nnameserver x\n\
              search a\noptions ndots:5  single-request\noptions rotate\n;nameserver 1.1.1.1",
        )]);
        assert_eq!(
            shown(&context),
            [
                "10.1.0.2 /etc/resolv.conf:2 false",
                "fe80::1 /etc/resolv.conf:3 false"
            ]
        );
        let unread: Vec<&str> = context.unread.iter().map(|one| one.what.as_str()).collect();
        assert_eq!(unread, ["/etc/resolv.conf:4"], "what is no address");
        let options = &context.files.resolver_options;
        assert_eq!(options, &["ndots:5", "single-request", "rotate"]);
    }

    #[test]
    fn a_stub_shows_what_is_behind_it() {
        let context = read_from(&[
            ("etc/resolv.conf", b"nameserver 127.0.0.53\n"),
            (
                "run/systemd/resolve/resolv.conf",
                b"\nnameserver 10.1.0.2\n",
            ),
            (
                "run/systemd/resolve/netif/2",
                b"A=1\nSERVERS=10.1.0.2 10.9.9.9:53#dns.x\n",
            ),
        ]);
        assert_eq!(
            shown(&context),
            [
                "127.0.0.53 /etc/resolv.conf:1 false",
                "10.1.0.2 /run/systemd/resolve/resolv.conf:2 true",
                "10.9.9.9 /run/systemd/resolve/netif/2:2 true",
            ]
        );
        assert!(context.unread.is_empty());
    }

    #[test]
    fn odd_files_are_no_trouble() {
        assert!(shown(&read_from(&[])).is_empty());
        let odd = read_from(&[(
            "etc/resolv.conf",
            b"\xff\xfe\nnameserver\nnameserver \xff\n\0",
        )]);
        assert!(shown(&odd).is_empty());
        let unread: Vec<&str> = odd.unread.iter().map(|one| one.what.as_str()).collect();
        assert_eq!(unread, ["/etc/resolv.conf:2", "/etc/resolv.conf:3"]);
        let huge = vec![b'n'; 2 << 20];
        let huge = read_from(&[("etc/resolv.conf", &huge)]);
        assert_eq!(huge.unread.len(), 1);
    }
}
