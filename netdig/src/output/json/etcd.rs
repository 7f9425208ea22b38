//! The object of what a packet has to do with etcd.

use serde::Serialize;

use decoders::{Packet, etcd};

#[derive(Serialize)]
pub(super) struct Etcd {
    api: &'static str,
    transport: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<u64>,
}

pub(super) fn object(packet: &Packet<'_>) -> Option<Etcd> {
    let seen = etcd::seen(packet)?;
    Some(Etcd {
        api: seen.api.name(),
        transport: seen.api.transport(),
        subject: seen
            .subject
            .filter(|subject| !subject.is_empty())
            .map(|subject| String::from_utf8_lossy(subject).into_owned()),
        index: seen.index,
    })
}
