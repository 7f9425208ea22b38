//! IEEE 802.2 LLC in 802.3 frames, and SNAP behind it: RFC 1042.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::length::LengthSource;
use crate::named::{self, Kind};
use crate::osi;

const LEN: usize = 3;
const SNAP_LEN: usize = 8;
const SAP_SNAP: u8 = 0xaa;
const SAP_STP: u8 = 0x42;
const SAP_IP: u8 = 0x06;
const SAP_IPX: u8 = 0xe0;
const SAP_NETBIOS: u8 = 0xf0;
const SAP_ISO: u8 = 0xfe;
const OUI_ETHERTYPE: [u8; 3] = [0, 0, 0];
const OUI_CISCO: [u8; 3] = [0, 0, 0x0c];

/// An LLC header, with SNAP's where that follows.
#[derive(Debug, Clone, Copy)]
pub struct Llc<'a> {
    header: &'a [u8],
    pub span: Span,
}

impl Llc<'_> {
    /// Service access point of the receiver.
    pub fn dsap(&self) -> u8 {
        self.header[0]
    }

    /// Service access point of the sender.
    pub fn ssap(&self) -> u8 {
        self.header[1]
    }

    /// SNAP's organisation and the protocol by its numbering.
    pub fn snap(&self) -> Option<([u8; 3], u16)> {
        match *self.header {
            [_, _, _, a, b, c, high, low] => Some(([a, b, c], u16::from_be_bytes([high, low]))),
            _ => None,
        }
    }

    /// Bytes, SNAP's included.
    pub fn header_len(&self) -> usize {
        self.header.len()
    }
}

/// Behind a length; what follows the frame's end is padding.
pub(crate) fn decode_framed(cursor: &mut Cursor<'_, '_>, length: u16) -> Next {
    cursor.limit(LengthSource::Ieee8023Length, usize::from(length));
    decode(cursor)
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let rest = cursor.rest();
    let Some(&[dsap, ssap, control]) = rest.first_chunk::<LEN>() else {
        return cursor.too_short("llc", LEN);
    };
    let unnumbered = control & 3 == 3;
    let snap = dsap == SAP_SNAP && ssap == SAP_SNAP && unnumbered;
    // Information and supervisory frames have numbers of two bytes.
    let len = match (snap, unnumbered) {
        (true, _) => SNAP_LEN,
        (_, true) => LEN,
        _ => LEN + 1,
    };
    let Some(header) = rest.get(..len) else {
        return cursor.too_short("llc", len);
    };
    let span = cursor.span();
    let view = Llc { header, span };
    if let Next::Done = cursor.push(Layer::Llc(view), len, Next::Ethernet) {
        return Next::Done;
    }
    let kind = match (view.snap(), dsap) {
        (Some((organisation, number)), _) => return by_snap(cursor, organisation, number),
        (_, SAP_IP) if unnumbered => return Next::Ip,
        (_, SAP_STP) => Kind::Stp,
        (_, SAP_IPX) => Kind::Ipx,
        (_, SAP_NETBIOS) => Kind::Netbios,
        (_, SAP_ISO) => Kind::Osi,
        _ => return Next::Done,
    };
    if cursor.wire_len() == 0 {
        return Next::Done;
    }
    if kind == Kind::Osi {
        return osi::decode(cursor);
    }
    named::decode(cursor, kind, 0)
}

/// What a number of SNAP's leads to, by the organisation that gave it.
pub(crate) fn by_snap(cursor: &mut Cursor<'_, '_>, organisation: [u8; 3], number: u16) -> Next {
    let kind = match (organisation, number) {
        (OUI_ETHERTYPE, number) => return Next::EtherType(number),
        (OUI_CISCO, 0x2000) => Kind::Cdp,
        (OUI_CISCO, 0x010b) => Kind::Stp,
        _ => return Next::Done,
    };
    match cursor.wire_len() {
        0 => Next::Done,
        _ => named::decode(cursor, kind, 0),
    }
}
