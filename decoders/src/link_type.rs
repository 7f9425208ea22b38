//! How a frame begins.

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

impl LinkType {
    /// From the number in a capture's header.
    ///
    /// ```
    /// use decoders::LinkType;
    /// assert_eq!(LinkType::from_number(1), LinkType::Ethernet);
    /// assert_eq!(LinkType::from_number(12), LinkType::RawIp);
    /// assert_eq!(LinkType::from_number(147), LinkType::Other(147));
    /// ```
    pub const fn from_number(number: u16) -> LinkType {
        match number {
            0 => LinkType::Null,
            1 => LinkType::Ethernet,
            // 12 and 14 are DLT_RAW of two families of BSD, found in old files.
            12 | 14 | 101 => LinkType::RawIp,
            108 => LinkType::Loop,
            113 => LinkType::LinuxSll,
            228 => LinkType::Ipv4,
            229 => LinkType::Ipv6,
            276 => LinkType::LinuxSll2,
            other => LinkType::Other(other),
        }
    }

    /// The number to write into a capture's header.
    ///
    /// ```
    /// use decoders::LinkType;
    /// assert_eq!(LinkType::RawIp.number(), 101);
    /// ```
    pub const fn number(self) -> u16 {
        match self {
            LinkType::Null => 0,
            LinkType::Ethernet => 1,
            LinkType::RawIp => 101,
            LinkType::Loop => 108,
            LinkType::LinuxSll => 113,
            LinkType::Ipv4 => 228,
            LinkType::Ipv6 => 229,
            LinkType::LinuxSll2 => 276,
            LinkType::Other(number) => number,
        }
    }
}
