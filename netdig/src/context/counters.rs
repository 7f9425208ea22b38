//! Counters that tell of drops, from /proc/thread-self/net.
//!
//! Names: `Ip.InDiscards`, `TcpExt.IPReversePathFilter` (heading and column of `snmp` and
//! `netstat`), `Ip6.InNoRoutes` (`snmp6`), `rt_cache.in_martian_src` (file and column of
//! `stat/`, hexadecimal, summed over CPUs).
use std::path::Path;

use super::{Context, Part, bounded};

const FOLDER: &str = "/proc/thread-self/net";
/// The kernel shows the first four in the machine's own namespace alone.
const PER_CPU: [&str; 4] = ["rt_cache", "nf_conntrack", "arp_cache", "ndisc_cache"];

pub fn read(context: &mut Context) {
    read_below(context, Path::new(FOLDER));
}

fn read_below(context: &mut Context, folder: &Path) {
    let text = |name: &str| {
        let file = std::fs::File::open(folder.join(name))?;
        bounded::contents(&file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    };
    for name in ["snmp", "netstat"] {
        match text(name) {
            Ok(text) => headed(context, &text),
            Err(error) if name == "snmp" => {
                let why = format!("cannot read {}/{name}: {error}", folder.display());
                context.lacks(Part::Counters, why, None);
            }
            // Older kernels and sandboxes lack the others.
            Err(_) => {}
        }
    }
    if let Ok(text) = text("snmp6") {
        six(context, &text);
    }
    for name in PER_CPU {
        if let Ok(text) = text(&format!("stat/{name}")) {
            per_cpu(context, name, &text);
        }
    }
}

/// Pairs of lines: `TcpExt: SyncookiesSent …` and `TcpExt: 0 …`.
fn headed(context: &mut Context, text: &str) {
    let mut lines = text.lines();
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (Some((group, names)), Some((same, values))) =
            (names.split_once(':'), values.split_once(':'))
        else {
            continue;
        };
        if group != same {
            continue;
        }
        let pairs = names.split_whitespace().zip(values.split_whitespace());
        for (name, value) in pairs {
            // Tcp.MaxConn may be -1: no counter.
            if let Ok(value) = value.parse() {
                context.counters.insert(format!("{group}.{name}"), value);
            }
        }
    }
}

/// `Ip6InNoRoutes    0` in each line. `Icmp6InMsgs` is `Icmp6.InMsgs`.
fn six(context: &mut Context, text: &str) {
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(name), Some(Ok(value))) = (words.next(), words.next().map(str::parse)) else {
            continue;
        };
        let Some((group, name)) = name.find('6').map(|at| name.split_at(at + 1)) else {
            continue;
        };
        context.counters.insert(format!("{group}.{name}"), value);
    }
}

/// A line of names and one a CPU. `entries` is the whole table's in each of them.
fn per_cpu(context: &mut Context, file: &str, text: &str) {
    let mut lines = text.lines();
    let names: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    for (cpu, line) in lines.enumerate() {
        for (name, value) in names.iter().zip(line.split_whitespace()) {
            let Ok(value) = u64::from_str_radix(value, 16) else {
                continue;
            };
            if cpu > 0 && *name == "entries" {
                continue;
            }
            let sum = context
                .counters
                .entry(format!("{file}.{name}"))
                .or_insert(0);
            *sum = sum.saturating_add(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bounded::testing::Folder;
    use super::*;

    fn counted(files: &[(&str, &[u8])]) -> Context {
        let folder = Folder::with(files);
        let mut context = Context::default();
        read_below(&mut context, folder.path());
        context
    }

    #[test]
    fn columns_are_found_by_their_headings() {
        let context = counted(&[
            (
                "snmp",
                b"Ip: Forwarding DefaultTTL InDiscards\nIp: 1 64 7\nTcp: MaxConn\nTcp: -1\n",
            ),
            ("netstat", b"TcpExt: A IPReversePathFilter\nTcpExt: 0 12\n"),
            ("snmp6", b"Ip6InNoRoutes  \t3\nUdpLite6InErrors 4\nodd\n"),
            (
                "stat/arp_cache",
                b"entries  allocs table_fulls\n0000000a 1 00000002\n0000000a 2 0000001f\n",
            ),
            (
                "stat/rt_cache",
                b"entries  in_martian_src\n00000000 00000004\n",
            ),
        ]);
        let all = |name: &str| context.counters.get(name).copied();
        assert_eq!(all("Ip.InDiscards"), Some(7));
        assert_eq!(all("Tcp.MaxConn"), None);
        assert_eq!(all("TcpExt.IPReversePathFilter"), Some(12));
        assert_eq!(all("Ip6.InNoRoutes"), Some(3));
        assert_eq!(all("UdpLite6.InErrors"), Some(4));
        assert_eq!(all("arp_cache.entries"), Some(10));
        assert_eq!(all("arp_cache.table_fulls"), Some(33));
        assert_eq!(all("rt_cache.in_martian_src"), Some(4));
        assert!(context.unread.is_empty());
    }

    #[test]
    fn odd_files_give_what_can_be_read() {
        let context = counted(&[
            ("snmp", b"Ip: A B\nUdp: 1 2\nIp: A B\n\xff\xfe"),
            ("netstat", b""),
            ("stat/arp_cache", b"entries a\nffffffffffffffff\nzz 1 2 3\nffffffffffffffff ffffffffffffffff\n1 ffffffffffffffff"),
        ]);
        assert_eq!(context.counters.get("arp_cache.a"), Some(&u64::MAX));
        assert_eq!(context.counters.get("arp_cache.entries"), Some(&u64::MAX));
        assert!(context.has(Part::Counters));
        assert!(!counted(&[]).has(Part::Counters));
    }

    #[test]
    fn this_machine_has_some() {
        let mut context = Context::default();
        read(&mut context);
        assert!(
            context.counters.contains_key("Ip.InReceives"),
            "{context:?}"
        );
        assert!(context.counters.contains_key("TcpExt.IPReversePathFilter"));
    }
}
