//! Descriptors that reach the one who uses them by every way there is.

use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::Value;

use crate::net::{
    TUNNEL_PORT, bring_up, carry, knock, open_tun, plain_tun, read_knock, recv, send_home,
    set_interface, socket, tun, write,
};
use crate::play::{Stage, forked, ok, play};
use crate::watch::{Outcome, Watch};
use crate::world::{Namespace, privileged};

/// What a scene tells: who carried the packet with this marker over which
/// descriptors.
fn told(stage: &mut Stage, marker: u16, tun: RawFd, socket: RawFd) {
    stage.tell(format_args!(
        "{marker} {} {tun} {socket}",
        std::process::id()
    ));
}

/// Plays a scene that ends with "over" after lines of [`told`], while netdig
/// watches its namespace; checks that each packet was seen on all four sides.
fn watched(device: &str, before: bool, scene: impl FnOnce(&mut Stage)) -> Option<Outcome> {
    if !privileged() {
        return None;
    }
    let namespace = Namespace::new();
    let mut player = play(Some(&namespace), |stage| {
        if !before {
            stage.cue();
        }
        scene(stage);
        stage.tell("over");
    });
    player.expect("up");
    if before {
        player.expect("made");
    }
    let watch = Watch::start(&["--netns", &namespace.name]);
    player.cue();
    let mut lines = Vec::new();
    loop {
        match player.hear() {
            line if line == "over" => break,
            line => lines.push(line),
        }
    }
    player.expect("done");
    player.end();
    let outcome = watch.stop().whole();
    for line in lines {
        let words: Vec<i64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        check(&outcome, device, &words);
    }
    Some(outcome)
}

fn check(outcome: &Outcome, device: &str, words: &[i64]) {
    let &[marker, pid, tun, socket] = words else {
        panic!("{words:?}");
    };
    let sides: Vec<&Value> = outcome.that(|packet| marker_of(packet) == Some(marker));
    let vias: Vec<_> = sides
        .iter()
        .map(|side| side["via"].as_str().unwrap())
        .collect();
    assert_eq!(
        vias,
        ["tun-read", "udp-send", "udp-recv", "tun-write"],
        "marker {marker}"
    );
    for side in &sides {
        assert_eq!(side["process"]["pid"], pid, "{side}");
        let (num, name) = match side["via"].as_str().unwrap().starts_with("tun") {
            true => (tun, format!("/dev/net/tun ({device})")),
            false => (socket, format!("127.0.0.1:{TUNNEL_PORT}")),
        };
        assert_eq!(side["fd"]["num"], num, "{side}");
        assert_eq!(side["fd"]["name"], name, "{side}");
    }
    for (one, other) in [(0, 1), (1, 0), (2, 3), (3, 2)] {
        assert_eq!(sides[one]["joined"], sides[other]["n"], "marker {marker}");
    }
}

/// The marker of [`knock`].
pub fn marker_of(packet: &Value) -> Option<i64> {
    (packet["udp"]["dport"] == 5000).then(|| packet["udp"]["len"].as_i64().unwrap() - 8)
}

#[test]
fn copies_in_one_process() {
    watched("dupes0", true, |stage| {
        let (tun, socket) = (plain_tun("dupes0", 1), socket(TUNNEL_PORT));
        let (tun, socket) = (tun.as_raw_fd(), socket.as_raw_fd());
        stage.tell("made");
        stage.cue();
        carry(tun, socket, 1, 1);
        told(stage, 1, tun, socket);
        // SAFETY: numbers of open descriptors, and of free ones.
        let copies = unsafe {
            [
                (ok(libc::dup(tun)), ok(libc::dup(socket))),
                (ok(libc::dup2(tun, 40)), ok(libc::dup2(socket, 41))),
                (
                    ok(libc::dup3(tun, 50, libc::O_CLOEXEC)),
                    ok(libc::dup3(socket, 51, libc::O_CLOEXEC)),
                ),
                (
                    ok(libc::fcntl(tun, libc::F_DUPFD, 60)),
                    ok(libc::fcntl(socket, libc::F_DUPFD_CLOEXEC, 61)),
                ),
            ]
        };
        for (marker, (tun, socket)) in (2..).zip(copies) {
            carry(tun, socket, 1, marker);
            told(stage, marker, tun, socket);
        }
        // What the first numbers meant is gone: they mean each other.
        // SAFETY: as above.
        unsafe {
            ok(libc::dup2(50, socket));
            ok(libc::dup2(51, tun));
        }
        carry(socket, tun, 1, 9);
        told(stage, 9, socket, tun);
    });
}

