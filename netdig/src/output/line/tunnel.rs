//! The line of packets that end with a tunnel's header: the ends' own messages,
//! and what cannot be decoded within.

use super::Line;
use super::network::{push_reason, push_stop};
use decoders::{Layer, Packet, Reason};
use std::io::Write;

/// Whether the line is about a packet that GTP-U carries, which tshark shows in
/// the column of protocols.
pub(super) fn is_in_gtp(packet: &Packet<'_>) -> bool {
    // Two layers carry it at least, and one follows.
    let [_, _, between @ .., _] = &packet.layers[..] else {
        return false;
    };
    between.iter().any(|layer| matches!(layer, Layer::GtpU(_)))
}

/// Whether [`write`] has a name for the layer.
pub(super) fn is_named(layer: &Layer<'_>) -> bool {
    name(layer).is_some()
}

fn name(layer: &Layer<'_>) -> Option<&'static [u8]> {
    Some(match layer {
        Layer::VxlanGpe(_) => b"VxLAN",
        Layer::GtpU(_) => b"GTP",
        Layer::Mpls(_) => b"MPLS",
        Layer::Gue(_) => b"GUE",
        Layer::Teredo(_) => b"Teredo",
        Layer::WeaveSleeve(_) => b"Sleeve",
        _ => return None,
    })
}

/// `layer` is the packet's last.
pub(super) fn write(line: Line<'_, '_, '_>, layer: &Layer<'_>) {
    let stop = line.packet.stop;
    let out = line.protocol(name(layer).unwrap_or_default());
    match layer {
        Layer::GtpU(gtp) if !gtp.carries_packet() => {
            let name = gtp.message_name().unwrap_or_default();
            out.extend_from_slice(name.as_bytes());
        }
        Layer::Gue(gue) if gue.is_control() => {
            // Writing to memory does not fail.
            drop(write!(
                out,
                "Control message {}",
                gue.protocol().unwrap_or(0)
            ));
        }
        Layer::Mpls(_) => out.extend_from_slice(b"MPLS Label Switched Packet"),
        _ => {}
    }
    let is_form = |stop: &decoders::Stop| matches!(stop.reason, Reason::Form(_));
    match (stop, layer) {
        // tshark says no more of what it does not know within MPLS.
        (Some(stop), Layer::Mpls(_)) if is_form(&stop) => {}
        (Some(stop), _) if is_form(&stop) => push_reason(out, stop),
        (Some(stop), _) => push_stop(out, stop),
        (None, _) => {}
    }
}
