//! Where in a decoded packet a fragment is, or a segment; and what a segment's
//! data leave open.

use super::datagrams::{self, Fragment};
use super::streams::{self, GoesOn, Segment};
use super::{Arrival, Reassembly};
use crate::layer::Layer;
use crate::named::{Kind, Named};
use crate::packet::Packet;
use crate::stop::{Reason, Stop};
use crate::tcp::{Tcp, TcpFlags};
use crate::{dns, http2};
use core::hash::{BuildHasher, Hash, Hasher};
use core::net::IpAddr;

/// A fragment, and where it is.
pub(super) struct FragmentPlace<'a> {
    /// Index of the layer whose payload it is.
    pub(super) layer: usize,
    /// Byte of the packet at which the payload begins.
    pub(super) at: usize,
    pub(super) version: u8,
    pub(super) fragment: Fragment<'a>,
}

/// A segment, and where it is.
pub(super) struct SegmentPlace<'a> {
    /// Index of its layer.
    pub(super) layer: usize,
    /// Byte of the packet at which its data begin.
    pub(super) at: usize,
    pub(super) segment: Segment<'a>,
}

impl Reassembly {
    /// The outermost fragment among the layers from `from` on, if it is there
    /// wholly.
    pub(super) fn fragment<'a>(
        &self,
        packet: &Packet<'a>,
        from: usize,
        arrival: Arrival,
    ) -> Option<FragmentPlace<'a>> {
        let layers = packet.layers.iter().enumerate().skip(from);
        let (layer, info) = layers.into_iter().find_map(|(at, layer)| {
            let info = match layer {
                Layer::Ipv4(ip) => ip.fragment(),
                Layer::Ipv6Extension(extension) => extension.fragment(),
                _ => None,
            };
            let info = info.filter(|info| info.offset != 0 || info.more)?;
            Some((at, info))
        })?;
        let ip = ip_before(packet, layer)?;
        let (version, protocol, next) = match &packet.layers[layer] {
            Layer::Ipv4(header) => (4, header.protocol(), header.protocol()),
            Layer::Ipv6Extension(header) => (6, 0, header.next_header()),
            _ => return None,
        };
        let (source, destination) = ends(&packet.layers[ip])?;
        let (at, bytes) = whole_payload(packet, ip, layer)?;
        Some(FragmentPlace {
            layer,
            at,
            version,
            fragment: Fragment {
                key: datagrams::Key {
                    source,
                    destination,
                    id: info.id,
                    protocol,
                    context: self.context(packet, ip, arrival),
                },
                offset: info.offset,
                more: info.more,
                bytes,
                header_len: match version {
                    4 => packet.layers[layer].header_len(),
                    _ => 0,
                },
                next,
                frame: arrival.frame,
                time_ns: arrival.time_ns,
            },
        })
    }

    /// The innermost segment, if it has data or begins or ends a connection, and
    /// is there wholly.
    pub(super) fn segment<'a>(
        &self,
        packet: &Packet<'a>,
        arrival: Arrival,
    ) -> Option<SegmentPlace<'a>> {
        let is_tcp = |layer: &Layer<'_>| matches!(layer, Layer::Tcp(_));
        let layer = packet.layers.iter().rposition(is_tcp)?;
        if let Some(Layer::Stt(_)) = packet.layers.get(layer + 1) {
            return None;
        }
        let ip = ip_before(packet, layer)?;
        let (source, destination) = ends(&packet.layers[ip])?;
        let Layer::Tcp(tcp) = &packet.layers[layer] else {
            return None;
        };
        let flags = tcp.flags();
        let is_reset = flags.has(TcpFlags::SYN) || flags.has(TcpFlags::RST);
        let (at, payload) = whole_payload(packet, ip, layer)?;
        if payload.is_empty() && !is_reset {
            return None;
        }
        Some(SegmentPlace {
            layer,
            at,
            segment: Segment {
                key: streams::Key {
                    source,
                    destination,
                    ports: (tcp.source_port(), tcp.destination_port()),
                    context: self.context(packet, ip, arrival),
                },
                // The data of a SYN begin behind it.
                sequence: tcp
                    .sequence()
                    .wrapping_add(u32::from(flags.has(TcpFlags::SYN))),
                payload,
                is_reset,
                frame: arrival.frame,
                time_ns: arrival.time_ns,
            },
        })
    }

    /// What is around the IP packet at `ip`, and what the caller says: equal
    /// packets in different networks have nothing to do with each other. Ports of
    /// tunnels do not count, since fragments of one packet may have others.
    fn context(&self, packet: &Packet<'_>, ip: usize, arrival: Arrival) -> u64 {
        let mut hasher = self.seed.build_hasher();
        arrival.context.hash(&mut hasher);
        for layer in &packet.layers[..ip] {
            let number = match layer {
                Layer::Vlan(tag) => Some(u32::from(tag.id())),
                Layer::Vxlan(vxlan) => Some(vxlan.vni()),
                Layer::VxlanGpe(vxlan) => Some(vxlan.vni()),
                Layer::Geneve(geneve) => Some(geneve.vni()),
                Layer::Gre(gre) => {
                    // Of PPTP the key's other half is the packet's length.
                    let call = gre.call_id().map(u32::from);
                    gre.vni().or(call).or(gre.key())
                }
                Layer::L2tp(l2tp) => {
                    l2tp.tunnel().hash(&mut hasher);
                    l2tp.session()
                }
                Layer::Nsh(nsh) => Some(nsh.path()),
                Layer::FrameRelay(header) => Some(header.dlci()),
                Layer::Named(Named {
                    kind: Kind::PppoeSession,
                    span,
                    ..
                }) => {
                    let start = span.start as usize;
                    let session = packet.data.get(start + 2..start + 4);
                    session.map(|id| u32::from(u16::from_be_bytes([id[0], id[1]])))
                }
                Layer::GtpU(gtp) => Some(gtp.teid()),
                Layer::Mpls(stack) => Some(stack.label()),
                Layer::Erspan(erspan) => erspan.session().map(u32::from),
                other => {
                    ends(other).hash(&mut hasher);
                    continue;
                }
            };
            (layer.name(), number).hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// Index of the IP header around the layer at `at`, or that one itself.
fn ip_before(packet: &Packet<'_>, at: usize) -> Option<usize> {
    let is_ip = |layer: &Layer<'_>| matches!(layer, Layer::Ipv4(_) | Layer::Ipv6(_));
    packet.layers[..=at].iter().rposition(is_ip)
}

fn ends(layer: &Layer<'_>) -> Option<(IpAddr, IpAddr)> {
    match layer {
        Layer::Ipv4(ip) => Some((ip.source().into(), ip.destination().into())),
        Layer::Ipv6(ip) => Some((ip.source().into(), ip.destination().into())),
        _ => None,
    }
}

/// Where a layer's payload begins, and its bytes; `None` where not all that IP
/// promises is there.
fn whole_payload<'a>(packet: &Packet<'a>, ip: usize, layer: usize) -> Option<(usize, &'a [u8])> {
    let around = packet.layers[ip].span();
    let len = (around.end - around.start) as usize;
    let declared = match &packet.layers[ip] {
        Layer::Ipv4(ip) => usize::from(ip.total_length()),
        Layer::Ipv6(ip) if ip.payload_length() != 0 => {
            ip.header_len() + usize::from(ip.payload_length())
        }
        _ => 0,
    };
    if declared > len {
        return None;
    }
    let layer = &packet.layers[layer];
    let (start, end) = (layer.span().start as usize, layer.span().end as usize);
    let at = start + layer.header_len();
    Some((at, packet.data.get(at..end)?))
}

/// The message that the data of the segment at `layer` leave open, if there is
/// one.
pub(super) fn goes_on(packet: &Packet<'_>, layer: usize) -> Option<GoesOn> {
    let Some(Layer::Tcp(tcp)) = packet.layers.get(layer) else {
        return None;
    };
    let payload = packet.payload(&packet.layers[layer]);
    let at = packet.layers[layer].span().start as usize + tcp.header_len();
    let missing = match packet.stop {
        None => None,
        Some(Stop {
            reason: Reason::Segmented { missing },
            ..
        }) => Some(missing),
        Some(_) => return None,
    };
    match packet.layers.last()? {
        Layer::Tcp(_) => too_short(tcp, payload),
        Layer::Http(http) if !http.head_is_whole() => Some(GoesOn {
            from: 0,
            missing: 0,
        }),
        Layer::Tls(tls) => tls
            .goes_on()
            .map(|(from, missing)| GoesOn { from, missing }),
        Layer::Dns(dns) => {
            let stopped = packet.stop?.offset;
            let begin = match stopped == dns.span.start as usize {
                true => stopped.checked_sub(2)?,
                false => stopped,
            };
            Some(GoesOn {
                from: begin.checked_sub(at)?,
                missing: missing?,
            })
        }
        _ => None,
    }
}

/// Data in which nothing is recognized yet, though they may become something.
fn too_short(tcp: &Tcp<'_>, payload: &[u8]) -> Option<GoesOn> {
    let from = 0;
    // A single byte may ask whether the other end is alive.
    if payload.len() == 1 && !tcp.flags().has(TcpFlags::PSH) {
        return None;
    }
    if payload.len() > 1 && http2::may_begin(payload) {
        let missing = http2::missing(payload);
        return Some(GoesOn { from, missing });
    }
    if !dns::is_tcp_port(tcp.source_port()) && !dns::is_tcp_port(tcp.destination_port()) {
        return None;
    }
    let missing = dns::missing_of_header(payload)?;
    Some(GoesOn { from, missing })
}

/// Whether a packet's data leave a message open.
#[inline]
pub(super) fn leaves_open(packet: &Packet<'_>) -> bool {
    match packet.layers.last() {
        Some(Layer::Tcp(tcp)) => {
            (1..24).contains(&tcp.payload_len())
                && goes_on(packet, packet.layers.len() - 1).is_some()
        }
        Some(Layer::Http(http)) => !http.head_is_whole(),
        Some(Layer::Tls(tls)) => tls.goes_on().is_some(),
        Some(Layer::Dns(_)) => {
            matches!(packet.stop, Some(stop) if matches!(stop.reason, Reason::Segmented { .. }))
        }
        _ => false,
    }
}
