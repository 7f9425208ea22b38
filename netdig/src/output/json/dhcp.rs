//! The object of a DHCP message, of either version.

use std::net::Ipv4Addr;

use serde::Serialize;

use decoders::Packet;

#[derive(Serialize)]
pub(super) struct Dhcp {
    version: u8,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    xid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    yours: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requested: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relay: Option<Ipv4Addr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
}

pub(super) fn object(packet: &Packet<'_>) -> Option<Dhcp> {
    if let Some(dhcp) = packet.dhcp() {
        return Some(Dhcp {
            version: 4,
            kind: dhcp.message_type(),
            name: dhcp.message_name(),
            xid: Some(dhcp.transaction_id()),
            client: dhcp.client_address(),
            yours: dhcp.your_address(),
            requested: dhcp.requested_address(),
            server: dhcp.server(),
            relay: dhcp.relay_address(),
            hostname: dhcp
                .host_name()
                .map(|name| String::from_utf8_lossy(name).into_owned()),
        });
    }
    let dhcp = packet.dhcpv6()?;
    Some(Dhcp {
        version: 6,
        kind: Some(dhcp.message_type()),
        name: Some(dhcp.message_name()),
        xid: dhcp.transaction_id(),
        client: None,
        yours: None,
        requested: None,
        server: None,
        relay: None,
        hostname: None,
    })
}
