//! VLAN tags: IEEE 802.1Q, and 802.1ad where they are stacked.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use etherparse::SingleVlanHeaderSlice;

/// A VLAN tag with the EtherType after it.
#[derive(Debug, Clone)]
pub struct Vlan<'a> {
    header: SingleVlanHeaderSlice<'a>,
    pub span: Span,
}

impl Vlan<'_> {
    /// VLAN identifier, 0 to 4095.
    pub fn id(&self) -> u16 {
        self.header.vlan_identifier().value()
    }

    /// Priority code point, 0 to 7.
    pub fn priority(&self) -> u8 {
        self.header.priority_code_point().value()
    }

    pub fn drop_eligible(&self) -> bool {
        self.header.drop_eligible_indicator()
    }

    pub fn ethertype(&self) -> u16 {
        self.header.ether_type().0
    }

    /// Bytes.
    pub fn header_len(&self) -> usize {
        self.header.slice().len()
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let Ok(header) = SingleVlanHeaderSlice::from_slice(cursor.rest()) else {
        return cursor.too_short("vlan", 4);
    };
    let next = Next::EtherType(header.ether_type().0);
    cursor.push(
        Layer::Vlan(Vlan {
            header,
            span: cursor.span(),
        }),
        4,
        next,
    )
}
