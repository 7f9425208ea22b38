//! What the headers of links and carriers say that have an object of their own.

use decoders::{Layer, Packet};
use serde::Serialize;

/// Of each kind the innermost.
#[derive(Default)]
pub(super) struct Carriers {
    pub(super) ppp: Option<Ppp>,
    pub(super) frame_relay: Option<FrameRelay>,
    pub(super) nsh: Option<Nsh>,
    pub(super) pim: Option<Pim>,
}

#[derive(Serialize)]
pub(super) struct Ppp {
    proto: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct FrameRelay {
    dlci: u32,
}

#[derive(Serialize)]
pub(super) struct Nsh {
    path: u32,
    index: u8,
    next: u8,
}

#[derive(Serialize)]
pub(super) struct Pim {
    version: u8,
    #[serde(rename = "type")]
    kind: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
}

pub(super) fn of(packet: &Packet<'_>) -> Carriers {
    let mut found = Carriers::default();
    for layer in &packet.layers {
        match layer {
            Layer::Ppp(ppp) => {
                let (proto, name) = (ppp.protocol(), ppp.protocol_name());
                found.ppp = Some(Ppp { proto, name });
            }
            Layer::FrameRelay(frame) => {
                let dlci = frame.dlci();
                found.frame_relay = Some(FrameRelay { dlci });
            }
            Layer::Nsh(nsh) => {
                found.nsh = Some(Nsh {
                    path: nsh.path(),
                    index: nsh.index(),
                    next: nsh.next_protocol(),
                });
            }
            Layer::Pim(pim) => {
                let (version, kind, name) = (pim.version(), pim.kind(), pim.kind_name());
                found.pim = Some(Pim {
                    version,
                    kind,
                    name,
                });
            }
            _ => {}
        }
    }
    found
}
