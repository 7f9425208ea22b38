//! The objects of the JSON format, as docs/json.md has them.
use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;

use super::carriers;
use super::protocols;
use crate::finding::Severity;
use crate::output::summary::Summary;

#[derive(Serialize)]
pub(super) struct Packet<'a> {
    pub(super) schema: &'static str,
    pub(super) kind: &'static str,
    pub(super) ts: &'a str,
    pub(super) ts_ns: u64,
    pub(super) n: u64,
    pub(super) via: &'static str,
    /// A file need not name one.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(super) interface: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) process: Option<Process<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fd: Option<Fd<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) encap: Vec<Encap>,
    pub(super) layers: Vec<&'static str>,
    pub(super) len: u32,
    pub(super) caplen: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ip: Option<Ip>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outer: Option<Endpoints>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tcp: Option<Tcp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) udp: Option<Udp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) icmp: Option<Icmp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dns: Option<Dns>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) vxlan: Option<super::tunnels::Vxlan>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) vxlan_gpe: Option<super::tunnels::VxlanGpe>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gtp_u: Option<super::tunnels::GtpU>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mpls: Option<super::tunnels::Mpls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gue: Option<super::tunnels::Gue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) teredo: Option<super::tunnels::Teredo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) weave_sleeve: Option<super::tunnels::WeaveSleeve>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http: Option<super::http::Http>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls: Option<super::tls::Tls>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dhcp: Option<super::dhcp::Dhcp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) etcd: Option<super::etcd::Etcd>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) esp: Option<protocols::Security>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ah: Option<protocols::Security>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ike: Option<protocols::Ike>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wireguard: Option<protocols::Wireguard>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) l2tp: Option<protocols::L2tp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stt: Option<protocols::Stt>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sctp: Option<protocols::Sctp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) udplite: Option<protocols::UdpLite>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) igmp: Option<protocols::Igmp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nbns: Option<protocols::Nbns>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) routing: Option<protocols::Routing>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ppp: Option<carriers::Ppp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) frame_relay: Option<carriers::FrameRelay>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nsh: Option<carriers::Nsh>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pim: Option<carriers::Pim>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reassembled: Option<Reassembled<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) stop: Option<Stop>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) joined: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fate: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    pub(super) summary: std::borrow::Cow<'a, str>,
}

#[derive(Serialize)]
pub(super) struct Process<'a> {
    pub(super) pid: u32,
    pub(super) tid: u32,
    pub(super) comm: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) args: Vec<std::borrow::Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ppid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<&'a str>,
    /// When the process began, Unix time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) start_ns: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) container: Option<Container<'a>>,
}

#[derive(Serialize)]
pub(super) struct Container<'a> {
    pub(super) id: &'a str,
    pub(super) name: &'a str,
}

#[derive(Serialize)]
pub(super) struct Fd<'a> {
    pub(super) num: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<&'a str>,
    /// The device that a tun descriptor feeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) interface: Option<&'a str>,
}

#[derive(Serialize)]
pub(super) struct Encap {
    pub(super) proto: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) vni: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) teid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) label: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) flow_id: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) call_id: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) vlan: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) outer: Option<Endpoints>,
}

#[derive(Serialize, Clone, Copy)]
pub(super) struct Endpoints {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) src: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dst: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sport: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dport: Option<u16>,
}

#[derive(Serialize)]
pub(super) struct Ip {
    pub(super) version: u8,
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) proto: u8,
    pub(super) ttl: u8,
    pub(super) len: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) frag: Option<Fragment>,
}

#[derive(Serialize)]
pub(super) struct Fragment {
    pub(super) offset: usize,
    pub(super) more: bool,
}

#[derive(Default, Serialize)]
pub(super) struct Tcp {
    pub(super) sport: u16,
    pub(super) dport: u16,
    // Of a header that is cut, only what is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) flags: Option<Vec<&'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seq: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ack: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) win: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seq_raw: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ack_raw: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) win_raw: Option<u16>,
    /// Not known of a first fragment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) len: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mss: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) wscale: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tsval: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tsecr: Option<u32>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) sack_perm: bool,
    /// A fast open is asked for, or its cookie is there.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) fast_open: bool,
    /// Subtypes of multipath TCP's options.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) mptcp: Vec<&'static str>,
    /// Left and right edges of blocks, relative as `ack` is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) sack: Vec<[u32; 2]>,
}

