//! JSON lines: one object a line, schema `netdig/1`. Unknown is absent.
mod carriers;
mod dhcp;
mod etcd;
mod http;
mod objects;
mod protocols;
mod tls;
mod tunnels;

use std::io;
use std::net::SocketAddr;

use decoders::{
    icmp::Quoted,
    reassembly::{Cause, Totals},
    tcp::TcpOption,
};
use serde::Serialize;

use super::{
    clock::Clock,
    line::{text::is_harmless, write_line, write_reassembled},
    summary::Summary,
    text::{errno_name, tun_name},
};
use crate::{
    evidence::{
        flow::Relative,
        packet::{Fate, PacketView},
    },
    finding::Finding,
    observation::{Loss, UnixNanos},
    tracker::Process as TrackedProcess,
};

use objects::{
    Answer, Container, Dns, Edns, EdnsOption, Encap, Endpoints, Fd, Findings, Fragment, Icmp, Ip,
    LossObject, LostBy, Name, Packet, Parts, Process, QuotedPacket, Reassembled, Reassembly, Stop,
    SummaryObject, Tcp, Udp, Window,
};

/// Version of the objects' form.
pub const SCHEMA: &str = "netdig/1";

/// Writes the JSON format.
#[derive(Debug)]
pub struct JsonWriter {
    clock: Clock,
    time: Vec<u8>,
    line: Vec<u8>,
}

impl Default for JsonWriter {
    fn default() -> Self {
        JsonWriter {
            clock: Clock::rfc3339(),
            time: Vec::new(),
            line: Vec::new(),
        }
    }
}

impl JsonWriter {
    /// Appends the packet's object.
    pub fn packet(&mut self, out: &mut Vec<u8>, view: &PacketView<'_>) {
        let frame = view.frame;
        let ts = time(&mut self.clock, &mut self.time, frame.ts_ns);
        self.line.clear();
        write_line(&mut self.line, view.packet, view.tcp.as_ref());
        write_reassembled(&mut self.line, view.reassembled);
        let tunnels = tunnels::of(view.packet);
        let carriers = carriers::of(view.packet);
        let protocols = protocols::Protocols::of(view.packet);
        let object = Packet {
            schema: SCHEMA,
            kind: "packet",
            ts,
            ts_ns: frame.ts_ns,
            n: view.n,
            via: frame.via.name(),
            interface: &view.interface.name,
            process: process(view),
            fd: frame.fd.as_ref().map(|fd| Fd {
                num: fd.num,
                name: view.fd_name,
                interface: tun_name(frame),
            }),
            encap: encapsulations(view),
            layers: layers(view.packet),
            len: frame.orig_len,
            caplen: frame.data.len(),
            ip: ip(view.packet),
            outer: outer(view),
            tcp: tcp(view),
            udp: udp(view.packet),
            icmp: icmp(view.packet),
            dns: dns(view.packet),
            vxlan: tunnels.vxlan,
            vxlan_gpe: tunnels.vxlan_gpe,
            gtp_u: tunnels.gtp_u,
            mpls: tunnels.mpls,
            gue: tunnels.gue,
            teredo: tunnels.teredo,
            weave_sleeve: tunnels.weave_sleeve,
            http: http::object(view.packet),
            tls: tls::object(view.packet),
            dhcp: dhcp::object(view.packet),
            etcd: etcd::object(view.packet),
            esp: protocols.esp,
            ah: protocols.ah,
            ike: protocols.ike,
            wireguard: protocols.wireguard,
            l2tp: protocols.l2tp,
            stt: protocols.stt,
            sctp: protocols.sctp,
            udplite: protocols.udplite,
            igmp: protocols.igmp,
            nbns: protocols.nbns,
            routing: protocols.routing,
            ppp: carriers.ppp,
            frame_relay: carriers.frame_relay,
            nsh: carriers.nsh,
            pim: carriers.pim,
            reassembled: view.reassembled.map(|whole| Reassembled {
                frames: &whole.frames,
                len: whole.len,
            }),
            stop: view.packet.stop.map(|stop| Stop {
                layer: stop.layer,
                offset: stop.offset,
                reason: stop.reason.to_string(),
                needed: stop.shortage.map(|shortage| shortage.needed),
                had: stop.shortage.map(|shortage| shortage.had),
                length_from: stop.shortage.map(|shortage| shortage.length_from.name()),
            }),
            joined: match view.fate {
                Fate::Joined { n, .. } => Some(*n),
                _ => None,
            },
            fate: fate(view),
            error: frame.errno.map(errno_name),
            summary: String::from_utf8_lossy(&self.line),
        };
        write(out, &object);
    }