#[test]
fn forked_before_netdig_and_after() {
    watched("forked0", true, |stage| {
        let (tun, socket) = (plain_tun("forked0", 1), socket(TUNNEL_PORT));
        let (tun, socket) = (tun.as_raw_fd(), socket.as_raw_fd());
        // SAFETY: the child has one thread; a cue comes over a pipe.
        let (early, pipe) = unsafe {
            let mut pipe = [0; 2];
            ok(libc::pipe(pipe.as_mut_ptr()));
            match ok(libc::fork()) {
                0 => {
                    libc::close(pipe[1]);
                    let mut byte = [0];
                    crate::net::read(pipe[0], &mut byte);
                    carry(tun, socket, 1, 1);
                    libc::_exit(0);
                }
                pid => (pid, pipe[1]),
            }
        };
        stage.tell("made");
        stage.cue();
        write(pipe, &[0]);
        // SAFETY: the child was not waited for yet.
        unsafe { libc::waitpid(early, std::ptr::null_mut(), 0) };
        stage.tell(format_args!("1 {early} {tun} {socket}"));
        forked(|| {
            carry(tun, socket, 1, 2);
            told(stage, 2, tun, socket);
            // A child of a child, whose parent has closed its own.
            forked(|| {
                carry(tun, socket, 1, 3);
                told(stage, 3, tun, socket);
            });
        });
    });
}

/// The device is made while netdig runs, long after the open.
#[test]
fn an_interface_set_later() {
    watched("late0", true, |stage| {
        let tun = open_tun();
        let socket = socket(TUNNEL_PORT);
        stage.tell("made");
        stage.cue();
        set_interface(tun.as_raw_fd(), "late0", libc::IFF_TUN | libc::IFF_NO_PI);
        bring_up("late0", 1);
        carry(tun.as_raw_fd(), socket.as_raw_fd(), 1, 1);
        told(stage, 1, tun.as_raw_fd(), socket.as_raw_fd());
    });
}

/// Handed to a process that has nothing of its own, over a Unix socket.
#[test]
fn passed_over_a_socket() {
    watched("passed0", false, |stage| {
        let mut pair = [0; 2];
        // SAFETY: room for two numbers.
        unsafe {
            ok(libc::socketpair(
                libc::AF_UNIX,
                libc::SOCK_SEQPACKET,
                0,
                pair.as_mut_ptr(),
            ))
        };
        // SAFETY: the child has one thread and leaves by _exit.
        let child = match unsafe { ok(libc::fork()) } {
            0 => {
                // Numbers that mean something else in the process that sends.
                // SAFETY: numbers of open and of free descriptors.
                unsafe {
                    for num in 100..120 {
                        ok(libc::dup2(1, num));
                    }
                    ok(libc::close_range(104, 107, 0));
                }
                let [tun, socket] = receive_pair(pair[1]);
                carry(tun, socket, 1, 1);
                told(stage, 1, tun, socket);
                // SAFETY: ends the process at once.
                unsafe { libc::_exit(0) }
            }
            pid => pid,
        };
        let (tun, socket) = (plain_tun("passed0", 1), socket(TUNNEL_PORT));
        send_pair(pair[0], [tun.as_raw_fd(), socket.as_raw_fd()]);
        drop((tun, socket));
        let mut status = 0;
        // SAFETY: the child was not waited for yet.
        unsafe { libc::waitpid(child, &mut status, 0) };
        assert_eq!(status, 0);
    });
}

#[repr(C, align(8))]
struct Control([u8; 64]);

fn message(control: &mut Control, vector: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: all-zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = vector;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len();
    message
}

fn send_pair(socket: RawFd, pair: [RawFd; 2]) {
    let (mut control, mut byte) = (Control([0; 64]), [7u8]);
    let mut vector = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let mut message = message(&mut control, &mut vector);
    // SAFETY: the control buffer has room for one header and two numbers.
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(8) as usize;
        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(8) as usize;
        std::ptr::copy_nonoverlapping(pair.as_ptr().cast(), libc::CMSG_DATA(header), 8);
        ok(libc::sendmsg(socket, &message, 0) as i64);
    }
}

