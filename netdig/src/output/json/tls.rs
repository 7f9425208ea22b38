//! The object of TLS's records.

use serde::Serialize;

use decoders::Packet;
use decoders::tls::version_name;

/// Records and protocols in one object.
const MAX_NAMES: usize = 32;

#[derive(Serialize)]
pub(super) struct Tls {
    records: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_hello: Option<ClientHello>,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_hello: Option<ServerHello>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alert: Option<Alert>,
}

#[derive(Serialize)]
struct ClientHello {
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    server_name: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    alpn: Vec<String>,
}

#[derive(Serialize)]
struct ServerHello {
    version: String,
    cipher_suite: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    alpn: Option<String>,
}

#[derive(Serialize)]
struct Alert {
    level: u8,
    description: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'static str>,
}

pub(super) fn object(packet: &Packet<'_>) -> Option<Tls> {
    let tls = packet.tls()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let version =
        |number| version_name(number).map_or_else(|| format!("0x{number:04x}"), str::to_owned);
    Some(Tls {
        records: tls
            .records()
            .take(MAX_NAMES)
            .map(|record| record.name())
            .collect(),
        client_hello: tls.client_hello().map(|hello| ClientHello {
            version: version(hello.version),
            server_name: hello.server_name.map(text),
            alpn: hello.alpn().take(MAX_NAMES).map(text).collect(),
        }),
        server_hello: tls.server_hello().map(|hello| ServerHello {
            version: version(hello.version),
            cipher_suite: hello.cipher_suite,
            alpn: hello.alpn.map(text),
        }),
        alert: tls.alert().map(|alert| Alert {
            level: alert.level,
            description: alert.description,
            name: alert.description_name(),
        }),
    })
}
