//! Packets as people read them: time, process and way, then tshark's line.
use std::net::SocketAddr;

use super::{
    clock::Clock,
    finding::{self, Style},
    hexdump::{self, Payload},
    line::{
        text::{push_decimal, push_escaped, push_ip},
        write_line, write_reassembled,
    },
    summary::Summary,
};
use crate::{
    evidence::packet::{Fate, Other, PacketView},
    finding::Finding,
    observation::{FdKind, Frame, Loss, Via},
};

const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";
const ARROW: &str = " → ";

/// How packets are shown.
#[derive(Debug, Clone, Copy, Default)]
pub struct TextOptions {
    pub color: bool,
    /// Both sides of a joined pair, and packet numbers.
    pub verbose: bool,
    pub payload: Payload,
    /// Leaves passwords and tokens in shown payloads as they are.
    pub show_secrets: bool,
}

/// Writes the text format.
#[derive(Debug)]
pub struct TextWriter {
    options: TextOptions,
    clock: Clock,
}

impl TextWriter {
    pub fn new(options: TextOptions) -> TextWriter {
        TextWriter {
            options,
            clock: Clock::local(),
        }
    }

    /// Appends the packet's line, and its payload where that was asked for.
    /// False where the packet is shown on its other side's line.
    pub fn packet(&mut self, out: &mut Vec<u8>, view: &PacketView<'_>) -> bool {
        if matches!(view.fate, Fate::Joined { second: true, .. }) && !self.options.verbose {
            return false;
        }
        if self.options.verbose {
            out.push(b'#');
            push_decimal(out, view.n);
            out.push(b' ');
        }
        let failed = matches!(view.fate, Fate::Unanswered { .. }) || view.frame.errno.is_some();
        self.paint(out, DIM);
        self.clock.push(out, view.frame.ts_ns);
        self.paint(out, RESET);
        out.push(b' ');
        let begin = out.len();
        process(out, view);
        if failed {
            self.paint(out, RED);
        }
        way(out, view, self.options.verbose);
        if failed {
            self.paint(out, RESET);
        }
        // Of a file's packet neither need be known.
        if out.len() > begin {
            out.extend_from_slice(b"  ");
        }
        write_line(out, view.packet, view.tcp.as_ref());
        write_reassembled(out, view.reassembled);
        if self.options.verbose
            && let Some(stop) = view.packet.stop
        {
            out.extend_from_slice(format!(" [stopped in {stop}]").as_bytes());
        }
        out.push(b'\n');
        hexdump::write(
            out,
            view.frame.data,
            self.options.payload,
            self.options.show_secrets,
        );
        true
    }

    /// Appends a line about lost events.
    pub fn loss(&mut self, out: &mut Vec<u8>, loss: &Loss) {
        self.clock.push(out, loss.ts_ns);
        self.paint(out, RED);
        let text = format!(
            " {} {} events lost ({}) by {}",
            loss.count,
            loss.event_kind,
            loss.cause.name(),
            loss.source
        );
        out.extend_from_slice(text.as_bytes());
        self.paint(out, RESET);
        out.push(b'\n');
    }

    /// Appends a finding's block, set off from packets.
    pub fn finding(&mut self, out: &mut Vec<u8>, finding: &Finding) {
        let style = Style {
            color: self.options.color,
            ..Style::default()
        };
        out.push(b'\n');
        out.extend_from_slice(finding::text(finding, style).as_bytes());
        out.push(b'\n');
    }

    /// Appends the last lines.
    pub fn summary(&mut self, out: &mut Vec<u8>, summary: &Summary) {
        out.extend_from_slice(summary.to_string().as_bytes());
        out.push(b'\n');
    }

    fn paint(&self, out: &mut Vec<u8>, code: &str) {
        if self.options.color {
            out.extend_from_slice(code.as_bytes());
        }
    }
}

/// `flanneld[758]`, with its container behind an `@`.
fn process(out: &mut Vec<u8>, view: &PacketView<'_>) {
    let Some(actor) = view.frame.process else {
        return;
    };
    push_escaped(out, actor.comm());
    out.push(b'[');
    push_decimal(out, u64::from(actor.pid));
    out.push(b']');
    if let Some(container) = view.process.and_then(|process| process.container.as_ref()) {
        out.push(b'@');
        push_escaped(out, container.name.as_bytes());
    }
    out.push(b' ');
}