    /// Appends a loss object.
    pub fn loss(&mut self, out: &mut Vec<u8>, loss: &Loss) {
        let object = LossObject {
            schema: SCHEMA,
            kind: "loss",
            ts: time(&mut self.clock, &mut self.time, loss.ts_ns),
            ts_ns: loss.ts_ns,
            source: &loss.source,
            event_kind: loss.event_kind,
            cause: loss.cause.name(),
            count: loss.count,
            window: Window {
                since_ns: loss.window.0,
                until_ns: loss.window.1,
            },
        };
        write(out, &object);
    }

    /// Appends a finding's object.
    pub fn finding(&mut self, out: &mut Vec<u8>, finding: &Finding, at: UnixNanos) {
        out.extend(super::finding::json(finding, at));
    }

    /// Appends the last object.
    pub fn summary(&mut self, out: &mut Vec<u8>, summary: &Summary, now: UnixNanos) {
        let object = SummaryObject {
            schema: SCHEMA,
            kind: "summary",
            ts: time(&mut self.clock, &mut self.time, now),
            ts_ns: now,
            packets: summary.packets,
            bytes: summary.bytes,
            joined: summary.joined,
            unsent: summary.unsent,
            unwritten: summary.unwritten,
            refused: summary.refused,
            undecoded: summary.undecoded,
            events: summary.events,
            lost: summary.lost_total(),
            lost_by: lost_by(summary),
            reassembly: reassembly(summary),
            findings: Findings::of(summary),
        };
        write(out, &object);
    }
}

/// What was put together, and what was not; nothing where nothing was in parts.
fn reassembly(summary: &Summary) -> Option<Reassembly> {
    let of = |totals: Totals, unfinished: u64| Parts {
        whole: totals.whole,
        given_up: Cause::ALL
            .into_iter()
            .map(|cause| (cause.name(), totals.given_up(cause)))
            .filter(|(_, count)| *count > 0)
            .collect(),
        unfinished,
    };
    summary.has_parts().then(|| Reassembly {
        datagrams: of(summary.datagrams, summary.unfinished_datagrams),
        messages: of(summary.messages, summary.unfinished_messages),
    })
}

fn lost_by(summary: &Summary) -> Vec<LostBy<'_>> {
    let kinds = summary.lost.iter();
    kinds
        .map(|((source, event_kind, cause), &count)| LostBy {
            source,
            event_kind,
            cause: cause.name(),
            count,
        })
        .collect()
}

/// Appends an object and the end of its line.
pub(super) fn write(out: &mut Vec<u8>, object: &impl Serialize) {
    let start = out.len();
    let mut serializer = serde_json::Serializer::with_formatter(&mut *out, Harmless);
    // Plain structs with string keys; a Vec takes all.
    if object.serialize(&mut serializer).is_err() {
        out.truncate(start);
        return;
    }
    out.push(b'\n');
}

/// Compact JSON whose strings cannot command a terminal that it is printed on.
struct Harmless;