#[derive(Serialize)]
pub(super) struct Udp {
    pub(super) sport: u16,
    pub(super) dport: u16,
    /// Not known of a header that is cut before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) len: Option<u16>,
}

#[derive(Serialize)]
pub(super) struct Icmp {
    #[serde(rename = "type")]
    pub(super) kind: u8,
    pub(super) code: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seq: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mtu: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) quoted: Option<QuotedPacket>,
}

#[derive(Serialize)]
pub(super) struct QuotedPacket {
    pub(super) src: IpAddr,
    pub(super) dst: IpAddr,
    pub(super) proto: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sport: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dport: Option<u16>,
}

#[derive(Serialize)]
pub(super) struct Dns {
    pub(super) id: u16,
    pub(super) qr: bool,
    pub(super) rcode: u8,
    pub(super) queries: Vec<Name>,
    pub(super) answers: Vec<Answer>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) authorities: Vec<Answer>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) additionals: Vec<Answer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) edns: Option<Edns>,
    /// Further messages of the same segment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) more: Vec<Dns>,
}

#[derive(Serialize)]
pub(super) struct Edns {
    pub(super) udp_size: u16,
    pub(super) version: u8,
    #[serde(rename = "do")]
    pub(super) dnssec_ok: bool,
    /// All twelve bits.
    pub(super) rcode: u16,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) options: Vec<EdnsOption>,
}

#[derive(Serialize)]
pub(super) struct EdnsOption {
    pub(super) code: u16,
    pub(super) name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) data: String,
}

#[derive(Serialize)]
pub(super) struct Name {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
}

#[derive(Serialize)]
pub(super) struct Answer {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) data: String,
    pub(super) ttl: u32,
}

#[derive(Serialize)]
pub(super) struct Stop {
    pub(super) layer: &'static str,
    pub(super) offset: usize,
    pub(super) reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) needed: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) had: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) length_from: Option<&'static str>,
}

#[derive(Serialize)]
pub(super) struct LossObject<'a> {
    pub(super) schema: &'static str,
    pub(super) kind: &'static str,
    pub(super) ts: &'a str,
    pub(super) ts_ns: u64,
    pub(super) source: &'a str,
    pub(super) event_kind: &'static str,
    pub(super) cause: &'static str,
    pub(super) count: u64,
    pub(super) window: Window,
}

#[derive(Serialize)]
pub(super) struct Window {
    pub(super) since_ns: u64,
    pub(super) until_ns: u64,
}

#[derive(Serialize)]
pub(super) struct SummaryObject<'a> {
    pub(super) schema: &'static str,
    pub(super) kind: &'static str,
    pub(super) ts: &'a str,
    pub(super) ts_ns: u64,
    pub(super) packets: u64,
    pub(super) bytes: u64,
    pub(super) joined: u64,
    pub(super) unsent: u64,
    pub(super) unwritten: u64,
    pub(super) refused: u64,
    pub(super) undecoded: u64,
    pub(super) events: u64,
    pub(super) lost: u64,
    pub(super) lost_by: Vec<LostBy<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reassembly: Option<Reassembly>,
    pub(super) findings: Findings,
}

#[derive(Serialize)]
pub(super) struct Reassembled<'a> {
    pub(super) frames: &'a [u64],
    pub(super) len: usize,
}

#[derive(Serialize)]
pub(super) struct Reassembly {
    pub(super) datagrams: Parts,
    pub(super) messages: Parts,
}

#[derive(Serialize)]
pub(super) struct Parts {
    pub(super) whole: u64,
    /// By cause.
    pub(super) given_up: BTreeMap<&'static str, u64>,
    pub(super) unfinished: u64,
}

#[derive(Serialize)]
pub(super) struct LostBy<'a> {
    pub(super) source: &'a str,
    pub(super) event_kind: &'static str,
    pub(super) cause: &'static str,
    pub(super) count: u64,
}

#[derive(Serialize)]
pub(super) struct Findings {
    info: u64,
    medium: u64,
    high: u64,
    critical: u64,
}

impl Findings {
    pub(super) fn of(summary: &Summary) -> Findings {
        let count = |severity| summary.findings.get(&severity).copied().unwrap_or_default();
        Findings {
            info: count(Severity::Info),
            medium: count(Severity::Medium),
            high: count(Severity::High),
            critical: count(Severity::Critical),
        }
    }
}