fn receive_pair(socket: RawFd) -> [RawFd; 2] {
    let (mut control, mut byte) = (Control([0; 64]), [0u8]);
    let mut vector = libc::iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    };
    let mut message = message(&mut control, &mut vector);
    let mut pair = [0; 2];
    // SAFETY: the sender puts one header with two numbers.
    unsafe {
        assert_eq!(ok(libc::recvmsg(socket, &mut message, 0) as i64), 1);
        let header = libc::CMSG_FIRSTHDR(&message);
        assert!(!header.is_null());
        std::ptr::copy_nonoverlapping(libc::CMSG_DATA(header), pair.as_mut_ptr().cast(), 8);
    }
    pair
}

/// Taken out of another process, which did not offer it.
#[test]
fn taken_with_pidfd_getfd() {
    watched("taken0", false, |stage| {
        let (tun, socket) = (plain_tun("taken0", 1), socket(TUNNEL_PORT));
        let parent = std::process::id() as i32;
        forked(|| {
            // SAFETY: plain numbers; both processes are this test's.
            let [tun, socket] = unsafe {
                let pidfd = ok(libc::syscall(libc::SYS_pidfd_open, parent, 0)) as i32;
                // Own numbers of the same files, from the fork, are not what is used.
                libc::close_range(tun.as_raw_fd() as u32, tun.as_raw_fd() as u32, 0);
                libc::close_range(socket.as_raw_fd() as u32, socket.as_raw_fd() as u32, 0);
                [tun.as_raw_fd(), socket.as_raw_fd()]
                    .map(|num| ok(libc::syscall(libc::SYS_pidfd_getfd, pidfd, num, 0)) as i32)
            };
            carry(tun, socket, 1, 1);
            told(stage, 1, tun, socket);
        });
    });
}

/// A thread that reads and sends, another that receives and writes.
#[test]
fn threads_share_a_tunnel() {
    let outcome = watched("threads0", true, |stage| {
        let (tun, socket) = (plain_tun("threads0", 1), socket(TUNNEL_PORT));
        let (tun, socket) = (tun.as_raw_fd(), socket.as_raw_fd());
        let half = move |cue: std::sync::mpsc::Receiver<()>, out: bool| {
            cue.recv().unwrap();
            let mut buffer = [0; 2048];
            match out {
                true => {
                    let length = read_knock(tun, 0, &mut buffer);
                    send_home(socket, &buffer[..length]);
                }
                false => {
                    let length = recv(socket, &mut buffer, 0);
                    write(tun, &buffer[..length]);
                }
            }
        };
        // One thread is there before netdig, the other comes later.
        let (cue, when) = std::sync::mpsc::channel();
        let early = std::thread::spawn(move || half(when, true));
        stage.tell("made");
        stage.cue();
        knock(1, 1);
        cue.send(()).unwrap();
        early.join().unwrap();
        let (cue, when) = std::sync::mpsc::channel();
        cue.send(()).unwrap();
        std::thread::spawn(move || half(when, false))
            .join()
            .unwrap();
        told(stage, 1, tun, socket);
    });
    let Some(outcome) = outcome else { return };
    let sides = outcome.that(|packet| marker_of(packet) == Some(1));
    let tids: Vec<_> = sides
        .iter()
        .map(|side| side["process"]["tid"].as_u64().unwrap())
        .collect();
    assert_eq!(tids[0], tids[1]);
    assert_eq!(tids[2], tids[3]);
    assert_ne!(tids[0], tids[2]);
    assert!(
        sides
            .iter()
            .all(|side| side["process"]["pid"] != side["process"]["tid"])
    );
}

/// Two processes with one table: what one opens, the other uses.
#[test]
fn a_process_that_shares_the_table() {
    watched("shared0", false, |stage| {
        // SAFETY: a fork that shares descriptors alone: the child's memory is
        // its own, and it leaves by _exit.
        let child = unsafe {
            let flags = libc::CLONE_FILES | libc::SIGCHLD;
            ok(libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0)) as i32
        };
        if child == 0 {
            let (tun, socket) = (plain_tun("shared0", 1), socket(TUNNEL_PORT));
            assert_eq!(
                (tun.into_raw_fd(), socket.into_raw_fd()),
                (4, 5),
                "the lowest free numbers"
            );
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(0) }
        }
        let mut status = 0;
        // SAFETY: the child was not waited for yet; the numbers are open in the
        // table that is shared.
        let (tun, socket) = unsafe {
            libc::waitpid(child, &mut status, 0);
            assert_eq!(status, 0);
            (OwnedFd::from_raw_fd(4), OwnedFd::from_raw_fd(5))
        };
        carry(tun.as_raw_fd(), socket.as_raw_fd(), 1, 1);
        told(stage, 1, tun.as_raw_fd(), socket.as_raw_fd());
    });
}

