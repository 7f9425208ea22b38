//! What the tunnel does to a packet, without any I/O: routes, time to live,
//! the unreachable that it makes up. Byte for byte as flannel's UDP backend
//! does it (`backend/udp/proxy_amd64.c`), its faults included: the lab is
//! there to show them.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::options::{Ipv4Net, TunnelRoute};

/// Length of an IPv4 header without options, and the least that flannel takes for a packet.
pub const IPV4_HEADER: usize = 20;
const ICMP_HEADER: usize = 8;
/// Most bytes of IP options (RFC 791).
const MAX_IP_OPTIONS: usize = 40;
/// Bytes quoted of what follows the offender's IP header (RFC 792).
const QUOTED_PAYLOAD: usize = 8;
/// Time to live of the unreachables: flannel's choice.
const UNREACHABLE_TTL: u8 = 8;
const PROTOCOL_ICMP: u8 = 1;

/// Which peer serves which subnet.
#[derive(Debug, Clone, Default)]
pub struct RouteTable {
    routes: Vec<(Ipv4Net, SocketAddrV4)>,
}

impl RouteTable {
    pub fn new(routes: &[TunnelRoute]) -> RouteTable {
        RouteTable {
            routes: routes
                .iter()
                .map(|route| (route.subnet, route.peer))
                .collect(),
        }
    }

    /// A subnet's peer, from now on.
    pub fn set(&mut self, subnet: Ipv4Net, peer: SocketAddrV4) {
        match self.routes.iter_mut().find(|(known, _)| *known == subnet) {
            Some((_, known)) => *known = peer,
            None => self.routes.push((subnet, peer)),
        }
    }

    pub fn remove(&mut self, subnet: Ipv4Net) {
        self.routes.retain(|(known, _)| *known != subnet);
    }

    /// The peer of the first subnet that holds `destination`. The entry moves
    /// to the front, as in flannel, because packets to one subnet come in bursts.
    pub fn find(&mut self, destination: Ipv4Addr) -> Option<SocketAddrV4> {
        let at = self
            .routes
            .iter()
            .position(|(subnet, _)| subnet.contains(destination))?;
        self.routes.swap(0, at);
        self.routes.first().map(|(_, peer)| *peer)
    }
}

/// Source and destination of the IPv4 header at the start of `packet`, which
/// must be at least [`IPV4_HEADER`] bytes; like flannel, never asks for the version.
pub fn addresses(packet: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let header = packet.first_chunk::<IPV4_HEADER>()?;
    Some((
        Ipv4Addr::new(header[12], header[13], header[14], header[15]),
        Ipv4Addr::new(header[16], header[17], header[18], header[19]),
    ))
}

/// Takes one from the time to live and patches the header checksum for it
/// (RFC 1624). `false` when nothing is left: the packet is to be dropped, and
/// flannel sends no time-exceeded for it.
pub fn decrement_ttl(packet: &mut [u8]) -> bool {
    let Some(header) = packet.first_chunk_mut::<IPV4_HEADER>() else {
        return false;
    };
    header[8] = header[8].wrapping_sub(1);
    if header[8] == 0 {
        return false;
    }
    // The time to live is the high byte of its word, so the checksum grows by
    // 0x0100. Read in the "wrong" byte order that is an addition of one whose
    // carry lands where the end-around carry of one's complement belongs; the
    // two highest values need one more, or 0xffff (minus zero) would result.
    let sum = u16::from_le_bytes([header[10], header[11]]);
    let sum = sum.wrapping_add(if sum >= 0xfffe { 2 } else { 1 });
    header[10..12].copy_from_slice(&sum.to_le_bytes());
    true
}

/// The ICMP network-unreachable (3/0) that flannel writes into its own tun for
/// a packet that no lease covers. `buffer` begins with the offender; flannel
/// quotes header and eight bytes from its buffer without asking how long the
/// packet was. `None` where flannel keeps silent: about ICMP, about later
/// fragments, about a header of the greatest length.
pub fn net_unreachable(tun_address: Ipv4Addr, buffer: &[u8]) -> Option<Vec<u8>> {
    let header = buffer.first_chunk::<IPV4_HEADER>()?;
    let header_len = usize::from(header[0] & 0x0f) * 4;
    let fragment_offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
    if header_len >= IPV4_HEADER + MAX_IP_OPTIONS
        || header[9] == PROTOCOL_ICMP
        || fragment_offset != 0
    {
        return None;
    }
    let quoted = buffer.get(..header_len + QUOTED_PAYLOAD)?;
    let total = u16::try_from(IPV4_HEADER + ICMP_HEADER + quoted.len()).ok()?;

    let mut packet = vec![0; IPV4_HEADER + ICMP_HEADER];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&total.to_be_bytes());
    packet[8] = UNREACHABLE_TTL;
    packet[9] = PROTOCOL_ICMP;
    packet[12..16].copy_from_slice(&tun_address.octets());
    packet[16..20].copy_from_slice(&header[12..16]);
    let ip_sum = checksum(&packet[..IPV4_HEADER]);
    packet[10..12].copy_from_slice(&ip_sum.to_be_bytes());
    packet[IPV4_HEADER] = 3;
    packet.extend_from_slice(quoted);
    let icmp_sum = checksum(&packet[IPV4_HEADER..]);
    packet[IPV4_HEADER + 2..IPV4_HEADER + 4].copy_from_slice(&icmp_sum.to_be_bytes());
    Some(packet)
}

/// Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        sum += u32::from(u16::from_be_bytes([
            pair[0],
            pair.get(1).copied().unwrap_or(0),
        ]));
    }
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Field case 3: the resolver's query, as flanneld read it from the tun.
    const DNS_QUERY: [u8; 60] = [
        0x45, 0x00, 0x00, 0x3c, 0x74, 0xa6, 0x40, 0x00, 0x40, 0x11, 0x5a, 0x07, 0x0a, 0x01, 0x58,
        0x00, 0x0a, 0x01, 0x00, 0x02, 0x9a, 0xc4, 0x00, 0x35, 0x00, 0x28, 0xd6, 0xe1, 0x93, 0x17,
        0x01, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x77, 0x77, 0x77, 0x06,
        0x67, 0x6f, 0x6f, 0x67, 0x6c, 0x65, 0x03, 0x63, 0x6f, 0x6d, 0x00, 0x00, 0x01, 0x00, 0x01,
    ];
    /// Field case 3: what flanneld wrote back into the tun.
    const UNREACHABLE: [u8; 56] = [
        0x45, 0x00, 0x00, 0x38, 0x00, 0x00, 0x00, 0x00, 0x08, 0x01, 0xee, 0xc3, 0x0a, 0x01, 0x58,
        0x00, 0x0a, 0x01, 0x58, 0x00, 0x03, 0x00, 0x8a, 0xfc, 0x00, 0x00, 0x00, 0x00, 0x45, 0x00,
        0x00, 0x3c, 0x74, 0xa6, 0x40, 0x00, 0x40, 0x11, 0x5a, 0x07, 0x0a, 0x01, 0x58, 0x00, 0x0a,
        0x01, 0x00, 0x02, 0x9a, 0xc4, 0x00, 0x35, 0x00, 0x28, 0xd6, 0xe1,
    ];
    const TUN: Ipv4Addr = Ipv4Addr::new(10, 1, 88, 0);

    #[test]
    fn the_unreachable_is_the_one_of_the_field_case() {
        assert_eq!(
            net_unreachable(TUN, &DNS_QUERY).as_deref(),
            Some(&UNREACHABLE[..])
        );
    }

    #[test]
    fn icmp_is_never_answered_with_icmp() {
        let mut ping = DNS_QUERY;
        ping[9] = PROTOCOL_ICMP;
        assert_eq!(net_unreachable(TUN, &ping), None);
        assert_eq!(net_unreachable(TUN, &UNREACHABLE), None);
    }

    #[test]
    fn only_a_first_fragment_is_answered() {
        let mut fragment = DNS_QUERY;
        fragment[6..8].copy_from_slice(&0x2001_u16.to_be_bytes());
        assert_eq!(net_unreachable(TUN, &fragment), None);
        fragment[6..8].copy_from_slice(&0x2000_u16.to_be_bytes());
        assert!(net_unreachable(TUN, &fragment).is_some());
    }

    #[test]
    fn options_are_quoted_up_to_one_word_less_than_the_most() {
        let mut packet = vec![0; 100];
        packet[0] = 0x4e;
        packet[9] = 17;
        assert_eq!(
            net_unreachable(TUN, &packet).map(|p| p.len()),
            Some(20 + 8 + 56 + 8)
        );
        packet[0] = 0x4f;
        assert_eq!(net_unreachable(TUN, &packet), None);
    }

    #[test]
    fn no_length_panics() {
        for len in 0..DNS_QUERY.len() {
            let mut cut = DNS_QUERY[..len].to_vec();
            let _ = (
                net_unreachable(TUN, &cut),
                addresses(&cut),
                decrement_ttl(&mut cut),
            );
        }
    }

    /// Field case 1: SYN read from the tun, and the same sent on UDP.
    #[test]
    fn a_hop_changes_time_to_live_and_checksum_alone() {
        let mut packet = DNS_QUERY;
        assert!(decrement_ttl(&mut packet));
        assert_eq!(packet[8], 0x3f);
        assert_eq!(packet[10..12], [0x5b, 0x07]);
        packet[8] = DNS_QUERY[8];
        packet[10..12].copy_from_slice(&DNS_QUERY[10..12]);
        assert_eq!(packet, DNS_QUERY);
    }

    #[test]
    fn a_patched_checksum_is_valid_for_every_header() {
        for id in 0..=u16::MAX {
            let mut header = DNS_QUERY[..IPV4_HEADER].to_vec();
            header[4..6].copy_from_slice(&id.to_be_bytes());
            header[10..12].fill(0);
            let sum = checksum(&header);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            assert!(decrement_ttl(&mut header));
            assert_eq!(checksum(&header), 0, "id {id:#06x}");
        }
    }

    #[test]
    fn the_last_hop_drops_and_zero_wraps() {
        let mut packet = DNS_QUERY;
        packet[8] = 1;
        assert!(!decrement_ttl(&mut packet));
        packet[8] = 0;
        assert!(decrement_ttl(&mut packet));
        assert_eq!(packet[8], 255);
    }

    #[test]
    fn the_first_subnet_that_fits_wins_and_moves_to_the_front() {
        let route = |text: &str| text.parse::<TunnelRoute>().unwrap();
        let mut table = RouteTable::new(&[
            route("192.168.13.0/24=10.1.1.187:8285"),
            route("192.168.69.0/24=10.1.1.95:8285"),
        ]);
        assert_eq!(table.find(Ipv4Addr::new(10, 1, 0, 2)), None);
        assert_eq!(
            table.find(Ipv4Addr::new(192, 168, 69, 7)),
            "10.1.1.95:8285".parse().ok()
        );
        assert_eq!(table.routes[0].1, "10.1.1.95:8285".parse().unwrap());
        assert_eq!(
            table.find(Ipv4Addr::new(192, 168, 13, 2)),
            "10.1.1.187:8285".parse().ok()
        );
    }
}
