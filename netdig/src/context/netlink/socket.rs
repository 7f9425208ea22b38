//! A conversation with rtnetlink(7): whole tables (dumps), and many single questions at once.
use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use netlink_packet_core::{
    Emitable, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer,
    NetlinkHeader, Parseable,
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};

/// The kernel fills at most 32 KiB of it; one message of a link with many virtual functions
/// may be longer.
const BUFFER: usize = 64 * 1024;
/// A table that changes while it is read is read again, so often.
const ATTEMPTS: u32 = 3;
/// Questions sent at once: their answers must fit in the socket's receive buffer.
const BATCH: usize = 64;
/// The kernel answers within the call; this ends a wait that would have no end.
const PATIENCE: Duration = Duration::from_secs(2);

/// `struct nlmsghdr`.
const NETLINK_HEADER_LEN: usize = 16;

pub struct Conversation {
    protocol: isize,
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// A table.
pub struct Table<T> {
    pub entries: Vec<T>,
    /// Whether it changed while it was read, every time: some entry may be missing.
    pub torn: bool,
}

/// What became of one reading of a table.
enum Reading {
    Whole,
    /// It changed meanwhile, as the kernel says (NLM_F_DUMP_INTR).
    Torn,
    /// Messages did not fit: into the socket's buffer (ENOBUFS), or into ours.
    Lost,
}

impl Conversation {
    /// # Errors
    /// What the system said to socket(2), bind(2) or connect(2).
    pub fn open() -> io::Result<Conversation> {
        Conversation::with(NETLINK_ROUTE)
    }

    /// With another of netlink's protocols than rtnetlink.
    ///
    /// # Errors
    /// As [`open`](Conversation::open).
    pub fn with(protocol: isize) -> io::Result<Conversation> {
        Ok(Conversation {
            protocol,
            socket: open(protocol)?,
            sequence: 0,
            buffer: Vec::with_capacity(BUFFER),
        })
    }

    /// Reads a table: asks `message` (RTM_GET…) with `body`, and keeps what `parse` makes of
    /// each message's payload.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn table<T>(
        &mut self,
        message: u16,
        body: &impl Emitable,
        mut parse: impl FnMut(&[u8]) -> Option<T>,
    ) -> io::Result<Table<T>> {
        let mut entries = Vec::new();
        for attempt in 1.. {
            entries.clear();
            match self.read_table(message, body, |payload| entries.extend(parse(payload)))? {
                Reading::Whole => break,
                Reading::Torn | Reading::Lost if attempt == ATTEMPTS => {
                    self.socket = open(self.protocol)?;
                    return Ok(Table {
                        entries,
                        torn: true,
                    });
                }
                Reading::Torn => {}
                // The rest of that answer is still to come: a new socket knows nothing of it.
                Reading::Lost => self.socket = open(self.protocol)?,
            }
        }
        Ok(Table {
            entries,
            torn: false,
        })
    }

    fn read_table(
        &mut self,
        message: u16,
        body: &impl Emitable,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<Reading> {
        self.sequence += 1;
        let request = request(message, NLM_F_DUMP, self.sequence, body);
        self.socket.send(&request, 0)?;
        let mut torn = false;
        loop {
            match self.receive() {
                Ok(true) => {}
                Ok(false) => return Ok(Reading::Lost),
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    return Ok(Reading::Lost);
                }
                Err(error) => return Err(error),
            }
            for (header, payload) in messages(&self.buffer) {
                if header.sequence_number != self.sequence {
                    continue;
                }
                torn |= header.flags & NLM_F_DUMP_INTR != 0;
                match header.message_type {
                    NLMSG_ERROR => refusal(payload)?,
                    NLMSG_DONE => {
                        refusal(payload)?;
                        return Ok(if torn { Reading::Torn } else { Reading::Whole });
                    }
                    _ => each(payload),
                }
            }
        }
    }

    /// The first `most` entries of a table that may be long, and may change meanwhile. The rest
    /// is not waited for: the conversation ends with it.
    ///
    /// # Errors
    /// What the kernel said.
    pub fn beginning<T>(
        mut self,
        message: u16,
        body: &impl Emitable,
        most: usize,
        mut parse: impl FnMut(&[u8]) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        self.sequence += 1;
        let request = request(message, NLM_F_DUMP, self.sequence, body);
        self.socket.send(&request, 0)?;
        let mut entries = Vec::new();
        while entries.len() < most && self.receive()? {
            for (header, payload) in messages(&self.buffer) {
                match header.message_type {
                    NLMSG_ERROR | NLMSG_DONE => return refusal(payload).map(|()| entries),
                    _ => entries.extend(parse(payload)),
                }
            }
        }
        entries.truncate(most);
        Ok(entries)
    }

