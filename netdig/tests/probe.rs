//! The probe finds its way in the kernel by typed reads, and by helper where the
//! kernel does not offer those: both ways see the same.
use std::process::Command;
use std::time::{Duration, Instant};

use netdig::observation::{FdKind, Observation, Via};
use netdig::source::probe::{Probe, ProbeOptions};

/// Root is needed; without it, CI fails and a person is told.
fn is_root() -> bool {
    // SAFETY: takes nothing, always succeeds.
    let root = unsafe { libc::geteuid() } == 0;
    assert!(root || std::env::var_os("CI").is_none(), "CI runs as root");
    if !root {
        eprintln!("skipped: the probe needs root");
    }
    root
}

fn sees_a_datagram(options: ProbeOptions) {
    if !is_root() {
        return;
    }
    let ports = decoders::Ports::default();
    let options = ProbeOptions {
        ports: vec![8285],
        ..options
    };
    let mut probe = Probe::start(&options, ports, []).expect("the probe starts");
    // bash writes to a connected UDP socket.
    let sender = Command::new("bash")
        .args(["-c", "printf hello-%s tunnel > /dev/udp/127.0.0.1/8285"])
        .spawn()
        .expect("bash starts");
    let pid = sender.id();
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut seen = None;
    let mut forked = false;
    while seen.is_none() {
        assert!(Instant::now() < deadline, "no datagram was seen");
        let count = probe.poll(1024, |_, observation| match observation {
            Observation::Frame(frame) if frame.process.is_some_and(|actor| actor.pid == pid) => {
                assert_eq!(frame.via, Via::UdpSend);
                assert_eq!(frame.data, b"hello-tunnel");
                assert_eq!(frame.orig_len, 12);
                assert_eq!(frame.peer, Some("127.0.0.1:8285".parse().unwrap()));
                seen = frame.fd;
            }
            Observation::Process(event) => forked |= event.actor.pid == pid,
            _ => {}
        });
        if count == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(forked, "the process was not announced");
    let fd = seen.expect("a descriptor");
    let FdKind::Inet {
        protocol,
        stream,
        local,
        remote,
    } = fd.kind
    else {
        panic!("{fd:?} is no socket");
    };
    assert_eq!((protocol, stream), (17, false));
    assert_eq!(local.ip().to_string(), "127.0.0.1");
    assert_eq!(remote, Some("127.0.0.1:8285".parse().unwrap()));
    assert!(fd.inode > 0);
    let mut sender = sender;
    sender.wait().expect("bash ends");
}

#[test]
fn by_typed_reads() {
    sees_a_datagram(ProbeOptions::default());
}

#[test]
fn by_helper() {
    sees_a_datagram(ProbeOptions {
        no_typed_reads: true,
        ..ProbeOptions::default()
    });
}

#[test]
fn where_tracepoints_can_be_preempted() {
    sees_a_datagram(ProbeOptions {
        preemptible: Some(true),
        ..ProbeOptions::default()
    });
}
