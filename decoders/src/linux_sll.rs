//! Linux cooked captures (`-i any`), both versions:
//! <https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL.html> and
//! <https://www.tcpdump.org/linktypes/LINKTYPE_LINUX_SLL2.html>.
//!
//! etherparse refuses the hardware types that it does not know, a tun's among
//! them, and has no second version.

use crate::cursor::{Cursor, Next};
use crate::layer::{Layer, Span};
use crate::stop::Reason;

const LEN: usize = 16;
const LEN_V2: usize = 20;
/// Hardware type of a netlink socket: what follows is no network packet.
const ARPHRD_NETLINK: u16 = 824;

/// Header of a cooked frame.
#[derive(Debug, Clone, Copy)]
pub struct LinuxSll<'a> {
    header: &'a [u8; LEN],
    pub span: Span,
}

impl LinuxSll<'_> {
    /// 0 to us, 1 broadcast, 2 multicast, 3 to somebody else, 4 from us.
    pub fn packet_type(&self) -> u16 {
        u16::from_be_bytes([self.header[0], self.header[1]])
    }

    /// ARPHRD_* number of the device.
    pub fn hardware_type(&self) -> u16 {
        u16::from_be_bytes([self.header[2], self.header[3]])
    }

    /// Link-layer address of the sender, as long as the header says it is and
    /// at most 8 bytes.
    pub fn address(&self) -> &[u8] {
        let len = usize::from(u16::from_be_bytes([self.header[4], self.header[5]]));
        &self.header[6..6 + len.min(8)]
    }

    pub fn ethertype(&self) -> u16 {
        u16::from_be_bytes([self.header[14], self.header[15]])
    }

    /// Bytes.
    pub fn header_len(&self) -> usize {
        LEN
    }
}

/// Header of a cooked frame, version 2.
#[derive(Debug, Clone, Copy)]
pub struct LinuxSll2<'a> {
    header: &'a [u8; LEN_V2],
    pub span: Span,
}

impl LinuxSll2<'_> {
    pub fn ethertype(&self) -> u16 {
        u16::from_be_bytes([self.header[0], self.header[1]])
    }

    /// Index of the interface.
    pub fn interface(&self) -> u32 {
        u32::from_be_bytes([
            self.header[4],
            self.header[5],
            self.header[6],
            self.header[7],
        ])
    }

    /// ARPHRD_* number of the device.
    pub fn hardware_type(&self) -> u16 {
        u16::from_be_bytes([self.header[8], self.header[9]])
    }

    /// 0 to us, 1 broadcast, 2 multicast, 3 to somebody else, 4 from us.
    pub fn packet_type(&self) -> u8 {
        self.header[10]
    }

    /// Link-layer address of the sender, at most 8 bytes.
    pub fn address(&self) -> &[u8] {
        &self.header[12..12 + usize::from(self.header[11]).min(8)]
    }

    /// Bytes.
    pub fn header_len(&self) -> usize {
        LEN_V2
    }
}

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let Some(header) = cursor.rest().first_chunk::<LEN>() else {
        return cursor.too_short("sll", LEN);
    };
    let view = LinuxSll {
        header,
        span: cursor.span(),
    };
    let (ethertype, hardware) = (view.ethertype(), view.hardware_type());
    let next = cursor.push(Layer::LinuxSll(view), LEN, Next::EtherType(ethertype));
    no_netlink(cursor, "sll", hardware, next)
}

pub(crate) fn decode_v2(cursor: &mut Cursor<'_, '_>) -> Next {
    let Some(header) = cursor.rest().first_chunk::<LEN_V2>() else {
        return cursor.too_short("sll2", LEN_V2);
    };
    let view = LinuxSll2 {
        header,
        span: cursor.span(),
    };
    let (ethertype, hardware) = (view.ethertype(), view.hardware_type());
    let next = cursor.push(Layer::LinuxSll2(view), LEN_V2, Next::EtherType(ethertype));
    no_netlink(cursor, "sll2", hardware, next)
}

fn no_netlink(
    cursor: &mut Cursor<'_, '_>,
    layer: &'static str,
    hardware_type: u16,
    next: Next,
) -> Next {
    if hardware_type == ARPHRD_NETLINK {
        return cursor.stop(layer, Reason::Form("netlink"));
    }
    next
}
