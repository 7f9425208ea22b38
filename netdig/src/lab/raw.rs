//! A small TCP server that gives every connection the same bytes, legal or not.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Builder;
use std::time::Duration;

use anyhow::{Context, Result};

/// A request's head may be as long as this.
const HEAD: usize = 64 * 1024;
/// Nobody needs longer to send it.
const PATIENCE: Duration = Duration::from_secs(30);

/// So many connections at once; each has a thread.
const MOST: usize = 500;

/// What the server is told.
#[derive(Debug, Clone, clap::Args)]
pub struct RawOptions {
    /// Address and port to listen on
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: SocketAddrV4,
    /// File with the bytes to answer with
    #[arg(long, value_name = "FILE")]
    pub answer: PathBuf,
}

/// Serves until it is killed.
pub fn run(options: &RawOptions) -> Result<()> {
    let answer = std::fs::read(&options.answer)
        .with_context(|| format!("cannot read {}", options.answer.display()))?;
    let listener = TcpListener::bind(options.listen).with_context(|| {
        format!(
            "cannot listen on {}; is it an address of this host, and free?",
            options.listen
        )
    })?;
    let open = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for connection in listener.incoming() {
            match connection {
                Ok(_) if open.load(Ordering::Relaxed) >= MOST => {
                    crate::lab::tell!("a connection is closed: {MOST} others are open");
                }
                Ok(connection) => {
                    let (answer, open) = (&answer, &open);
                    open.fetch_add(1, Ordering::Relaxed);
                    let work = move || {
                        if let Err(error) = serve(connection, answer) {
                            crate::lab::tell!("a connection ended early: {error}");
                        }
                        open.fetch_sub(1, Ordering::Relaxed);
                    };
                    if let Err(error) = Builder::new().spawn_scoped(scope, work) {
                        open.fetch_sub(1, Ordering::Relaxed);
                        crate::lab::tell!("a connection is closed: cannot start a thread: {error}");
                    }
                }
                Err(error) => {
                    crate::lab::tell!("cannot accept: {error}");
                    std::thread::sleep(Duration::from_millis(50));
                }
            }
        }
    });
    Ok(())
}

fn serve(mut connection: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    connection.set_read_timeout(Some(PATIENCE))?;
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !ended(&head) && head.len() < HEAD {
        match connection.read(&mut buffer)? {
            0 => break,
            len => head.extend_from_slice(&buffer[..len]),
        }
    }
    // Who only looked whether someone listens gets nothing.
    if head.is_empty() {
        return Ok(());
    }
    connection.write_all(answer)?;
    connection.shutdown(Shutdown::Write)?;
    // A body that came with the request is taken: closing over it would make
    // a reset, which can overtake the answer.
    while connection.read(&mut buffer)? > 0 {}
    Ok(())
}

/// Whether the empty line behind a head has come.
fn ended(head: &[u8]) -> bool {
    head.windows(4).any(|end| end == b"\r\n\r\n") || head.windows(2).any(|end| end == b"\n\n")
}
