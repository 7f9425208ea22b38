use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn actor(pid: u32, tid: u32, name: &str) -> Actor {
    let mut comm = [0; 16];
    comm[..name.len()].copy_from_slice(name.as_bytes());
    Actor { pid, tid, comm }
}

/// A tracker with the events of one test, a millisecond apart.
struct Story {
    tracker: Tracker,
    now: u64,
}

impl Story {
    fn new() -> Story {
        Story {
            tracker: Tracker::empty(),
            now: SECOND,
        }
    }

    fn fd_as(&mut self, actor: Actor, change: FdChange) {
        self.now += 1_000_000;
        let event = FdEvent {
            ts_ns: self.now,
            actor,
            change,
        };
        self.tracker.apply(&Observation::Fd(event));
    }

    fn fd(&mut self, pid: u32, change: FdChange) {
        self.fd_as(actor(pid, pid, "daemon"), change);
    }

    fn process_as(&mut self, actor: Actor, change: ProcessChange) {
        self.now += 1_000_000;
        let event = ProcessEvent {
            ts_ns: self.now,
            actor,
            cgroup: 1,
            netns: 42,
            change,
        };
        self.tracker.apply(&Observation::Process(event));
    }

    fn fork(&mut self, parent: u32, child: u32, shares_files: bool) {
        let change = ProcessChange::Fork {
            parent,
            thread: false,
            shares_files,
        };
        self.process_as(actor(child, child, "daemon"), change);
    }

    fn exec(&mut self, pid: u32, args: &[&str]) {
        let change = ProcessChange::Exec {
            filename: args[0].into(),
            args: args.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
            cut: false,
            uid: 0,
            parent: 1,
        };
        self.process_as(actor(pid, pid, args[0]), change);
    }

    fn open(&mut self, pid: u32, num: i32, path: &str, cloexec: bool) {
        let origin = FdOrigin::Open {
            path: path.into(),
            dirfd: libc::AT_FDCWD,
            flags: 0,
        };
        let fd = view(num, FdKind::Regular, num as u64 + 100);
        self.fd(
            pid,
            FdChange::New {
                fd,
                origin,
                cloexec,
            },
        );
    }

    fn name(&mut self, pid: u32, num: i32) -> Option<String> {
        self.tracker.fd_name(pid, num).map(|name| name.to_string())
    }

    /// Numbers of the open descriptors among 0..100.
    fn open_fds(&mut self, pid: u32) -> Vec<i32> {
        (0..100)
            .filter(|&num| self.tracker.fd(pid, pid, num).is_some())
            .collect()
    }
}

fn view(num: i32, kind: FdKind, inode: u64) -> FdView {
    FdView { num, kind, inode }
}

fn tun(interface: &str) -> FdKind {
    FdKind::Tun {
        interface: interface.into(),
        tap: false,
        packet_info: false,
        vnet_header: 0,
    }
}

fn udp(local: &str, remote: Option<&str>) -> FdKind {
    let remote = remote.map(|remote| remote.parse().unwrap());
    FdKind::Inet {
        protocol: 17,
        stream: false,
        local: local.parse().unwrap(),
        remote,
    }
}

#[test]
fn a_tun_becomes_its_interface() {
    let mut story = Story::new();
    let origin = FdOrigin::Open {
        path: b"/dev/net/tun".to_vec(),
        dirfd: -100,
        flags: 2,
    };
    story.fd(
        7,
        FdChange::New {
            fd: view(5, tun(""), 9),
            origin,
            cloexec: true,
        },
    );
    assert_eq!(story.name(7, 5).unwrap(), "/dev/net/tun");
    story.fd(
        7,
        FdChange::Updated {
            fd: view(5, tun("flannel0"), 9),
        },
    );
    assert_eq!(story.name(7, 5).unwrap(), "/dev/net/tun (flannel0)");
    let expected = TunFd {
        pid: 7,
        num: 5,
        interface: "flannel0".into(),
        tap: false,
    };
    assert_eq!(story.tracker.tun_fds(), [expected]);
    assert!(
        story.tracker.fd(7, 7, 5).unwrap().cloexec,
        "TUNSETIFF does not touch the flag"
    );
    story.fd(7, FdChange::Close { num: 5 });
    assert_eq!(story.name(7, 5), None);
    assert_eq!(story.tracker.tun_fds(), []);
}