impl serde_json::ser::Formatter for Harmless {
    /// What JSON itself would leave as it is: DEL, C1, marks that mislead.
    fn write_string_fragment<W>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        let mut rest = fragment;
        if rest.bytes().all(|byte| (b' '..b'\x7f').contains(&byte)) {
            return writer.write_all(rest.as_bytes());
        }
        while let Some(at) = rest.find(|c: char| c >= '\x7f' && !is_harmless(c)) {
            let (before, after) = rest.split_at(at);
            writer.write_all(before.as_bytes())?;
            let mut characters = after.chars();
            let character = characters.next().unwrap_or_default();
            for unit in character.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

fn time<'a>(clock: &mut Clock, buffer: &'a mut Vec<u8>, at: UnixNanos) -> &'a str {
    buffer.clear();
    clock.push(buffer, at);
    std::str::from_utf8(buffer).unwrap_or_default()
}

fn process<'a>(view: &PacketView<'a>) -> Option<Process<'a>> {
    let actor = view.frame.process.as_ref()?;
    let known: Option<&TrackedProcess> = view.process;
    Some(Process {
        pid: actor.pid,
        tid: actor.tid,
        comm: String::from_utf8_lossy(actor.comm()),
        args: known
            .map(|process| {
                process
                    .args
                    .iter()
                    .map(|arg| String::from_utf8_lossy(arg))
                    .collect()
            })
            .unwrap_or_default(),
        ppid: known.and_then(|process| process.parent),
        user: known.and_then(|process| process.user.as_deref()),
        start_ns: known.and_then(|process| process.start_ns),
        container: known
            .and_then(|process| process.container.as_ref())
            .map(|container| Container {
                id: &container.id,
                name: &container.name,
            }),
    })
}

/// The tunnels around the innermost packet: those within the captured bytes,
/// and around them the socket's, whose header the daemon never sees.
fn encapsulations(view: &PacketView<'_>) -> Vec<Encap> {
    let socket = view.frame.encap.map(|encap| Encap {
        proto: encap.name(),
        vni: None,
        teid: None,
        label: None,
        key: None,
        flow_id: None,
        call_id: None,
        session: None,
        vlan: None,
        outer: socket_endpoints(view),
    });
    let within = view.packet.encapsulations().map(|tunnel| Encap {
        proto: tunnel.protocol,
        vni: tunnel.vni,
        teid: tunnel.teid,
        label: tunnel.label,
        key: tunnel.key,
        flow_id: tunnel.flow_id,
        call_id: tunnel.call_id,
        session: tunnel.session,
        vlan: tunnel.vlan,
        outer: tunnel.outer.map(endpoints),
    });
    socket.into_iter().chain(within).collect()
}

fn endpoints(ends: decoders::Endpoints) -> Endpoints {
    Endpoints {
        src: Some(ends.source),
        dst: Some(ends.destination),
        sport: ends.source_port,
        dport: ends.destination_port,
    }
}

/// Who talks to whom around the packet: the socket's ends, or the outermost
/// addresses of a packet that holds a tunnel.
fn outer(view: &PacketView<'_>) -> Option<Endpoints> {
    if view.frame.encap.is_some() {
        return socket_endpoints(view);
    }
    view.packet.encapsulations().next()?;
    view.packet.outer().map(endpoints)
}

/// The socket's own end and its peer, in the direction of the packet. An
/// unbound address is not known.
fn socket_endpoints(view: &PacketView<'_>) -> Option<Endpoints> {
    use crate::observation::{FdKind, Via};
    let fd = view.frame.fd.as_ref()?;
    let FdKind::Inet { local, .. } = &fd.kind else {
        return None;
    };
    let known = |address: SocketAddr| {
        let ip = (!address.ip().is_unspecified()).then(|| address.ip());
        (ip, (address.port() != 0).then(|| address.port()))
    };
    let (own_ip, own_port) = known(*local);
    let (peer_ip, peer_port) = view.frame.peer.map_or((None, None), known);
    Some(match view.frame.via {
        Via::UdpRecv => Endpoints {
            src: peer_ip,
            dst: own_ip,
            sport: peer_port,
            dport: own_port,
        },
        _ => Endpoints {
            src: own_ip,
            dst: peer_ip,
            sport: own_port,
            dport: peer_port,
        },
    })
}

