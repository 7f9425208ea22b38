//! A window over a byte stream: large reads into one buffer that is used again.

use std::fs::File;
use std::io::{self, Read};

use super::ahead::{Ahead, Block, HEADROOM};

/// One read asks for at most this much. Larger does not make files faster (the
/// copy then leaves the cache), smaller costs system calls.
pub(super) const WINDOW: usize = 256 * 1024;

/// Where the bytes come from.
enum Source {
    Stream(Box<dyn Read + Send>),
    /// A large file, read by another thread.
    Ahead(Ahead),
}

/// Bytes of a stream that were read and not yet consumed.
pub(super) struct Input {
    source: Source,
    buf: Vec<u8>,
    pos: usize,
    end: usize,
    /// Offset in the stream of `buf[0]`; modulo 2^64, as a block may have room
    /// before the stream's first byte.
    base: u64,
    ended: bool,
}

impl Input {
    pub(super) fn new(read: Box<dyn Read + Send>) -> Self {
        Input::of(Source::Stream(read))
    }

    /// A file from its present place; ahead of what is decoded where that pays.
    pub(super) fn file(file: File, stream: impl FnOnce(File) -> Box<dyn Read + Send>) -> Self {
        Input::of(match Ahead::start(file) {
            Ok(ahead) => Source::Ahead(ahead),
            Err(file) => Source::Stream(stream(file)),
        })
    }

    fn of(source: Source) -> Self {
        Input {
            source,
            buf: vec![0; WINDOW],
            pos: 0,
            end: 0,
            base: 0,
            ended: false,
        }
    }

    /// Offset in the stream of the next unconsumed byte.
    pub(super) fn offset(&self) -> u64 {
        self.base.wrapping_add(self.pos as u64)
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
        while self.end - self.pos < n {
            if !self.read_more(n)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether there was more; `n` bytes are wanted in all.
    fn read_more(&mut self, n: usize) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        let more = match &mut self.source {
            Source::Ahead(ahead) => match ahead.next()? {
                Some(block) => {
                    self.take(block);
                    true
                }
                None => false,
            },
            Source::Stream(_) => {
                self.make_room(n);
                let Source::Stream(read) = &mut self.source else {
                    return Ok(false);
                };
                let read = read.read(&mut self.buf[self.end..])?;
                self.end += read;
                read > 0
            }
        };
        self.ended = !more;
        Ok(more)
    }

    /// Moves what is not consumed to the front.
    fn compact(&mut self) {
        self.buf.copy_within(self.pos..self.end, 0);
        self.base = self.offset();
        self.end -= self.pos;
        self.pos = 0;
    }

    /// The same, and grows where the buffer is full.
    fn make_room(&mut self, n: usize) {
        self.compact();
        if self.end == self.buf.len() {
            // Grow by what has really arrived, never by what a length field claims.
            let len = (self.buf.len() * 2).min(n.max(WINDOW));
            self.buf.resize(len, 0);
        }
    }

    /// Goes over to a block, with what is not consumed before it.
    fn take(&mut self, mut block: Block) {
        let left = self.end - self.pos;
        if left > HEADROOM {
            // A packet larger than a block's headroom: it is put together here.
            self.compact();
            self.buf.truncate(self.end);
            self.buf.extend_from_slice(&block.buf[HEADROOM..block.end]);
            self.end = self.buf.len();
            return self.recycle(block.buf);
        }
        let start = HEADROOM - left;
        block.buf[start..HEADROOM].copy_from_slice(&self.buf[self.pos..self.end]);
        self.base = self.offset().wrapping_sub(start as u64);
        (self.pos, self.end) = (start, block.end);
        let old = std::mem::replace(&mut self.buf, block.buf);
        self.recycle(old);
    }

    fn recycle(&mut self, mut buf: Vec<u8>) {
        if let Source::Ahead(ahead) = &self.source {
            // What a large packet has made of one is not kept.
            if buf.len() != HEADROOM + WINDOW {
                buf = vec![0; HEADROOM + WINDOW];
            }
            ahead.recycle(buf);
        }
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
