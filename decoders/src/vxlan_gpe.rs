//! VXLAN-GPE, the generic protocol extension: draft-ietf-nvo3-vxlan-gpe.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::mpls;
use crate::nsh;
use crate::stop::Reason;

const LEN: usize = 8;
const RESERVED: u8 = 0xc0;
const FLAG_VNI: u8 = 0x08;
const FLAG_NEXT_PROTOCOL: u8 = 0x04;

const NEXT_IPV4: u8 = 1;
const NEXT_IPV6: u8 = 2;
const NEXT_ETHERNET: u8 = 3;
const NEXT_NSH: u8 = 4;
const NEXT_MPLS: u8 = 5;

/// A VXLAN-GPE header.
#[derive(Debug, Clone, Copy)]
pub struct VxlanGpe<'a> {
    header: &'a [u8; LEN],
    pub span: Span,
}

impl VxlanGpe<'_> {
    /// Network identifier, 24 bits.
    pub fn vni(&self) -> u32 {
        u32::from_be_bytes([0, self.header[4], self.header[5], self.header[6]])
    }

    /// 0; others are not decoded.
    pub fn version(&self) -> u8 {
        self.header[0] >> 4 & 3
    }

    /// What follows; without the flag that says so it is an Ethernet frame, as
    /// in VXLAN.
    pub fn next_protocol(&self) -> u8 {
        if self.header[0] & FLAG_NEXT_PROTOCOL != 0 {
            self.header[3]
        } else {
            NEXT_ETHERNET
        }
    }

    /// `ipv4`, `ipv6`, `ethernet`, `nsh` or `mpls`.
    pub fn next_protocol_name(&self) -> Option<&'static str> {
        Some(match self.next_protocol() {
            NEXT_IPV4 => "ipv4",
            NEXT_IPV6 => "ipv6",
            NEXT_ETHERNET => "ethernet",
            NEXT_NSH => "nsh",
            NEXT_MPLS => "mpls",
            _ => return None,
        })
    }

    /// Bytes.
    pub fn header_len(&self) -> usize {
        LEN
    }
}

/// Whether the captured payload can be VXLAN-GPE: version 0, the flag of the
/// VNI set, none that is reserved.
pub(crate) fn fits(payload: &[u8]) -> bool {
    payload
        .first()
        .is_some_and(|flags| flags & RESERVED == 0 && flags >> 4 == 0 && flags & FLAG_VNI != 0)
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let Some(header) = cursor.rest().first_chunk::<LEN>() else {
        return cursor.too_short("vxlan-gpe", LEN);
    };
    if !cursor.descend() {
        return cursor.stop("vxlan-gpe", Reason::TooDeep);
    }
    let view = VxlanGpe {
        header,
        span: cursor.span(),
    };
    let protocol = view.next_protocol();
    if let Next::Done = cursor.push(Layer::VxlanGpe(view), LEN, Next::Ethernet) {
        return Next::Done;
    }
    match protocol {
        NEXT_IPV4 => Next::Ipv4,
        NEXT_IPV6 => Next::Ipv6,
        NEXT_ETHERNET => Next::Ethernet,
        NEXT_MPLS => mpls::decode(cursor),
        NEXT_NSH => nsh::decode(cursor),
        _ => cursor.stop("vxlan-gpe", Reason::Form("this next protocol")),
    }
}