#[test]
fn sockets_are_named_by_their_addresses() {
    let mut story = Story::new();
    let new = |kind, origin| FdChange::New {
        fd: view(3, kind, 77),
        origin,
        cloexec: false,
    };
    story.fd(7, new(udp("0.0.0.0:0", None), FdOrigin::Socket));
    story.fd(
        7,
        FdChange::Updated {
            fd: view(3, udp("0.0.0.0:8285", None), 77),
        },
    );
    assert_eq!(story.name(7, 3).unwrap(), "0.0.0.0:8285");
    let connected = udp("10.0.0.1:1", Some("10.0.0.2:80"));
    story.fd(
        7,
        FdChange::Updated {
            fd: view(3, connected, 77),
        },
    );
    assert_eq!(story.name(7, 3).unwrap(), "10.0.0.1:1→10.0.0.2:80");
    let six = udp("[::]:53", Some("[fe80::1]:99"));
    story.fd(7, new(six, FdOrigin::Accept { listener: 4 }));
    assert_eq!(story.name(7, 3).unwrap(), "[::]:53→[fe80::1]:99");
}

#[test]
fn dup_keeps_the_path_and_not_the_flag() {
    let mut story = Story::new();
    story.open(7, 3, "/var/log/x", true);
    let fd = view(10, FdKind::Regular, 103);
    let origin = FdOrigin::Dup { from: 3 };
    story.fd(
        7,
        FdChange::New {
            fd,
            origin: origin.clone(),
            cloexec: false,
        },
    );
    assert_eq!(story.name(7, 10).unwrap(), "/var/log/x");
    assert!(!story.tracker.fd(7, 7, 10).unwrap().cloexec);
    story.fd(7, FdChange::Close { num: 3 });
    assert_eq!(story.name(7, 10).unwrap(), "/var/log/x");
    // What is known of the source is another file: its path is not passed on.
    let other = view(11, FdKind::Regular, 5555);
    story.open(7, 3, "/var/log/y", false);
    story.fd(
        7,
        FdChange::New {
            fd: other,
            origin,
            cloexec: false,
        },
    );
    assert_eq!(story.name(7, 11), None);
}

#[test]
fn close_range_closes_or_marks() {
    let mut story = Story::new();
    (3..9).for_each(|num| story.open(7, num, "/x", false));
    story.fd(
        7,
        FdChange::CloseRange {
            first: 4,
            last: 5,
            cloexec_only: false,
            unshare: false,
        },
    );
    assert_eq!(story.open_fds(7), [3, 6, 7, 8]);
    story.fd(
        7,
        FdChange::CloseRange {
            first: 7,
            last: u32::MAX,
            cloexec_only: true,
            unshare: false,
        },
    );
    story.fd(7, FdChange::CloseOnExec { num: 8, on: false });
    story.fd(7, FdChange::CloseOnExec { num: 3, on: true });
    story.exec(7, &["next"]);
    assert_eq!(story.open_fds(7), [6, 8]);
    story.fd(
        7,
        FdChange::CloseRange {
            first: 0,
            last: u32::MAX,
            cloexec_only: false,
            unshare: false,
        },
    );
    assert!(story.open_fds(7).is_empty());
}

#[test]
fn a_fork_copies_and_clone_files_shares() {
    let mut story = Story::new();
    story.open(7, 3, "/a", false);
    story.fork(7, 8, false);
    story.fork(7, 9, true);
    story.open(7, 4, "/b", false);
    story.fd(8, FdChange::Close { num: 3 });
    assert_eq!(story.open_fds(7), [3, 4]);
    assert!(story.open_fds(8).is_empty());
    assert_eq!(story.open_fds(9), [3, 4]);
    story.fd(9, FdChange::Close { num: 3 });
    assert_eq!(story.open_fds(7), [4]);
    // exec ends the sharing, and closes only in the process that execs.
    story.fd(7, FdChange::CloseOnExec { num: 4, on: true });
    story.exec(9, &["other"]);
    assert_eq!((story.open_fds(7), story.open_fds(9)), (vec![4], vec![]));
}

