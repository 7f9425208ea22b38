//! Writing captures: pcapng, and classic pcap where it is asked for by name.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

use decoders::LinkType;

use super::pcap::PcapWriter;
use super::pcapng::PcapngWriter;
use super::sink::Sink;
pub use crate::annotation::FrameMeta;
use crate::observation::{Frame, Interface, Loss};

/// Longest packet that is written; wiretap and libpcap refuse longer ones. What
/// is beyond is cut, and the original length tells so.
pub(super) const MAX_PACKET: usize = 262_144;

/// Why a capture could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("cannot create {name}: {source}")]
    Create { name: String, source: io::Error },
    #[error("cannot write {name}: {source}; it is whole and readable up to its packet {packets}")]
    Write {
        name: String,
        packets: u64,
        source: io::Error,
    },
    #[error(
        "cannot write {name}: a classic .pcap holds one link type, and {interface} ({link}) differs \
         from what was written before ({first}); name the file .pcapng, which holds both"
    )]
    MixedLinks {
        name: String,
        interface: String,
        link: String,
        first: String,
    },
}

impl WriteError {
    /// The reader of a pipe went away, which ends a run silently.
    pub fn is_closed_pipe(&self) -> bool {
        match self {
            WriteError::Create { source, .. } | WriteError::Write { source, .. } => {
                source.kind() == io::ErrorKind::BrokenPipe
            }
            WriteError::MixedLinks { .. } => false,
        }
    }
}

/// A capture being written.
pub enum CaptureWriter {
    Pcapng(PcapngWriter),
    Pcap(PcapWriter),
}

