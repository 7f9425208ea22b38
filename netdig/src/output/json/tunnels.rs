//! What headers of tunnels say beyond the identifiers in `encap`.

use decoders::{Layer, Packet, gtp_u, mpls, vxlan};
use serde::Serialize;
use std::fmt::Write;
use std::net::Ipv4Addr;

/// Of each kind the innermost.
#[derive(Default)]
pub(super) struct Tunnels {
    pub(super) vxlan: Option<Vxlan>,
    pub(super) vxlan_gpe: Option<VxlanGpe>,
    pub(super) gtp_u: Option<GtpU>,
    pub(super) mpls: Option<Mpls>,
    pub(super) gue: Option<Gue>,
    pub(super) teredo: Option<Teredo>,
    pub(super) weave_sleeve: Option<WeaveSleeve>,
}

/// VXLAN's group policy; there is no object without it.
#[derive(Serialize)]
pub(super) struct Vxlan {
    group: u16,
    dont_learn: bool,
    policy_applied: bool,
}

#[derive(Serialize)]
pub(super) struct VxlanGpe {
    version: u8,
    next: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_name: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct GtpU {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    teid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    npdu: Option<u8>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    extensions: Vec<GtpExtension>,
}

#[derive(Serialize)]
pub(super) struct GtpExtension {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct Mpls {
    labels: Vec<MplsLabel>,
}

#[derive(Serialize)]
pub(super) struct MplsLabel {
    label: u32,
    tc: u8,
    bottom: bool,
    ttl: u8,
}

#[derive(Serialize)]
pub(super) struct Gue {
    version: u8,
    control: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    proto: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    flags: Option<u16>,
}

#[derive(Serialize)]
pub(super) struct Teredo {
    auth: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
}

#[derive(Serialize)]
pub(super) struct Origin {
    addr: Ipv4Addr,
    port: u16,
}

#[derive(Serialize)]
pub(super) struct WeaveSleeve {
    encrypted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    src: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dst: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frames: Option<usize>,
}

pub(super) fn of(packet: &Packet<'_>) -> Tunnels {
    let mut tunnels = Tunnels::default();
    for layer in &packet.layers {
        match layer {
            Layer::Vxlan(header) => tunnels.vxlan = group_policy(header),
            Layer::VxlanGpe(header) => {
                tunnels.vxlan_gpe = Some(VxlanGpe {
                    version: header.version(),
                    next: header.next_protocol(),
                    next_name: header.next_protocol_name(),
                });
            }
            Layer::GtpU(header) => tunnels.gtp_u = Some(gtp_u(header)),
            Layer::Mpls(stack) => tunnels.mpls = Some(mpls(stack)),
            Layer::Gue(header) => {
                tunnels.gue = Some(Gue {
                    version: header.version(),
                    control: header.is_control(),
                    proto: header.protocol(),
                    flags: header.flags(),
                });
            }
            Layer::Teredo(header) => {
                tunnels.teredo = Some(Teredo {
                    auth: header.has_authentication(),
                    origin: header.origin().map(|(addr, port)| Origin { addr, port }),
                });
            }
            Layer::WeaveSleeve(header) => {
                let (src, dst) = header.peers().unzip();
                tunnels.weave_sleeve = Some(WeaveSleeve {
                    encrypted: header.is_encrypted(),
                    sender: header.sender().map(peer),
                    src: src.map(peer),
                    dst: dst.map(peer),
                    frames: (!header.is_encrypted()).then(|| header.frame_count()),
                });
            }
            _ => {}
        }
    }
    tunnels
}

fn group_policy(header: &vxlan::Vxlan<'_>) -> Option<Vxlan> {
    Some(Vxlan {
        group: header.group()?,
        dont_learn: header.dont_learn(),
        policy_applied: header.policy_applied(),
    })
}

fn gtp_u(header: &gtp_u::GtpU<'_>) -> GtpU {
    GtpU {
        kind: header.message_type(),
        name: header.message_name(),
        teid: header.teid(),
        seq: header.sequence(),
        npdu: header.npdu(),
        extensions: header
            .extensions()
            .map(|extension| GtpExtension {
                kind: extension.kind,
                name: gtp_u::extension_name(extension.kind),
            })
            .collect(),
    }
}

fn mpls(stack: &mpls::Mpls<'_>) -> Mpls {
    let labels = stack.labels().map(|entry| MplsLabel {
        label: entry.label,
        tc: entry.tc,
        bottom: entry.bottom,
        ttl: entry.ttl,
    });
    Mpls {
        labels: labels.collect(),
    }
}

/// A router's name, as weave itself prints it.
fn peer(name: &[u8; 6]) -> String {
    let mut text = String::new();
    for (at, byte) in name.iter().enumerate() {
        let colon = if at == 0 { "" } else { ":" };
        // Writing to memory does not fail.
        let _ = write!(text, "{colon}{byte:02x}");
    }
    text
}
