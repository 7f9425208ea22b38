//! Crafted packets through netdig and through tshark: the lines must be equal.

#[path = "tshark_lines/build.rs"]
mod build;
#[path = "tshark_lines/packets.rs"]
mod packets;
#[path = "tshark_lines/protocols.rs"]
mod protocols;

use decoders::{LinkType, Ports, decode};
use netdig::evidence::flow::FlowTable;
use netdig::output::line::write_line;
use std::path::{Path, PathBuf};
use std::process::Command;

/// tshark's columns, in the order of the line.
const COLUMNS: [&str; 5] = [
    "_ws.col.Source",
    "_ws.col.Destination",
    "_ws.col.Protocol",
    "frame.len",
    "_ws.col.Info",
];

#[test]
fn tcp() {
    compare("tcp", LinkType::RawIp, &packets::tcp());
}

#[test]
fn flows() {
    compare("flows", LinkType::RawIp, &packets::flows());
}

#[test]
fn http() {
    compare("http", LinkType::RawIp, &packets::http());
}

#[test]
fn dns() {
    compare("dns", LinkType::RawIp, &packets::names());
}

#[test]
fn tls() {
    compare("tls", LinkType::RawIp, &packets::tls());
}

#[test]
fn dhcp() {
    compare("dhcp", LinkType::RawIp, &packets::dhcp_messages());
}

#[test]
fn icmp() {
    compare("icmp", LinkType::RawIp, &packets::control_messages());
}

#[test]
fn network() {
    compare("network", LinkType::RawIp, &packets::network());
}

#[test]
fn tunnels() {
    compare("tunnels", LinkType::RawIp, &packets::tunnels());
    compare("mpls", LinkType::Ethernet, &packets::mpls());
}

#[test]
fn protocols() {
    compare("security", LinkType::RawIp, &protocols::security());
    compare("tcp-options", LinkType::RawIp, &protocols::tcp_options());
    compare(
        "netbios-names",
        LinkType::RawIp,
        &protocols::netbios_names(),
    );
    compare("transports", LinkType::RawIp, &protocols::transports());
}

#[test]
fn links() {
    compare("links", LinkType::Ethernet, &packets::links());
}

#[test]
fn cooked() {
    compare("cooked", LinkType::LinuxSll, &packets::cooked());
    compare("cooked-v2", LinkType::LinuxSll2, &packets::cooked_v2());
    compare("loopback", LinkType::Null, &packets::loopback());
}

#[test]
fn cut() {
    compare_cut("cut", LinkType::RawIp, &packets::cut());
}

/// The packets of the field cases, as they lie in the decoders' test data.
#[test]
fn field_cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../decoders/tests/vectors");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let packets: Vec<Vec<u8>> = files
        .iter()
        // The first is a TCP payload, not a packet.
        .filter(|path| !path.ends_with("01-http-request-on-loopback.hex"))
        .map(|path| from_hex(&std::fs::read_to_string(path).unwrap()))
        .collect();
    // Both sides of one packet would be a retransmission to tshark.
    let [a, b, c, d, e, f, g, h] = packets.try_into().expect("eight packets");
    compare("field-cases", LinkType::RawIp, &[a, c, e, g, h]);
    compare("field-cases-other-side", LinkType::RawIp, &[b, d, f]);
}

fn from_hex(text: &str) -> Vec<u8> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| line.split_whitespace().skip(1))
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect()
}

fn compare(name: &str, link: LinkType, packets: &[Vec<u8>]) {
    let whole: Vec<_> = packets
        .iter()
        .map(|packet| (packet.clone(), packet.len()))
        .collect();
    compare_cut(name, link, &whole);
}

/// Of each packet only so many bytes were captured.
fn compare_cut(name: &str, link: LinkType, packets: &[(Vec<u8>, usize)]) {
    let Some(theirs) = tshark(name, link, packets) else {
        return;
    };
    let ours = netdig(link, packets);
    assert_eq!(theirs.len(), packets.len(), "tshark's lines");
    let different: Vec<String> = ours
        .iter()
        .zip(&theirs)
        .enumerate()
        .filter(|(_, (ours, theirs))| ours != theirs)
        .map(|(at, (ours, theirs))| format!("{}\n  netdig {ours}\n  tshark {theirs}", at + 1))
        .collect();
    assert!(
        different.is_empty(),
        "{} of {} differ:\n{}",
        different.len(),
        packets.len(),
        different.join("\n")
    );
}

fn netdig(link: LinkType, packets: &[(Vec<u8>, usize)]) -> Vec<String> {
    let ports = Ports::default();
    let mut flows = FlowTable::new();
    packets
        .iter()
        .map(|(bytes, captured)| {
            let packet = decode(link, &bytes[..*captured], bytes.len(), &ports);
            let relative = flows.observe(&packet);
            let mut line = Vec::new();
            write_line(&mut line, &packet, relative.as_ref());
            String::from_utf8(line).unwrap().trim_end().to_owned()
        })
        .collect()
}

/// tshark's lines without what it knows from other packets; `None` where there
/// is no tshark, which CI does not forgive.
fn tshark(name: &str, link: LinkType, packets: &[(Vec<u8>, usize)]) -> Option<Vec<String>> {
    let path = std::env::temp_dir().join(format!("netdig-{}-{name}.pcap", std::process::id()));
    std::fs::write(&path, capture(link, packets)).unwrap();
    let mut command = Command::new("tshark");
    command.args([
        "-n",
        "-d",
        "udp.port==8285,ip",
        "-d",
        "udp.port==6784,vxlan",
        "-o",
        "ip.check_checksum:FALSE",
        "-r",
    ]);
    command
        .arg(&path)
        .args(["-T", "fields", "-E", "separator=|"]);
    for column in COLUMNS {
        command.args(["-e", column]);
    }
    let result = command.output();
    std::fs::remove_file(&path).unwrap();
    match result {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8(output.stdout).unwrap();
            Some(text.lines().map(as_line).collect())
        }
        Ok(output) => panic!("tshark failed: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) if std::env::var_os("CI").is_some_and(|ci| ci == "true") => {
            panic!("CI needs tshark, and it did not start: {error}")
        }
        Err(error) => {
            eprintln!("skipped: tshark did not start: {error}");
            None
        }
    }
}

fn as_line(fields: &str) -> String {
    let [source, destination, protocol, length, info] = fields
        .splitn(5, '|')
        .collect::<Vec<_>>()
        .try_into()
        .expect("five columns");
    let mut info = info;
    while let Some(rest) = info
        .strip_prefix("[TCP ")
        .and_then(|rest| rest.split_once("] "))
    {
        info = rest.1;
    }
    for mark in [" (request in ", " (reply in ", " (no response found"] {
        info = info.split_once(mark).map_or(info, |(before, _)| before);
    }
    format!("{source} → {destination} {protocol} {length} {info}")
        .trim_end()
        .to_owned()
}

fn capture(link: LinkType, packets: &[(Vec<u8>, usize)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = [
        0xa1b2_c3d4,
        0x0004_0002,
        0,
        0,
        262_144,
        u32::from(link.number()),
    ];
    bytes.extend(header.iter().flat_map(|word: &u32| word.to_le_bytes()));
    for (at, (packet, captured)) in packets.iter().enumerate() {
        let words = [at as u32, 0, *captured as u32, packet.len() as u32];
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(&packet[..*captured]);
    }
    bytes
}
