//! Where decoding ended, and why.

use core::fmt;

use crate::length::Shortage;
use crate::packet::{MAX_ENCAPSULATIONS, MAX_LAYERS};

/// Why decoding went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The capture ends before the packet does; `missing` bytes of the
    /// innermost decoded layer were not captured.
    Cut { missing: usize },
    /// The message goes on in later segments; `missing` of its bytes are not in
    /// this one; 0 where nobody can tell how many.
    Segmented { missing: usize },
    /// The packet itself ends inside the layer's header.
    TooShort { needed: usize, available: usize },
    /// A length field says more than the layer around it holds.
    LengthBeyond { declared: usize, available: usize },
    /// A length field says less than the header needs.
    LengthTooSmall { declared: usize, minimum: usize },
    /// The version field has another value than the layer's.
    Version { found: u8 },
    /// A fragment other than the first: its bytes are in the middle of something.
    Fragment { offset: usize },
    /// The EtherType is none that is decoded.
    EtherType(u16),
    /// The IP protocol is none that is decoded.
    IpProtocol(u8),
    /// The number of what PPP carries is none that is decoded.
    PppProtocol(u16),
    /// The link type is none that is decoded.
    LinkType(u16),
    /// The address family of a loopback frame is none that is decoded.
    Family(u32),
    /// A form of the protocol that is not decoded.
    Form(&'static str),
    /// Bytes that contradict the layer.
    Malformed(&'static str),
    /// More than [`MAX_ENCAPSULATIONS`] tunnels within each other.
    TooDeep,
    /// More than [`MAX_LAYERS`] layers.
    TooManyLayers,
}

/// `1 byte is missing`, `2 bytes are missing`.
struct Missing(usize);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => f.write_str("1 byte is missing"),
            more => write!(f, "{more} bytes are missing"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Reason::Cut { missing } => write!(f, "capture was cut, {}", Missing(missing)),
            Reason::Segmented { missing: 0 } => f.write_str("goes on in the next segment"),
            Reason::Segmented { missing } => {
                write!(f, "goes on in the next segment, {}", Missing(missing))
            }
            Reason::TooShort { needed, available } => {
                write!(f, "needs {needed} bytes and has {available}")
            }
            Reason::LengthBeyond {
                declared,
                available,
            } => {
                write!(
                    f,
                    "length says {declared} bytes where there are {available}"
                )
            }
            Reason::LengthTooSmall { declared, minimum } => {
                write!(
                    f,
                    "length says {declared} bytes where {minimum} is the least"
                )
            }
            Reason::Version { found } => write!(f, "version is {found}"),
            Reason::Fragment { offset } => write!(f, "fragment that begins at byte {offset}"),
            Reason::EtherType(number) => write!(f, "ethertype 0x{number:04x} is not decoded"),
            Reason::IpProtocol(number) => match crate::ip::protocol_name(number) {
                Some(name) => write!(f, "IP protocol {number} ({name}) is not decoded"),
                None => write!(f, "IP protocol {number} is not decoded"),
            },
            Reason::PppProtocol(number) => match crate::ppp::protocol_name(number) {
                Some(name) => write!(f, "PPP protocol 0x{number:04x} ({name}) is not decoded"),
                None => write!(f, "PPP protocol 0x{number:04x} is not decoded"),
            },
            Reason::LinkType(number) => write!(f, "link type {number} is not decoded"),
            Reason::Family(number) => write!(f, "address family {number} is not decoded"),
            Reason::Form(what) => write!(f, "{what} is not decoded"),
            Reason::Malformed(what) => f.write_str(what),
            Reason::TooDeep => write!(f, "more than {MAX_ENCAPSULATIONS} tunnels in each other"),
            Reason::TooManyLayers => write!(f, "more than {MAX_LAYERS} layers"),
        }
    }
}

/// Where decoding ended, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// The layer that could not be decoded, or not wholly.
    pub layer: &'static str,
    /// Byte of the frame at which it was noticed.
    pub offset: usize,
    pub reason: Reason,
    /// Bytes needed and had from `offset` on, and where that length came from;
    /// `None` where it is not for want of bytes.
    pub shortage: Option<Shortage>,
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.layer, self.offset, self.reason)
    }
}
