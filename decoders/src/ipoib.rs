//! IP over InfiniBand: RFC 4391, behind the place of a global route header:
//! <https://www.tcpdump.org/linktypes/LINKTYPE_IPOIB.html>.

use crate::cursor::{Cursor, Next};
use crate::named::{self, Kind};

const ROUTE: usize = 40;
const LEN: usize = ROUTE + 4;

pub(crate) fn decode(cursor: &mut Cursor<'_, '_>) -> Next {
    let Some(header) = cursor.rest().first_chunk::<LEN>() else {
        return cursor.too_short("ipoib", LEN);
    };
    let number = u16::from_be_bytes([header[ROUTE], header[ROUTE + 1]]);
    named::go_on(cursor, Kind::Ipoib, LEN, Next::EtherType(number))
}
