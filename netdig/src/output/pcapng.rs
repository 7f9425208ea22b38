//! pcapng (draft-ietf-opsawg-pcapng), little-endian, one section.
//!
//! Written here and not with the `pcap-file` crate: its blocks own their options
//! (an allocation for each comment of each packet), and it writes the two words
//! of a statistics block's time in the wrong order.

use std::collections::HashMap;
use std::net::IpAddr;

use super::capture::{MAX_PACKET, WriteError};
use super::sink::Sink;
use crate::annotation::{self, FrameMeta, Group};
use crate::observation::{Frame, Interface, Loss, ProcessInfo};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;

const OPT_COMMENT: u16 = 1;
const EPB_FLAGS: u16 = 2;
const EPB_DROPCOUNT: u16 = 4;

/// An interface that stands in the file.
struct Described {
    interface: Interface,
    frames: u64,
    /// Totals that the source gave: received, dropped.
    totals: Option<(u64, u64)>,
    dropped: u64,
    /// Dropped since the interface's last packet, for `epb_dropcount`.
    dropped_since: u64,
}

/// Processes whose comments are kept ready; more are not seen in a tunnel.
const MAX_PROCESSES: usize = 1024;

/// The comments of each process as options, made once for as long as nothing
/// more is known of it: most of a packet's annotation is the same every time.
#[derive(Default)]
struct ProcessComments {
    by_pid: HashMap<u32, (ProcessInfo, Vec<u8>)>,
}

impl ProcessComments {
    fn append(&mut self, buf: &mut Vec<u8>, frame: &Frame<'_>, meta: &FrameMeta<'_>) {
        let (Some(actor), Some(info)) = (&frame.process, meta.process) else {
            return write_groups(buf, &Group::OF_PROCESS, frame, meta);
        };
        if let Some((known, options)) = self.by_pid.get(&actor.pid)
            && known == info
        {
            return buf.extend_from_slice(options);
        }
        let start = buf.len();
        write_groups(buf, &Group::OF_PROCESS, frame, meta);
        if self.by_pid.len() >= MAX_PROCESSES {
            self.by_pid.clear();
        }
        self.by_pid
            .insert(actor.pid, (info.clone(), buf[start..].to_vec()));
    }
}

fn write_groups(buf: &mut Vec<u8>, groups: &[Group], frame: &Frame<'_>, meta: &FrameMeta<'_>) {
    for group in groups {
        option(buf, OPT_COMMENT, |buf| {
            annotation::write_group(buf, *group, frame, meta)
        });
    }
}

/// Writes a pcapng of one section: nanoseconds, interfaces where they are first
/// used, comments on packets, statistics at the end.
pub struct PcapngWriter {
    pub(super) sink: Sink,
    described: Vec<Described>,
    /// Where an interface of a source was last found in `described`.
    hints: Vec<u32>,
    /// Losses that wait for a packet to carry them.
    losses: Vec<(Loss, Option<u32>)>,
    processes: ProcessComments,
    /// Times of the first and last thing written.
    window: Option<(u64, u64)>,
}

impl PcapngWriter {
    pub(super) fn new(sink: Sink) -> Result<PcapngWriter, WriteError> {
        let mut writer = PcapngWriter {
            sink,
            described: Vec::new(),
            hints: Vec::new(),
            losses: Vec::new(),
            processes: ProcessComments::default(),
            window: None,
        };
        writer.section_header()?;
        Ok(writer)
    }

    fn section_header(&mut self) -> Result<(), WriteError> {
        let (hardware, os) = machine();
        let buf = &mut self.sink.buf;
        let block = begin(buf, SECTION_HEADER);
        buf.extend_from_slice(&0x1a2b_3c4d_u32.to_le_bytes());
        buf.extend_from_slice(&[1, 0, 0, 0]); // version 1.0
        buf.extend_from_slice(&(-1_i64).to_le_bytes()); // length not known
        text_option(buf, 2, hardware.as_bytes());
        text_option(buf, 3, os.as_bytes());
        text_option(
            buf,
            4,
            concat!("netdig ", env!("CARGO_PKG_VERSION")).as_bytes(),
        );
        end_options(buf);
        end(buf, block);
        self.sink.end_block(false)
    }