const AFTER_EXEC: &str = "NETDIG_TEST_AFTER_EXEC";

/// The program that [`inherited_over_exec`] becomes: it was given a tun and a
/// socket, and numbers that were closed by the exec.
#[test]
fn after_exec() {
    let Ok(numbers) = std::env::var(AFTER_EXEC) else {
        return;
    };
    let numbers: Vec<i32> = numbers.split(' ').map(|num| num.parse().unwrap()).collect();
    // Another file takes the number of the tun that was closed on exec.
    // SAFETY: a valid path, plain numbers.
    unsafe {
        assert_eq!(libc::fcntl(numbers[2], libc::F_GETFD), -1);
        ok(libc::dup2(numbers[0], numbers[2]));
    }
    carry(numbers[0], numbers[1], 1, 1);
    carry(numbers[2], numbers[1], 1, 2);
}

#[test]
fn inherited_over_exec() {
    watched("inherit0", false, |stage| {
        let (tun, socket) = (plain_tun("inherit0", 1), socket(TUNNEL_PORT));
        let other = plain_tun("other0", 2);
        let numbers = [&tun, &socket, &other].map(|fd| fd.as_raw_fd());
        // SAFETY: numbers of open descriptors.
        unsafe {
            ok(libc::fcntl(numbers[0], libc::F_SETFD, 0));
            ok(libc::ioctl(numbers[1], libc::FIONCLEX));
        }
        let [one, two, three] = numbers;
        let mut command = Command::new("/proc/self/exe");
        command
            .args(["--exact", "descriptors::after_exec", "--test-threads", "1"])
            .env(AFTER_EXEC, format!("{one} {two} {three}"))
            .stdout(std::process::Stdio::null());
        // SAFETY: the child has one thread until it becomes the program.
        let pid = match unsafe { ok(libc::fork()) } {
            0 => panic!("{}", command.exec()),
            pid => pid,
        };
        let mut status = 0;
        // SAFETY: the child was not waited for yet.
        unsafe { libc::waitpid(pid, &mut status, 0) };
        assert_eq!(status, 0);
        stage.tell(format_args!("1 {pid} {one} {two}"));
        stage.tell(format_args!("2 {pid} {three} {two}"));
    });
}

/// One number means one device after the other.
#[test]
fn a_number_used_again() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let flags = libc::IFF_TUN | libc::IFF_NO_PI;
    let mut player = play(Some(&namespace), |stage| {
        let socket = socket(TUNNEL_PORT);
        let first = tun("first0", flags, 1);
        let num = first.into_raw_fd();
        stage.cue();
        carry(num, socket.as_raw_fd(), 1, 1);
        // SAFETY: the number was given up above.
        unsafe { ok(libc::close_range(num as u32, num as u32, 0)) };
        let second = tun("second0", flags, 2);
        assert_eq!(second.as_raw_fd(), num);
        carry(num, socket.as_raw_fd(), 2, 2);
        drop(second);
        // The same name again is another device.
        let third = tun("first0", flags, 3);
        assert_eq!(third.as_raw_fd(), num);
        carry(num, socket.as_raw_fd(), 3, 3);
    });
    player.expect("up");
    let watch = Watch::start(&["--netns", &namespace.name]);
    player.perform();
    player.end();
    let outcome = watch.stop().whole();
    for (marker, name) in [(1, "first0"), (2, "second0"), (3, "first0")] {
        let sides = outcome.that(|packet| {
            marker_of(packet) == Some(marker) && packet["fd"]["interface"].is_string()
        });
        assert_eq!(sides.len(), 2, "marker {marker}");
        for side in sides {
            assert_eq!(side["fd"]["interface"], name);
            assert_eq!(side["fd"]["name"], format!("/dev/net/tun ({name})"));
        }
    }
}
