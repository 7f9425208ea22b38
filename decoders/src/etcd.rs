//! etcd in what is decoded: API v2 is HTTP under `/v2/keys`, v3 is gRPC, or HTTP
//! through its gateway (`/v3/kv/range`).
//! <https://etcd.io/docs/v3.5/dev-guide/api_grpc_gateway/>

use crate::packet::Packet;

/// Clients and peers today, clients and peers of old.
const PORTS: [u16; 4] = [2379, 2380, 4001, 7001];

/// How etcd is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    V2,
    /// HTTP/2: what is asked is compressed.
    V3Grpc,
    V3Gateway,
}

impl Api {
    /// `v2`, `v3`.
    pub fn name(self) -> &'static str {
        match self {
            Api::V2 => "v2",
            Api::V3Grpc | Api::V3Gateway => "v3",
        }
    }

    /// `http`, `grpc`, `grpc-gateway`.
    pub fn transport(self) -> &'static str {
        match self {
            Api::V2 => "http",
            Api::V3Grpc => "grpc",
            Api::V3Gateway => "grpc-gateway",
        }
    }
}

/// A request to etcd or an answer of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Etcd<'a> {
    pub api: Api,
    /// What is asked for: v2's key (`/skydns/org`), the gateway's `kv/range`.
    pub subject: Option<&'a [u8]>,
    /// v2's `X-Etcd-Index`, of an answer: the store's revision.
    pub index: Option<u64>,
}

/// What a packet has to do with etcd, if anything.
///
/// ```
/// use decoders::{LinkType, Ports, decode, etcd};
/// let mut frame = vec![
///     0x45, 0, 0, 83, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, // IPv4
///     0x30, 0x39, 0x0f, 0xa1, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0, // TCP
/// ];
/// frame.extend(b"GET /v2/keys/skydns/org?wait=true HTTP/1.1\n");
/// let packet = decode(LinkType::RawIp, &frame, frame.len(), &Ports::default());
/// let seen = etcd::seen(&packet).unwrap();
/// assert_eq!((seen.api, seen.subject), (etcd::Api::V2, Some(&b"/skydns/org"[..])));
/// ```
pub fn seen<'a>(packet: &Packet<'a>) -> Option<Etcd<'a>> {
    let told = |api, subject| Etcd {
        api,
        subject,
        index: None,
    };
    if packet.http2().is_some() {
        return is_port(packet).then(|| told(Api::V3Grpc, None));
    }
    let http = packet.http()?;
    if let Some(target) = http.target() {
        let (api, subject) = requested(target)?;
        return Some(told(api, Some(subject)));
    }
    let header = |wanted: &[u8]| {
        let mut headers = http.headers();
        headers.find(|(name, _)| name.eq_ignore_ascii_case(wanted))
    };
    if let Some((_, value)) = header(b"X-Etcd-Index") {
        let index = str::from_utf8(value)
            .ok()
            .and_then(|text| text.parse().ok());
        return Some(Etcd {
            index,
            ..told(Api::V2, None)
        });
    }
    let is_gateway = is_port(packet) && header(b"Grpc-Metadata-Content-Type").is_some();
    is_gateway.then(|| told(Api::V3Gateway, None))
}

/// The API that a path belongs to, and what it asks for.
fn requested(target: &[u8]) -> Option<(Api, &[u8])> {
    let end = target.iter().position(|byte| *byte == b'?');
    let path = &target[..end.unwrap_or(target.len())];
    // A registry of images has paths under /v2 too.
    if let Some(key) = path.strip_prefix(b"/v2/keys")
        && matches!(key.first(), None | Some(b'/'))
    {
        return Some((Api::V2, key));
    }
    for version in ["/v3/", "/v3beta/", "/v3alpha/"] {
        if let Some(rest) = path.strip_prefix(version.as_bytes()) {
            let services = [
                "kv/",
                "watch",
                "lease/",
                "auth/",
                "cluster/",
                "maintenance/",
            ];
            let is_known = services
                .iter()
                .any(|name| rest.starts_with(name.as_bytes()));
            return is_known.then_some((Api::V3Gateway, rest));
        }
    }
    None
}

fn is_port(packet: &Packet<'_>) -> bool {
    packet.tcp().is_some_and(|tcp| {
        PORTS.contains(&tcp.source_port()) || PORTS.contains(&tcp.destination_port())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LinkType, Ports, decode};

    fn of(port: u16, text: &[u8]) -> Option<(Api, Option<Vec<u8>>, Option<u64>)> {
        let mut frame = vec![
            0x45, 0, 0, 0, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2,
        ];
        frame.extend([0x30, 0x39]);
        frame.extend(port.to_be_bytes());
        frame.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0, 0, 0, 0, 0]);
        frame.extend(text);
        let packet = decode(LinkType::RawIp, &frame, frame.len(), &Ports::default());
        let etcd = seen(&packet)?;
        Some((etcd.api, etcd.subject.map(<[u8]>::to_vec), etcd.index))
    }

    #[test]
    fn each_way_to_etcd_is_known() {
        let subject = |text: &[u8]| Some(text.to_vec());
        assert_eq!(
            of(80, b"PUT /v2/keys HTTP/1.1\r\n"),
            Some((Api::V2, subject(b""), None))
        );
        assert_eq!(of(80, b"GET /v2/keysx HTTP/1.1\r\n"), None);
        assert_eq!(of(80, b"GET /v2/library/manifests/1 HTTP/1.1\r\n"), None);
        let asked = of(2379, b"POST /v3/kv/range HTTP/1.1\r\n");
        assert_eq!(asked, Some((Api::V3Gateway, subject(b"kv/range"), None)));
        assert_eq!(of(2379, b"GET /v3/users HTTP/1.1\r\n"), None);
        let answer = b"HTTP/1.1 200 OK\r\nX-Etcd-Index: 5352\r\n\r\n";
        assert_eq!(of(4001, answer), Some((Api::V2, None, Some(5352))));
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        assert_eq!(of(2379, preface), Some((Api::V3Grpc, None, None)));
        assert_eq!(of(8080, preface), None);
        assert_eq!(of(2379, &preface[..20]), None);
    }
}
