//! Containers of this host: network namespaces that a veth ties to the calling thread's.
//!
//! A namespace is found by its processes, or by the name that `ip netns` and CNI keep it by.
//! It is entered on a thread of its own, where `read_net` reads it.
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Container, Context, Part, Unread, bounded, files, proc};
use crate::tracker::containers::Containers;

mod nsid;

const MAX_CONTAINERS: usize = 256;
const MAX_TIME: Duration = Duration::from_millis(500);
/// Where iproute2 and CNI keep namespaces by name.
const NAMED: &str = "/run/netns";

/// A network namespace that may be a container's.
struct Candidate {
    /// Its first process; 0 where it has only a name.
    pid: u32,
    name: Option<String>,
    path: PathBuf,
}

/// Reads them. `read_net` fills in links, addresses and routes of the namespace of the thread
/// that it is called on; the links of `context` must be there already.
pub fn read(context: &mut Context, root: &Path, read_net: &(dyn Fn(&mut Context) + Sync)) {
    let begun = Instant::now();
    // Without a veth that leads to a guest there is no container of this namespace.
    let guests: Vec<i32> = guests(context).collect();
    if guests.is_empty() {
        return;
    }
    let mut denied = 0;
    let candidates = candidates(Path::new(proc::ROOT), &mut denied);
    let mut runtimes = Containers::new(root);
    let total = candidates.len();
    for (at, candidate) in candidates.into_values().enumerate() {
        if context.containers.len() >= MAX_CONTAINERS || begun.elapsed() >= MAX_TIME {
            let why = format!(
                "{} of {total} network namespaces were not looked at: more than {MAX_CONTAINERS} \
                 containers, or more than {MAX_TIME:?}",
                total - at
            );
            unread(context, why, None);
            break;
        }
        if let Ok(Some(container)) = look(&guests, &candidate, &mut runtimes, read_net) {
            context.containers.push(container);
        }
    }
    // Root is denied those that a security module hides, which it cannot help.
    // SAFETY: the call takes nothing and cannot fail.
    if denied > 0 && unsafe { libc::geteuid() } != 0 {
        let why = format!("{denied} processes may not be asked for their network namespace");
        unread(context, why, Some("run it as root".to_owned()));
    }
}

fn unread(context: &mut Context, why: String, hint: Option<String>) {
    context.unread.push(Unread {
        part: Part::Containers,
        what: "some containers".to_owned(),
        why,
        hint,
        partly: true,
    });
}

/// Numbers of the namespaces at the other ends of our veths, but for those that we are the
/// guest of: such a veth is no port of a bridge, and has an address in a subnet of its own.
fn guests(context: &Context) -> impl Iterator<Item = i32> + '_ {
    let links = context.net.links.iter();
    links.filter_map(|link| {
        let number = link.peer_netns?;
        let mut addresses = context.net.addresses_of(&link.name);
        let subnet = addresses
            .any(|one| one.scope == "global" && one.net.prefix_len() < one.net.max_prefix_len());
        (link.master.is_some() || !subnet).then_some(number)
    })
}