impl CaptureWriter {
    /// Creates `path`: a classic pcap if it ends in `.pcap`, else a pcapng; `-`
    /// is a pcapng on standard output, each packet written as it comes. For
    /// files, `each_packet` asks for the same.
    ///
    /// # Errors
    /// [`WriteError::Create`]; [`WriteError::Write`] when the header cannot be written.
    pub fn create(path: &Path, each_packet: bool) -> Result<CaptureWriter, WriteError> {
        if path == Path::new("-") {
            // Not `Stdout`, which would cut blocks at each byte that looks like a line's end.
            let stdout = io::stdout().as_fd().try_clone_to_owned();
            let stdout = stdout.map_err(|source| WriteError::Create {
                name: "standard output".to_owned(),
                source,
            })?;
            return CaptureWriter::pcapng(File::from(stdout), "standard output", true);
        }
        let sink = Sink::create(path, each_packet)?;
        let classic = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("pcap"));
        Ok(match classic {
            true => CaptureWriter::Pcap(PcapWriter::new(sink)),
            false => CaptureWriter::Pcapng(PcapngWriter::new(sink)?),
        })
    }

    /// A pcapng on any stream; `name` stands for it in errors.
    ///
    /// # Errors
    /// [`WriteError::Write`] when the header cannot be written.
    pub fn pcapng(
        write: impl Write + Send + 'static,
        name: &str,
        each_packet: bool,
    ) -> Result<CaptureWriter, WriteError> {
        Ok(CaptureWriter::Pcapng(PcapngWriter::new(Sink::stream(
            write,
            name,
            each_packet,
        ))?))
    }

    /// A classic pcap on any stream.
    pub fn pcap(
        write: impl Write + Send + 'static,
        name: &str,
        each_packet: bool,
    ) -> CaptureWriter {
        CaptureWriter::Pcap(PcapWriter::new(Sink::stream(write, name, each_packet)))
    }

    /// What the person should know of the chosen format.
    pub fn warnings(&self) -> &'static [&'static str] {
        match self {
            CaptureWriter::Pcapng(_) => &[],
            CaptureWriter::Pcap(_) => &[
                "a classic .pcap keeps packets and times only: process, descriptor, peer, direction, \
                 findings and losses are not written; name the file .pcapng to keep them",
            ],
        }
    }

    /// Writes one packet; its interface appears in the file when first used.
    ///
    /// # Errors
    /// [`WriteError::Write`]; [`WriteError::MixedLinks`] in a classic pcap.
    #[inline]
    pub fn write_frame(
        &mut self,
        interface: &Interface,
        frame: &Frame<'_>,
        meta: &FrameMeta<'_>,
    ) -> Result<(), WriteError> {
        match self {
            CaptureWriter::Pcapng(writer) => writer.write_frame(interface, frame, meta),
            CaptureWriter::Pcap(writer) => writer.write_frame(interface, frame),
        }
    }

    /// Notes a loss: it goes as a comment onto the next packet, and into the
    /// statistics of `interface`, the one that [`Loss::interface`] names.
    ///
    /// # Errors
    /// [`WriteError::Write`] when the interface's description cannot be written.
    pub fn write_loss(
        &mut self,
        loss: &Loss,
        interface: Option<&Interface>,
    ) -> Result<(), WriteError> {
        match self {
            CaptureWriter::Pcapng(writer) => writer.write_loss(loss, interface),
            CaptureWriter::Pcap(_) => Ok(()),
        }
    }

    /// Sets an interface's totals for the statistics at the end, where the
    /// source knows them better than packets written and losses noted.
    ///
    /// # Errors
    /// [`WriteError::Write`] when the interface's description cannot be written.
    pub fn statistics(
        &mut self,
        interface: &Interface,
        received: u64,
        dropped: u64,
    ) -> Result<(), WriteError> {
        match self {
            CaptureWriter::Pcapng(writer) => writer.statistics(interface, received, dropped),
            CaptureWriter::Pcap(_) => Ok(()),
        }
    }

    /// Writes what was gathered, so that a reader sees every packet so far.
    ///
    /// # Errors
    /// [`WriteError::Write`].
    pub fn flush(&mut self) -> Result<(), WriteError> {
        self.sink_mut().flush()
    }

    /// Packets taken so far.
    pub fn packets(&self) -> u64 {
        self.sink().packets()
    }

    /// Bytes of the file so far, for rotation.
    pub fn bytes(&self) -> u64 {
        self.sink().bytes()
    }

    /// Writes the statistics and all that was gathered.
    ///
    /// # Errors
    /// [`WriteError::Write`].
    pub fn finish(mut self) -> Result<(), WriteError> {
        match &mut self {
            CaptureWriter::Pcapng(writer) => writer.end()?,
            CaptureWriter::Pcap(writer) => writer.end()?,
        }
        self.flush()
    }

    fn sink(&self) -> &Sink {
        match self {
            CaptureWriter::Pcapng(writer) => &writer.sink,
            CaptureWriter::Pcap(writer) => &writer.sink,
        }
    }

    fn sink_mut(&mut self) -> &mut Sink {
        match self {
            CaptureWriter::Pcapng(writer) => &mut writer.sink,
            CaptureWriter::Pcap(writer) => &mut writer.sink,
        }
    }
}

/// How the link type is called in a sentence.
pub(super) fn link_name(link: LinkType) -> String {
    match link {
        LinkType::Ethernet => "Ethernet".to_owned(),
        LinkType::RawIp => "raw IP".to_owned(),
        LinkType::Ipv4 => "raw IPv4".to_owned(),
        LinkType::Ipv6 => "raw IPv6".to_owned(),
        LinkType::Null | LinkType::Loop => "BSD loopback".to_owned(),
        LinkType::LinuxSll | LinkType::LinuxSll2 => "Linux cooked".to_owned(),
        LinkType::Ieee80211 | LinkType::Radiotap | LinkType::Prism | LinkType::Avs => {
            "IEEE 802.11".to_owned()
        }
        LinkType::Ppp | LinkType::PppPppd | LinkType::PppWithDirection => "PPP".to_owned(),
        LinkType::FrameRelay => "Frame Relay".to_owned(),
        other => format!("link type {}", other.number()),
    }
}
