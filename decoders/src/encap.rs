//! Encapsulations over UDP and the ports that they are looked for on.

use alloc::vec::Vec;

/// Encapsulations that `--encap NAME:PORT` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encap {
    /// flannel's UDP backend: the payload is a bare IPv4 packet.
    FlannelUdp,
    /// RFC 7348.
    Vxlan,
    /// RFC 8926.
    Geneve,
    /// VXLAN's generic protocol extension.
    VxlanGpe,
    /// 3GPP TS 29.281.
    GtpU,
    /// RFC 7510.
    Mpls,
    /// Generic UDP Encapsulation.
    Gue,
    /// Foo over UDP: the payload is a bare IP packet.
    Fou,
    /// RFC 4380.
    Teredo,
    /// The overlay of weave's router, where it is not the kernel's VXLAN.
    WeaveSleeve,
}

impl Encap {
    /// All of them, for help texts.
    pub const ALL: [Encap; 10] = [
        Encap::FlannelUdp,
        Encap::Vxlan,
        Encap::Geneve,
        Encap::VxlanGpe,
        Encap::GtpU,
        Encap::Mpls,
        Encap::Gue,
        Encap::Fou,
        Encap::Teredo,
        Encap::WeaveSleeve,
    ];

    /// Name as in `--encap` and in the list of layers.
    ///
    /// ```
    /// assert_eq!(decoders::Encap::FlannelUdp.name(), "flannel-udp");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            Encap::FlannelUdp => "flannel-udp",
            Encap::Vxlan => "vxlan",
            Encap::Geneve => "geneve",
            Encap::VxlanGpe => "vxlan-gpe",
            Encap::GtpU => "gtp-u",
            Encap::Mpls => "mpls",
            Encap::Gue => "gue",
            Encap::Fou => "fou",
            Encap::Teredo => "teredo",
            Encap::WeaveSleeve => "weave-sleeve",
        }
    }

    /// The inverse of [`Encap::name`].
    ///
    /// ```
    /// use decoders::Encap;
    /// assert_eq!(Encap::from_name("vxlan"), Some(Encap::Vxlan));
    /// assert_eq!(Encap::from_name("carrier-pigeon"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<Encap> {
        Encap::ALL.into_iter().find(|encap| encap.name() == name)
    }
}

/// Which encapsulation a UDP port carries. The port alone decides nothing:
/// the payload must have the encapsulation's shape too.
///
/// ```
/// use decoders::{Encap, Ports};
/// let mut ports = Ports::default();
/// assert_eq!(ports.get(8285), Some(Encap::FlannelUdp));
/// assert_eq!(ports.get(4789), Some(Encap::Vxlan));
/// ports.insert(7890, Encap::FlannelUdp);
/// assert_eq!(ports.get(7890), Some(Encap::FlannelUdp));
/// assert_eq!(ports.get(53), None);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ports {
    /// One bit for each possible [`slot`]: most ports are turned away by it,
    /// without a look at the list.
    filter: [u64; 4],
    entries: Vec<(u16, Encap)>,
}

impl Ports {
    /// No port at all: nothing over UDP is taken for a tunnel.
    pub const fn empty() -> Ports {
        Ports {
            filter: [0; 4],
            entries: Vec::new(),
        }
    }

    /// Adds a port, or gives it another encapsulation.
    pub fn insert(&mut self, port: u16, encap: Encap) {
        match self.entries.iter_mut().find(|entry| entry.0 == port) {
            Some(entry) => entry.1 = encap,
            None => self.entries.push((port, encap)),
        }
        let slot = slot(port);
        self.filter[slot >> 6] |= 1 << (slot & 63);
    }

    /// The encapsulation expected on a port.
    #[inline]
    pub fn get(&self, port: u16) -> Option<Encap> {
        let slot = slot(port);
        if self.filter[slot >> 6] & (1 << (slot & 63)) == 0 {
            return None;
        }
        self.entries
            .iter()
            .find(|entry| entry.0 == port)
            .map(|entry| entry.1)
    }

    /// All ports with their encapsulations, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (u16, Encap)> + '_ {
        self.entries.iter().copied()
    }
}

impl Default for Ports {
    /// flannel-udp:8285, vxlan:8472 (Linux, flannel, Cilium), vxlan:4789
    /// (IANA), geneve:6081; and rarer, vxlan:6784 (weave), vxlan-gpe:4790,
    /// gtp-u:2152, mpls:6635, gue:6080, teredo:3544, weave-sleeve:6783. FOU has
    /// no port of its own.
    fn default() -> Ports {
        let mut ports = Ports::empty();
        ports.insert(8285, Encap::FlannelUdp);
        ports.insert(8472, Encap::Vxlan);
        ports.insert(4789, Encap::Vxlan);
        ports.insert(6081, Encap::Geneve);
        ports.insert(6784, Encap::Vxlan);
        ports.insert(4790, Encap::VxlanGpe);
        ports.insert(2152, Encap::GtpU);
        ports.insert(6635, Encap::Mpls);
        ports.insert(6080, Encap::Gue);
        ports.insert(3544, Encap::Teredo);
        ports.insert(6783, Encap::WeaveSleeve);
        ports
    }
}

#[inline]
fn slot(port: u16) -> usize {
    usize::from((port ^ (port >> 8)) & 0xff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_inserted_port_is_found_and_no_other() {
        let mut ports = Ports::empty();
        let known: Vec<u16> = (0..u16::MAX).step_by(997).collect();
        for &port in &known {
            ports.insert(port, Encap::Vxlan);
        }
        for port in 0..=u16::MAX {
            assert_eq!(ports.get(port).is_some(), known.contains(&port), "{port}");
        }
        ports.insert(known[3], Encap::Geneve);
        assert_eq!(ports.get(known[3]), Some(Encap::Geneve));
        assert_eq!(ports.iter().count(), known.len());
    }
}
