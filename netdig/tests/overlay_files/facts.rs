//! What a packet says, field by field, once as netdig's JSON has it and once as
//! tshark's dissection has it, in the same words.

mod names;

use super::cut;
use super::pdml::Node;
use names::{dns, nbns, our_record};
use serde_json::Value;
use std::collections::BTreeMap;

pub type Facts = BTreeMap<&'static str, String>;

/// Layers that both programs know, in netdig's words; tshark's others (what
/// netdig does not decode, and what tshark does not show as a protocol) are not
/// compared.
const LAYERS: &[(&str, &str)] = &[
    ("eth", "eth"),
    ("vlan", "vlan"),
    ("ieee8021ad", "vlan"),
    ("sll", "sll"),
    ("null", "loopback"),
    ("arp", "arp"),
    ("ip", "ipv4"),
    ("ipv6", "ipv6"),
    ("ipv6.hopopts", "ipv6.hopopts"),
    ("ipv6.routing", "ipv6.routing"),
    ("ipv6.fraghdr", "ipv6.fraghdr"),
    ("ipv6.dstopts", "ipv6.dstopts"),
    ("ah", "ah"),
    ("gre", "gre"),
    ("erspan", "erspan"),
    ("mipv6", "mipv6"),
    ("hip", "hip"),
    ("shim6", "shim6"),
    ("llc", "llc"),
    ("stp", "stp"),
    ("cdp", "cdp"),
    ("lldp", "lldp"),
    ("eapol", "eapol"),
    ("pppoed", "pppoed"),
    ("pppoes", "pppoes"),
    ("slow", "slow"),
    ("macsec", "macsec"),
    ("loop", "loop"),
    ("ptp", "ptp"),
    ("cfm", "cfm"),
    ("macc", "macc"),
    ("batadv", "batadv"),
    ("osi", "osi"),
    ("isis", "isis"),
    ("esis", "esis"),
    ("clnp", "clnp"),
    ("ipx", "ipx"),
    ("netbios", "netbios"),
    ("aoe", "aoe"),
    ("aarp", "aarp"),
    ("fcoe", "fcoe"),
    ("fip", "fip"),
    ("mrp-mvrp", "mrp-mvrp"),
    ("ppp", "ppp"),
    ("lcp", "lcp"),
    ("ipcp", "ipcp"),
    ("ipv6cp", "ipv6cp"),
    ("osinlcp", "osinlcp"),
    ("mplscp", "mplscp"),
    ("cdpcp", "cdpcp"),
    ("ccp", "ccp"),
    ("cbcp", "cbcp"),
    ("comp_data", "comp_data"),
    ("pap", "pap"),
    ("chap", "chap"),
    ("mp", "mp"),
    ("chdlc", "chdlc"),
    ("slarp", "slarp"),
    ("fr", "fr"),
    ("nflog", "nflog"),
    ("ipnet", "ipnet"),
    ("ipoib", "ipoib"),
    ("juniper", "juniper"),
    ("radiotap", "radiotap"),
    ("prism", "prism"),
    ("wlancap", "wlancap"),
    ("wlan", "wlan"),
    ("avsp", "avsp"),
    ("nsh", "nsh"),
    ("pim", "pim"),
    ("pwach", "pwach"),
    ("etherip", "etherip"),
    ("esp", "esp"),
    ("udpencap", "udpencap"),
    ("isakmp", "ike"),
    ("wg", "wireguard"),
    ("l2tp", "l2tp"),
    ("sctp", "sctp"),
    ("udplite", "udplite"),
    ("igmp", "igmp"),
    ("udp", "udp"),
    ("nbns", "nbns"),
    ("tcp", "tcp"),
    ("icmp", "icmp"),
    ("icmpv6", "icmpv6"),
    ("vxlan", "vxlan"),
    ("geneve", "geneve"),
    ("gtp", "gtp-u"),
    ("mpls", "mpls"),
    ("teredo", "teredo"),
    ("http", "http"),
    ("http2", "http2"),
    ("tls", "tls"),
    ("dhcp", "dhcp"),
    ("dhcpv6", "dhcpv6"),
];

const FLAGS: [(u16, &str); 9] = [
    (0x001, "FIN"),
    (0x002, "SYN"),
    (0x004, "RST"),
    (0x008, "PSH"),
    (0x010, "ACK"),
    (0x020, "URG"),
    (0x040, "ECE"),
    (0x080, "CWR"),
    (0x100, "AE"),
];

