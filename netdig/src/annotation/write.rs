//! Frames and losses to comments.

use std::fmt::Display;
use std::io::Write;

use super::escape_into;
use crate::observation::{FdKind, FdView, Frame, Loss, PacketType, ProcessInfo};
use decoders::Encap;

/// Longest value, escaped. An option holds 65,535 bytes; nothing but a hostile
/// name comes near this.
const MAX_VALUE: usize = 4096;
/// Most bytes of `Args`, escaped; what is beyond is marked with `NetdigArgsCut`.
const MAX_ARGS: usize = 8192;

/// What is known of a frame beside the frame.
#[derive(Debug, Clone, Copy, Default)]
pub struct FrameMeta<'a> {
    /// Number of the packet in this run, as JSON's `n`.
    pub n: u64,
    /// The `n` of the same packet on its other side.
    pub joined: Option<u64>,
    /// The process of [`Frame::process`], where it is known better.
    pub process: Option<&'a ProcessInfo>,
    /// What the descriptor is called in output.
    pub fd_name: Option<&'a str>,
    /// How a frame of a link met it; for tunnel frames the way tells.
    pub packet_type: Option<PacketType>,
    /// Further comments, such as findings; each becomes one of its own.
    pub comments: &'a [&'a str],
}

/// One comment of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    Process,
    Thread,
    User,
    Parent,
    Container,
    Frame,
}

impl Group {
    /// What the process alone decides, and is the same for many frames.
    pub const OF_PROCESS: [Group; 4] =
        [Group::Process, Group::User, Group::Parent, Group::Container];
    /// What each frame decides.
    pub const OF_FRAME: [Group; 2] = [Group::Thread, Group::Frame];
}

/// Appends the lines of one group; nothing when the frame has nothing to say in it.
pub fn write_group(out: &mut Vec<u8>, group: Group, frame: &Frame<'_>, meta: &FrameMeta<'_>) {
    let start = out.len();
    let info = frame.process.and(meta.process);
    match group {
        Group::Process => process_lines(out, frame, info),
        Group::Thread => {
            if let Some(actor) = &frame.process {
                line(out, "ThreadId", actor.tid);
                bytes(out, "ThreadName", actor.comm());
            }
        }
        Group::User => {
            line_if(out, "UserId", info.and_then(|info| info.uid));
            text_if(
                out,
                "NetdigUser",
                info.and_then(|info| info.user.as_deref()),
            );
        }
        Group::Parent => line_if(out, "ParentPID", info.and_then(|info| info.parent)),
        Group::Container => {
            text_if(
                out,
                "ContainerName",
                info.and_then(|info| info.container_name.as_deref()),
            );
            text_if(
                out,
                "ContainerId",
                info.and_then(|info| info.container_id.as_deref()),
            );
        }
        Group::Frame => frame_lines(out, frame, meta),
    }
    if out.len() > start {
        out.pop(); // the last line needs no end
    }
}

fn process_lines(out: &mut Vec<u8>, frame: &Frame<'_>, info: Option<&ProcessInfo>) {
    let Some(actor) = &frame.process else { return };
    line(out, "PID", actor.pid);
    let Some(info) = info else {
        bytes(out, "Cmd", actor.comm());
        return;
    };
    bytes(out, "Cmd", &info.comm);
    out.extend_from_slice(b"Args: ");
    let end = out.len() + MAX_ARGS;
    let mut whole = true;
    for (index, arg) in info.args.iter().enumerate() {
        let room = end.saturating_sub(out.len() + 1);
        if index > 0 {
            out.push(b' ');
        }
        whole = escape_into(out, arg, true, room);
        if !whole {
            break;
        }
    }
    out.push(b'\n');
    if !whole {
        line(out, "NetdigArgsCut", "yes");
    }
    line_if(out, "NetdigStart", info.start_ns);
    line_if(out, "NetdigProcessNetns", info.netns);
}

fn frame_lines(out: &mut Vec<u8>, frame: &Frame<'_>, meta: &FrameMeta<'_>) {
    line(out, "NetdigVia", frame.via.name());
    if let Some(fd) = &frame.fd {
        fd_lines(out, fd);
    }
    text_if(out, "NetdigFdName", meta.fd_name);
    line_if(out, "NetdigPeer", frame.peer);
    line_if(out, "NetdigEncap", frame.encap.map(Encap::name));
    line_if(out, "NetdigErrno", frame.errno);
    line_if(out, "NetdigNetns", frame.netns);
    line_if(out, "NetdigCgroup", frame.cgroup);
    line(out, "NetdigN", meta.n);
    line_if(out, "NetdigJoined", meta.joined);
}