#[test]
fn threads_share_until_they_unshare() {
    let mut story = Story::new();
    story.open(7, 3, "/a", false);
    let thread = actor(7, 70, "worker");
    let born = ProcessChange::Fork {
        parent: 7,
        thread: true,
        shares_files: true,
    };
    story.process_as(thread, born);
    story.fd_as(thread, FdChange::Close { num: 3 });
    assert!(story.open_fds(7).is_empty());
    story.fd_as(thread, FdChange::Unshared);
    story.open(7, 5, "/b", false);
    assert!(story.tracker.fd(7, 70, 5).is_none());
    assert!(
        story.tracker.fd(7, 71, 5).is_some(),
        "other threads stay with the process"
    );
    story.process_as(
        thread,
        ProcessChange::Exit {
            code: 0,
            last: false,
        },
    );
    assert!(
        story.tracker.fd(7, 70, 5).is_some(),
        "the number is free for another thread"
    );
}

#[test]
fn unsharing_parts_from_the_other_process() {
    let mut story = Story::new();
    story.open(7, 3, "/a", false);
    story.fork(7, 8, true);
    story.fd(8, FdChange::Unshared);
    story.fd(8, FdChange::Close { num: 3 });
    assert_eq!((story.open_fds(7), story.open_fds(8)), (vec![3], vec![]));
}

#[test]
fn an_event_overrules_what_was_known() {
    let mut story = Story::new();
    story.open(7, 3, "/a", false);
    let who = actor(7, 7, "daemon");
    let mut named = |fd: FdView| {
        story
            .tracker
            .fd_name_of(&who, &fd)
            .map(|name| name.to_string())
    };
    assert_eq!(named(view(3, FdKind::Regular, 103)).unwrap(), "/a");
    // The close and the open that came between were not seen.
    assert_eq!(named(view(3, FdKind::Regular, 104)), None);
    assert_eq!(
        named(view(3, udp("0.0.0.0:53", None), 105)).unwrap(),
        "0.0.0.0:53"
    );
    assert_eq!(
        named(view(3, tun("flannel0"), 9)).unwrap(),
        "/dev/net/tun (flannel0)"
    );
    assert_eq!(
        named(view(3, tun("flannel1"), 9)).unwrap(),
        "/dev/net/tun (flannel1)"
    );
    assert_eq!(named(view(-1, FdKind::Unknown, 0)), None);
}

#[test]
fn lost_changes_make_names_unknown() {
    let mut story = Story::new();
    story.open(7, 3, "/a", false);
    let loss = |event_kind, count| Loss {
        ts_ns: 0,
        interface: None,
        source: "probe".into(),
        event_kind,
        cause: crate::observation::LossCause::RingFull,
        count,
        window: (0, 0),
    };
    story.tracker.apply_loss(&loss("tun", 5));
    story.tracker.apply_loss(&loss("fd", 0));
    assert_eq!(story.name(7, 3).unwrap(), "/a");
    story.tracker.apply_loss(&loss("fd", 1));
    assert_eq!(story.name(7, 3), None);
}

#[test]
fn a_process_lives_through_fork_exec_and_exit() {
    let mut story = Story::new();
    story.fork(1, 7, false);
    let born = story.now;
    let process = story.tracker.process(7).unwrap();
    assert_eq!((process.parent, process.start_ns), (Some(1), Some(born)));
    assert_eq!(
        (process.comm.as_slice(), process.netns),
        (b"daemon".as_slice(), Some(42))
    );
    story.exec(7, &["flanneld", "-iface", "eth0"]);
    let process = story.tracker.process(7).unwrap();
    assert_eq!(process.comm, b"flanneld");
    assert_eq!(
        process.args,
        [b"flanneld".to_vec(), b"-iface".to_vec(), b"eth0".to_vec()]
    );
    assert_eq!((process.uid, process.start_ns), (Some(0), Some(born)));
    story.open(7, 3, "/a", false);
    story.process_as(
        actor(7, 7, "flanneld"),
        ProcessChange::Exit {
            code: 0,
            last: true,
        },
    );
    story.now += 9 * SECOND;
    story.open(8, 3, "/b", false);
    assert!(story.tracker.process(7).is_some());
    assert_eq!(story.name(7, 3).unwrap(), "/a");
    story.now += 2 * SECOND;
    story.open(8, 4, "/b", false);
    assert_eq!(story.tracker.process(7), None);
    assert_eq!(story.name(7, 3), None);
}

