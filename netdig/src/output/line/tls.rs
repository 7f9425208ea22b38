//! TLS's part of the line.

use super::Line;
use decoders::tls::{Tls, version_name};

/// Records named in one line.
const MAX_RECORDS: usize = 32;

pub(super) fn write(line: Line<'_, '_, '_>, tls: &Tls<'_>) {
    let version = match (tls.server_hello(), tls.records().next()) {
        (Some(hello), _) => hello.version,
        (None, Some(record)) => record.version,
        (None, None) => 0,
    };
    let name = version_name(version).unwrap_or("TLS");
    let out = line.protocol(name.as_bytes());
    for (at, record) in tls.records().take(MAX_RECORDS).enumerate() {
        if at > 0 {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(record.name().as_bytes());
        if record.name() != "Alert" {
            continue;
        }
        if let &[level, description] = record.body {
            let alert = decoders::tls::Alert { level, description };
            let words = (alert.level_name(), alert.description_name());
            out.extend_from_slice(b" (Level: ");
            out.extend_from_slice(words.0.unwrap_or("Unknown").as_bytes());
            out.extend_from_slice(b", Description: ");
            out.extend_from_slice(words.1.unwrap_or("Unknown").as_bytes());
            out.push(b')');
        }
    }
}
