//! What strict decoding refuses.

use core::fmt;

use crate::length::Shortage;
use crate::stop::{Reason, Stop};

/// Why a frame is refused by [`decode_strict`](crate::decode_strict).
///
/// What is an error, and what is not:
///
/// | [`Reason`] | |
/// |---|---|
/// | `Cut` | error: the capture ends before the frame does, and bytes of a layer are missing; padding behind the layers may be missing |
/// | `TooShort` `LengthBeyond` `LengthTooSmall` | error: lengths that contradict each other or a header |
/// | `Version` `Malformed` | error: bytes that contradict the layer |
/// | `TooDeep` `TooManyLayers` | error: more than is followed |
/// | `EtherType` `IpProtocol` `PppProtocol` `LinkType` `Family` `Form` | none: nothing is known of what follows; [`Packet::stop`](crate::Packet::stop) says so |
/// | `Fragment` | none: a later fragment has no header to read |
/// | `Segmented` | none: the message goes on in the next segment, as TCP's may |
///
/// The first fragment of a packet may rightly hold less than the length fields
/// above IP promise. What a tunnel's first fragment carries is a packet that is not
/// whole, and is refused by its length.
///
/// What is in a layer is not looked at before it is asked for: a DNS record that is
/// wrong is no error, but [`parse`](crate::dns::Dns::parse) is then not `complete`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    /// The layer that has the fault: [`Layer::name`](crate::Layer::name), or `ip`
    /// where its version is not known yet.
    pub layer: &'static str,
    /// Byte of the frame from which `shortage` counts. In a tunnel too it is the
    /// whole frame's.
    pub offset: usize,
    pub reason: Reason,
    /// Bytes needed, bytes had, and where that length came from; `None` where it is
    /// not about a length (`Version`, `Malformed`, `TooDeep`, `TooManyLayers`).
    pub shortage: Option<Shortage>,
}

impl Error {
    /// The stop as an error, if it is one.
    pub(crate) fn of(stop: Stop) -> Option<Error> {
        match stop.reason {
            Reason::Cut { .. }
            | Reason::TooShort { .. }
            | Reason::LengthBeyond { .. }
            | Reason::LengthTooSmall { .. }
            | Reason::Version { .. }
            | Reason::Malformed(_)
            | Reason::TooDeep
            | Reason::TooManyLayers => Some(Error {
                layer: stop.layer,
                offset: stop.offset,
                reason: stop.reason,
                shortage: stop.shortage,
            }),
            Reason::EtherType(_)
            | Reason::IpProtocol(_)
            | Reason::PppProtocol(_)
            | Reason::LinkType(_)
            | Reason::Family(_)
            | Reason::Form(_)
            | Reason::Fragment { .. }
            | Reason::Segmented { .. } => None,
        }
    }

    /// Bytes that the layer needs from `offset` on.
    pub fn needed(&self) -> Option<usize> {
        self.shortage.map(|shortage| shortage.needed)
    }

    /// Bytes that there are from `offset` on.
    pub fn had(&self) -> Option<usize> {
        self.shortage.map(|shortage| shortage.had)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Error { layer, offset, .. } = self;
        match self.shortage {
            Some(shortage) => write!(f, "{layer} at byte {offset}: {shortage}"),
            None => write!(f, "{layer} at byte {offset}: {}", self.reason),
        }
    }
}

impl core::error::Error for Error {}
