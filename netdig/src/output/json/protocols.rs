//! Objects of the protocols that have one each, docs/json.md describes them.

use decoders::{Layer, Packet};
use serde::Serialize;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Those of one packet's innermost IP packet.
#[derive(Default)]
pub(super) struct Protocols {
    pub(super) esp: Option<Security>,
    pub(super) ah: Option<Security>,
    pub(super) ike: Option<Ike>,
    pub(super) wireguard: Option<Wireguard>,
    pub(super) l2tp: Option<L2tp>,
    pub(super) stt: Option<Stt>,
    pub(super) sctp: Option<Sctp>,
    pub(super) udplite: Option<UdpLite>,
    pub(super) igmp: Option<Igmp>,
    pub(super) nbns: Option<Nbns>,
    pub(super) routing: Option<Routing>,
}

/// ESP and AH.
#[derive(Serialize)]
pub(super) struct Security {
    spi: u32,
    seq: u32,
}

#[derive(Serialize)]
pub(super) struct Ike {
    version: u8,
    exchange: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    id: u32,
}

#[derive(Serialize)]
pub(super) struct Wireguard {
    #[serde(rename = "type")]
    kind: u8,
    name: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sender: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    counter: Option<u64>,
}

#[derive(Serialize)]
pub(super) struct L2tp {
    version: u8,
    control: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<u32>,
}

#[derive(Serialize)]
pub(super) struct Stt {
    context: u64,
}

#[derive(Serialize)]
pub(super) struct Sctp {
    sport: u16,
    dport: u16,
    vtag: u32,
    chunks: Vec<Chunk>,
}

/// A chunk's name, or the number of its type.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Chunk {
    Name(&'static str),
    Number(u8),
}

#[derive(Serialize)]
pub(super) struct UdpLite {
    sport: u16,
    dport: u16,
    coverage: u16,
}

#[derive(Serialize)]
pub(super) struct Igmp {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    groups: Vec<Ipv4Addr>,
}

/// NetBIOS's name service.
#[derive(Serialize)]
pub(super) struct Nbns {
    id: u16,
    qr: bool,
    opcode: u8,
    rcode: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    suffix: Option<u8>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Ipv4Addr>,
}

/// IPv6's routing header.
#[derive(Serialize)]
pub(super) struct Routing {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    left: u8,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    segments: Vec<Ipv6Addr>,
}

impl Protocols {
    pub(super) fn of(packet: &Packet<'_>) -> Protocols {
        let mut found = Protocols::default();
        for layer in packet.innermost_layers() {
            found.add(packet, layer);
        }
        found
    }

    fn add(&mut self, packet: &Packet<'_>, layer: &Layer<'_>) {
        match layer {
            Layer::Esp(esp) => {
                let (spi, seq) = (esp.spi(), esp.sequence());
                self.esp = Some(Security { spi, seq });
            }
            Layer::Ah(ah) => {
                let (spi, seq) = (ah.spi(), ah.sequence());
                self.ah = Some(Security { spi, seq });
            }
            Layer::Ike(ike) => {
                self.ike = Some(Ike {
                    version: ike.version(),
                    exchange: ike.exchange(),
                    name: ike.exchange_name(),
                    id: ike.message_id(),
                });
            }
            Layer::Wireguard(message) => {
                self.wireguard = Some(Wireguard {
                    kind: message.kind(),
                    name: message.kind_name(),
                    sender: message.sender(),
                    receiver: message.receiver(),
                    counter: message.counter(),
                });
            }
            Layer::L2tp(l2tp) => {
                self.l2tp = Some(L2tp {
                    version: l2tp.version(),
                    control: l2tp.is_control(),
                    tunnel: l2tp.tunnel(),
                    session: l2tp.session(),
                });
            }
            Layer::Stt(stt) => {
                let context = stt.context();
                self.stt = Some(Stt { context });
            }
            Layer::Ipv6Extension(extension) => {
                if let Some((kind, left)) = extension.routing() {
                    let name = extension.routing_name();
                    self.routing = Some(Routing {
                        kind,
                        name,
                        left,
                        segments: extension.segments(packet).collect(),
                    });
                }
            }
            Layer::Sctp(sctp) => self.sctp = Some(Sctp::of(sctp)),
            Layer::UdpLite(udp) => {
                self.udplite = Some(UdpLite {
                    sport: udp.source_port(),
                    dport: udp.destination_port(),
                    coverage: udp.coverage(),
                });
            }
            Layer::Nbns(message) => self.nbns = Some(Nbns::of(message)),
            Layer::Igmp(igmp) => {
                let recorded = igmp.records().map(|record| record.group);
                self.igmp = Some(Igmp {
                    kind: igmp.kind(),
                    version: igmp.version(),
                    name: igmp.kind_name(),
                    groups: igmp.group().into_iter().chain(recorded).collect(),
                });
            }
            _ => {}
        }
    }
}

impl Nbns {
    fn of(message: &decoders::nbns::Nbns<'_>) -> Nbns {
        let name = message.name();
        Nbns {
            id: message.id(),
            qr: message.is_response(),
            opcode: message.opcode(),
            rcode: message.rcode(),
            name: name.map(|name| String::from_utf8_lossy(name.text()).into_owned()),
            suffix: name.map(|name| name.suffix()),
            kind: message.kind_name(),
            address: message.address(),
        }
    }
}

impl Sctp {
    fn of(sctp: &decoders::sctp::Sctp<'_>) -> Sctp {
        let chunks = sctp.chunks();
        Sctp {
            sport: sctp.source_port(),
            dport: sctp.destination_port(),
            vtag: sctp.verification_tag(),
            chunks: chunks
                .map(|chunk| chunk.name().map_or(Chunk::Number(chunk.kind), Chunk::Name))
                .collect(),
        }
    }
}
