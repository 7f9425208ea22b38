//! Under load: what was decoded and what was lost is what was sent.

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;

use serde_json::Value;

use crate::net::{TUNNEL_PORT, ipv4, plain_tun, sendto, v4, write};
use crate::play::{ok, play};
use crate::watch::{Outcome, Watch};
use crate::world::{Namespace, privileged};

/// Packets of each of two senders: many where they are only counted.
const FLOODS: [(u64, bool); 2] = [(150_000, true), (30_000, false)];
const BATCH: usize = 50;

/// Sends so many packets on UDP, as fast as it can: half of them in batches.
fn flood(count: u64) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, TUNNEL_PORT)).unwrap();
    let to = v4(Ipv4Addr::LOCALHOST, TUNNEL_PORT);
    let packet = ipv4(1, 1400);
    for _ in 0..count / 2 {
        ok(sendto(socket.as_raw_fd(), &packet, &to) as i64);
    }
    let mut vector = libc::iovec {
        iov_base: packet.as_ptr().cast_mut().cast(),
        iov_len: packet.len(),
    };
    // SAFETY: all-zero is valid; what messages point to lives through the calls.
    unsafe {
        let mut message: libc::mmsghdr = std::mem::zeroed();
        message.msg_hdr.msg_name = (&raw const to).cast_mut().cast();
        message.msg_hdr.msg_namelen = size_of_val(&to) as u32;
        message.msg_hdr.msg_iov = &mut vector;
        message.msg_hdr.msg_iovlen = 1;
        let mut messages = [message; BATCH];
        let mut left = count / 2;
        while left > 0 {
            let count = left.min(BATCH as u64) as u32;
            let fd = socket.as_raw_fd();
            left -= ok(libc::sendmmsg(fd, messages.as_mut_ptr(), count, 0)) as u64;
        }
    }
}

fn lost(outcome: &Outcome, kind: &str) -> u64 {
    let of_kind = |loss: &&Value| loss["event_kind"] == kind;
    let count = |loss: &Value| loss["count"].as_u64().unwrap();
    outcome.losses.iter().filter(of_kind).map(count).sum()
}

/// Two senders and a ring that is far too small.
#[test]
fn nothing_is_lost_uncounted() {
    if !privileged() {
        return;
    }
    for (flooded, quiet) in FLOODS {
        let (a, b) = (Namespace::new(), Namespace::new());
        let mut players = [&a, &b].map(|namespace| {
            let mut player = play(Some(namespace), |stage| {
                stage.cue();
                flood(flooded);
            });
            player.expect("up");
            player
        });
        let pids = players
            .each_ref()
            .map(|player| player.pid.to_string())
            .join(",");
        let mut arguments = vec!["--pid", &pids, "--buffer-size", "64", "--snaplen", "100"];
        arguments.extend(quiet.then_some("-q"));
        let watch = Watch::start(&arguments);
        for player in &mut players {
            player.cue();
        }
        for player in &mut players {
            player.expect("done");
        }
        let outcome = watch.stop();
        assert!(outcome.status.success(), "{}", outcome.stderr);
        let (decoded, missing) = (&outcome.summary["packets"], lost(&outcome, "udp"));
        assert_eq!(
            decoded.as_u64().unwrap() + missing,
            2 * flooded,
            "{outcome:?}"
        );
        assert!(missing > 0, "the ring was not too small");
        if !quiet {
            assert_eq!(outcome.packets.len() as u64, decoded.as_u64().unwrap());
        }
        let all: u64 = outcome
            .losses
            .iter()
            .map(|loss| loss["count"].as_u64().unwrap())
            .sum();
        assert_eq!(outcome.summary["lost"], all);
        for loss in outcome
            .losses
            .iter()
            .filter(|loss| loss["event_kind"] == "udp")
        {
            assert_eq!(loss["cause"], "ring-full");
            assert_eq!(loss["source"], "probe");
            let window = &loss["window"];
            assert!(
                window["since_ns"].as_u64() < window["until_ns"].as_u64(),
                "{loss}"
            );
        }
    }
}

/// 50,000 packets of each kind fit even when netdig sleeps all the while.
#[test]
fn nothing_is_lost_where_there_is_room() {
    const COUNT: u64 = 50_000;
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let mut player = play(Some(&namespace), |stage| {
        stage.cue();
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, TUNNEL_PORT)).unwrap();
        let device = plain_tun("load0", 1);
        let to = v4(Ipv4Addr::LOCALHOST, TUNNEL_PORT);
        let packet = ipv4(1, 90);
        for _ in 0..COUNT {
            ok(sendto(socket.as_raw_fd(), &packet, &to) as i64);
            write(device.as_raw_fd(), &packet);
        }
    });
    player.expect("up");
    let watch = Watch::start(&["--netns", &namespace.name, "-q"]);
    player.perform();
    let outcome = watch.stop().whole();
    assert_eq!(outcome.summary["packets"], 2 * COUNT);
    assert_eq!(outcome.summary["bytes"], 2 * COUNT * 90);
}
