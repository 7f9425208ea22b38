//! HTTP/2's part of the line, and etcd's mark on it and on HTTP/1's.

use super::Line;
use super::text::push_decimal;
use decoders::http2::{Http2, frame_name};
use decoders::{Packet, etcd};

/// Frames named in one line.
const MAX_FRAMES: usize = 32;

pub(super) fn write(line: Line<'_, '_, '_>, http: &Http2<'_>) {
    let packet = line.packet;
    let out = line.protocol(b"HTTP2");
    out.extend_from_slice(b"Magic");
    for (kind, stream) in http.frames().take(MAX_FRAMES) {
        out.extend_from_slice(b", ");
        out.extend_from_slice(frame_name(kind).unwrap_or("Unknown").as_bytes());
        out.push(b'[');
        push_decimal(out, u64::from(stream));
        out.push(b']');
    }
    push_etcd(out, packet);
}

/// ` [etcd v2]`: not tshark's, which does not know it.
pub(super) fn push_etcd(out: &mut Vec<u8>, packet: &Packet<'_>) {
    if let Some(seen) = etcd::seen(packet) {
        out.extend_from_slice(b" [etcd ");
        out.extend_from_slice(seen.api.name().as_bytes());
        out.push(b']');
    }
}
