//! Captures as a source: pcap and pcapng, from a file, a pipe or standard input.
//!
//! The formats are read here and not by the `pcap-file` crate, because its
//! version 2.0 refuses or loses frames that tshark reads: a packet longer than
//! the snap length (and any packet when that is 0), an original length above
//! the snap length or below the captured one, a comment that is not UTF-8, an
//! option that is cut, a block length without its padding, a reserved field
//! that is not 0. It knows neither byte offsets for its errors nor blocks above
//! its fixed 8 MB buffer, takes every time for nanoseconds, and allocates for
//! the options of each packet.
//!
//! Frames borrow from one buffer of 256 KiB, which grows only for a packet
//! that is larger, and only as its bytes arrive.

mod ahead;
mod blocks;
mod classic;
mod error;
mod input;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use decoders::LinkType;

use crate::annotation::{Annotation, Told};
use crate::observation::{Frame, Interface, Observation, PacketType, Via};
use blocks::{Blocks, Options};
use classic::Classic;
pub use error::CaptureError;
use input::Input;

/// The largest packet that is taken for one: wiretap's limit is 256 KiB for
/// network links; links with larger packets stay far below this.
const MAX_PACKET: u32 = 16 * 1024 * 1024;
/// Blocks of no interest up to this size have their trailer checked, larger
/// ones are passed over without being buffered.
const SMALL_BLOCK: u32 = 64 * 1024;

/// One packet: where it is in the buffer, and what was said of it.
struct Record {
    ts_ns: u64,
    /// Index in [`CaptureReader::interfaces`].
    interface: u32,
    data: Range<usize>,
    original: u32,
    options: Range<usize>,
}

/// What the stream has told beside packets.
struct Stream {
    interfaces: Vec<Interface>,
    told: VecDeque<Told>,
    /// What was said of the record at hand. Not part of it: most records have
    /// none, and moving it about costs more than the rest of the reading.
    annotation: Option<Annotation>,
}

/// Why the next record cannot be had; becomes a [`CaptureError`] with its place.
enum Fault {
    Cut {
        what: &'static str,
        needed: u64,
        left: u64,
    },
    Corrupt(String),
    Io(io::Error),
}

impl Fault {
    fn cut(what: &'static str, needed: usize, input: &Input) -> Fault {
        Fault::Cut {
            what,
            needed: needed as u64,
            left: input.available().len() as u64,
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        Fault::Io(error)
    }
}

enum Format {
    /// Nothing was read yet.
    Unknown,
    Classic(Classic),
    Blocks(Box<Blocks>),
    /// The end was reached, or an error told.
    Ended,
}

/// An observation, and what its frame refers to.
pub struct InContext<'a> {
    pub observation: Observation<'a>,
    /// As [`CaptureReader::interfaces`].
    pub interfaces: &'a [Interface],
    /// As [`CaptureReader::packet_type`].
    pub packet_type: Option<PacketType>,
}

/// A file or pipe whose reader wants to be asked now and then whether it still
/// waits: where nothing comes for a while, a read ends with `WouldBlock`.
struct Patient(File);

impl Read for Patient {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        const WHILE_MS: i32 = 100;
        let mut poll = libc::pollfd {
            fd: self.0.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd, and the count says one.
        match unsafe { libc::poll(&raw mut poll, 1, WHILE_MS) } {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            -1 => Err(io::Error::last_os_error()),
            _ => self.0.read(buf),
        }
    }
}

/// Reads a capture, frame by frame.
pub struct CaptureReader {
    name: String,
    input: Input,
    format: Format,
    stream: Stream,
    /// A frame that waits until what goes before it was told.
    held: Option<Record>,
    /// Options of the last frame, in the input's buffer.
    options: Range<usize>,
    frames: u64,
}

