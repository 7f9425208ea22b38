//! Attributes of rtnetlink messages, one at a time: one that is cut short, or holds what it
//! should not, is skipped, and the message keeps the others.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use netlink_packet_core::{NLA_HEADER_SIZE, NlasIterator};

/// The attributes behind a message's header: their kinds, without flags, and values. What
/// comes behind a cut one cannot be found any more.
pub fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    NlasIterator::new(bytes).map_while(|attribute| {
        let attribute = attribute.ok()?;
        let end = usize::from(attribute.length());
        let value = attribute.into_inner().get(NLA_HEADER_SIZE..end)?;
        Some((attribute.kind(), value))
    })
}

/// The attributes behind a header of `header` bytes; none where there is no header even.
pub fn behind(header: usize, message: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    attributes(message.get(header..).unwrap_or_default())
}

pub fn u32_of(value: &[u8]) -> Option<u32> {
    value.get(..4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// In network byte order.
pub fn port_of(value: &[u8]) -> Option<u16> {
    value.get(..2)?.try_into().ok().map(u16::from_be_bytes)
}

pub fn u8_of(value: &[u8]) -> Option<u8> {
    value.first().copied()
}

/// Text up to its NUL; bytes that are no UTF-8 are replaced.
pub fn text_of(value: &[u8]) -> String {
    let end = value.iter().position(|&byte| byte == 0);
    String::from_utf8_lossy(&value[..end.unwrap_or(value.len())]).into_owned()
}

/// An address, by the length of its bytes.
pub fn address_of(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => <[u8; 4]>::try_from(value)
            .ok()
            .map(|bytes| Ipv4Addr::from(bytes).into()),
        16 => <[u8; 16]>::try_from(value)
            .ok()
            .map(|bytes| Ipv6Addr::from(bytes).into()),
        _ => None,
    }
}

/// `02:42:ac:11:00:02`, of six bytes.
pub fn mac_of(value: &[u8]) -> Option<String> {
    let bytes: [u8; 6] = value.try_into().ok()?;
    Some(bytes.map(|byte| format!("{byte:02x}")).join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_attribute_is_skipped_and_those_before_it_stay() {
        let bytes = [
            8, 0, 7, 0x40, 1, 2, 3, 4, 5, 0, 8, 0, 9, 0, 0, 0, 20, 0, 9, 0, 1,
        ];
        let read: Vec<_> = attributes(&bytes).collect();
        assert_eq!(read, [(7, &[1, 2, 3, 4][..]), (8, &[9][..])]);
        assert_eq!(behind(300, &bytes).count(), 0);
    }

    #[test]
    fn values_of_a_wrong_length_are_no_values() {
        assert_eq!(u32_of(&[1, 2]), None);
        assert_eq!(port_of(&[]), None);
        assert_eq!(address_of(&[1, 2, 3]), None);
        assert_eq!(mac_of(&[1, 2, 3, 4]), None);
        assert_eq!(text_of(b"eth0\0rest"), "eth0");
        assert_eq!(port_of(&[0x21, 0x18]), Some(8472));
    }
}
