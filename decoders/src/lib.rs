//! Packets in, layers out: no I/O, no clock, no allocation on the way.
#![forbid(unsafe_code)]

/// How a frame begins. The numbers in the names' docs are LINKTYPE values of
/// the pcap registry (<https://www.tcpdump.org/linktypes.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// BSD loopback, 4-byte family in the host's byte order (0).
    Null,
    /// Ethernet (1).
    Ethernet,
    /// Bare IPv4 or IPv6, told apart by the first nibble (101; 12 and 14 too).
    RawIp,
    /// OpenBSD loopback, family in network byte order (108).
    Loop,
    /// Linux cooked capture v1 (113).
    LinuxSll,
    /// Bare IPv4 (228).
    Ipv4,
    /// Bare IPv6 (229).
    Ipv6,
    /// Linux cooked capture v2 (276).
    LinuxSll2,
    /// Any other: kept by number, not decoded.
    Other(u16),
}

/// Encapsulations that `--encap NAME:PORT` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encap {
    /// flannel's UDP backend: the payload is a bare IPv4 packet.
    FlannelUdp,
    Vxlan,
    Geneve,
}
