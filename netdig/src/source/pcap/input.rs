//! A window over a byte stream: large reads into one buffer that is used again.

use std::io::{self, Read};

/// One read asks for at most this much. Larger does not make files faster (the
/// copy then leaves the cache), smaller costs system calls.
const WINDOW: usize = 256 * 1024;

/// Bytes of a stream that were read and not yet consumed.
pub(super) struct Input {
    read: Box<dyn Read + Send>,
    buf: Vec<u8>,
    pos: usize,
    end: usize,
    /// Offset in the stream of `buf[0]`.
    base: u64,
    ended: bool,
}

impl Input {
    pub(super) fn new(read: Box<dyn Read + Send>) -> Self {
        Input {
            read,
            buf: vec![0; WINDOW],
            pos: 0,
            end: 0,
            base: 0,
            ended: false,
        }
    }

    /// Offset in the stream of the next unconsumed byte.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.pos as u64
    }

    /// Index into [`Input::bytes`] of the next unconsumed byte.
    pub(super) fn position(&self) -> usize {
        self.pos
    }

    /// What is buffered and not consumed.
    #[inline]
    pub(super) fn available(&self) -> &[u8] {
        &self.buf[self.pos..self.end]
    }

    /// The whole buffer; indices stay good until the next [`Input::need`].
    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buf
    }

    /// Marks `n` available bytes as used.
    #[inline]
    pub(super) fn consume(&mut self, n: usize) {
        debug_assert!(n <= self.end - self.pos);
        self.pos += n;
    }

    /// Makes `n` bytes available; `false` when the stream ends before. Nothing
    /// is lost by an error: the call can be repeated.
    #[inline]
    pub(super) fn need(&mut self, n: usize) -> io::Result<bool> {
        if self.end - self.pos >= n {
            Ok(true)
        } else {
            self.fill(n)
        }
    }

    #[cold]
    fn fill(&mut self, n: usize) -> io::Result<bool> {
        self.buf.copy_within(self.pos..self.end, 0);
        self.base += self.pos as u64;
        self.end -= self.pos;
        self.pos = 0;
        while self.end < n {
            if self.end == self.buf.len() {
                // Grow by what has really arrived, never by what a length field claims.
                let len = (self.buf.len() * 2).min(n.max(WINDOW));
                self.buf.resize(len, 0);
            }
            if !self.read_more()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn read_more(&mut self) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let read = self.read.read(&mut self.buf[self.end..])?;
        self.ended = read == 0;
        self.end += read;
        Ok(read > 0)
    }

    /// Consumes up to `n` bytes without keeping them and returns how many; fewer
    /// than `n` (0 at the end of the stream) mean: call again for the rest.
    pub(super) fn discard(&mut self, n: u64) -> io::Result<u64> {
        if self.pos == self.end && !self.need(1)? {
            return Ok(0);
        }
        let take = n.min((self.end - self.pos) as u64);
        self.pos += take as usize;
        Ok(take)
    }
}
