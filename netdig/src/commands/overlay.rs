//! `netdig overlay`: what goes through the tunnel, live and from files.
pub(super) mod host;
mod live;
mod opening;

use std::io::IsTerminal;
use std::path::Path;

use anyhow::Context;
use decoders::Ports;

use super::stop::Stop;
use crate::cli::overlay::{Format, OverlayArgs};
use crate::conclusions::Conclusions;
use crate::engine::Engine;
use crate::finding::Severity;
use crate::observation::Observation;
use crate::output::{
    Output, OutputError, Printer, Stream,
    capture::CaptureWriter,
    hexdump::Payload,
    json::JsonWriter,
    text::{TextOptions, TextWriter},
};
use crate::selection::Selection;
use crate::source::pcap::CaptureReader;
use crate::source::probe::unix_now;
use crate::tracker::Tracker;

/// Runs `netdig overlay`; false where findings are as bad as `--fail-on` says.
///
/// # Errors
/// What could not be done, and what to do next.
pub fn overlay(args: &OverlayArgs) -> anyhow::Result<bool> {
    let result = match &args.read {
        Some(path) => replay(args, path),
        None => live::run(args),
    };
    let worst = match result {
        // Whoever read standard output has seen enough.
        Err(error) if is_closed_pipe(&error) => None,
        other => other?,
    };
    Ok(match (worst, args.fail_on) {
        (Some(worst), Some(bound)) => worst < bound,
        _ => true,
    })
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(OutputError::ClosedPipe))
}

/// Whether the capture went to a pipe that nobody reads any more: then there is
/// nothing to complete, and no summary is wanted.
fn nobody_reads(args: &OverlayArgs, ran: &anyhow::Result<()>) -> bool {
    let to_stdout = args.write.as_deref() == Some(Path::new("-"));
    to_stdout && ran.as_ref().is_err_and(is_closed_pipe)
}

/// Packets of a capture file. Returns the worst finding's severity.
fn replay(args: &OverlayArgs, path: &Path) -> anyhow::Result<Option<Severity>> {
    if let Some(written) = &args.write
        && is_same_file(path, written)
    {
        anyhow::bail!(
            "{} would be overwritten while it is read: give -w another file",
            path.display()
        );
    }
    let stop = Stop::watch(args.duration)?;
    let mut reader = CaptureReader::open(path)?;
    let selection = selection(args);
    let mut engine = Engine::new(
        Tracker::empty(),
        ports(args),
        selection,
        output(args)?,
        args.count,
    );
    engine.conclude(Conclusions::of_file());
    let snap = match args.snaplen {
        0 => usize::MAX,
        snap => snap as usize,
    };
    let read = read_all(&mut reader, &mut engine, &stop, snap);
    if nobody_reads(args, &read) {
        return read.map(|()| None);
    }
    let ended = engine.finish(unix_now());
    read?;
    ended?;
    Ok(engine.worst())
}

/// Whether both names, links followed, are one regular file.
fn is_same_file(one: &Path, other: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |path: &Path| {
        let metadata = path.metadata().ok().filter(|metadata| metadata.is_file())?;
        Some((metadata.dev(), metadata.ino()))
    };
    identity(one).is_some_and(|identity_of_one| identity(other) == Some(identity_of_one))
}

/// At most `snap` bytes of each frame.
fn read_all(
    reader: &mut CaptureReader,
    engine: &mut Engine,
    stop: &Stop,
    snap: usize,
) -> anyhow::Result<()> {
    let mut last_ts = 0;
    while !engine.is_done() && !stop.is_due() {
        // Nobody waits for a line while the reader waits for a pipe.
        if reader.must_read() {
            engine.flush()?;
        }
        match reader.next_in_context() {
            Ok(Some(mut seen)) => {
                if let Observation::Frame(frame) = &mut seen.observation {
                    frame.data = &frame.data[..frame.data.len().min(snap)];
                }
                if let Observation::Frame(frame) = &seen.observation {
                    last_ts = frame.ts_ns.max(last_ts);
                }
                engine.observe(0, seen.interfaces, &seen.observation, seen.packet_type)?;
            }
            Ok(None) => {
                // What has no other side by now will not get one any more.
                return Ok(engine.tick(u64::MAX)?);
            }
            Err(error) if error.is_interruption() => continue,
            Err(error) => return Err(error.into()),
        }
        engine.tick(last_ts)?;
    }
    Ok(())
}

/// UDP ports on which tunnels are looked for.
fn ports(args: &OverlayArgs) -> Ports {
    let mut ports = Ports::default();
    for &(encap, port) in &args.encap {
        ports.insert(port, encap);
    }
    ports
}

fn selection(args: &OverlayArgs) -> Selection {
    Selection {
        pids: args.pid.clone(),
        // The kernel keeps 15 bytes of a name.
        comms: args
            .comm
            .iter()
            .map(|comm| comm.as_bytes()[..comm.len().min(15)].to_vec())
            .collect(),
        container_ids: args.container_id.clone(),
        container_names: args.container_name.clone(),
        ..Selection::default()
    }
}

fn output(args: &OverlayArgs) -> anyhow::Result<Output> {
    let to_stdout = args.write.as_deref() == Some(Path::new("-"));
    if to_stdout && std::io::stdout().is_terminal() {
        anyhow::bail!(
            "a capture on a terminal helps nobody: give -w a file, or pipe it, as in \
             `netdig overlay -w - | wireshark -k -i -`"
        );
    }
    let stream = if to_stdout {
        Stream::Stderr
    } else {
        Stream::Stdout
    };
    let terminal = match stream {
        Stream::Stdout => std::io::stdout().is_terminal(),
        Stream::Stderr => std::io::stderr().is_terminal(),
    };
    let color = args.color.on(terminal);
    let payload = match (args.ascii, args.hex, args.hex_ascii) {
        (true, ..) => Payload::Text,
        (_, true, _) => Payload::Hex,
        (.., true) => Payload::Both,
        _ => Payload::None,
    };
    let printer = match args.format {
        Format::Json => Printer::Json(JsonWriter::default()),
        Format::Text => Printer::Text(TextWriter::new(TextOptions {
            color,
            verbose: args.verbose,
            payload,
            show_secrets: args.show_secrets,
        })),
    };
    let capture = match &args.write {
        Some(path) => Some(create(path)?),
        None => None,
    };
    let packets = !args.quiet && (args.write.is_none() || args.print);
    Ok(Output::new(printer, stream, packets, capture))
}

fn create(path: &Path) -> anyhow::Result<CaptureWriter> {
    let writer = CaptureWriter::create(path, false).context("nothing was captured")?;
    for warning in writer.warnings() {
        eprintln!("netdig: {warning}");
    }
    Ok(writer)
}
