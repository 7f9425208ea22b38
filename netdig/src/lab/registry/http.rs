//! HTTP/1.1 as far as etcd speaks it: one request a connection, an answer with
//! a length, in chunks, or until the connection ends (RFC 9112).

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// More than the lab ever asks for: etcd's own limit of a request is 1.5 MiB.
const MOST: usize = 16 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Put,
    Post,
    Delete,
}

impl Method {
    const fn word(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Put => "PUT",
            Method::Post => "POST",
            Method::Delete => "DELETE",
        }
    }
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    /// The header X-Etcd-Index.
    pub index: Option<u64>,
    pub body: String,
}

/// How the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Bytes(usize),
    Chunks,
    UntilClosed,
    Nothing,
}

/// An answer that is still coming.
#[derive(Debug)]
pub struct Stream {
    connection: TcpStream,
    pub status: u16,
    index: Option<u64>,
    rest: Rest,
    /// Received and not taken apart yet.
    raw: Vec<u8>,
    /// Of the body, not handed out yet.
    body: Vec<u8>,
}

/// What waiting for more of a body gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    Some,
    End,
    NotYet,
}

/// Sends a request and reads the head of its answer, for which it waits at
/// most `wait`.
pub fn open(
    endpoint: SocketAddrV4,
    method: Method,
    path: &str,
    content_type: &str,
    body: &str,
    wait: Duration,
) -> Result<Stream> {
    let mut connection =
        TcpStream::connect_timeout(&SocketAddr::V4(endpoint), CONNECT).context("cannot connect")?;
    connection
        .set_write_timeout(Some(PATIENCE))
        .context("cannot set a deadline")?;
    let _ = connection.set_nodelay(true);
    notice_silence(&connection).context("cannot set keepalive")?;
    let request = format!(
        "{} {path} HTTP/1.1\r\nHost: {endpoint}\r\nContent-Type: {content_type}\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        method.word(),
        body.len()
    );
    connection
        .write_all(request.as_bytes())
        .context("cannot send the request")?;
    let mut stream = Stream {
        connection,
        status: 0,
        index: None,
        rest: Rest::UntilClosed,
        raw: Vec::new(),
        body: Vec::new(),
    };
    let end = Instant::now() + wait;
    loop {
        if stream.take_head()? {
            return Ok(stream);
        }
        if stream.receive(end)? != More::Some {
            bail!("it did not answer");
        }
    }
}

