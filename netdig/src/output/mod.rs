//! Where packets and findings go: one module a format.
pub mod capture;
pub mod clock;
pub mod finding;
pub mod hexdump;
pub mod json;
pub mod line;
pub mod pcap;
pub mod pcapng;
pub mod registry;
pub mod report;
mod sink;
pub mod summary;
pub mod text;

use std::io::{self, Write};

use crate::annotation::FrameMeta;
use crate::evidence::packet::{Fate, PacketView};
use crate::finding::Finding;
use crate::observation::{Interface, Loss, PacketType, UnixNanos};
use capture::{CaptureWriter, WriteError};
use json::JsonWriter;
use summary::Summary;
use text::TextWriter;

/// Gathered output is written at this size, whole lines at a time.
const FULL: usize = 64 * 1024;

/// Why output could not be written.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    #[error("the reader of standard output went away")]
    ClosedPipe,
    #[error("cannot write to standard output: {0}")]
    Stdout(io::Error),
    #[error(transparent)]
    Capture(WriteError),
}

impl From<WriteError> for OutputError {
    fn from(error: WriteError) -> Self {
        match error.is_closed_pipe() {
            true => OutputError::ClosedPipe,
            false => OutputError::Capture(error),
        }
    }
}

/// How objects are printed.
#[derive(Debug)]
pub enum Printer {
    Text(TextWriter),
    Json(JsonWriter),
}

/// Where printed lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    /// Standard output carries the capture.
    Stderr,
}

/// All outputs of a run.
pub struct Output {
    printer: Printer,
    stream: Stream,
    /// Whether packets are printed, or only losses and the summary.
    packets: bool,
    capture: Option<CaptureWriter>,
    buffer: Vec<u8>,
}

impl Output {
    pub fn new(
        printer: Printer,
        stream: Stream,
        packets: bool,
        capture: Option<CaptureWriter>,
    ) -> Output {
        Output {
            printer,
            stream,
            packets,
            capture,
            buffer: Vec::new(),
        }
    }

    /// Whether any output shows packets one by one.
    pub fn wants_packets(&self) -> bool {
        self.packets || self.capture.is_some()
    }

    /// Whether any output names descriptors.
    pub fn wants_fd_names(&self) -> bool {
        self.capture.is_some() || matches!(self.printer, Printer::Json(_))
    }

    /// Whether findings are written on the packets that show them.
    pub fn wants_comments(&self) -> bool {
        self.capture.is_some()
    }

    /// Shows a packet, with `comments` on it where a capture is written; false where it
    /// is shown on its other side's line.
    pub fn packet(
        &mut self,
        view: &PacketView<'_>,
        packet_type: Option<PacketType>,
        comments: &[&str],
    ) -> Result<bool, OutputError> {
        let mut shown = true;
        if let Some(capture) = &mut self.capture {
            let info = view.process.map(|process| process.info());
            let meta = FrameMeta {
                n: view.n,
                joined: match view.fate {
                    Fate::Joined { n, .. } => Some(*n),
                    _ => None,
                },
                process: info.as_ref(),
                fd_name: view.fd_name,
                packet_type,
                comments,
            };
            capture.write_frame(view.interface, view.frame, &meta)?;
        }
        if self.packets {
            match &mut self.printer {
                Printer::Text(text) => shown = text.packet(&mut self.buffer, view),
                Printer::Json(json) => json.packet(&mut self.buffer, view),
            }
            if self.buffer.len() >= FULL {
                self.print()?;
            }
        }
        Ok(shown)
    }

    /// Tells of lost events.
    pub fn loss(&mut self, loss: &Loss, interface: Option<&Interface>) -> Result<(), OutputError> {
        if let Some(capture) = &mut self.capture {
            capture.write_loss(loss, interface)?;
        }
        match &mut self.printer {
            Printer::Text(text) => text.loss(&mut self.buffer, loss),
            Printer::Json(json) => json.loss(&mut self.buffer, loss),
        }
        Ok(())
    }

    /// Tells of a finding, concluded at `at`.
    pub fn finding(&mut self, finding: &Finding, at: UnixNanos) {
        match &mut self.printer {
            Printer::Text(text) => text.finding(&mut self.buffer, finding),
            Printer::Json(json) => json.finding(&mut self.buffer, finding, at),
        }
    }

    /// An interface's totals, for the end of the capture.
    pub fn statistics(
        &mut self,
        interface: &Interface,
        received: u64,
        dropped: u64,
    ) -> Result<(), OutputError> {
        match &mut self.capture {
            Some(capture) => Ok(capture.statistics(interface, received, dropped)?),
            None => Ok(()),
        }
    }

    /// Writes out all that was gathered.
    pub fn flush(&mut self) -> Result<(), OutputError> {
        if let Some(capture) = &mut self.capture {
            capture.flush()?;
        }
        self.print()
    }

    /// Whether whoever read standard output is gone, which writing would tell
    /// only once there is something to write.
    ///
    /// # Errors
    /// [`OutputError::ClosedPipe`].
    pub fn check_reader(&self) -> Result<(), OutputError> {
        let mut poll = libc::pollfd {
            fd: libc::STDOUT_FILENO,
            events: 0,
            revents: 0,
        };
        // SAFETY: one pollfd, and the count says one; it does not wait.
        let told = unsafe { libc::poll(&raw mut poll, 1, 0) };
        match told > 0 && poll.revents & libc::POLLERR != 0 {
            true => Err(OutputError::ClosedPipe),
            false => Ok(()),
        }
    }

    /// Prints the summary and closes the capture. Each is tried though the
    /// other fails.
    pub fn finish(&mut self, summary: &Summary, now: UnixNanos) -> Result<(), OutputError> {
        let closed = match self.capture.take() {
            Some(capture) => capture.finish().map_err(OutputError::from),
            None => Ok(()),
        };
        match &mut self.printer {
            Printer::Text(text) => text.summary(&mut self.buffer, summary),
            Printer::Json(json) => json.summary(&mut self.buffer, summary, now),
        }
        closed.and(self.print())
    }

    fn print(&mut self) -> Result<(), OutputError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let written = match self.stream {
            Stream::Stdout => io::stdout()
                .write_all(&self.buffer)
                .and_then(|()| io::stdout().flush()),
            Stream::Stderr => io::stderr().write_all(&self.buffer),
        };
        self.buffer.clear();
        written.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe => OutputError::ClosedPipe,
            _ => OutputError::Stdout(error),
        })
    }
}
