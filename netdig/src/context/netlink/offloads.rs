//! Offloads of VXLANs and of what they stand on: `ethtool -k`. A card that computes outer
//! checksums wrongly loses the whole tunnel.
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::attributes::{text_of, u32_of};
use crate::context::net::{LinkKind, Network};

/// Those that rules ask for.
const WANTED: [&str; 3] = [
    "tx-checksum-ip-generic",
    "tx-udp_tnl-csum-segmentation",
    "tx-udp_tnl-segmentation",
];

// linux/ethtool.h.
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_GFEATURES: u32 = 0x3a;
const ETH_SS_FEATURES: u32 = 4;
const ETH_GSTRING_LEN: usize = 32;
/// More features than a kernel has: 32 of them make a block.
const MOST_FEATURES: u32 = 1024;
/// Words of a block: available, requested, active, never changed.
const BLOCK: usize = 4;
const ACTIVE: usize = 2;

/// Adds offloads to the links that they matter for. Without an answer there are none: no
/// rule takes a missing one for off.
pub fn add(network: &mut Network) {
    let matter: BTreeSet<String> = tunnels(network);
    if matter.is_empty() {
        return;
    }
    let Ok(socket) = socket() else {
        return;
    };
    let links = network.links.iter_mut();
    for link in links.filter(|link| matter.contains(&link.name)) {
        link.offloads = read(&socket, &link.name).unwrap_or_default();
    }
}

/// VXLANs and the links below them: the parent, or the one that has the local address.
fn tunnels(network: &Network) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for link in &network.links {
        let LinkKind::Vxlan(vxlan) = &link.kind else {
            continue;
        };
        names.insert(link.name.clone());
        let mut addresses = network.addresses.iter();
        let bearer = addresses.find(|one| Some(one.net.addr()) == vxlan.local);
        let below = link.parent.as_ref().or(bearer.map(|one| &one.link));
        names.extend(below.cloned());
    }
    names
}

fn socket() -> io::Result<OwnedFd> {
    // SAFETY: the call touches no memory of ours.
    match unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the descriptor was just opened, and nobody else has it.
        fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
    }
}

fn read(socket: &OwnedFd, link: &str) -> io::Result<BTreeMap<String, bool>> {
    let names = names(socket, link)?;
    let blocks = names.len().div_ceil(32);
    let mut words = vec![0; 2 + blocks * BLOCK];
    words[0] = ETHTOOL_GFEATURES;
    words[1] = blocks as u32;
    ethtool(socket, link, &mut words)?;
    let mut offloads = BTreeMap::new();
    for (at, name) in names.into_iter().enumerate() {
        if WANTED.contains(&name.as_str()) {
            let active = words[2 + at / 32 * BLOCK + ACTIVE];
            offloads.insert(name, active >> (at % 32) & 1 == 1);
        }
    }
    Ok(offloads)
}

/// Names of all features, by their bit.
fn names(socket: &OwnedFd, link: &str) -> io::Result<Vec<String>> {
    // The command, a reserved word, the mask of sets (64 bits), a count for each.
    let mask = (1u64 << ETH_SS_FEATURES).to_ne_bytes();
    let half = |at: usize| u32_of(&mask[at..]).unwrap_or_default();
    let mut words = [ETHTOOL_GSSET_INFO, 0, half(0), half(4), 0];
    ethtool(socket, link, &mut words)?;
    let count = words[4];
    if count > MOST_FEATURES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut words = vec![0; 3 + count as usize * ETH_GSTRING_LEN / 4];
    words[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, ETH_SS_FEATURES, count]);
    ethtool(socket, link, &mut words)?;
    let bytes: Vec<u8> = words[3..]
        .iter()
        .flat_map(|word| word.to_ne_bytes())
        .collect();
    Ok(bytes.chunks(ETH_GSTRING_LEN).map(text_of).collect())
}

/// Runs a command of SIOCETHTOOL; `words` must have room for all that it answers.
fn ethtool(socket: &OwnedFd, link: &str, words: &mut [u32]) -> io::Result<()> {
    // SAFETY: an ifreq of zeros is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if link.len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(link.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    // SAFETY: the descriptor is open, and the request points to words that live, with room
    // for the answer.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}