/// From one of netdig's `packet` objects.
pub fn ours(packet: &Value) -> Facts {
    let mut facts = Facts::new();
    let plain: &[(&'static str, &str)] = &[
        ("n", "/n"),
        ("len", "/len"),
        ("caplen", "/caplen"),
        ("ip.version", "/ip/version"),
        ("ip.src", "/ip/src"),
        ("ip.dst", "/ip/dst"),
        ("ip.proto", "/ip/proto"),
        ("ip.ttl", "/ip/ttl"),
        ("ip.len", "/ip/len"),
        ("ip.id", "/ip/id"),
        ("ip.frag.offset", "/ip/frag/offset"),
        ("ip.frag.more", "/ip/frag/more"),
        ("tcp.sport", "/tcp/sport"),
        ("tcp.dport", "/tcp/dport"),
        ("tcp.seq", "/tcp/seq"),
        ("tcp.ack", "/tcp/ack"),
        ("tcp.win", "/tcp/win"),
        ("tcp.seq_raw", "/tcp/seq_raw"),
        ("tcp.ack_raw", "/tcp/ack_raw"),
        ("tcp.win_raw", "/tcp/win_raw"),
        ("tcp.len", "/tcp/len"),
        ("tcp.mss", "/tcp/mss"),
        ("tcp.wscale", "/tcp/wscale"),
        ("tcp.tsval", "/tcp/tsval"),
        ("tcp.tsecr", "/tcp/tsecr"),
        ("tcp.sack_perm", "/tcp/sack_perm"),
        ("tcp.fast_open", "/tcp/fast_open"),
        ("udp.sport", "/udp/sport"),
        ("udp.dport", "/udp/dport"),
        ("udp.len", "/udp/len"),
        ("icmp.type", "/icmp/type"),
        ("icmp.code", "/icmp/code"),
        ("icmp.id", "/icmp/id"),
        ("icmp.seq", "/icmp/seq"),
        ("icmp.mtu", "/icmp/mtu"),
        ("icmp.quoted.src", "/icmp/quoted/src"),
        ("icmp.quoted.dst", "/icmp/quoted/dst"),
        ("icmp.quoted.proto", "/icmp/quoted/proto"),
        ("icmp.quoted.sport", "/icmp/quoted/sport"),
        ("icmp.quoted.dport", "/icmp/quoted/dport"),
        ("dns.id", "/dns/id"),
        ("dns.qr", "/dns/qr"),
        ("dns.rcode", "/dns/rcode"),
        ("vxlan.group", "/vxlan/group"),
        ("vxlan.dont_learn", "/vxlan/dont_learn"),
        ("vxlan.policy_applied", "/vxlan/policy_applied"),
        ("vxlan_gpe.next", "/vxlan_gpe/next"),
        ("gtp.type", "/gtp_u/type"),
        ("gtp.seq", "/gtp_u/seq"),
        ("teredo.origin", "/teredo/origin/addr"),
        ("teredo.port", "/teredo/origin/port"),
        ("edns.udp_size", "/dns/edns/udp_size"),
        ("http.method", "/http/method"),
        ("http.status", "/http/status"),
        ("tls.server_name", "/tls/client_hello/server_name"),
        ("tls.alert.level", "/tls/alert/level"),
        ("tls.alert.description", "/tls/alert/description"),
        ("dhcp.type", "/dhcp/type"),
        ("dhcp.yours", "/dhcp/yours"),
        ("dhcp.requested", "/dhcp/requested"),
        ("dhcp.server", "/dhcp/server"),
        ("dhcp.hostname", "/dhcp/hostname"),
        ("outer.src", "/outer/src"),
        ("outer.dst", "/outer/dst"),
        ("routing.type", "/routing/type"),
        ("routing.left", "/routing/left"),
        ("esp.spi", "/esp/spi"),
        ("esp.seq", "/esp/seq"),
        ("ah.spi", "/ah/spi"),
        ("ah.seq", "/ah/seq"),
        ("ike.exchange", "/ike/exchange"),
        ("ike.id", "/ike/id"),
        ("wireguard.type", "/wireguard/type"),
        ("wireguard.sender", "/wireguard/sender"),
        ("wireguard.receiver", "/wireguard/receiver"),
        ("wireguard.counter", "/wireguard/counter"),
        ("l2tp.version", "/l2tp/version"),
        ("sctp.sport", "/sctp/sport"),
        ("sctp.dport", "/sctp/dport"),
        ("sctp.vtag", "/sctp/vtag"),
        ("udplite.sport", "/udplite/sport"),
        ("udplite.dport", "/udplite/dport"),
        ("ppp.proto", "/ppp/proto"),
        ("fr.dlci", "/frame_relay/dlci"),
        ("nsh.path", "/nsh/path"),
        ("nsh.index", "/nsh/index"),
        ("nsh.next", "/nsh/next"),
        ("pim.type", "/pim/type"),
        ("igmp.type", "/igmp/type"),
        ("igmp.version", "/igmp/version"),
        ("nbns.id", "/nbns/id"),
        ("nbns.qr", "/nbns/qr"),
        ("nbns.opcode", "/nbns/opcode"),
        ("nbns.address", "/nbns/address"),
    ];
    for &(fact, pointer) in plain {
        put(&mut facts, fact, packet.pointer(pointer).map(plainly));
    }
    let ns = packet["ts_ns"].as_u64().expect("a time");
    facts.insert(
        "time",
        format!("{}.{:09}", ns / 1_000_000_000, ns % 1_000_000_000),
    );
    let markers = [
        "flannel-udp",
        "ipip",
        "6in4",
        "4in6",
        "6in6",
        "fou",
        "vxlan-gpe",
        "eth-in-ip",
    ];
    let mut layers: Vec<_> = strings(&packet["layers"]).collect();
    layers.extend(cut::header(packet));
    layers.retain(|name| !markers.contains(name));
    // tshark names the messages of one segment once.
    layers.dedup_by(|a, b| (*a, *b) == ("dns", "dns"));
    facts.insert("layers", layers.join(":"));
    if let Some(flags) = packet.pointer("/tcp/flags") {
        facts.insert("tcp.flags", strings(flags).collect::<Vec<_>>().join(","));
    }
    put(
        &mut facts,
        "tcp.sack",
        packet.pointer("/tcp/sack").map(Value::to_string),
    );
    for (fact, list) in [("dns.queries", "queries"), ("dns.answers", "answers")] {
        let records = packet["dns"][list].as_array();
        put(
            &mut facts,
            fact,
            records.map(|records| records.iter().map(our_record).collect()),
        );
    }
    for key in ["vni", "teid"] {
        let tunnels = packet["encap"].as_array().into_iter().flatten();
        let values: Vec<String> = tunnels
            .filter_map(|encap| encap.get(key).map(plainly))
            .collect();
        put(
            &mut facts,
            key,
            (!values.is_empty()).then(|| values.join(",")),
        );
    }
    let segments = packet.pointer("/routing/segments").map(Value::to_string);
    put(&mut facts, "routing.segments", segments);
    let labels = packet.pointer("/mpls/labels").and_then(Value::as_array);
    put(
        &mut facts,
        "mpls",
        labels.map(|labels| labels.iter().map(our_label).collect()),
    );
    for key in ["key", "call_id", "session", "vlan"] {
        let values = packet["encap"].as_array().into_iter().flatten();
        let values: Vec<String> = values
            .filter_map(|encap| encap.get(key).map(plainly))
            .collect();
        let fact = match key {
            "key" => "encap.key",
            "call_id" => "encap.call_id",
            "session" => "encap.session",
            _ => "encap.vlan",
        };
        put(
            &mut facts,
            fact,
            (!values.is_empty()).then(|| values.join(",")),
        );
    }
    facts
}

fn put(facts: &mut Facts, fact: &'static str, value: Option<String>) {
    // What the object says by leaving it out, tshark says too.
    facts.extend(
        value
            .filter(|value| value != "null")
            .map(|value| (fact, value)),
    );
}

fn plainly(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn our_label(entry: &Value) -> String {
    let bottom = u8::from(entry["bottom"] == true);
    let [label, tc, ttl] = ["label", "tc", "ttl"].map(|key| plainly(&entry[key]));
    format!("{label} {tc} {bottom} {ttl};")
}

/// From tshark's dissection of one packet. Of the header that the capture cut and
/// netdig tells nothing of, `cut`, only the name is taken.
pub fn theirs(packet: &Node, cut: Option<&str>) -> Facts {
    // It decrypts the beginning of QUIC: what is in there is not compared.
    let is_quic = |node: &Node| node.name == "quic";
    let clear = packet.children.iter().position(is_quic);
    let packet = &packet.children[..clear.unwrap_or(packet.children.len())];
    let mut facts = Facts::new();
    let frame = packet
        .iter()
        .find(|node| node.name == "frame")
        .unwrap_or_else(|| panic!("a frame in {packet:?}"));
    for (fact, field) in [
        ("n", "frame.number"),
        ("len", "frame.len"),
        ("caplen", "frame.cap_len"),
        ("time", "frame.time_epoch"),
    ] {
        put(&mut facts, fact, frame.get(field).map(str::to_owned));
    }
    // What an error quotes is not in the packet: the layers end with the error.
    let names = frame.get("frame.protocols").unwrap_or_default().split(':');
    let mut layers = Vec::new();
    for name in names {
        if name == "quic" {
            break;
        }
        if is_continuation(name, packet) {
            continue;
        }
        let sll2 = packet
            .iter()
            .any(|node| node.name == "sll" && node.get("sll.ifindex").is_some())
            || cut == Some("sll2");
        let name = match name {
            "sll" if sll2 => "sll2",
            "dns" | "mdns" | "llmnr" => "dns",
            name => match LAYERS.iter().find(|(theirs, _)| *theirs == name) {
                Some((_, ours)) => ours,
                None => continue,
            },
        };
        // A message of IGMP is shown within a layer of that name, and the first
        // version of PIM within IGMP; records of TLS in one segment are one layer
        // to netdig.
        let within = match name {
            "pim" => "igmp",
            name => name,
        };
        if matches!(name, "igmp" | "pim" | "tls") && layers.last() == Some(&within) {
            continue;
        }
        layers.push(name);
        if matches!(name, "icmp" | "icmpv6") {
            break;
        }
    }
    // Those that come in several segments it names one by one.
    layers.dedup_by(|a, b| *a == "dns" && *b == "dns");
    facts.insert("layers", layers.join(":"));
    let shown = without_the_cut(packet, cut);
    tunnels(&mut facts, shown, &layers);
    rarer_tunnels(&mut facts, shown);
    carriers(&mut facts, shown);
    innermost(&mut facts, shown);
    facts
}

/// What stands before the header that is cut, if that has any field.
fn without_the_cut<'a>(layers: &'a [Node], cut: Option<&str>) -> &'a [Node] {
    let shown = |node: &Node| !node.name.starts_with("_ws.");
    let Some(last) = layers.iter().rposition(shown) else {
        return layers;
    };
    let node = &layers[last];
    let is_cut = |ours: &str| match node.name.as_str() {
        // One that encloses it may have been whole.
        "ip" | "ipv6" if node.own(&format!("{}.dst", node.name)).is_some() => false,
        "dns" | "mdns" | "llmnr" => ours == "dns",
        "vxlan" => matches!(ours, "vxlan" | "vxlan-gpe"),
        name => LAYERS.contains(&(name, ours)),
    };
    match cut {
        Some(cut) if is_cut(cut) => &layers[..last],
        _ => layers,
    }
}