#[test]
fn a_pid_used_again_is_another_process() {
    let mut story = Story::new();
    story.fork(1, 7, false);
    story.exec(7, &["old"]);
    story.open(7, 3, "/a", false);
    story.process_as(
        actor(7, 7, "old"),
        ProcessChange::Exit {
            code: 0,
            last: true,
        },
    );
    story.fork(1, 7, false);
    let process = story.tracker.process(7).unwrap();
    assert!(process.args.is_empty());
    assert!(story.open_fds(7).is_empty());
    story.now += 20 * SECOND;
    story.open(7, 3, "/b", false);
    assert!(
        story.tracker.process(7).is_some(),
        "the end of the first does not end the second"
    );
    assert_eq!(story.name(7, 3).unwrap(), "/b");
}

#[test]
fn the_ended_are_bounded_in_number() {
    let mut story = Story::new();
    for pid in 10..20_010 {
        story.now -= 1_999_900;
        story.fork(1, pid, false);
        story.process_as(
            actor(pid, pid, "x"),
            ProcessChange::Exit {
                code: 0,
                last: true,
            },
        );
    }
    assert!(story.tracker.processes().count() < 4200);
    assert!(story.tracker.process(20_009).is_some());
    assert!(story.tracker.process(10).is_none());
}

#[test]
fn a_recording_describes_processes() {
    let mut story = Story::new();
    let info = ProcessInfo {
        pid: 7,
        parent: Some(1),
        comm: b"flanneld".to_vec(),
        args: vec![b"flanneld".to_vec()],
        user: Some("root".into()),
        container_id: Some("abc".into()),
        container_name: Some("flannel".into()),
        ..ProcessInfo::default()
    };
    let who = actor(7, 71, "thread");
    story.process_as(who, ProcessChange::Described(info.clone()));
    assert_eq!(story.tracker.process(7).unwrap().info(), info);
    let again = story.tracker.process_of(&who, None, None);
    assert_eq!(
        again.comm, b"flanneld",
        "a thread's name is not the process's"
    );
}

#[test]
fn an_unknown_process_is_named_by_its_event() {
    let mut story = Story::new();
    let process = story
        .tracker
        .process_of(&actor(7, 7, "ping"), Some(3), Some(0));
    assert_eq!(
        (process.comm.as_slice(), process.netns, process.cgroup),
        (&b"ping"[..], Some(3), None)
    );
    let process = story
        .tracker
        .process_of(&actor(7, 7, "pong"), Some(4), Some(8));
    assert_eq!(
        (process.comm.as_slice(), process.netns, process.cgroup),
        (&b"pong"[..], Some(4), Some(8))
    );
    assert_eq!(process.info().container_id, None);
}

#[test]
fn paths_are_joined_as_the_kernel_walks_them() {
    let whole = |folder: &str, path: &str| {
        String::from_utf8(joined(Some(folder.into()), path.as_bytes())).unwrap()
    };
    assert_eq!(whole("/etc", "passwd"), "/etc/passwd");
    assert_eq!(whole("/", "./a//b/"), "/a/b");
    assert_eq!(whole("/etc/x", "../hosts"), "/etc/hosts");
    assert_eq!(whole("/etc", "../../.."), "/");
    assert_eq!(joined(None, b"../a"), b"../a");
    assert_eq!(joined(Some(b"socket:[3]".to_vec()), b"a"), b"a");
}

/// A tree with one process, as `/proc` would show it.
struct Crafted(PathBuf);

impl Crafted {
    fn new(name: &str) -> Crafted {
        let root = std::env::temp_dir().join(format!("netdig-proc-{name}-{}", std::process::id()));
        let tree = Crafted(root);
        tree.write(
            "etc/passwd",
            "root:x:0:0::/root:/bin/sh\nflannel:x:998:998::/:/bin/false\n",
        );
        tree.write("proc/stat", "cpu 1 2\nbtime 1000\n");
        tree
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        symlink(target, path).unwrap();
    }

