//! DHCP's part of the line.

use super::Line;
use super::text::push_hex;
use decoders::dhcp::{Dhcp, Dhcpv6};

pub(super) fn write_v4(line: Line<'_, '_, '_>, dhcp: &Dhcp<'_>) {
    let (is_bootp, name) = (dhcp.message_type().is_none(), dhcp.message_name());
    let out = line.protocol(if is_bootp { b"BOOTP" } else { b"DHCP" });
    match name {
        Some(name) => {
            out.extend_from_slice(b"DHCP ");
            out.extend_from_slice(name.as_bytes());
            // tshark pads the short names.
            out.resize(out.len() + 8usize.saturating_sub(name.len()), b' ');
        }
        None if dhcp.is_reply() => out.extend_from_slice(b"Boot Reply"),
        None => out.extend_from_slice(b"Boot Request"),
    }
    out.extend_from_slice(b" - Transaction ID 0x");
    push_hex(out, u64::from(dhcp.transaction_id()), 8);
}

pub(super) fn write_v6(line: Line<'_, '_, '_>, dhcp: &Dhcpv6<'_>) {
    const CLIENT_IDENTIFIER: u16 = 1;
    let out = line.protocol(b"DHCPv6");
    out.extend_from_slice(dhcp.message_name().as_bytes());
    let Some(transaction) = dhcp.transaction_id() else {
        return;
    };
    out.extend_from_slice(b" XID: 0x");
    push_hex(out, u64::from(transaction), 6);
    let mut options = dhcp.options();
    if let Some((_, identifier)) = options.find(|option| option.0 == CLIENT_IDENTIFIER) {
        out.extend_from_slice(b" CID: ");
        // RFC 8415: 130 bytes at most.
        for byte in identifier.iter().take(130) {
            push_hex(out, u64::from(*byte), 2);
        }
    }
}
