//! Telling one packet seen at two places from all others.

/// What stays the same of a packet on its way through a tunnel: two sights of
/// one packet have equal identities, two packets almost surely have not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(pub u64);

/// Bytes after the IP header that count, and bytes at the packet's end.
const HEAD: usize = 128;
const TAIL: usize = 16;

/// Odd constants with as many ones as zeros, so that products mix well.
const K0: u64 = 0xa076_1d64_78bd_642f;
const K1: u64 = 0xe703_7ed1_a0b4_28db;
const K2: u64 = 0x8ebc_6af0_9c88_c6e3;

/// The identity of a bare IPv4 or IPv6 packet; `None` of anything else.
///
/// It covers the IP header but for the time to live (hop limit) and the header
/// checksum, which forwarding changes; the first 128 bytes after it, the last
/// 16, and the length. Both sights must have captured as many bytes.
///
/// ```
/// use decoders::identity;
/// let mut packet = [0x45, 0, 0, 24, 0, 1, 0, 0, 64, 17, 7, 7, 10, 0, 0, 1, 10, 0, 0, 2, 1, 2, 3, 4];
/// let before = identity(&packet).unwrap();
/// packet[8] = 63; // time to live
/// packet[10] = 8; // header checksum
/// assert_eq!(identity(&packet), Some(before));
/// packet[5] = 2; // identification
/// assert_ne!(identity(&packet), Some(before));
/// ```
#[inline]
pub fn identity(packet: &[u8]) -> Option<Identity> {
    let (header, rest) = match packet.first()? >> 4 {
        4 => {
            let (header, rest) = packet.split_first_chunk::<20>()?;
            (ipv4_words(header), rest)
        }
        6 => {
            let (header, rest) = packet.split_first_chunk::<40>()?;
            (ipv6_words(header), rest)
        }
        _ => return None,
    };
    let mut hash = fold(header.0 ^ K0, header.1 ^ packet.len() as u64 ^ K1);
    let head = &rest[..rest.len().min(HEAD)];
    let (pairs, odd) = head.as_chunks::<16>();
    for pair in pairs {
        hash = fold(low(pair) ^ K1, high(pair) ^ hash);
    }
    if let Some(tail) = rest.last_chunk::<TAIL>() {
        hash = fold(low(tail) ^ K2, high(tail) ^ hash);
    }
    // What the chunks of the head leave over is in the tail, unless there is
    // too little for a tail.
    if rest.len() < TAIL {
        let mut padded = [0; 16];
        padded[..odd.len()].copy_from_slice(odd);
        hash = fold(low(&padded) ^ K2, high(&padded) ^ hash);
    }
    Some(Identity(fold(hash ^ K0, K1)))
}

/// Both halves of the 128-bit product, folded into one word.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    (product as u64) ^ ((product >> 64) as u64)
}

#[inline]
fn low(bytes: &[u8; 16]) -> u64 {
    (u128::from_le_bytes(*bytes)) as u64
}

#[inline]
fn high(bytes: &[u8; 16]) -> u64 {
    (u128::from_le_bytes(*bytes) >> 64) as u64
}

#[inline]
fn word<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

/// Two words of a header of 20 bytes, without bytes 8, 10 and 11.
#[inline]
fn ipv4_words(header: &[u8; 20]) -> (u64, u64) {
    let protocol = u64::from(header[9]);
    let first = word(header, 0);
    let addresses = word(header, 12);
    (first ^ protocol.wrapping_mul(K2), addresses)
}

/// Two words of a header of 40 bytes, without byte 7.
#[inline]
fn ipv6_words(header: &[u8; 40]) -> (u64, u64) {
    let first = word(header, 0) & 0x00ff_ffff_ffff_ffff;
    let source = fold(word(header, 8) ^ K1, word(header, 16) ^ K2);
    let destination = fold(word(header, 24) ^ K2, word(header, 32) ^ K0);
    (first ^ source.rotate_left(17), destination ^ source)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(version: u8, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..len).map(|i| (i * 7 + 3) as u8).collect();
        bytes[0] = if version == 4 { 0x45 } else { 0x60 };
        bytes
    }

    #[test]
    fn only_what_forwarding_changes_is_left_out() {
        for (version, header, ignored) in [(4, 20, vec![8, 10, 11]), (6, 40, vec![7])] {
            for len in [
                header,
                header + 1,
                header + 15,
                header + 16,
                header + 17,
                300,
            ] {
                let bytes = packet(version, len);
                let before = identity(&bytes).unwrap();
                for at in 1..len {
                    let mut other = bytes.clone();
                    other[at] ^= 0x10;
                    let counts = !ignored.contains(&at) && (at < header + 128 || at + 16 >= len);
                    assert_eq!(
                        identity(&other) != Some(before),
                        counts,
                        "v{version} {len} {at}"
                    );
                }
            }
        }
    }

    #[test]
    fn length_counts_and_other_bytes_have_none() {
        let zeros = [&[0x45u8][..], &[0; 99]].concat();
        let mut seen = std::collections::HashSet::new();
        for len in 20..=100 {
            assert!(seen.insert(identity(&zeros[..len]).unwrap()), "{len}");
        }
        assert_eq!(identity(&zeros[..19]), None);
        assert_eq!(identity(&[0x60; 39]), None);
        assert_eq!(identity(&[0x50; 60]), None);
        assert_eq!(identity(&[]), None);
    }
}