    fn process(&self, pid: u32, comm: &str, ticks: u64) {
        let middle = "0 ".repeat(17);
        self.write(
            &format!("proc/{pid}/stat"),
            &format!("{pid} ({comm}) S 1 {middle}{ticks} 0 0\n"),
        );
        self.write(
            &format!("proc/{pid}/status"),
            &format!("Name:\tx\nTgid:\t{pid}\nUid:\t0\t998\t0\t0\n"),
        );
        self.write(&format!("proc/{pid}/cmdline"), "flanneld\0-ip-masq\0\0");
        self.write(
            &format!("proc/{pid}/cgroup"),
            "0::/system.slice/flanneld.service\n",
        );
        self.link(&format!("proc/{pid}/ns/net"), "net:[4026531840]");
        self.link(&format!("proc/{pid}/cwd"), "/var/lib");
    }

    fn fd(&self, pid: u32, num: i32, target: &str, info: &str) {
        self.link(&format!("proc/{pid}/fd/{num}"), target);
        self.write(&format!("proc/{pid}/fdinfo/{num}"), info);
    }
}

impl Drop for Crafted {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn flanneld(name: &str) -> Crafted {
    let tree = Crafted::new(name);
    tree.process(7, "a) S (b", 250);
    tree.fd(
        7,
        5,
        "/dev/net/tun",
        "pos:\t0\nflags:\t02104002\nmnt_id:\t2\nino:\t8\niff:\tflannel0\n",
    );
    tree.fd(7, 6, "socket:[555]", "flags:\t02\nino:\t555\n");
    tree.fd(7, 8, "socket:[556]", "flags:\t02\nino:\t556\n");
    tree.fd(7, 9, "anon_inode:[eventpoll]", "flags:\t02\nino:\t14\n");
    let udp = "heading\n 1: 00000000:205D 00000000:0000 07 0:0 00:0 0 0 0 555 2 0 0\n".to_owned();
    tree.write("proc/7/net/udp", &udp);
    tree
}

#[test]
fn the_start_is_read_from_proc() {
    let tree = flanneld("start");
    let mut tracker = Tracker::from_root(&tree.0).unwrap();
    assert_eq!(tracker.processes().count(), 1);
    let process = tracker.process(7).unwrap();
    assert_eq!(
        (process.comm.as_slice(), process.parent),
        (&b"a) S (b"[..], Some(1))
    );
    assert_eq!(
        process.args,
        [b"flanneld".to_vec(), b"-ip-masq".to_vec(), b"".to_vec()]
    );
    assert_eq!(
        (process.uid, process.user.as_deref()),
        (Some(998), Some("flannel"))
    );
    assert_eq!(process.netns, Some(4026531840));
    assert_eq!(process.start_ns, Some(1000 * SECOND + 2_500_000_000));
    let tuns = tracker.tun_fds();
    assert_eq!(
        (tuns.len(), tuns[0].num, tuns[0].interface.as_str()),
        (1, 5, "flannel0")
    );
    assert!(tracker.fd(7, 7, 5).unwrap().cloexec);
    assert_eq!(tracker.fd_name(7, 6).as_deref(), Some("0.0.0.0:8285"));
    assert_eq!(
        tracker.fd_name(7, 8),
        None,
        "a socket in no table has no name"
    );
    assert_eq!(tracker.fd(7, 7, 9).unwrap().kind, FdKind::AnonInode);
    assert_eq!(tracker.fd(7, 7, 10), None);
    assert_eq!(tracker.process(8), None);
}

#[test]
fn relative_paths_become_absolute() {
    let tree = flanneld("relative");
    let mut tracker = Tracker::from_root(&tree.0).unwrap();
    let mut open = |num, dirfd, path: &str| {
        let origin = FdOrigin::Open {
            path: path.into(),
            dirfd,
            flags: 0,
        };
        let fd = view(num, FdKind::Directory, num as u64);
        let change = FdChange::New {
            fd,
            origin,
            cloexec: false,
        };
        tracker.apply_fd(&FdEvent {
            ts_ns: 1,
            actor: actor(7, 7, "x"),
            change,
        });
        tracker.fd_name(7, num).unwrap().to_string()
    };
    assert_eq!(open(20, libc::AT_FDCWD, "flannel"), "/var/lib/flannel");
    assert_eq!(open(21, 20, "../x/./subnet.env"), "/var/lib/x/subnet.env");
    assert_eq!(open(22, 99, "nowhere"), "nowhere");
}

#[test]
fn a_child_of_an_old_process_knows_its_descriptors() {
    let tree = flanneld("child");
    let mut tracker = Tracker::from_root(&tree.0).unwrap();
    let change = ProcessChange::Fork {
        parent: 7,
        thread: false,
        shares_files: false,
    };
    let event = ProcessEvent {
        ts_ns: 5,
        actor: actor(70, 70, "b"),
        cgroup: 1,
        netns: 9,
        change,
    };
    tracker.apply_process(&event);
    assert_eq!(
        tracker.fd_name(70, 5).as_deref(),
        Some("/dev/net/tun (flannel0)")
    );
    let child = tracker.process(70).unwrap();
    assert_eq!((child.parent, child.args.len()), (Some(7), 3));
}

#[test]
fn after_lost_events_the_process_is_read_again() {
    let tree = flanneld("lost");
    tree.process(8, "gone", 300);
    let mut tracker = Tracker::from_root(&tree.0).unwrap();
    tree.process(7, "another", 90_000);
    fs::remove_dir_all(tree.0.join("proc/8")).unwrap();
    assert_eq!(tracker.process(7).unwrap().comm, b"a) S (b");
    let loss = Loss {
        ts_ns: SECOND,
        interface: None,
        source: "probe".into(),
        event_kind: "process",
        cause: crate::observation::LossCause::RingFull,
        count: 1,
        window: (0, 0),
    };
    tracker.apply_loss(&loss);
    assert_eq!(tracker.process(7).unwrap().comm, b"another");
    assert_eq!(
        tracker.process(8).unwrap().comm,
        b"gone",
        "ended, and within its grace"
    );
    tracker.apply_process(&ProcessEvent {
        ts_ns: 30 * SECOND,
        actor: actor(7, 7, "another"),
        cgroup: 0,
        netns: 0,
        change: ProcessChange::ExecFailed {
            filename: vec![],
            errno: 2,
        },
    });
    assert_eq!(tracker.process(8), None);
}

#[test]
fn an_ended_process_is_not_read_from_its_successor() {
    let tree = flanneld("successor");
    let mut tracker = Tracker::from_root(&tree.0).unwrap();
    let change = ProcessChange::Exit {
        code: 0,
        last: true,
    };
    let who = actor(7, 7, "x");
    tracker.apply_process(&ProcessEvent {
        ts_ns: 1,
        actor: who,
        cgroup: 0,
        netns: 0,
        change,
    });
    assert_eq!(
        tracker.fd_name(7, 5).as_deref(),
        Some("/dev/net/tun (flannel0)")
    );
    assert_eq!(tracker.fd_name(7, 6), None);
}

#[test]
fn garbage_in_proc_is_no_process() {
    let tree = flanneld("garbage");
    tree.write("etc/passwd", "x\n::::\nroot:x:nonsense\nflannel:x:998\n");
    tree.write("proc/7/net/udp", "h\n \n1:\n1: 00000000:205D\n");
    tree.fd(7, 5, "/dev/net/tun", "flags:\t99\nino:\t-1\niff:\n");
    let mut tracker = Tracker::from_root(&tree.0).unwrap();
    assert_eq!(tracker.process(7).unwrap().user.as_deref(), Some("flannel"));
    assert_eq!(tracker.fd_name(7, 5).as_deref(), Some("/dev/net/tun"));
    assert_eq!(tracker.fd_name(7, 6), None);
    for stat in [
        "",
        ")(",
        "7 (a",
        "7 (a)",
        "7 (a) S 1 0",
        "7 (a) S x 0 0",
        ")",
        "7 (a) S -1 0",
    ] {
        tree.write("proc/7/stat", stat);
        let mut tracker = Tracker::from_root(&tree.0).unwrap();
        assert_eq!(tracker.process(7), None, "{stat}");
    }
}
