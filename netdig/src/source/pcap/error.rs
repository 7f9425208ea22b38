//! Why a capture could not be read, as sentences.

use std::io;

/// What ended the reading of a capture.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error("cannot open {name}: {source}")]
    Open { name: String, source: io::Error },
    #[error("{name} is empty: a capture begins with a header of at least 24 bytes")]
    Empty { name: String },
    #[error("{name} is not a capture: it begins with {found}; {advice}")]
    NotACapture {
        name: String,
        found: String,
        advice: String,
    },
    /// The file ends inside something: every frame before it was delivered.
    #[error(
        "{name} appears to have been cut short in the middle of {what}: after frame {frames}, \
         at byte {offset}, {needed} bytes are needed and {left} are left"
    )]
    Cut {
        name: String,
        what: &'static str,
        frames: u64,
        offset: u64,
        needed: u64,
        left: u64,
    },
    /// The bytes cannot be what the format says: every frame before was delivered.
    #[error(
        "{name} appears to be damaged or corrupt: after frame {frames}, at byte {offset}, {what}"
    )]
    Corrupt {
        name: String,
        what: String,
        frames: u64,
        offset: u64,
    },
    #[error("cannot read {name} after frame {frames}, at byte {offset}: {source}")]
    Read {
        name: String,
        frames: u64,
        offset: u64,
        source: io::Error,
    },
    /// A signal came, or a non-blocking input had nothing yet. Nothing is lost;
    /// calling `next` again goes on.
    #[error("reading {name} was interrupted")]
    Interrupted { name: String },
}

impl CaptureError {
    /// Whether `next` may be called again.
    pub fn is_interruption(&self) -> bool {
        matches!(self, CaptureError::Interrupted { .. })
    }
}

/// What a file that is no capture begins with, and what to do with it.
pub(super) fn not_a_capture(name: &str, start: &[u8]) -> CaptureError {
    const KNOWN: &[(&[u8], &str, &str)] = &[
        (
            b"\x1f\x8b",
            "1f 8b (gzip)",
            "unpack it first: gunzip < FILE | netdig … -r -",
        ),
        (
            b"\x28\xb5\x2f\xfd",
            "28 b5 2f fd (zstd)",
            "unpack it first: zstd -dc FILE | netdig … -r -",
        ),
        (
            b"\xfd7zXZ",
            "fd 37 7a 58 5a (xz)",
            "unpack it first: xz -dc FILE | netdig … -r -",
        ),
        (
            b"BZh",
            "\"BZh\" (bzip2)",
            "unpack it first: bzip2 -dc FILE | netdig … -r -",
        ),
        (
            b"\x04\x22\x4d\x18",
            "04 22 4d 18 (lz4)",
            "unpack it first: lz4 -dc FILE | netdig … -r -",
        ),
        (
            b"PK\x03\x04",
            "\"PK\" (zip)",
            "unpack it first: unzip -p FILE | netdig … -r -",
        ),
        (
            b"snoop\0",
            "\"snoop\" (Solaris snoop)",
            "convert it first: editcap -F pcapng FILE OUT",
        ),
        (
            b"\x7fELF",
            "\"\\x7fELF\" (a program)",
            "give a pcap or pcapng file",
        ),
    ];
    let known = KNOWN.iter().find(|(magic, _, _)| start.starts_with(magic));
    let (found, advice) = match known {
        Some((_, found, advice)) => ((*found).to_owned(), (*advice).to_owned()),
        None => (
            describe(start),
            "pcap and pcapng files can be read".to_owned(),
        ),
    };
    CaptureError::NotACapture {
        name: name.to_owned(),
        found,
        advice,
    }
}

/// The first bytes as hex, and as text where they are.
fn describe(start: &[u8]) -> String {
    let start = &start[..start.len().min(8)];
    let hex: Vec<String> = start.iter().map(|b| format!("{b:02x}")).collect();
    let hex = hex.join(" ");
    if start.iter().all(|b| b.is_ascii_graphic() || *b == b' ') {
        format!("{hex} (\"{}\")", String::from_utf8_lossy(start))
    } else {
        hex
    }
}
