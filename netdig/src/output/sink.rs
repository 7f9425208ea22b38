//! The end of a capture writer: whole blocks to a file or a stream.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use super::capture::WriteError;

/// Bytes that are gathered before they are written, unless each block is.
const GATHERED: usize = 256 * 1024;

enum Target {
    /// A regular file, which is cut back to its last whole block on failure.
    File(File),
    Stream(Box<dyn Write + Send>),
}

/// Gathers blocks in one buffer and writes them.
pub(super) struct Sink {
    target: Target,
    name: String,
    /// Blocks that were ended and not yet written, and the one being made.
    pub(super) buf: Vec<u8>,
    /// Where each block in `buf` ends, and whether it is a packet's.
    ends: Vec<(usize, bool)>,
    each: bool,
    /// Bytes and packets of blocks that were written.
    bytes: u64,
    packets: u64,
    failed: bool,
}

impl Sink {
    fn new(target: Target, name: &str, each: bool) -> Sink {
        let buf = Vec::with_capacity(GATHERED + 64 * 1024);
        Sink {
            target,
            name: name.to_owned(),
            buf,
            ends: Vec::new(),
            each,
            bytes: 0,
            packets: 0,
            failed: false,
        }
    }

    /// Creates `path`, or empties it. With `each`, every packet is written at once.
    pub(super) fn create(path: &Path, each: bool) -> Result<Sink, WriteError> {
        let name = path.display().to_string();
        let failed = |source| WriteError::Create {
            name: name.clone(),
            source,
        };
        let file = File::create(path).map_err(failed)?;
        let regular = file.metadata().map_err(failed)?.is_file();
        let target = if regular {
            Target::File(file)
        } else {
            Target::Stream(Box::new(file))
        };
        Ok(Sink::new(target, &name, each))
    }

    pub(super) fn stream(write: impl Write + Send + 'static, name: &str, each: bool) -> Sink {
        Sink::new(Target::Stream(Box::new(write)), name, each)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Packets handed in, written or gathered.
    pub(super) fn packets(&self) -> u64 {
        self.packets + self.ends.iter().filter(|(_, packet)| *packet).count() as u64
    }

    /// Bytes handed in, written or gathered.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes + self.buf.len() as u64
    }

    /// Says that `buf` ends with a whole block.
    #[inline]
    pub(super) fn end_block(&mut self, packet: bool) -> Result<(), WriteError> {
        self.ends.push((self.buf.len(), packet));
        if self.each || self.buf.len() >= GATHERED {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Writes what was gathered.
    pub(super) fn flush(&mut self) -> Result<(), WriteError> {
        if self.failed {
            self.buf.clear();
            self.ends.clear();
            return Err(self.error(io::Error::other("an earlier write failed")));
        }
        let mut accepted = 0;
        let outcome = self.write_out(&mut accepted);
        let whole = self.ends.partition_point(|(end, _)| *end <= accepted);
        self.packets += self.ends[..whole]
            .iter()
            .filter(|(_, packet)| *packet)
            .count() as u64;
        self.bytes += whole
            .checked_sub(1)
            .map_or(0, |last| self.ends[last].0 as u64);
        self.buf.clear();
        self.ends.clear();
        outcome.map_err(|source| {
            self.failed = true;
            if let Target::File(file) = &self.target {
                // What cannot be cut back stays readable up to the cut.
                let _ = file.set_len(self.bytes);
            }
            self.error(source)
        })
    }

    fn write_out(&mut self, accepted: &mut usize) -> io::Result<()> {
        let to: &mut dyn Write = match &mut self.target {
            Target::File(file) => file,
            Target::Stream(stream) => stream,
        };
        while *accepted < self.buf.len() {
            match to.write(&self.buf[*accepted..]) {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::WriteZero)),
                Ok(n) => *accepted += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A pipe that someone else made non-blocking is full: its reader is slow, not gone.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                Err(error) => return Err(error),
            }
        }
        to.flush()
    }

    fn error(&self, source: io::Error) -> WriteError {
        WriteError::Write {
            name: self.name.clone(),
            packets: self.packets,
            source,
        }
    }
}
