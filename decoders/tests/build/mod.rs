//! Packets made for tests, and short ways to look at them.
// Each test program uses some of it.
#![allow(dead_code)]

use decoders::{LinkType, Packet, Ports, decode};

pub fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![
        0x45, 0, 0, 0, 0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
    ];
    packet.extend(payload);
    let len = packet.len() as u16;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet
}

pub fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend((payload.len() as u16).to_be_bytes());
    packet.extend([next, 64]);
    packet.extend([0xfd; 32]);
    packet.extend(payload);
    packet
}

pub fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [&[2; 12][..], &ethertype.to_be_bytes(), payload].concat()
}

pub fn udp_between(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let words = [source, destination, 8 + payload.len() as u16, 0];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    bytes.extend(payload);
    bytes
}

/// From a port that carries nothing.
pub fn udp(port: u16, payload: &[u8]) -> Vec<u8> {
    udp_between(40000, port, payload)
}

pub fn raw(data: &[u8]) -> Packet<'_> {
    decode(LinkType::RawIp, data, data.len(), &Ports::default())
}

pub fn names(packet: &Packet<'_>) -> Vec<&'static str> {
    packet.layer_names().collect()
}