    /// Asks many questions of the same kind; `answered` is called with a question's number
    /// and the payload of its answer, or the error. One that got no answer is left out.
    ///
    /// # Errors
    /// What the system said to send(2) or recv(2).
    pub fn ask<B: Emitable>(
        &mut self,
        message: u16,
        questions: impl Iterator<Item = B>,
        mut answered: impl FnMut(usize, Result<&[u8], i32>),
    ) -> io::Result<()> {
        let mut questions = questions.peekable();
        let mut asked = 0;
        while questions.peek().is_some() {
            let first = self.sequence.wrapping_add(1);
            let mut requests = Vec::new();
            let mut open = 0;
            for question in questions.by_ref().take(BATCH) {
                self.sequence = self.sequence.wrapping_add(1);
                requests.extend(request(message, 0, self.sequence, &question));
                open += 1;
            }
            self.socket.send(&requests, 0)?;
            self.answers(first, open, |number, answer| {
                answered(asked + number, answer);
            })?;
            asked += open;
        }
        Ok(())
    }

    /// Takes the answers to `count` questions whose numbers begin at `first`.
    fn answers(
        &mut self,
        first: u32,
        count: usize,
        mut answered: impl FnMut(usize, Result<&[u8], i32>),
    ) -> io::Result<()> {
        let mut open = count;
        while open > 0 {
            match self.receive() {
                Ok(_) => {}
                // Some answers are gone; those that are there come still.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            for (header, payload) in messages(&self.buffer) {
                let number = header.sequence_number.wrapping_sub(first) as usize;
                if number >= count {
                    continue;
                }
                open = open.saturating_sub(1);
                match header.message_type {
                    NLMSG_ERROR => answered(number, Err(error_of(payload))),
                    _ => answered(number, Ok(payload)),
                }
            }
        }
        Ok(())
    }

    /// Fills the buffer with one datagram; false where it was longer than the buffer, which
    /// is long enough for it the next time.
    fn receive(&mut self) -> io::Result<bool> {
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, libc::MSG_TRUNC) {
                Ok(length) if length <= self.buffer.len() => return Ok(true),
                Ok(length) => {
                    self.buffer = Vec::with_capacity(length.next_power_of_two());
                    return Ok(false);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn open(protocol: isize) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    // An older kernel knows no strict checking and answers with more than was asked for:
    // readers look at what they get. A larger buffer is a favour too.
    let _ = socket.set_netlink_get_strict_chk(true);
    let _ = socket.set_rx_buf_sz(1 << 20);
    set_patience(&socket)?;
    Ok(socket)
}

fn set_patience(socket: &Socket) -> io::Result<()> {
    let wait = libc::timeval {
        tv_sec: PATIENCE.as_secs() as libc::time_t,
        tv_usec: 0,
    };
    // SAFETY: the option's value is a timeval of the length given, and the descriptor is open.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_RCVTIMEO,
            (&raw const wait).cast(),
            size_of_val(&wait) as libc::socklen_t,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn request(message: u16, flags: u16, sequence: u32, body: &impl Emitable) -> Vec<u8> {
    let length = NETLINK_HEADER_LEN + body.buffer_len();
    let mut header = NetlinkHeader::default();
    header.length = length as u32;
    header.message_type = message;
    header.flags = NLM_F_REQUEST | flags;
    header.sequence_number = sequence;
    // Each message in a datagram begins at a multiple of four.
    let mut bytes = vec![0; length.next_multiple_of(4)];
    header.emit(&mut bytes[..NETLINK_HEADER_LEN]);
    body.emit(&mut bytes[NETLINK_HEADER_LEN..length]);
    bytes
}

/// The messages of a datagram.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (NetlinkHeader, &[u8])> {
    std::iter::from_fn(move || {
        let buffer = NetlinkBuffer::new_checked(&bytes).ok()?;
        let header = NetlinkHeader::parse(&buffer).ok()?;
        let length = header.length as usize;
        let payload = bytes.get(NETLINK_HEADER_LEN..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((header, payload))
    })
}

/// The error number, positive, that begins NLMSG_ERROR's payload, and NLMSG_DONE's.
fn error_of(payload: &[u8]) -> i32 {
    let bytes = payload.get(..4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, i32::from_ne_bytes).saturating_neg()
}

fn refusal(payload: &[u8]) -> io::Result<()> {
    match error_of(payload) {
        error if error > 0 => Err(io::Error::from_raw_os_error(error)),
        _ => Ok(()),
    }
}
