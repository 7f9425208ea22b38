//! Solaris's IPNET: <https://www.tcpdump.org/linktypes/LINKTYPE_IPNET.html>.

use crate::cursor::{Cursor, Next};
use crate::named::{self, Kind};
use crate::stop::Reason;

const LEN: usize = 24;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 26;

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let Some(&[_, family, ..]) = cursor.rest().first_chunk::<LEN>() else {
        return cursor.too_short("ipnet", LEN);
    };
    match named::go_on(cursor, Kind::Ipnet, LEN, Next::Ip) {
        Next::Done => Next::Done,
        _ if family == AF_INET => Next::Ipv4,
        _ if family == AF_INET6 => Next::Ipv6,
        _ => cursor.stop("ipnet", Reason::Family(u32::from(family))),
    }
}