fn ip(packet: &decoders::Packet<'_>) -> Option<Ip> {
    let ip = packet.innermost_ip()?;
    Some(Ip {
        version: ip.version(),
        src: ip.source(),
        dst: ip.destination(),
        proto: ip.protocol(),
        ttl: ip.ttl(),
        len: declared_len(&ip),
        id: ip.id(),
        frag: ip.fragment().map(|fragment| Fragment {
            offset: fragment.offset,
            more: fragment.more,
        }),
    })
}

/// What the header says, also where the capture or the frame holds less; of a
/// packet that leaves it open (0), what there is.
fn declared_len(ip: &decoders::Ip<'_>) -> usize {
    let (word, fixed) = match ip {
        decoders::Ip::V4(ip) => (ip.total_length(), 0),
        decoders::Ip::V6(ip, _) => (ip.payload_length(), ip.header_len()),
    };
    match word {
        0 => ip.len(),
        word => fixed + usize::from(word),
    }
}

/// Those that were decoded, and the one whose header is cut where something is
/// told of it.
fn layers(packet: &decoders::Packet<'_>) -> Vec<&'static str> {
    let cut = packet.cut_header().filter(|header| match header.layer {
        "tcp" | "udp" => header.ports().is_some(),
        "icmp" | "icmpv6" => header.icmp_code().is_some(),
        _ => false,
    });
    let names = packet.layer_names();
    names.chain(cut.map(|header| header.layer)).collect()
}

fn udp(packet: &decoders::Packet<'_>) -> Option<Udp> {
    if let Some(udp) = packet.udp() {
        return Some(Udp {
            sport: udp.source_port(),
            dport: udp.destination_port(),
            len: Some(udp.length()),
        });
    }
    let header = packet.cut_header().filter(|header| header.layer == "udp")?;
    let (sport, dport) = header.ports()?;
    let len = header.udp_length();
    Some(Udp { sport, dport, len })
}

/// What is there of a TCP header that is cut before its window.
fn cut_tcp(packet: &decoders::Packet<'_>) -> Option<Tcp> {
    let header = packet.cut_header().filter(|header| header.layer == "tcp")?;
    let (sport, dport) = header.ports()?;
    Some(Tcp {
        sport,
        dport,
        seq_raw: header.sequence(),
        ack_raw: header.acknowledgement(),
        ..Tcp::default()
    })
}

fn tcp(view: &PacketView<'_>) -> Option<Tcp> {
    let Some(tcp) = view.packet.tcp() else {
        return cut_tcp(view.packet);
    };
    let numbers = view.tcp.unwrap_or_else(|| Relative::of_header(tcp));
    let mut object = Tcp {
        sport: tcp.source_port(),
        dport: tcp.destination_port(),
        flags: Some(tcp.flags().names().collect()),
        seq: Some(numbers.seq),
        ack: Some(numbers.ack),
        win: Some(numbers.window),
        seq_raw: Some(tcp.sequence()),
        ack_raw: Some(tcp.acknowledgement()),
        win_raw: Some(tcp.window()),
        len: (!view.packet.is_fragment()).then(|| tcp.payload_len()),
        ..Tcp::default()
    };
    for option in tcp.options() {
        match option {
            TcpOption::Mss(mss) => object.mss = Some(mss),
            TcpOption::WindowScale(shift) => object.wscale = Some(shift),
            TcpOption::SackPermitted => object.sack_perm = true,
            TcpOption::Sack(blocks) => {
                object.sack.extend(edges(blocks, numbers.ack_base));
            }
            TcpOption::Timestamps(value, echo) => {
                object.tsval = Some(value);
                object.tsecr = Some(echo);
            }
            other if other.fast_open().is_some() => object.fast_open = true,
            other => object.mptcp.extend(other.multipath()),
        }
    }
    Some(object)
}

/// The edges of SACK blocks, less `base`.
fn edges(blocks: &[u8], base: u32) -> impl Iterator<Item = [u32; 2]> {
    let (blocks, _) = blocks.as_chunks::<8>();
    blocks.iter().map(move |&[a, b, c, d, e, f, g, h]| {
        [[a, b, c, d], [e, f, g, h]].map(|edge| u32::from_be_bytes(edge).wrapping_sub(base))
    })
}

fn icmp(packet: &decoders::Packet<'_>) -> Option<Icmp> {
    let quoted = |quoted: Quoted| QuotedPacket {
        src: quoted.source,
        dst: quoted.destination,
        proto: quoted.protocol,
        sport: quoted.source_port,
        dport: quoted.destination_port,
    };
    if let Some(icmp) = packet.icmp() {
        let echo = icmp.echo();
        return Some(Icmp {
            kind: icmp.kind(),
            code: icmp.code(),
            id: echo.map(|echo| echo.id),
            seq: echo.map(|echo| echo.sequence),
            mtu: icmp.next_hop_mtu().map(u32::from),
            quoted: icmp.quoted().map(quoted),
        });
    }
    if let Some(icmp) = packet.icmpv6() {
        let echo = icmp.echo();
        return Some(Icmp {
            kind: icmp.kind(),
            code: icmp.code(),
            id: echo.map(|echo| echo.id),
            seq: echo.map(|echo| echo.sequence),
            mtu: icmp.mtu(),
            quoted: icmp.quoted().map(quoted),
        });
    }
    let header = packet.cut_header()?;
    Some(Icmp {
        kind: header.icmp_type()?,
        code: header.icmp_code()?,
        id: None,
        seq: None,
        mtu: None,
        quoted: None,
    })
}

fn dns(packet: &decoders::Packet<'_>) -> Option<Dns> {
    let mut messages = packet.dns_messages().map(dns_message);
    let mut first = messages.next()?;
    first.more = messages.collect();
    Some(first)
}

fn dns_message(dns: &decoders::dns::Dns<'_>) -> Dns {
    let message = dns.parse();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let records = |records: Vec<decoders::dns::Record>| -> Vec<Answer> {
        let records = records.into_iter().filter(|record| record.kind != "OPT");
        records
            .map(|record| Answer {
                name: text(record.name),
                kind: record.kind,
                data: text(record.data),
                ttl: record.ttl,
            })
            .collect()
    };
    Dns {
        id: dns.id(),
        qr: dns.is_response(),
        rcode: dns.rcode(),
        queries: message
            .questions
            .into_iter()
            .map(|question| Name {
                name: text(question.name),
                kind: question.kind,
            })
            .collect(),
        answers: records(message.answers),
        authorities: records(message.authorities),
        additionals: records(message.additionals),
        edns: message.edns.map(|edns| Edns {
            udp_size: edns.udp_size,
            version: edns.version,
            dnssec_ok: edns.dnssec_ok,
            rcode: u16::from(edns.rcode_high) << 4 | u16::from(dns.rcode()),
            options: edns
                .options
                .into_iter()
                .map(|option| EdnsOption {
                    code: option.code,
                    name: option.name,
                    data: option.data,
                })
                .collect(),
        }),
        more: Vec::new(),
    }
}

/// What became of a packet that has, or should have, another side.
fn fate(view: &PacketView<'_>) -> Option<&'static str> {
    match view.fate {
        Fate::Alone | Fate::Elsewhere => None,
        Fate::Open => Some("open"),
        Fate::Joined { other, .. } if view.frame.errno.or(other.errno).is_some() => Some("refused"),
        Fate::Joined { .. } => Some("joined"),
        Fate::Unanswered { doubtful: true } => Some("inconclusive"),
        Fate::Unanswered { doubtful: false } => Some(match view.frame.via {
            crate::observation::Via::TunRead => "never-sent",
            _ => "never-written",
        }),
        Fate::Originated => Some("originated"),
    }
}