    pub(super) fn write_frame(
        &mut self,
        interface: &Interface,
        frame: &Frame<'_>,
        meta: &FrameMeta<'_>,
    ) -> Result<(), WriteError> {
        let id = self.find(interface, frame.interface as usize)?;
        let described = &mut self.described[id as usize];
        described.frames += 1;
        let dropped = std::mem::take(&mut described.dropped_since);
        self.see(frame.ts_ns);
        let buf = &mut self.sink.buf;
        let data = &frame.data[..frame.data.len().min(MAX_PACKET)];
        let block = begin(buf, ENHANCED_PACKET);
        let (high, low) = ((frame.ts_ns >> 32) as u32, frame.ts_ns as u32);
        for word in [
            id,
            high,
            low,
            data.len() as u32,
            frame.orig_len.max(data.len() as u32),
        ] {
            buf.extend_from_slice(&word.to_le_bytes());
        }
        buf.extend_from_slice(data);
        pad(buf);
        let flags = annotation::epb_flags(frame.via, meta.packet_type);
        if flags != 0 {
            option(buf, EPB_FLAGS, |buf| {
                buf.extend_from_slice(&flags.to_le_bytes())
            });
        }
        if dropped > 0 {
            option(buf, EPB_DROPCOUNT, |buf| {
                buf.extend_from_slice(&dropped.to_le_bytes())
            });
        }
        self.processes.append(buf, frame, meta);
        write_groups(buf, &Group::OF_FRAME, frame, meta);
        for comment in meta.comments {
            option(buf, OPT_COMMENT, |buf| annotation::write_free(buf, comment));
        }
        write_losses(buf, &mut self.losses);
        end_options(buf);
        end(buf, block);
        self.sink.end_block(true)
    }

    pub(super) fn write_loss(
        &mut self,
        loss: &Loss,
        interface: Option<&Interface>,
    ) -> Result<(), WriteError> {
        let id = match interface {
            Some(interface) => Some(self.find(interface, usize::MAX)?),
            None => None,
        };
        if let Some(id) = id {
            let described = &mut self.described[id as usize];
            described.dropped = described.dropped.saturating_add(loss.count);
            described.dropped_since = described.dropped_since.saturating_add(loss.count);
        }
        self.see(loss.ts_ns);
        self.losses.push((loss.clone(), id));
        Ok(())
    }

    pub(super) fn statistics(
        &mut self,
        interface: &Interface,
        received: u64,
        dropped: u64,
    ) -> Result<(), WriteError> {
        let id = self.find(interface, usize::MAX)?;
        self.described[id as usize].totals = Some((received, dropped));
        Ok(())
    }

    /// Writes one statistics block an interface.
    pub(super) fn end(&mut self) -> Result<(), WriteError> {
        if self.described.is_empty()
            && let Some((loss, _)) = self.losses.first()
        {
            // Losses need an interface to stand at; there was no packet.
            let name = loss.source.clone();
            let link = decoders::LinkType::RawIp;
            self.find(
                &Interface {
                    name,
                    link,
                    snaplen: 0,
                    addresses: Vec::new(),
                },
                usize::MAX,
            )?;
        }
        for id in 0..self.described.len() {
            self.interface_statistics(id)?;
        }
        Ok(())
    }

    fn interface_statistics(&mut self, id: usize) -> Result<(), WriteError> {
        let described = &self.described[id];
        let (received, dropped) = described.totals.unwrap_or((
            described.frames.saturating_add(described.dropped),
            described.dropped,
        ));
        let (start, last) = self.window.unwrap_or((0, 0));
        let time = |value: u64| {
            [
                ((value >> 32) as u32).to_le_bytes(),
                (value as u32).to_le_bytes(),
            ]
            .concat()
        };
        let frames = described.frames;
        let buf = &mut self.sink.buf;
        let block = begin(buf, STATISTICS);
        buf.extend_from_slice(&(id as u32).to_le_bytes());
        buf.extend_from_slice(&time(last));
        option(buf, 2, |buf| buf.extend_from_slice(&time(start)));
        option(buf, 3, |buf| buf.extend_from_slice(&time(last)));
        for (code, value) in [(4, received), (5, dropped), (8, frames)] {
            option(buf, code, |buf| buf.extend_from_slice(&value.to_le_bytes()));
        }
        write_losses(buf, &mut self.losses);
        end_options(buf);
        end(buf, block);
        self.sink.end_block(false)
    }

    #[inline]
    fn see(&mut self, ts_ns: u64) {
        let (first, last) = self.window.unwrap_or((ts_ns, ts_ns));
        self.window = Some((first.min(ts_ns), last.max(ts_ns)));
    }