fn carriers(facts: &mut Facts, layers: &[Node]) {
    for layer in layers {
        let fields: &[(&'static str, &str)] = match layer.name.as_str() {
            "ppp" => &[("ppp.proto", "ppp.protocol")],
            "fr" => &[("fr.dlci", "fr.dlci")],
            "nsh" => &[
                ("nsh.path", "nsh.spi"),
                ("nsh.index", "nsh.si"),
                ("nsh.next", "nsh.nextproto"),
            ],
            // Its first version stands in IGMP, by the type 0x14.
            "pim" if layer.get("pim.igmp_type").is_some() => {
                facts.insert("igmp.type", "20".to_owned());
                &[]
            }
            "dvmrp" => &[("igmp.type", "dvmrp.type")],
            "pim" => &[("pim.type", "pim.type")],
            _ => &[],
        };
        numbers(facts, layer, fields);
    }
}

/// Whether tshark names the layer by the flow or the port alone: of the middle
/// of a message nothing is in it. netdig names what it sees in the segment.
fn is_continuation(name: &str, layers: &[Node]) -> bool {
    let has = |layer: &Node, field: &str| layer.get(field).is_some();
    let is_message = |layer: &&Node| match name {
        "tls" => has(layer, "tls.record"),
        "http" => has(layer, "http.request") || has(layer, "http.response"),
        _ => true,
    };
    let mut named = layers.iter().filter(|layer| layer.name == name);
    matches!(name, "tls" | "http") && !named.any(|layer| is_message(&layer))
}

/// Whether two times are one. A file's own fraction of a second may be more than
/// one second: netdig carries it over; tshark prints it as it is, in nanoseconds
/// of which it keeps 32 bits and a sign.
pub fn same_time(ours: &str, theirs: &str) -> bool {
    let parts = |time: &str| -> Option<(i128, i128)> {
        let (seconds, fraction) = time.trim_start_matches('-').split_once('.')?;
        Some((seconds.parse().ok()?, fraction.parse().ok()?))
    };
    let (Some(ours), Some(theirs)) = (parts(ours), parts(theirs)) else {
        return ours == theirs;
    };
    const SECOND: i128 = 1_000_000_000;
    let ours = ours.0 * SECOND + ours.1;
    let kept = |theirs: i128| (ours - theirs) % (1 << 32) == 0;
    kept(theirs.0 * SECOND + theirs.1) || kept(theirs.0 * SECOND - theirs.1)
}

fn tunnels(facts: &mut Facts, layers: &[Node], names: &[&str]) {
    let is_ip_name = |name: &&str| matches!(*name, "ipv4" | "ipv6");
    let is_ip = |node: &&Node| matches!(node.name.as_str(), "ip" | "ipv6");
    let mut vnis = Vec::new();
    for layer in layers {
        for field in ["vxlan.vni", "geneve.vni", "gre.key"] {
            let number = layer.get(field).and_then(number);
            // Of NVGRE the identifier has the key's upper 24 bits.
            let nvgre = layer.get("gre.proto").and_then(self::number) == Some(0x6558);
            let number = number.map(|number| if nvgre { number >> 8 } else { number });
            vnis.extend(number.map(|number| number.to_string()));
        }
    }
    for layer in layers {
        let words = ["gre.key.payload_length", "gre.key.call_id"]
            .map(|field| layer.get(field).and_then(number));
        let key = match words {
            [Some(length), Some(call)] => Some(length << 16 | call),
            _ => layer.get("gre.key").and_then(number),
        };
        put(facts, "encap.key", key.map(|key| key.to_string()));
        for (fact, field) in [
            ("encap.call_id", "gre.key.call_id"),
            ("encap.session", "erspan.spanid"),
            ("encap.vlan", "erspan.vlan"),
        ] {
            let value = layer.get(field).and_then(number);
            put(facts, fact, value.map(|value| value.to_string()));
        }
    }
    put(facts, "vni", (!vnis.is_empty()).then(|| vnis.join(",")));
    let encapsulating = layers.iter().filter(|node| {
        let is_data = node.get("l2tp.type").and_then(number) == Some(0);
        matches!(
            node.name.as_str(),
            "gre" | "erspan" | "vxlan" | "geneve" | "etherip"
        ) || node.name == "l2tp" && is_data
            || node.name == "mpls"
                && names
                    .iter()
                    .take_while(|name| **name != "mpls")
                    .any(is_ip_name)
            || node.name == "gtp" && node.get("gtp.message").and_then(number) == Some(255)
    });
    let ips = names.iter().filter(|name| is_ip_name(name));
    let tunnelled = ips.count() > 1 || encapsulating.count() > 0;
    if let Some(outermost) = layers.iter().find(is_ip).filter(|_| tunnelled) {
        let field = |end: &str| outermost.get(&format!("{}.{end}", outermost.name));
        put(facts, "outer.src", field("src").map(str::to_owned));
        put(facts, "outer.dst", field("dst").map(str::to_owned));
    }
}

fn rarer_tunnels(facts: &mut Facts, layers: &[Node]) {
    let mut labels = String::new();
    for layer in layers {
        match layer.name.as_str() {
            "vxlan" => {
                let flags = layer.get("vxlan.flags").and_then(number).unwrap_or(0);
                if flags & 0x8000 != 0 {
                    numbers(facts, layer, &[("vxlan.group", "vxlan.gbp")]);
                    facts.insert("vxlan.dont_learn", (flags & 0x40 != 0).to_string());
                    facts.insert("vxlan.policy_applied", (flags & 0x08 != 0).to_string());
                }
                numbers(facts, layer, &[("vxlan_gpe.next", "vxlan.next_proto")]);
            }
            "gtp" => {
                let fields = [("gtp.type", "gtp.message"), ("gtp.seq", "gtp.seq_number")];
                numbers(facts, layer, &fields);
                if facts.get("gtp.type").is_some_and(|kind| kind == "255") {
                    numbers(facts, layer, &[("teid", "gtp.teid")]);
                }
            }
            "mpls" => {
                let fields = ["mpls.label", "mpls.exp", "mpls.bottom", "mpls.ttl"];
                let [label, tc, bottom, ttl] = fields.map(|field| layer.get(field).unwrap_or("?"));
                labels.push_str(&format!("{label} {tc} {bottom} {ttl};"));
            }
            "teredo" => {
                let origin = layer.get("teredo.orig.addr").map(str::to_owned);
                put(facts, "teredo.origin", origin);
                numbers(facts, layer, &[("teredo.port", "teredo.orig.port")]);
            }
            _ => {}
        }
    }
    put(facts, "mpls", (!labels.is_empty()).then_some(labels));
}

/// Decimal, `0x` hexadecimal.
fn number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn innermost(facts: &mut Facts, layers: &[Node]) {
    let ip = layers
        .iter()
        .rposition(|node| matches!(node.name.as_str(), "ip" | "ipv6"));
    let layers = &layers[ip.unwrap_or(0)..];
    let icmp = layers
        .iter()
        .position(|node| matches!(node.name.as_str(), "icmp" | "icmpv6"));
    // What an error quotes is not in the packet.
    for layer in &layers[..icmp.map_or(layers.len(), |at| at + 1)] {
        match layer.name.as_str() {
            "ip" => ipv4(facts, layer),
            "ipv6" => ipv6(facts, layer),
            "tcp" => tcp(facts, layer),
            "udp" => numbers(
                facts,
                layer,
                &[
                    ("udp.sport", "udp.srcport"),
                    ("udp.dport", "udp.dstport"),
                    ("udp.len", "udp.length"),
                ],
            ),
            "icmp" => {
                numbers(
                    facts,
                    layer,
                    &[
                        ("icmp.type", "icmp.type"),
                        ("icmp.code", "icmp.code"),
                        ("icmp.id", "icmp.ident"),
                        ("icmp.seq", "icmp.seq"),
                        ("icmp.mtu", "icmp.mtu"),
                    ],
                );
                quoted(facts, layer);
            }
            "icmpv6" => {
                numbers(
                    facts,
                    layer,
                    &[
                        ("icmp.type", "icmpv6.type"),
                        ("icmp.code", "icmpv6.code"),
                        ("icmp.id", "icmpv6.echo.identifier"),
                        ("icmp.seq", "icmpv6.echo.sequence_number"),
                        ("icmp.mtu", "icmpv6.mtu"),
                    ],
                );
                quoted(facts, layer);
            }
            // Of several in one segment, the first.
            "dns" | "mdns" | "llmnr" if !facts.contains_key("dns.id") => dns(facts, layer),
            "http" => {
                let method = layer.get("http.request.method").map(str::to_owned);
                put(facts, "http.method", method);
                numbers(facts, layer, &[("http.status", "http.response.code")]);
            }
            "dhcp" => {
                numbers(facts, layer, &[("dhcp.type", "dhcp.option.dhcp")]);
                for (fact, field) in [
                    ("dhcp.yours", "dhcp.ip.your"),
                    ("dhcp.requested", "dhcp.option.requested_ip_address"),
                    ("dhcp.server", "dhcp.option.dhcp_server_id"),
                    ("dhcp.hostname", "dhcp.option.hostname"),
                ] {
                    let value = layer.get(field).filter(|value| *value != "0.0.0.0");
                    put(facts, fact, value.map(str::to_owned));
                }
            }
            "dhcpv6" => numbers(facts, layer, &[("dhcp.type", "dhcpv6.msgtype")]),
            "tls" => {
                let name = layer.get("tls.handshake.extensions_server_name");
                put(facts, "tls.server_name", name.map(str::to_owned));
                numbers(
                    facts,
                    layer,
                    &[
                        ("tls.alert.level", "tls.alert_message.level"),
                        ("tls.alert.description", "tls.alert_message.desc"),
                    ],
                );
            }
            "esp" => numbers(
                facts,
                layer,
                &[("esp.spi", "esp.spi"), ("esp.seq", "esp.sequence")],
            ),
            "ah" => numbers(
                facts,
                layer,
                &[("ah.spi", "ah.spi"), ("ah.seq", "ah.sequence")],
            ),
            "isakmp" => numbers(
                facts,
                layer,
                &[
                    ("ike.exchange", "isakmp.exchangetype"),
                    ("ike.id", "isakmp.messageid"),
                ],
            ),
            "wg" => numbers(
                facts,
                layer,
                &[
                    ("wireguard.type", "wg.type"),
                    ("wireguard.sender", "wg.sender"),
                    ("wireguard.receiver", "wg.receiver"),
                    ("wireguard.counter", "wg.counter"),
                ],
            ),
            "l2tp" => numbers(facts, layer, &[("l2tp.version", "l2tp.version")]),
            "sctp" => numbers(
                facts,
                layer,
                &[
                    ("sctp.sport", "sctp.srcport"),
                    ("sctp.dport", "sctp.dstport"),
                    ("sctp.vtag", "sctp.verification_tag"),
                ],
            ),
            "udplite" => numbers(
                facts,
                layer,
                &[
                    ("udplite.sport", "udp.srcport"),
                    ("udplite.dport", "udp.dstport"),
                ],
            ),
            "nbns" => nbns(facts, layer),
            "igmp" => numbers(
                facts,
                layer,
                &[("igmp.type", "igmp.type"), ("igmp.version", "igmp.version")],
            ),
            _ => {}
        }
    }
}

fn numbers(facts: &mut Facts, node: &Node, fields: &[(&'static str, &str)]) {
    for (fact, field) in fields {
        let value = node.own(field).and_then(number);
        put(facts, fact, value.map(|value| value.to_string()));
    }
}

/// tshark has fragments' offsets in the headers' unit of eight bytes.
fn in_bytes(offset: u64) -> String {
    (offset * 8).to_string()
}

fn ipv4(facts: &mut Facts, ip: &Node) {
    numbers(
        facts,
        ip,
        &[
            ("ip.version", "ip.version"),
            ("ip.proto", "ip.proto"),
            ("ip.ttl", "ip.ttl"),
            ("ip.len", "ip.len"),
            ("ip.id", "ip.id"),
        ],
    );
    put(facts, "ip.src", ip.get("ip.src").map(str::to_owned));
    put(facts, "ip.dst", ip.get("ip.dst").map(str::to_owned));
    let more = ip.get("ip.flags.mf").is_some_and(|flag| flag == "1");
    let offset = ip.get("ip.frag_offset").and_then(number).unwrap_or(0);
    if more || offset > 0 {
        facts.insert("ip.frag.offset", in_bytes(offset));
        facts.insert("ip.frag.more", more.to_string());
    }
}

fn ipv6(facts: &mut Facts, ip: &Node) {
    numbers(
        facts,
        ip,
        &[
            ("ip.version", "ipv6.version"),
            ("ip.proto", "ipv6.nxt"),
            ("ip.ttl", "ipv6.hlim"),
            ("ip.id", "ipv6.fraghdr.ident"),
        ],
    );
    let payload = ip
        .get("ipv6.plen")
        .and_then(number)
        .map(|length| length + 40);
    numbers(
        facts,
        ip,
        &[
            ("ah.spi", "ah.spi"),
            ("ah.seq", "ah.sequence"),
            ("routing.type", "ipv6.routing.type"),
            ("routing.left", "ipv6.routing.segleft"),
        ],
    );
    let segments: Vec<&str> = [
        "ipv6.routing.srh.addr",
        "ipv6.routing.src.addr",
        "ipv6.routing.mipv6.home_address",
    ]
    .iter()
    .flat_map(|field| ip.all(field))
    .map(|node| node.show.as_str())
    .collect();
    let segments = (!segments.is_empty()).then(|| Value::from(segments).to_string());
    put(facts, "routing.segments", segments);
    put(facts, "ip.len", payload.map(|length| length.to_string()));
    put(facts, "ip.src", ip.get("ipv6.src").map(str::to_owned));
    put(facts, "ip.dst", ip.get("ipv6.dst").map(str::to_owned));
    let more = ip.get("ipv6.fraghdr.more");
    let offset = ip.get("ipv6.fraghdr.offset").and_then(number);
    put(facts, "ip.frag.offset", offset.map(in_bytes));
    put(
        facts,
        "ip.frag.more",
        more.map(|more| (more == "1").to_string()),
    );
}

fn tcp(facts: &mut Facts, tcp: &Node) {
    numbers(
        facts,
        tcp,
        &[
            ("tcp.sport", "tcp.srcport"),
            ("tcp.dport", "tcp.dstport"),
            ("tcp.seq", "tcp.seq"),
            ("tcp.ack", "tcp.ack"),
            ("tcp.win", "tcp.window_size"),
            ("tcp.seq_raw", "tcp.seq_raw"),
            ("tcp.ack_raw", "tcp.ack_raw"),
            ("tcp.win_raw", "tcp.window_size_value"),
            ("tcp.len", "tcp.len"),
            ("tcp.mss", "tcp.options.mss_val"),
            ("tcp.wscale", "tcp.options.wscale.shift"),
            ("tcp.tsval", "tcp.options.timestamp.tsval"),
            ("tcp.tsecr", "tcp.options.timestamp.tsecr"),
        ],
    );
    if let Some(word) = tcp.get("tcp.flags").and_then(number) {
        let names = FLAGS.iter().filter(|(bit, _)| word & u64::from(*bit) != 0);
        let mut names: Vec<&str> = names.map(|(_, name)| *name).collect();
        names.extend((word & 0xe00 != 0).then_some("Reserved"));
        facts.insert("tcp.flags", names.join(","));
    }
    let permitted = tcp.get("tcp.options.sack_perm");
    put(facts, "tcp.sack_perm", permitted.map(|_| "true".to_owned()));
    let fast_open = tcp
        .get("tcp.options.tfo.request")
        .or(tcp.get("tcp.options.tfo.cookie"));
    put(facts, "tcp.fast_open", fast_open.map(|_| "true".to_owned()));
    let edge = |name| {
        tcp.all(name)
            .into_iter()
            .map(|node: &Node| node.show.clone())
            .collect::<Vec<String>>()
    };
    let lefts = edge("tcp.options.sack_le");
    let blocks = lefts.into_iter().zip(edge("tcp.options.sack_re"));
    let blocks: Vec<String> = blocks
        .map(|(left, right)| format!("[{left},{right}]"))
        .collect();
    put(
        facts,
        "tcp.sack",
        (!blocks.is_empty()).then(|| format!("[{}]", blocks.join(","))),
    );
}

fn quoted(facts: &mut Facts, icmp: &Node) {
    let Some(ip) = icmp
        .children
        .iter()
        .find(|node| matches!(node.name.as_str(), "ip" | "ipv6"))
    else {
        return;
    };
    for (fact, field) in [("icmp.quoted.src", "src"), ("icmp.quoted.dst", "dst")] {
        put(
            facts,
            fact,
            ip.get(&format!("{}.{field}", ip.name)).map(str::to_owned),
        );
    }
    let protocol = if ip.name == "ip" {
        "ip.proto"
    } else {
        "ipv6.nxt"
    };
    numbers(facts, ip, &[("icmp.quoted.proto", protocol)]);
    // After extension headers the last of them tells the protocol.
    for last in [
        "ipv6.hopopts.nxt",
        "ipv6.dstopts.nxt",
        "ipv6.routing.nxt",
        "ipv6.fraghdr.nxt",
    ] {
        numbers(facts, ip, &[("icmp.quoted.proto", last)]);
    }
    for protocol in ["tcp", "udp"] {
        if let Some(node) = icmp.children.iter().find(|node| node.name == protocol) {
            let source = node.get(&format!("{protocol}.srcport"));
            let destination = node.get(&format!("{protocol}.dstport"));
            put(facts, "icmp.quoted.sport", source.map(str::to_owned));
            put(facts, "icmp.quoted.dport", destination.map(str::to_owned));
        }
    }
}
