//! Records as they stand in a message, where their data cannot be parsed: name,
//! type and length are fixed (RFC 1035, section 4.1.3), the rest is bytes.

use alloc::vec::Vec;

use super::{Record, data, jumps, kind, push_label};
use hickory_proto::rr::RecordType;

/// Bytes of a name in a message, the labels' lengths included (RFC 1035, 2.3.4).
const MAX_NAME: usize = 255;
/// Type, class, time to live, length.
const FIXED: usize = 10;

/// The record at a place of a message, and where the next one begins; `None`
/// where it is not whole.
pub(super) fn record(message: &[u8], at: usize) -> Option<(Record, usize)> {
    let (name, at) = name(message, at)?;
    let fixed = message.get(at..)?.first_chunk::<FIXED>()?;
    let &[a, b, class, _, c, d, e, f, high, low] = fixed;
    let start = at + FIXED;
    let end = start + usize::from(u16::from_be_bytes([high, low]));
    let number = u16::from_be_bytes([a, b]);
    let record = Record {
        name,
        kind: kind::name(RecordType::from(number)),
        ttl: u32::from_be_bytes([c, d, e, f]),
        data: data::unknown(message.get(start..end)?),
        cache_flush: class & 0x80 != 0,
    };
    Some((record, end))
}

/// A name and where it ends at its place; pointers go back, each further than
/// the one before and no more than names have labels, so that no name is endless.
fn name(message: &[u8], at: usize) -> Option<(Vec<u8>, usize)> {
    let mut name = Vec::new();
    let (mut at, mut end, mut least) = (at, None, at);
    let mut jumps = 0;
    loop {
        let len = usize::from(*message.get(at)?);
        match len {
            0 => {
                if name.is_empty() {
                    name.extend_from_slice(b"<Root>");
                }
                return Some((name, end.unwrap_or(at + 1)));
            }
            1..64 => {
                push_label(&mut name, message.get(at + 1..at + 1 + len)?);
                at += 1 + len;
            }
            0xc0.. => {
                let to = (len & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
                end.get_or_insert(at + 2);
                jumps += 1;
                if to >= least || jumps > jumps::MAX {
                    return None;
                }
                (at, least) = (to, to);
            }
            _ => return None,
        }
        if name.len() > MAX_NAME {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_kept_whatever_its_data_are() {
        let message = b"\x03abc\0\x01x\xc0\0\0\x01\0\x01\0\0\0\x07\0\x03\x01\x02\x03rest";
        let (record, end) = record(message, 5).unwrap();
        assert_eq!((&record.name[..], &record.kind[..]), (&b"x.abc"[..], "A"));
        assert_eq!((&record.data[..], record.ttl), (&b"\\# 3 010203"[..], 7));
        assert_eq!(&message[end..], b"rest");
    }

    #[test]
    fn names_that_lead_nowhere_are_refused() {
        for message in [
            &b"\xc0\0"[..],
            b"\x01a\xc0\0",
            b"\x01a\xc0\x02",
            b"\x40a",
            b"\x05ab",
            b"\xc0",
            b"",
        ] {
            assert_eq!(name(message, 0), None, "{}", message.escape_ascii());
        }
        assert_eq!(
            name(&[[63].as_slice(), &[b'a'; 63]].concat().repeat(5), 0),
            None
        );
        // 0, then pointers at 1, 3, …, each to the one before.
        let mut chain = alloc::vec![0, 0xc0, 0];
        for to in 0..jumps::MAX as u8 {
            chain.extend([0xc0, 1 + 2 * to]);
        }
        let last = chain.len() - 2;
        assert_eq!(name(&chain, last), None);
        assert_eq!(name(&chain, last - 2), Some((b"<Root>".to_vec(), last)));
        assert_eq!(name(b"\0", 0), Some((b"<Root>".to_vec(), 1)));
    }
}
