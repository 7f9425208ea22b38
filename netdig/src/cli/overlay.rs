//! Arguments of `netdig overlay`.
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};
use decoders::Encap;

use super::etcd::EtcdArgs;

use crate::finding::Severity;

/// Longest packet that is kept whole.
const MAX_SNAPLEN: u32 = 262_144;

#[derive(Debug, Args)]
#[command(after_help = "\
Exit status: 0 done; 1 findings as bad as --fail-on says; 2 could not do it, the message says
what and what next.

  netdig overlay                              every tunnel of this host
  netdig overlay -i flannel0 -c 20            twenty packets of one tun
  netdig overlay -i eth0                      VXLAN and others, off the link
  netdig overlay -w - | wireshark -k -i -     as they come, in Wireshark
  netdig overlay -r flannel.pcapng            from a file, or - for standard input")]
pub struct OverlayArgs {
    /// What to watch, repeatable: /dev/net/tun is every tun descriptor with the tunnel
    /// sockets of its process; a tun's name is that one; any other link is its packets
    /// [default: every tun descriptor and every tunnel port]
    #[arg(short, long = "iface", visible_alias = "interface", value_name = "DEV")]
    pub iface: Vec<String>,
    /// Read a capture, pcap or pcapng; - is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["iface", "netns"])]
    pub read: Option<PathBuf>,
    /// Write a capture, pcapng unless FILE ends in .pcap; - is standard output.
    /// Packets are then printed only with --print
    #[arg(short, long, value_name = "FILE")]
    pub write: Option<PathBuf>,
    /// Print packets though a capture is written
    #[arg(long, requires = "write")]
    pub print: bool,
    /// End after N packets; in text, both sides of a packet are one
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after SECONDS
    #[arg(short = 'M', long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,
    /// Keep at most BYTES of each packet; 0 is all (of tun and tunnel packets up to 9216)
    #[arg(short, long, visible_alias = "snapshot-length", value_name = "BYTES",
          default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=i64::from(MAX_SNAPLEN)))]
    pub snaplen: u32,
    /// Show payload as text
    #[arg(short = 'A', group = "payload")]
    pub ascii: bool,
    /// Show packets in hexadecimal
    #[arg(short = 'x', group = "payload")]
    pub hex: bool,
    /// Show packets in hexadecimal and as text
    #[arg(short = 'X', group = "payload")]
    pub hex_ascii: bool,
    /// Show passwords, tokens and cookies in payloads; they are masked otherwise
    #[arg(long, requires = "payload")]
    pub show_secrets: bool,
    /// No names are looked up for addresses or ports, with or without this
    #[arg(short = 'n', action = ArgAction::Count)]
    pub numeric: u8,
    /// Print no packets: only losses, findings and the summary
    #[arg(short, long, conflicts_with_all = ["payload", "print"])]
    pub quiet: bool,
    /// Print both sides of each packet, its number, and where decoding stopped
    #[arg(short, long)]
    pub verbose: bool,
    /// Only of these processes
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// Only of processes with this name (comm)
    #[arg(long, value_name = "NAME")]
    pub comm: Vec<String>,
    /// Only of containers whose id begins so
    #[arg(long, value_name = "ID")]
    pub container_id: Vec<String>,
    /// Only of containers with this name
    #[arg(long, value_name = "NAME")]
    pub container_name: Vec<String>,
    /// Only of processes in this cgroup (v2) or below, a path as in /proc/PID/cgroup
    #[arg(long, value_name = "PATH")]
    pub cgroup: Vec<String>,
    /// Only in this network namespace: a name as `ip netns` knows it, a path, or pid:N
    #[arg(long, value_name = "NETNS")]
    pub netns: Option<String>,
    /// UDP ports of tunnels, besides flannel-udp:8285, vxlan:8472, vxlan:4789, vxlan:6784,
    /// vxlan-gpe:4790, geneve:6081, gtp-u:2152, mpls:6635, gue:6080, teredo:3544 and
    /// weave-sleeve:6783; fou has no port of its own
    #[arg(long, value_name = "NAME:PORT", value_delimiter = ',', value_parser = encap)]
    pub encap: Vec<(Encap, u16)>,
    /// How packets are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Exit with 1 if a finding is of this severity or above
    #[arg(long, value_name = "SEVERITY", value_enum)]
    pub fail_on: Option<Severity>,
    /// Whether text is coloured
    #[arg(long, value_enum, default_value_t)]
    pub color: Color,
    /// Memory for events on their way from the kernel, KiB, shared out among the CPUs, of
    /// which each has at least 64 [default: 65536, or 8192 a CPU where that is more]
    #[arg(short = 'B', long, value_name = "KIB",
          value_parser = clap::value_parser!(u32).range(64..=1_048_576))]
    pub buffer_size: Option<u32>,
    /// Promiscuous mode on links given with -i
    #[arg(long, action = ArgAction::SetTrue)]
    pub promiscuous: bool,
    /// Create FILE once everything is attached: what happens from then on is seen
    #[arg(long, value_name = "FILE", conflicts_with = "read")]
    pub ready_file: Option<PathBuf>,
    #[command(flatten)]
    pub etcd: EtcdArgs,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    #[default]
    Text,
    /// One object a line
    Json,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Color {
    #[default]
    Auto,
    Always,
    Never,
}

impl Color {
    /// Whether a stream gets colours: on a terminal, unless the environment's NO_COLOR has a
    /// value (no-color.org: an empty one says nothing).
    pub fn on(self, terminal: bool) -> bool {
        self.with(terminal, std::env::var_os("NO_COLOR").as_deref())
    }

    fn with(self, terminal: bool, no_color: Option<&OsStr>) -> bool {
        match self {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && no_color.is_none_or(OsStr::is_empty),
        }
    }
}

pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    if !(seconds > 0.0 && seconds <= 1e9) {
        return Err("a number of seconds above 0 is wanted".to_owned());
    }
    Ok(Duration::from_secs_f64(seconds))
}

fn encap(text: &str) -> Result<(Encap, u16), String> {
    let known = Encap::ALL.map(Encap::name).join(", ");
    let wanted = format!("NAME:PORT is wanted, with a NAME of {known}");
    let (name, port) = text.split_once(':').ok_or_else(|| wanted.clone())?;
    let encap =
        Encap::from_name(name).ok_or_else(|| format!("`{name}` is no encapsulation; {wanted}"))?;
    match port.parse() {
        Ok(port) if port != 0 => Ok((encap, port)),
        _ => Err(format!("`{port}` is no UDP port; {wanted}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_no_color_says_nothing() {
        let auto = |no_color: Option<&str>| Color::Auto.with(true, no_color.map(OsStr::new));
        assert!(auto(None) && auto(Some("")) && !auto(Some("0")));
        assert!(!Color::Auto.with(false, None));
        assert!(Color::Always.with(false, Some(OsStr::new("1"))) && !Color::Never.with(true, None));
    }
}