impl CaptureReader {
    /// Opens a file; `-` is standard input. Nothing is read before the first
    /// [`CaptureReader::next`].
    ///
    /// # Errors
    /// [`CaptureError::Open`] with what the system said.
    pub fn open(path: &Path) -> Result<CaptureReader, CaptureError> {
        if path == Path::new("-") {
            let stdin = io::stdin().as_fd().try_clone_to_owned();
            let stdin = stdin.map_err(|source| CaptureError::Open {
                name: "standard input".to_owned(),
                source,
            })?;
            return Ok(CaptureReader::new(Patient(stdin.into()), "standard input"));
        }
        let name = path.display().to_string();
        let failed = |source| CaptureError::Open {
            name: name.clone(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        if file.metadata().map_err(failed)?.is_dir() {
            return Err(failed(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let input = Input::file(file, |file| Box::new(Patient(file)));
        Ok(CaptureReader::of(input, &name))
    }

    /// Reads from any stream; `name` stands for it in errors. A frame is
    /// delivered as soon as its last byte was read.
    pub fn new(read: impl Read + Send + 'static, name: &str) -> CaptureReader {
        CaptureReader::of(Input::new(Box::new(read)), name)
    }

    fn of(input: Input, name: &str) -> CaptureReader {
        CaptureReader {
            name: name.to_owned(),
            input,
            format: Format::Unknown,
            stream: Stream {
                interfaces: Vec::new(),
                told: VecDeque::new(),
                annotation: None,
            },
            held: None,
            options: 0..0,
            frames: 0,
        }
    }

    /// The interfaces described so far, over all sections; [`Frame::interface`]
    /// is an index into it. A name that the file does not give is empty.
    pub fn interfaces(&self) -> &[Interface] {
        &self.stream.interfaces
    }

    /// Frames delivered so far.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// How the last frame met its link, where the file's `epb_flags` tell.
    pub fn packet_type(&self) -> Option<PacketType> {
        const EPB_FLAGS: u16 = 2;
        let Format::Blocks(blocks) = &self.format else {
            return None;
        };
        let options = self.input.bytes().get(self.options.clone())?;
        let (_, flags) =
            Options::new(options, blocks.big()).find(|(code, _)| *code == EPB_FLAGS)?;
        (flags.len() >= 4).then(|| PacketType::from_epb_flags(u32_at(flags, 0, blocks.big())))?
    }

    /// The next frame, or what the capture tells before it of a process or a
    /// loss; `None` at the end.
    ///
    /// # Errors
    /// Once, after all whole frames: where and why the capture ends early. Then
    /// `None`. After [`CaptureError::Interrupted`] the call may be repeated.
    #[allow(clippy::should_implement_trait)] // Iterator cannot lend
    #[inline]
    pub fn next(&mut self) -> Result<Option<Observation<'_>>, CaptureError> {
        Ok(self.next_in_context()?.map(|seen| seen.observation))
    }

    /// The same with what a frame refers to.
    ///
    /// # Errors
    /// As [`CaptureReader::next`].
    #[inline]
    pub fn next_in_context(&mut self) -> Result<Option<InContext<'_>>, CaptureError> {
        if self.held.is_none() {
            self.held = self.next_record()?;
        }
        let observation = match self.stream.told.pop_front() {
            Some(told) => told.into_observation(),
            None => {
                let Some(record) = self.held.take() else {
                    return Ok(None);
                };
                self.frames += 1;
                self.options = record.options.clone();
                let annotation = match &mut self.stream.annotation {
                    None => Annotation::default(),
                    said => said.take().unwrap_or_default(),
                };
                Observation::Frame(self.frame(&record, annotation))
            }
        };
        Ok(Some(InContext {
            observation,
            interfaces: self.interfaces(),
            packet_type: self.packet_type(),
        }))
    }

    /// Whether the next frame must first be read, which on a pipe may take long.
    pub fn must_read(&self) -> bool {
        let available = self.input.available();
        let whole = match &self.format {
            Format::Classic(classic) => classic.record_len(available),
            Format::Blocks(blocks) => blocks.block_len(available),
            Format::Unknown | Format::Ended => None,
        };
        self.held.is_none() && whole.is_none_or(|len| len > available.len() as u64)
    }

    #[inline]
    fn frame(&self, record: &Record, annotation: Annotation) -> Frame<'_> {
        let data = &self.input.bytes()[record.data.clone()];
        let link = self
            .stream
            .interfaces
            .get(record.interface as usize)
            .map(|i| i.link);
        Frame {
            ts_ns: record.ts_ns,
            via: annotation.via.unwrap_or(Via::File),
            link: link.unwrap_or(LinkType::Other(u16::MAX)),
            interface: record.interface,
            data,
            orig_len: record.original.max(data.len() as u32),
            process: annotation.process,
            fd: annotation.fd,
            peer: annotation.peer,
            encap: annotation.encap,
            errno: annotation.errno,
            netns: annotation.netns,
            cgroup: annotation.cgroup,
            file_n: Some(self.frames),
        }
    }

    #[inline]
    fn next_record(&mut self) -> Result<Option<Record>, CaptureError> {
        let record = match &mut self.format {
            Format::Classic(classic) => classic.next(&mut self.input),
            Format::Blocks(blocks) => blocks.next(&mut self.input, &mut self.stream),
            Format::Ended => return Ok(None),
            Format::Unknown => {
                self.recognise()?;
                return self.next_record();
            }
        };
        match record {
            Ok(Some(record)) => Ok(Some(record)),
            Ok(None) => {
                self.format = Format::Ended;
                Ok(None)
            }
            Err(fault) => Err(self.fail(fault)),
        }
    }

    /// Looks at the first bytes and reads the header.
    #[cold]
    fn recognise(&mut self) -> Result<(), CaptureError> {
        if let Err(error) = self.input.need(4) {
            return Err(self.fail(Fault::Io(error)));
        }
        let start = self.input.available();
        if Classic::recognises(start) {
            let (classic, interface) = match Classic::open(&mut self.input) {
                Ok(opened) => opened,
                Err(fault) => return Err(self.fail(fault)),
            };
            self.stream.interfaces.push(interface);
            self.format = Format::Classic(classic);
        } else if Blocks::recognises(start) {
            self.format = Format::Blocks(Box::new(Blocks::new()));
        } else {
            let error = match start {
                [] => CaptureError::Empty {
                    name: self.name.clone(),
                },
                start => error::not_a_capture(&self.name, start),
            };
            self.format = Format::Ended;
            return Err(error);
        }
        Ok(())
    }

    #[cold]
    fn fail(&mut self, fault: Fault) -> CaptureError {
        let (name, frames, offset) = (self.name.clone(), self.frames, self.input.offset());
        match fault {
            Fault::Io(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
                ) =>
            {
                CaptureError::Interrupted { name }
            }
            Fault::Io(source) => {
                self.format = Format::Ended;
                CaptureError::Read {
                    name,
                    frames,
                    offset,
                    source,
                }
            }
            Fault::Cut { what, needed, left } => {
                self.format = Format::Ended;
                CaptureError::Cut {
                    name,
                    what,
                    frames,
                    offset,
                    needed,
                    left,
                }
            }
            Fault::Corrupt(what) => {
                self.format = Format::Ended;
                CaptureError::Corrupt {
                    name,
                    what,
                    frames,
                    offset,
                }
            }
        }
    }
}

/// The link type of a header's number; those beyond 16 bits are none.
fn link_from_number(number: u32) -> LinkType {
    LinkType::from_number(u16::try_from(number).unwrap_or(u16::MAX))
}

#[inline]
fn u32_at(bytes: &[u8], at: usize, big: bool) -> u32 {
    let word = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    if big {
        u32::from_be_bytes(word)
    } else {
        u32::from_le_bytes(word)
    }
}

#[inline]
fn u16_at(bytes: &[u8], at: usize, big: bool) -> u16 {
    let word = [bytes[at], bytes[at + 1]];
    if big {
        u16::from_be_bytes(word)
    } else {
        u16::from_le_bytes(word)
    }
}
