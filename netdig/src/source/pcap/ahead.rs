//! A regular file read by a thread of its own, so that the copy from the page
//! cache and the disk's latency overlap with decoding.

use std::fs::File;
use std::io::{self, Read};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::input::WINDOW;

/// Room before a block's bytes for what of the last one is not consumed yet.
pub(super) const HEADROOM: usize = 64 * 1024;
/// Blocks read or being read while one is decoded.
const BLOCKS: usize = 3;
/// A smaller file is read before a thread would have started.
const WORTH_IT: u64 = 4 << 20;

/// What was read: `end` is where it ends in the buffer, [`HEADROOM`] where it begins.
pub(super) struct Block {
    pub buf: Vec<u8>,
    pub end: usize,
}

/// The reading thread's other end.
pub(super) struct Ahead {
    full: Receiver<io::Result<Block>>,
    empty: SyncSender<Vec<u8>>,
}

impl Ahead {
    /// Begins to read where that is worth a thread: a large regular file, and a
    /// CPU for it. Otherwise gives the file back.
    pub(super) fn start(file: File) -> Result<Ahead, File> {
        let large = file
            .metadata()
            .is_ok_and(|metadata| metadata.is_file() && metadata.len() >= WORTH_IT);
        let two = std::thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1);
        if !large || !two {
            return Err(file);
        }
        let Ok(own) = file.try_clone() else {
            return Err(file);
        };
        let (send, full) = sync_channel(BLOCKS);
        let (empty, receive) = sync_channel(BLOCKS + 1);
        for _ in 0..BLOCKS {
            // There is room for as many.
            let _ = empty.send(vec![0; HEADROOM + WINDOW]);
        }
        let reading = std::thread::Builder::new().name("netdig-read".to_owned());
        match reading.spawn(move || read_blocks(own, &receive, &send)) {
            Ok(_) => Ok(Ahead { full, empty }),
            Err(_) => Err(file),
        }
    }

    /// The next block; `None` at the end of the file, and after an error.
    pub(super) fn next(&self) -> io::Result<Option<Block>> {
        self.full.recv().ok().transpose()
    }

    /// Gives a buffer back.
    pub(super) fn recycle(&self, buf: Vec<u8>) {
        // Refused only after the end.
        let _ = self.empty.try_send(buf);
    }
}

/// Ends with the file, an error, or when nobody takes blocks any more.
fn read_blocks(mut file: File, empty: &Receiver<Vec<u8>>, full: &SyncSender<io::Result<Block>>) {
    while let Ok(mut buf) = empty.recv() {
        let read = loop {
            match file.read(&mut buf[HEADROOM..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let block = match read {
            Ok(0) => return,
            Ok(read) => Ok(Block {
                buf,
                end: HEADROOM + read,
            }),
            Err(error) => Err(error),
        };
        let failed = block.is_err();
        if full.send(block).is_err() || failed {
            return;
        }
    }
}