/// All other network namespaces, by inode.
fn candidates(proc_root: &Path, denied: &mut usize) -> BTreeMap<u64, Candidate> {
    let own = proc::own_namespace(proc_root);
    let mut found: BTreeMap<u64, Candidate> = BTreeMap::new();
    for pid in proc::pids(proc_root) {
        match proc::namespace(proc_root, pid) {
            Ok(inode) if Some(inode) != own => {
                found.entry(inode).or_insert_with(|| Candidate {
                    pid,
                    name: None,
                    path: proc_root.join(format!("{pid}/ns/net")),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => *denied += 1,
            _ => {}
        }
    }
    for name in bounded::names(Path::new("/"), NAMED, 4096).unwrap_or_default() {
        let path = Path::new(NAMED).join(&name);
        let Ok(inode) = std::fs::metadata(&path).map(|metadata| metadata.ino()) else {
            continue;
        };
        if Some(inode) == own {
            continue;
        }
        let known = found.entry(inode).or_insert_with(|| Candidate {
            pid: 0,
            name: None,
            path,
        });
        known.name.get_or_insert(name);
    }
    found
}

/// The container that a namespace is; None where no veth of ours leads into it, or it is gone.
fn look(
    guests: &[i32],
    candidate: &Candidate,
    runtimes: &mut Containers,
    read_net: &(dyn Fn(&mut Context) + Sync),
) -> io::Result<Option<Container>> {
    let namespace = File::open(&candidate.path)?;
    let Some(nsid) = nsid::of(&namespace)? else {
        return Ok(None);
    };
    if !guests.contains(&nsid) {
        return Ok(None);
    }
    let inside = inside(&namespace, read_net)?;
    let known = match candidate.pid {
        0 => None,
        pid => runtimes.of(&proc::cgroups(Path::new(proc::ROOT), pid)),
    };
    let plain = candidate.name.clone();
    let id = known
        .as_ref()
        .map(|known| known.id.clone())
        .or(plain.clone());
    let root = PathBuf::from(format!("/proc/{}/root", candidate.pid));
    Ok(Some(Container {
        id: id.unwrap_or_else(|| format!("pid {}", candidate.pid)),
        name: known.map(|known| known.name.clone()).or(plain),
        pid: candidate.pid,
        links: inside.net.links,
        addresses: inside.net.addresses,
        routes: inside.net.routes,
        nameservers: match candidate.pid {
            0 => Vec::new(),
            _ => files::nameservers_of_container(&root),
        },
    }))
}

/// What `read_net` finds in a namespace.
fn inside(namespace: &File, read_net: &(dyn Fn(&mut Context) + Sync)) -> io::Result<Context> {
    let work = || {
        // SAFETY: the descriptor is open; the thread is this function's own and ends here.
        if unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let mut context = Context::default();
        read_net(&mut context);
        Ok(context)
    };
    std::thread::scope(|scope| match scope.spawn(work).join() {
        Ok(result) => result,
        Err(_) => Err(io::Error::other(
            "the thread inside of the namespace ended badly",
        )),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::net::{Address, Link, LinkKind};

    #[test]
    fn without_a_veth_nothing_is_entered() {
        let mut context = Context::default();
        read(&mut context, Path::new("/"), &|_| {
            panic!("not to be called")
        });
        assert!(context.containers.is_empty() && context.unread.is_empty());
    }

    #[test]
    fn a_veth_to_an_unknown_namespace_is_no_container() {
        let mut context = Context::default();
        context.net.links.push(Link {
            name: "veth0".to_owned(),
            kind: LinkKind::Veth,
            peer_netns: Some(i32::MAX),
            ..Link::default()
        });
        read(&mut context, Path::new("/"), &|_| {});
        assert!(context.containers.is_empty());
    }

    #[test]
    fn who_is_the_guest_is_told_by_the_veth() {
        let mut context = Context::default();
        let mut veth = |name: &str, master: Option<&str>, number: i32, address: Option<&str>| {
            context.net.links.push(Link {
                name: name.to_owned(),
                kind: LinkKind::Veth,
                master: master.map(str::to_owned),
                peer_netns: Some(number),
                ..Link::default()
            });
            context.net.addresses.extend(address.map(|net| Address {
                link: name.to_owned(),
                net: net.parse().expect("an address"),
                peer: None,
                scope: "global".to_owned(),
                secondary: false,
            }));
        };
        veth("eth0", None, 0, Some("10.1.1.187/24"));
        veth("veth1", Some("docker0"), 1, None);
        veth("cali2", None, 2, None);
        veth("ptp3", None, 3, Some("192.168.13.1/32"));
        assert_eq!(guests(&context).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn a_thread_enters_and_leaves() {
        let own = File::open("/proc/thread-self/ns/net").expect("our namespace");
        let seen = inside(&own, &|context| context.taken_ns = 7);
        // Entering even the own one needs CAP_SYS_ADMIN.
        match seen {
            Ok(context) => assert_eq!(context.taken_ns, 7),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
    }
}