    /// The interface's number in the file; it is described there if it is new.
    #[inline]
    fn find(&mut self, interface: &Interface, hint: usize) -> Result<u32, WriteError> {
        let same = |described: &Described| {
            described.interface.name == interface.name && described.interface.link == interface.link
        };
        if let Some(id) = self.hints.get(hint)
            && self.described.get(*id as usize).is_some_and(same)
        {
            return Ok(*id);
        }
        let id = match self.described.iter().position(same) {
            Some(id) => id,
            None => self.describe(interface)?,
        };
        // Sources number their interfaces from 0; a wild number is only not remembered.
        if hint < 4096 {
            if self.hints.len() <= hint {
                self.hints.resize(hint + 1, u32::MAX);
            }
            self.hints[hint] = id as u32;
        }
        Ok(id as u32)
    }

    fn describe(&mut self, interface: &Interface) -> Result<usize, WriteError> {
        let buf = &mut self.sink.buf;
        let block = begin(buf, INTERFACE);
        buf.extend_from_slice(&interface.link.number().to_le_bytes());
        buf.extend_from_slice(&[0, 0]);
        buf.extend_from_slice(&interface.snaplen.to_le_bytes());
        text_option(buf, 2, interface.name.as_bytes());
        for address in &interface.addresses {
            // The mask is not known; the address alone is.
            match address {
                IpAddr::V4(address) => option(buf, 4, |buf| {
                    buf.extend_from_slice(&address.octets());
                    buf.extend_from_slice(&[255; 4]);
                }),
                IpAddr::V6(address) => option(buf, 5, |buf| {
                    buf.extend_from_slice(&address.octets());
                    buf.push(128);
                }),
            }
        }
        option(buf, 9, |buf| buf.push(9)); // nanoseconds
        end_options(buf);
        end(buf, block);
        self.described.push(Described {
            interface: interface.clone(),
            frames: 0,
            totals: None,
            dropped: 0,
            dropped_since: 0,
        });
        self.sink.end_block(false)?;
        Ok(self.described.len() - 1)
    }
}

/// Appends the waiting losses as comments.
fn write_losses(buf: &mut Vec<u8>, losses: &mut Vec<(Loss, Option<u32>)>) {
    for (loss, id) in losses.drain(..) {
        option(buf, OPT_COMMENT, |buf| {
            annotation::write_loss(buf, &loss, id)
        });
    }
}

fn begin(buf: &mut Vec<u8>, kind: u32) -> usize {
    let start = buf.len();
    buf.extend_from_slice(&kind.to_le_bytes());
    buf.extend_from_slice(&[0; 4]);
    start
}

fn end(buf: &mut Vec<u8>, start: usize) {
    let len = (buf.len() - start + 4) as u32;
    buf.extend_from_slice(&len.to_le_bytes());
    buf[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
}

/// Every block and option begins at a multiple of 4 of its block; the buffer
/// holds whole blocks, so its own length tells.
fn pad(buf: &mut Vec<u8>) {
    buf.resize(buf.len().next_multiple_of(4), 0);
}

/// An option whose value `fill` appends; none when it appends nothing.
fn option(buf: &mut Vec<u8>, code: u16, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = buf.len();
    buf.extend_from_slice(&code.to_le_bytes());
    buf.extend_from_slice(&[0; 2]);
    fill(buf);
    match u16::try_from(buf.len() - start - 4) {
        Ok(len) if len > 0 => {
            buf[start + 2..start + 4].copy_from_slice(&len.to_le_bytes());
            pad(buf);
        }
        _ => buf.truncate(start),
    }
}

fn text_option(buf: &mut Vec<u8>, code: u16, value: &[u8]) {
    option(buf, code, |buf| {
        annotation::escape_into(buf, value, false, 1024);
    });
}

fn end_options(buf: &mut Vec<u8>) {
    buf.extend_from_slice(&[0; 4]);
}

/// Processor and operating system, as a section header names them.
fn machine() -> (String, String) {
    // SAFETY: utsname is plain arrays of bytes, for which zero is a value, and
    // uname(2) writes only into it.
    let (name, failed) = unsafe {
        let mut name: libc::utsname = std::mem::zeroed();
        let failed = libc::uname(&raw mut name) != 0;
        (name, failed)
    };
    let text = |field: &[libc::c_char]| -> String {
        field
            .iter()
            .take_while(|&&c| c != 0)
            .map(|&c| char::from(c as u8))
            .collect()
    };
    if failed {
        return (
            std::env::consts::ARCH.to_owned(),
            std::env::consts::OS.to_owned(),
        );
    }
    let machine = text(&name.machine);
    let hardware = match processor() {
        Some(processor) => format!("{processor} ({machine})"),
        None => machine,
    };
    (
        hardware,
        format!(
            "{} {} {}",
            text(&name.sysname),
            text(&name.release),
            text(&name.version)
        ),
    )
}

fn processor() -> Option<String> {
    let info = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = info.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
