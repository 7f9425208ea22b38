//! VXLAN: RFC 7348; group policy: draft-smith-vxlan-group-policy.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::stop::Reason;

const LEN: usize = 8;
const FLAG_VNI: u8 = 0x08;
const FLAG_GROUP_POLICY: u8 = 0x80;
const FLAG_DONT_LEARN: u8 = 0x40;
const FLAG_POLICY_APPLIED: u8 = 0x08;

/// A VXLAN header.
#[derive(Debug, Clone, Copy)]
pub struct Vxlan<'a> {
    header: &'a [u8; LEN],
    pub span: Span,
}

impl Vxlan<'_> {
    /// Network identifier, 24 bits.
    pub fn vni(&self) -> u32 {
        u32::from_be_bytes([0, self.header[4], self.header[5], self.header[6]])
    }

    /// Group policy identifier, where the extension is used.
    pub fn group(&self) -> Option<u16> {
        let used = self.header[0] & FLAG_GROUP_POLICY != 0;
        used.then(|| u16::from_be_bytes([self.header[2], self.header[3]]))
    }

    /// Whether the receiver is not to learn where the sender is; of the group
    /// policy extension.
    pub fn dont_learn(&self) -> bool {
        self.group().is_some() && self.header[1] & FLAG_DONT_LEARN != 0
    }

    /// Whether the group's policy was already applied.
    pub fn policy_applied(&self) -> bool {
        self.group().is_some() && self.header[1] & FLAG_POLICY_APPLIED != 0
    }

    /// Bytes.
    pub fn header_len(&self) -> usize {
        LEN
    }
}

/// Whether the captured payload can be VXLAN: the flag of the VNI is set, and
/// none that only VXLAN-GPE (on a port of its own) or nobody has.
#[inline]
pub(crate) fn fits(payload: &[u8]) -> bool {
    payload
        .first()
        .is_some_and(|flags| flags & !FLAG_GROUP_POLICY == FLAG_VNI)
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let Some(header) = cursor.rest().first_chunk::<LEN>() else {
        return cursor.too_short("vxlan", LEN);
    };
    if !cursor.descend() {
        return cursor.stop("vxlan", Reason::TooDeep);
    }
    let span = cursor.span();
    cursor.push(Layer::Vxlan(Vxlan { header, span }), LEN, Next::Ethernet)
}
