//! How far the pointers of names lead (RFC 1035, section 4.1.4), looked at before
//! the names are followed: each may lead to another, thousands of times.

/// Pointers that are followed in one name, which has no more labels to point at.
pub(super) const MAX: usize = 127;
/// Bytes of a name's labels, with their lengths.
const MAX_NAME: usize = 255;
/// Type, class, time to live, length.
const FIXED: usize = 10;
/// The type whose data begin with two names.
const SOA: u16 = 6;

/// Where a name ends at its place; `None` where it is no name, which whoever
/// parses it notices as soon.
type End = Option<usize>;

/// More pointers than are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct TooMany;

/// The names of one message, which together may have as many pointers followed as
/// the message has bytes.
pub(super) struct Jumps<'a> {
    message: &'a [u8],
    left: usize,
}

impl<'a> Jumps<'a> {
    pub(super) fn new(message: &'a [u8]) -> Jumps<'a> {
        let left = message.len();
        Jumps { message, left }
    }

    /// The name at a place.
    pub(super) fn name(&mut self, start: usize) -> Result<End, TooMany> {
        let (mut at, mut end, mut labels, mut jumps) = (start, None, 0, 0);
        while labels <= MAX_NAME {
            let Some(&len) = self.message.get(at) else {
                return Ok(None);
            };
            match len {
                0 => return Ok(end.or(Some(at + 1))),
                1..64 => {
                    labels += usize::from(len) + 1;
                    at += usize::from(len) + 1;
                }
                0xc0.. => {
                    let Some(low) = self.message.get(at + 1) else {
                        return Ok(None);
                    };
                    end.get_or_insert(at + 2);
                    jumps += 1;
                    self.left = self.left.checked_sub(1).ok_or(TooMany)?;
                    if jumps > MAX {
                        return Err(TooMany);
                    }
                    at = usize::from(len & 0x3f) << 8 | usize::from(*low);
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// The names of the record at a place: its own, and those in its data.
    pub(super) fn record(&mut self, start: usize) -> Result<(), TooMany> {
        let Some(at) = self.name(start)? else {
            return Ok(());
        };
        let rest = self.message.get(at..).unwrap_or(&[]);
        let Some(&[high, low, .., a, b]) = rest.first_chunk::<FIXED>() else {
            return Ok(());
        };
        let length = usize::from(u16::from_be_bytes([a, b]));
        let data = at + FIXED;
        let kind = u16::from_be_bytes([high, low]);
        match self.first_name(kind, data) {
            Some(first) if length > 0 => match (kind, self.name(first)?) {
                (SOA, Some(second)) => self.name(second).map(|_| ()),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Where the first name of a record's data is; `None` where names are none, or
    /// cannot be compressed.
    fn first_name(&self, kind: u16, data: usize) -> Option<usize> {
        match kind {
            // NS, CNAME, PTR, TSIG, ANAME.
            2 | 5 | SOA | 12 | 250 | 65305 => Some(data),
            // MX, SVCB, HTTPS, SRV: numbers before it.
            15 | 64 | 65 => Some(data + 2),
            33 => Some(data + 6),
            // NAPTR: two numbers and three strings.
            35 => (0..3).try_fold(data + 4, |at, _| {
                Some(at + 1 + usize::from(*self.message.get(at)?))
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Dns, HEADER_LEN};
    use crate::layer::Span;
    use alloc::vec::Vec;

    /// The end of a chain, and before it as many pointers, each to the one before.
    fn chain(message: &mut Vec<u8>, pointers: usize) -> [u8; 2] {
        let mut last = message.len();
        message.push(0);
        for _ in 0..pointers {
            let to = 0xc000 | last as u16;
            last = message.len();
            message.extend(to.to_be_bytes());
        }
        (0xc000 | last as u16).to_be_bytes()
    }

    /// A message whose first record holds a chain; `records` follow, each made of
    /// the pointer to its end.
    fn message(pointers: usize, records: usize, record: fn([u8; 2]) -> Vec<u8>) -> Vec<u8> {
        let mut message = b"\0\x07\x81\x80\0\0\0\0\0\0\0\0".to_vec();
        message[6..8].copy_from_slice(&(records as u16 + 1).to_be_bytes());
        message.extend(b"\0\xff\0\0\x01\0\0\0\0");
        message.extend((2 * pointers as u16 + 1).to_be_bytes());
        let pointer = chain(&mut message, pointers);
        for _ in 0..records {
            message.extend(record(pointer));
        }
        message
    }

    fn parsed(message: &[u8]) -> (usize, bool) {
        let end = message.len() as u32;
        let span = Span { start: 0, end };
        let parsed = Dns { message, span }.parse();
        (parsed.answers.len(), parsed.complete)
    }

    fn name_first([high, low]: [u8; 2]) -> Vec<u8> {
        [high, low, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 192, 0, 2, 1].to_vec()
    }

    /// A record of a type, the pointer behind some bytes of its data.
    fn in_data(kind: u16, before: &[u8], pointer: [u8; 2], after: usize) -> Vec<u8> {
        let mut record = [&[0][..], &kind.to_be_bytes(), b"\0\x01\0\0\0\0"].concat();
        record.extend(((before.len() + 2 + after) as u16).to_be_bytes());
        record.extend(before);
        record.extend(pointer);
        record.resize(record.len() + after, 0);
        record
    }

    #[test]
    fn long_chains_end_the_message() {
        assert_eq!(parsed(&message(MAX - 1, 2, name_first)), (3, true));
        assert_eq!(parsed(&message(MAX, 2, name_first)), (1, false));
        let kinds: [fn([u8; 2]) -> Vec<u8>; 8] = [
            |to| in_data(2, b"", to, 0),
            |to| in_data(5, b"", to, 0),
            |to| in_data(12, b"", to, 0),
            |to| in_data(15, b"\0\x01", to, 0),
            |to| in_data(33, b"\0\x01\0\x01\0\x01", to, 0),
            |to| in_data(35, b"\0\x01\0\x01\x01u\x00\x02ab", to, 0),
            |to| in_data(SOA, b"", to, 21),
            |to| in_data(SOA, b"\0", to, 20),
        ];
        for (at, record) in kinds.into_iter().enumerate() {
            assert_eq!(parsed(&message(MAX - 1, 1, record)), (2, true), "{at}");
            assert_eq!(parsed(&message(MAX, 1, record)), (1, false), "{at}");
        }
    }

    #[test]
    fn a_message_has_a_pointer_a_byte_followed() {
        // Each name is short enough, all together are too many.
        let whole = message(MAX - 1, 4000, name_first);
        assert!(whole.len() > 64_000 && whole.len() <= usize::from(u16::MAX));
        let mut jumps = Jumps::new(&whole);
        jumps.record(HEADER_LEN).unwrap();
        let first = HEADER_LEN + 11 + 2 * (MAX - 1) + 1;
        let places = (first..whole.len()).step_by(16);
        let sound = places.take_while(|at| jumps.record(*at).is_ok()).count();
        assert_eq!((sound, jumps.left), (whole.len() / MAX, 0));
        assert_eq!(parsed(&whole), (1 + sound, false));

        let whole = message(8000, 3000, name_first);
        assert!(whole.len() > 64_000 - 2 && whole.len() <= usize::from(u16::MAX));
        let mut jumps = Jumps::new(&whole);
        let last = whole.len() - 16;
        assert_eq!(jumps.record(last), Err(TooMany));
        assert_eq!(whole.len() - jumps.left, MAX + 1);
        assert_eq!(parsed(&whole), (1, false));
    }

    #[test]
    fn circles_end() {
        for message in [&b"\xc0\0"[..], b"\x01a\xc0\0", b"\xc0\x02\xc0\0"] {
            let message = [message, &[0; 1000]].concat();
            let found = Jumps::new(&message).name(0);
            assert!(matches!(found, Err(TooMany) | Ok(None)), "{found:?}");
        }
    }
}
