//! How a frame begins.

/// How a frame begins. The numbers in the names' docs are LINKTYPE values of
/// the pcap registry (<https://www.tcpdump.org/linktypes.html>).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LinkType {
    /// BSD loopback, 4-byte family in the host's byte order (0).
    Null,
    /// Ethernet (1).
    Ethernet,
    /// Bare IPv4 or IPv6, told apart by the first nibble (101; 12, 14, 19 and 106 too).
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
    /// PPP, with or without HDLC's framing, which may be Cisco's (9 and 50).
    Ppp,
    /// PPPoE: the session's header first (51).
    PppoeSession,
    /// LLC, as in ATM (100; 11 too).
    AtmRfc1483,
    /// Cisco's HDLC (104).
    CiscoHdlc,
    /// IEEE 802.11 (105).
    Ieee80211,
    /// Frame Relay (107).
    FrameRelay,
    /// IEEE 802.11 behind Prism's header (119).
    Prism,
    /// IEEE 802.11 behind radiotap (127).
    Radiotap,
    /// IEEE 802.11 behind AVS's header (163).
    Avs,
    /// PPP as Linux's pppd logs it: the direction in the place of the address (166).
    PppPppd,
    /// Ethernet behind Juniper's header (178).
    JuniperEthernet,
    /// PPP behind a byte for the direction (204).
    PppWithDirection,
    /// Solaris's IPNET (226).
    Ipnet,
    /// Packets that netfilter logged (239).
    Nflog,
    /// IP over InfiniBand (242).
    IpOverInfiniband,
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
            // 19 and 106 are ATM with IP alone.
            12 | 14 | 19 | 101 | 106 => LinkType::RawIp,
            108 => LinkType::Loop,
            113 => LinkType::LinuxSll,
            228 => LinkType::Ipv4,
            229 => LinkType::Ipv6,
            276 => LinkType::LinuxSll2,
            9 | 50 => LinkType::Ppp,
            51 => LinkType::PppoeSession,
            11 | 100 => LinkType::AtmRfc1483,
            104 => LinkType::CiscoHdlc,
            105 => LinkType::Ieee80211,
            107 => LinkType::FrameRelay,
            119 => LinkType::Prism,
            127 => LinkType::Radiotap,
            163 => LinkType::Avs,
            166 => LinkType::PppPppd,
            178 => LinkType::JuniperEthernet,
            204 => LinkType::PppWithDirection,
            226 => LinkType::Ipnet,
            239 => LinkType::Nflog,
            242 => LinkType::IpOverInfiniband,
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
            LinkType::Ppp => 9,
            LinkType::PppoeSession => 51,
            LinkType::AtmRfc1483 => 100,
            LinkType::CiscoHdlc => 104,
            LinkType::Ieee80211 => 105,
            LinkType::FrameRelay => 107,
            LinkType::Prism => 119,
            LinkType::Radiotap => 127,
            LinkType::Avs => 163,
            LinkType::PppPppd => 166,
            LinkType::JuniperEthernet => 178,
            LinkType::PppWithDirection => 204,
            LinkType::Ipnet => 226,
            LinkType::Nflog => 239,
            LinkType::IpOverInfiniband => 242,
            LinkType::Other(number) => number,
        }
    }
}