/// Lets the kernel ask, after ten quiet seconds and every five, whether the other
/// side is there, and end the connection after three questions without an answer:
/// who only waits for changes would wait for ever.
fn notice_silence(connection: &TcpStream) -> std::io::Result<()> {
    for (level, option, value) in [
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, 10),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, 5),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3),
    ] {
        let value: libc::c_int = value;
        // SAFETY: the descriptor is open, and the value as long as said.
        let done = unsafe {
            libc::setsockopt(
                connection.as_raw_fd(),
                level,
                option,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if done < 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

impl Stream {
    /// Reads once, until `end` at most.
    fn receive(&mut self, end: Instant) -> Result<More> {
        let left = end.saturating_duration_since(Instant::now());
        // Zero would be without end.
        let left = left.max(Duration::from_millis(1));
        self.connection
            .set_read_timeout(Some(left))
            .context("cannot set a deadline")?;
        let mut buffer = [0; 8192];
        match self.connection.read(&mut buffer) {
            Ok(0) => Ok(More::End),
            Ok(len) => {
                self.raw.extend_from_slice(&buffer[..len]);
                if self.raw.len() + self.body.len() > MOST {
                    bail!("its answer is longer than {MOST} bytes");
                }
                Ok(More::Some)
            }
            Err(error) => match error.kind() {
                // TimedOut is another: the other side is gone.
                ErrorKind::WouldBlock => Ok(More::NotYet),
                ErrorKind::Interrupted => Ok(More::Some),
                _ => Err(error).context("cannot read its answer"),
            },
        }
    }

    /// Whether the head is there.
    fn take_head(&mut self) -> Result<bool> {
        let Some(end) = self.raw.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(false);
        };
        let head: Vec<u8> = self.raw.drain(..end + 4).collect();
        let head = String::from_utf8_lossy(&head);
        let mut lines = head.lines();
        self.status = lines
            .next()
            .filter(|line| line.starts_with("HTTP/1."))
            .and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .context("its answer is not HTTP")?;
        for line in lines {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => {
                    let length = value.parse().context("its Content-Length is no number")?;
                    self.rest = Rest::Bytes(length);
                }
                "transfer-encoding" => self.rest = Rest::Chunks,
                "x-etcd-index" => self.index = value.parse().ok(),
                _ => {}
            }
        }
        self.take_body()?;
        Ok(true)
    }

    /// Moves what is there of the body out of the raw bytes.
    fn take_body(&mut self) -> Result<()> {
        loop {
            match self.rest {
                Rest::Nothing => return Ok(()),
                Rest::UntilClosed => {
                    self.body.append(&mut self.raw);
                    return Ok(());
                }
                Rest::Bytes(length) => {
                    let here = length.min(self.raw.len());
                    self.body.extend(self.raw.drain(..here));
                    self.rest = match length - here {
                        0 => Rest::Nothing,
                        more => Rest::Bytes(more),
                    };
                    return Ok(());
                }
                Rest::Chunks => {
                    if !self.take_chunk()? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Whether there was a whole one.
    fn take_chunk(&mut self) -> Result<bool> {
        let Some(line_end) = self.raw.windows(2).position(|two| two == b"\r\n") else {
            return Ok(false);
        };
        let size = std::str::from_utf8(&self.raw[..line_end])
            .ok()
            .and_then(|line| usize::from_str_radix(line.split(';').next()?.trim(), 16).ok())
            .filter(|size| *size <= MOST)
            .context("its answer has a chunk without a size")?;
        let data = line_end + 2;
        if self.raw.len() < data + size + 2 {
            return Ok(false);
        }
        self.body.extend_from_slice(&self.raw[data..data + size]);
        self.raw.drain(..data + size + 2);
        if size == 0 {
            self.rest = Rest::Nothing;
        }
        Ok(true)
    }

    /// Waits for more of the body, at most until `end`.
    fn more(&mut self, end: Instant) -> Result<More> {
        if self.rest == Rest::Nothing {
            return Ok(More::End);
        }
        let more = self.receive(end)?;
        match (more, self.rest) {
            (More::Some, _) => self.take_body()?,
            (More::End, Rest::Bytes(_) | Rest::Chunks) => {
                bail!("the connection ended in the middle of its answer")
            }
            _ => {}
        }
        Ok(more)
    }

    /// The next line of the body; `Err(More)` says why there is none.
    pub fn line(&mut self, end: Instant) -> Result<std::result::Result<String, More>> {
        loop {
            if let Some(at) = self.body.iter().position(|&b| b == b'\n') {
                let line: Vec<u8> = self.body.drain(..=at).collect();
                return Ok(Ok(String::from_utf8_lossy(&line).into_owned()));
            }
            match self.more(end)? {
                More::Some => {}
                other => return Ok(Err(other)),
            }
        }
    }

    /// The body as far as it comes until `end`; `None`: it is not all there.
    pub fn whole(&mut self, end: Instant) -> Result<Option<Answer>> {
        loop {
            match self.more(end)? {
                More::Some => {}
                More::NotYet => return Ok(None),
                More::End => break,
            }
        }
        Ok(Some(Answer {
            status: self.status,
            index: self.index,
            body: String::from_utf8_lossy(&std::mem::take(&mut self.body)).into_owned(),
        }))
    }

    /// The whole answer.
    pub fn finish(mut self) -> Result<Answer> {
        self.whole(Instant::now() + PATIENCE)?
            .with_context(|| format!("etcd's answer is not complete after {PATIENCE:?}"))
    }
}
