//! How many bytes were needed, how many there were, and what says that there are
//! no more.

use core::fmt;

/// What sets the end of the bytes that a layer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LengthSource {
    /// The captured bytes: the frame went on.
    Capture,
    /// The frame's own length on the wire.
    Frame,
    /// The length in an 802.3 frame (IEEE 802.3, where Ethernet II has its type).
    Ieee8023Length,
    /// The lengths of addresses in an ARP packet (RFC 826).
    ArpAddressLengths,
    /// Length of an IPv4 header, in words (RFC 791).
    Ipv4HeaderLength,
    /// IPv4's total length (RFC 791).
    Ipv4TotalLength,
    /// IPv6's payload length (RFC 8200).
    Ipv6PayloadLength,
    /// The jumbo payload option of IPv6 (RFC 2675).
    Ipv6JumboLength,
    /// Payload length of an authentication header (RFC 4302).
    AhLength,
    /// TCP's data offset: the length of its header (RFC 9293).
    TcpDataOffset,
    /// The end of a TCP segment, in a message that goes on in the next one.
    TcpSegment,
    /// The end of what fragments or segments were put together to.
    PutTogether,
    /// UDP's length (RFC 768).
    UdpLength,
    /// Length of one of the frames in a datagram of weave's sleeve.
    WeaveSleeveFrame,
    /// PPPoE's length (RFC 2516).
    PppoeLength,
    /// L2TP's length, where its header has one (RFC 2661, RFC 3931).
    L2tpLength,
    /// Length of the attribute of NFLOG that holds the packet.
    NflogAttribute,
    /// Length of an NSH header, in words (RFC 8300).
    NshLength,
    /// Length of a radiotap header.
    RadiotapLength,
    /// 802.11's checksum, which radiotap says stands at the end.
    RadiotapChecksum,
    /// Length of a Prism header.
    PrismLength,
    /// Length of an AVS header.
    AvsLength,
    /// MACsec's integrity check value at the end of a frame (IEEE 802.1AE).
    MacsecCheckValue,
}

impl LengthSource {
    /// Name as in netdig's JSON.
    ///
    /// ```
    /// use decoders::LengthSource;
    /// assert_eq!(LengthSource::UdpLength.name(), "udp-length");
    /// ```
    pub const fn name(self) -> &'static str {
        match self {
            LengthSource::Capture => "capture",
            LengthSource::Frame => "frame",
            LengthSource::Ieee8023Length => "802.3-length",
            LengthSource::ArpAddressLengths => "arp-address-lengths",
            LengthSource::Ipv4HeaderLength => "ipv4-header-length",
            LengthSource::Ipv4TotalLength => "ipv4-total-length",
            LengthSource::Ipv6PayloadLength => "ipv6-payload-length",
            LengthSource::Ipv6JumboLength => "ipv6-jumbo-length",
            LengthSource::AhLength => "ah-length",
            LengthSource::TcpDataOffset => "tcp-data-offset",
            LengthSource::TcpSegment => "tcp-segment",
            LengthSource::PutTogether => "put-together",
            LengthSource::UdpLength => "udp-length",
            LengthSource::WeaveSleeveFrame => "weave-sleeve-frame",
            LengthSource::PppoeLength => "pppoe-length",
            LengthSource::L2tpLength => "l2tp-length",
            LengthSource::NflogAttribute => "nflog-attribute",
            LengthSource::NshLength => "nsh-length",
            LengthSource::RadiotapLength => "radiotap-length",
            LengthSource::RadiotapChecksum => "802.11-checksum",
            LengthSource::PrismLength => "prism-length",
            LengthSource::AvsLength => "avs-length",
            LengthSource::MacsecCheckValue => "macsec-check-value",
        }
    }

    /// The layer whose header has the length; of capture, frame and segment, which
    /// are no fields, their names.
    pub(crate) const fn layer(self) -> &'static str {
        match self {
            LengthSource::Capture => "capture",
            LengthSource::Frame => "frame",
            LengthSource::Ieee8023Length => "llc",
            LengthSource::ArpAddressLengths => "arp",
            LengthSource::Ipv4HeaderLength | LengthSource::Ipv4TotalLength => "ipv4",
            LengthSource::Ipv6PayloadLength => "ipv6",
            LengthSource::Ipv6JumboLength => "ipv6.hopopts",
            LengthSource::AhLength => "ah",
            LengthSource::TcpDataOffset | LengthSource::TcpSegment => "tcp",
            LengthSource::PutTogether => "put-together",
            LengthSource::UdpLength => "udp",
            LengthSource::WeaveSleeveFrame => "weave-sleeve",
            LengthSource::PppoeLength => "pppoes",
            LengthSource::L2tpLength => "l2tp",
            LengthSource::NflogAttribute => "nflog",
            LengthSource::NshLength => "nsh",
            LengthSource::RadiotapLength => "radiotap",
            LengthSource::RadiotapChecksum => "radiotap",
            LengthSource::PrismLength => "prism",
            LengthSource::AvsLength => "wlancap",
            LengthSource::MacsecCheckValue => "macsec",
        }
    }
}

/// In words, as the end of a sentence about lengths: `UDP's length`.
impl fmt::Display for LengthSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LengthSource::Capture => "the end of the captured bytes",
            LengthSource::Frame => "the frame's length",
            LengthSource::Ieee8023Length => "802.3's length",
            LengthSource::ArpAddressLengths => "ARP's lengths of addresses",
            LengthSource::Ipv4HeaderLength => "IPv4's header length",
            LengthSource::Ipv4TotalLength => "IPv4's total length",
            LengthSource::Ipv6PayloadLength => "IPv6's payload length",
            LengthSource::Ipv6JumboLength => "IPv6's jumbo payload length",
            LengthSource::AhLength => "the authentication header's length",
            LengthSource::TcpDataOffset => "TCP's data offset",
            LengthSource::TcpSegment => "the end of the TCP segment",
            LengthSource::PutTogether => "the end of what was put together",
            LengthSource::UdpLength => "UDP's length",
            LengthSource::WeaveSleeveFrame => "the length of the sleeve's frame",
            LengthSource::PppoeLength => "PPPoE's length",
            LengthSource::L2tpLength => "L2TP's length",
            LengthSource::NflogAttribute => "the length of NFLOG's packet",
            LengthSource::NshLength => "NSH's length",
            LengthSource::RadiotapLength => "radiotap's length",
            LengthSource::RadiotapChecksum => "the checksum of the 802.11 frame",
            LengthSource::PrismLength => "the Prism header's length",
            LengthSource::AvsLength => "the AVS header's length",
            LengthSource::MacsecCheckValue => "MACsec's check value",
        })
    }
}

/// Too few bytes, in numbers. They count from the `offset` of the [`Stop`] or
/// [`Error`] that they belong to.
///
/// [`Stop`]: crate::Stop
/// [`Error`]: crate::Error
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    /// Bytes that would let decoding go on; always more than `had`. Where even the
    /// header's length is unknown, the next thing to be wanted may be more bytes.
    pub needed: usize,
    /// Bytes that there are.
    pub had: usize,
    /// What says that there are no more.
    pub length_from: LengthSource,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shortage {
            needed,
            had,
            length_from,
        } = self;
        write!(
            f,
            "{needed} bytes are needed and {had} are there, by {length_from}"
        )
    }
}