/// The way that a packet takes: `flannel0 → 10.1.1.187:8285`.
fn way(out: &mut Vec<u8>, view: &PacketView<'_>, own_side: bool) {
    let frame = view.frame;
    let joined = match view.fate {
        Fate::Joined { other, .. } if !own_side => Some(other),
        _ => None,
    };
    match frame.via {
        Via::TunRead | Via::UdpRecv => {
            here(out, view);
            out.extend_from_slice(ARROW.as_bytes());
            match (view.fate, joined) {
                (_, Some(other)) => there(out, other),
                (Fate::Unanswered { doubtful }, _) => {
                    let what: &[u8] = match (frame.via, doubtful) {
                        (Via::TunRead, false) => b"(never sent)",
                        (Via::TunRead, true) => b"(not seen sent, events were lost)",
                        (_, false) => b"(never written to a tun)",
                        (_, true) => b"(not seen written, events were lost)",
                    };
                    out.extend_from_slice(what);
                }
                _ => out.extend_from_slice(b"..."),
            }
        }
        Via::TunWrite | Via::UdpSend => {
            out.extend_from_slice(match view.fate {
                Fate::Originated => b"(daemon)".as_slice(),
                _ => b"...",
            });
            out.extend_from_slice(ARROW.as_bytes());
            here(out, view);
        }
        Via::Link | Via::File => {
            push_escaped(out, view.interface.name.as_bytes());
            tunnels(out, view);
        }
    }
    if let Some(errno) = frame.errno.or(joined.and_then(|other| other.errno)) {
        out.extend_from_slice(format!(" ({})", errno_name(errno)).as_bytes());
    }
}

/// This side's end: the tun's name, or the peer.
fn here(out: &mut Vec<u8>, view: &PacketView<'_>) {
    if matches!(view.frame.via, Via::UdpSend | Via::UdpRecv) {
        match view.frame.peer {
            Some(peer) => push_address(out, peer),
            None => {
                out.extend_from_slice(b"(unknown peer) on ");
                push_escaped(out, view.interface.name.as_bytes());
            }
        }
    } else {
        push_escaped(
            out,
            tun_name(view.frame)
                .unwrap_or(&view.interface.name)
                .as_bytes(),
        );
    }
}

fn there(out: &mut Vec<u8>, other: &Other) {
    match (&other.interface, other.peer) {
        (Some(interface), _) => push_escaped(out, interface.as_bytes()),
        (None, Some(peer)) => push_address(out, peer),
        (None, None) => out.extend_from_slice(b"(unknown peer)"),
    }
}

/// Around a packet of a link: `vxlan 1 10.0.0.1 → 10.0.0.2`, one after another.
fn tunnels(out: &mut Vec<u8>, view: &PacketView<'_>) {
    let mut named = !view.interface.name.is_empty();
    for tunnel in view.packet.encapsulations() {
        if std::mem::replace(&mut named, true) {
            out.push(b' ');
        }
        out.extend_from_slice(tunnel.protocol.as_bytes());
        if let Some(number) = tunnel.vni.or(tunnel.teid).or(tunnel.label) {
            out.push(b' ');
            push_decimal(out, u64::from(number));
        }
        if let Some(outer) = tunnel.outer {
            out.push(b' ');
            push_ip(out, outer.source);
            out.extend_from_slice(ARROW.as_bytes());
            push_ip(out, outer.destination);
        }
    }
}

fn push_address(out: &mut Vec<u8>, address: SocketAddr) {
    let v6 = address.is_ipv6();
    if v6 {
        out.push(b'[');
    }
    push_ip(out, address.ip());
    if v6 {
        out.push(b']');
    }
    out.push(b':');
    push_decimal(out, u64::from(address.port()));
}

/// Name of the device behind a tun descriptor, where it is known.
pub fn tun_name<'a>(frame: &'a Frame<'_>) -> Option<&'a str> {
    match &frame.fd.as_ref()?.kind {
        FdKind::Tun { interface, .. } if !interface.is_empty() => Some(interface),
        _ => None,
    }
}

/// `ENETUNREACH`, or the number for one that is not a network's.
pub fn errno_name(errno: i32) -> String {
    let name = match errno {
        libc::EPERM => "EPERM",
        libc::EIO => "EIO",
        libc::EBADF => "EBADF",
        libc::EAGAIN => "EAGAIN",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EFAULT => "EFAULT",
        libc::EINVAL => "EINVAL",
        libc::EPIPE => "EPIPE",
        libc::EBADFD => "EBADFD",
        libc::EDESTADDRREQ => "EDESTADDRREQ",
        libc::EMSGSIZE => "EMSGSIZE",
        libc::EADDRNOTAVAIL => "EADDRNOTAVAIL",
        libc::ENETDOWN => "ENETDOWN",
        libc::ENETUNREACH => "ENETUNREACH",
        libc::ENOBUFS => "ENOBUFS",
        libc::ECONNREFUSED => "ECONNREFUSED",
        libc::EHOSTDOWN => "EHOSTDOWN",
        libc::EHOSTUNREACH => "EHOSTUNREACH",
        other => return format!("errno {other}"),
    };
    name.to_owned()
}