fn fd_lines(out: &mut Vec<u8>, fd: &FdView) {
    line(out, "NetdigFd", fd.num);
    out.extend_from_slice(b"NetdigFdKind: ");
    fd_kind(out, &fd.kind);
    out.push(b'\n');
    if fd.inode != 0 {
        line(out, "NetdigFdInode", fd.inode);
    }
}

/// One word, then `key=value` for what it carries.
fn fd_kind(out: &mut Vec<u8>, kind: &FdKind) {
    match kind {
        FdKind::Tun {
            interface,
            tap,
            packet_info,
            vnet_header,
        } => {
            out.extend_from_slice(b"tun interface=");
            escape_into(out, interface.as_bytes(), true, MAX_VALUE);
            push(
                out,
                format_args!(" tap={tap} packet-info={packet_info} vnet-header={vnet_header}"),
            );
        }
        FdKind::Inet {
            protocol,
            stream,
            local,
            remote,
        } => {
            push(
                out,
                format_args!("inet protocol={protocol} stream={stream} local={local}"),
            );
            if let Some(remote) = remote {
                push(out, format_args!(" remote={remote}"));
            }
        }
        FdKind::Unix => out.extend_from_slice(b"unix"),
        FdKind::Netlink => out.extend_from_slice(b"netlink"),
        FdKind::OtherSocket { family } => push(out, format_args!("socket family={family}")),
        FdKind::Regular => out.extend_from_slice(b"regular"),
        FdKind::Directory => out.extend_from_slice(b"directory"),
        FdKind::Pipe => out.extend_from_slice(b"pipe"),
        FdKind::AnonInode => out.extend_from_slice(b"anon-inode"),
        FdKind::Char { major, minor } => {
            push(out, format_args!("char major={major} minor={minor}"))
        }
        FdKind::Block { major, minor } => {
            push(out, format_args!("block major={major} minor={minor}"))
        }
        FdKind::Unknown => out.extend_from_slice(b"unknown"),
    }
}

/// A loss as a comment. `interface` is the index in the file's section.
pub fn write_loss(out: &mut Vec<u8>, loss: &Loss, interface: Option<u32>) {
    out.extend_from_slice(b"NetdigLoss: source=");
    escape_into(out, loss.source.as_bytes(), true, MAX_VALUE);
    push(
        out,
        format_args!(
            " kind={} cause={} count={} ts={} since={} until={}",
            loss.event_kind,
            loss.cause.name(),
            loss.count,
            loss.ts_ns,
            loss.window.0,
            loss.window.1
        ),
    );
    if let Some(interface) = interface {
        push(out, format_args!(" interface={interface}"));
    }
}

/// Someone else's text as a comment: lines stay lines, and none of them can be
/// taken for one of the keys above.
pub fn write_free(out: &mut Vec<u8>, text: &str) {
    const MAX_FREE: usize = 60_000;
    const KEYS: &[&str] = &[
        "PID:",
        "ThreadId:",
        "UserId:",
        "ParentPID:",
        "Container",
        "Netdig",
    ];
    if KEYS.iter().any(|key| text.starts_with(key)) {
        out.extend_from_slice(b"Note: ");
    }
    let end = out.len() + MAX_FREE;
    for (index, text_line) in text.split('\n').enumerate() {
        if out.len() >= end {
            break;
        }
        if index > 0 {
            out.push(b'\n');
        }
        if !escape_into(
            out,
            text_line.as_bytes(),
            false,
            end.saturating_sub(out.len()),
        ) {
            break;
        }
    }
}

fn push(out: &mut Vec<u8>, arguments: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(arguments);
    debug_assert!(written.is_ok(), "a Vec takes every byte");
}

fn line(out: &mut Vec<u8>, key: &str, value: impl Display) {
    push(out, format_args!("{key}: {value}\n"));
}

fn line_if(out: &mut Vec<u8>, key: &str, value: Option<impl Display>) {
    if let Some(value) = value {
        line(out, key, value);
    }
}

fn text_if(out: &mut Vec<u8>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        bytes(out, key, value.as_bytes());
    }
}

fn bytes(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b": ");
    escape_into(out, value, false, MAX_VALUE);
    out.push(b'\n');
}
