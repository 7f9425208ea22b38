//! Life of descriptors, processes and files: what the probe tells against what
//! a process did, and the tracker's tables against `/proc`.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use netdig::observation::{FdChange, FdKind, FdOrigin, FileOp, ProcessChange};
use netdig::source::probe::ProbeOptions;
use netdig::tracker::Tracker;

use crate::calls::observed;
use crate::net::{open_tun, path, plain_tun, set_interface};
use crate::play::{forked, ok, play};
use crate::seen::{END, Seen, mark_end};
use crate::world::{Namespace, Scratch, privileged};

fn bytes(path: &std::path::Path) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    path.as_os_str().as_bytes().to_vec()
}

#[test]
fn files_by_name() {
    if !privileged() {
        return;
    }
    let scratch = Scratch::new();
    let [one, two, folder, full] = ["one", "two", "folder", "full"].map(|name| scratch.path(name));
    let namespace = Namespace::new();
    let seen = observed(ProbeOptions::default(), &namespace, |_| {
        fs::write(&one, b"text").unwrap();
        fs::create_dir(&folder).unwrap();
        fs::create_dir_all(full.join("inside")).unwrap();
        fs::rename(&one, &two).unwrap();
        // Over a folder that is not empty.
        assert!(fs::rename(&folder, &full).is_err());
        let (from, to) = (path(two.to_str().unwrap()), path(one.to_str().unwrap()));
        let (from, to) = (from.as_ptr(), to.as_ptr());
        // SAFETY: valid paths and plain numbers.
        unsafe {
            let here = libc::AT_FDCWD;
            ok(libc::renameat2(
                here,
                from,
                here,
                to,
                libc::RENAME_NOREPLACE,
            ));
            ok(libc::renameat(here, to, here, from));
            assert!(libc::renameat2(here, from, here, from, libc::RENAME_NOREPLACE) < 0);
            ok(libc::truncate(from, 3));
            let fd = ok(libc::open(from, libc::O_RDWR));
            ok(libc::ftruncate(fd, 77));
            ok(libc::fsync(fd));
            ok(libc::fdatasync(fd));
            // A pipe has nothing to synchronise.
            let mut pipe = [0; 2];
            ok(libc::pipe(pipe.as_mut_ptr()));
            assert!(libc::fsync(pipe[0]) < 0);
            ok(libc::unlink(from));
            assert!(libc::unlink(from) < 0);
            let folder = path(folder.to_str().unwrap());
            ok(libc::unlinkat(here, folder.as_ptr(), libc::AT_REMOVEDIR));
        }
    });
    let rename = |from, to, result| (result, format!("rename {from:?} {to:?}"));
    let [one, two, folder, full] =
        [&one, &two, &folder, &full].map(|path| path.display().to_string());
    let expected = [
        rename(&one, &two, 0),
        rename(&folder, &full, -i64::from(libc::ENOTEMPTY)),
        rename(&two, &one, 0),
        rename(&one, &two, 0),
        rename(&two, &two, -i64::from(libc::EEXIST)),
        (0, format!("truncate {two:?} 3")),
        (0, "ftruncate 77".to_owned()),
        (0, "fsync".to_owned()),
        (0, "fsync".to_owned()),
        (-i64::from(libc::EINVAL), "fsync".to_owned()),
        (0, format!("unlink {two:?}")),
        (0, format!("unlink {folder:?}")),
        rename(&END.to_owned(), &END.to_owned(), -i64::from(libc::ENOENT)),
    ];
    let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    let told = seen.files.iter().map(|event| {
        let what = match &event.op {
            FileOp::Rename {
                from,
                to,
                from_dirfd: -100,
                to_dirfd: -100,
            } => {
                format!("rename {:?} {:?}", text(from), text(to))
            }
            FileOp::Unlink { path, dirfd: -100 } => format!("unlink {:?}", text(path)),
            FileOp::Truncate { path, len } => format!("truncate {:?} {len}", text(path)),
            FileOp::Ftruncate { fd, len } => {
                assert_eq!(fd.kind, FdKind::Regular);
                format!("ftruncate {len}")
            }
            FileOp::Fsync { fd } => {
                assert!(matches!(fd.kind, FdKind::Regular | FdKind::Pipe));
                "fsync".to_owned()
            }
            other => format!("{other:?}"),
        };
        (event.result, what)
    });
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

/// The changes of one scene, as words.
fn changes(seen: &Seen) -> Vec<String> {
    let words = |change: &FdChange| match change {
        FdChange::New {
            fd,
            origin,
            cloexec,
        } => {
            let origin = match origin {
                FdOrigin::Open { path, .. } => format!("open {}", String::from_utf8_lossy(path)),
                FdOrigin::Dup { from } => format!("dup {from}"),
                FdOrigin::Accept { listener } => format!("accept {listener}"),
                FdOrigin::ScmRights { .. } => "passed".to_owned(),
                FdOrigin::PidfdGetfd { target_fd, .. } => format!("taken {target_fd}"),
                other => format!("{other:?}").to_lowercase(),
            };
            format!(
                "{} {origin}{}",
                fd.num,
                if *cloexec { " cloexec" } else { "" }
            )
        }
        FdChange::Updated { fd } => format!("{} now {}", fd.num, kind(&fd.kind)),
        FdChange::CloseOnExec { num, on } => format!("{num} cloexec {on}"),
        FdChange::Close { num } => format!("{num} closed"),
        FdChange::CloseRange {
            first,
            last,
            cloexec_only,
            unshare,
        } => {
            format!("range {first} {last} {cloexec_only} {unshare}")
        }
        FdChange::Unshared => "unshared".to_owned(),
    };
    seen.fds.iter().map(|event| words(&event.change)).collect()
}

fn kind(kind: &FdKind) -> String {
    match kind {
        FdKind::Inet {
            local,
            remote: None,
            ..
        } => local.to_string(),
        FdKind::Inet {
            local,
            remote: Some(remote),
            ..
        } => format!("{local} {remote}"),
        FdKind::Tun { interface, .. } => format!("tun {interface}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn descriptors_come_and_go() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let seen = observed(ProbeOptions::default(), &namespace, |_| {
        // SAFETY: numbers of open or free descriptors, valid paths and arrays.
        unsafe {
            let file = ok(libc::open(
                c"/etc/passwd".as_ptr(),
                libc::O_RDONLY | libc::O_CLOEXEC,
            ));
            assert_eq!(file, 4);
            assert!(libc::open(c"/nonexistent/file".as_ptr(), libc::O_RDONLY) < 0);
            ok(libc::dup(4));
            ok(libc::dup2(4, 10));
            // Onto itself: nothing changes, and nothing may be forgotten.
            ok(libc::dup2(10, 10));
            ok(libc::dup3(4, 11, libc::O_CLOEXEC));
            ok(libc::fcntl(4, libc::F_DUPFD, 12));
            ok(libc::fcntl(4, libc::F_DUPFD_CLOEXEC, 13));
            ok(libc::fcntl(12, libc::F_SETFD, libc::FD_CLOEXEC));
            ok(libc::ioctl(12, libc::FIONCLEX));
            ok(libc::ioctl(12, libc::FIOCLEX));
            ok(libc::close(5));
            assert!(libc::close(5) < 0);
            ok(libc::close_range(10, 13, libc::CLOSE_RANGE_CLOEXEC as i32));
            ok(libc::close_range(11, 13, 0));
            let mut pair = [0; 2];
            ok(libc::pipe2(pair.as_mut_ptr(), libc::O_CLOEXEC));
            ok(libc::socketpair(
                libc::AF_UNIX,
                libc::SOCK_STREAM,
                0,
                pair.as_mut_ptr(),
            ));
            ok(libc::eventfd(0, 0));
            ok(libc::epoll_create1(libc::EPOLL_CLOEXEC));
            ok(libc::syscall(libc::SYS_unshare, libc::CLONE_FILES));
        }
        let tun = open_tun();
        set_interface(tun.as_raw_fd(), "state0", libc::IFF_TUN | libc::IFF_NO_PI);
    });
    let expected = [
        "4 open /etc/passwd cloexec",
        "5 dup 4",
        "10 dup 4",
        "10 dup 10",
        "11 dup 4 cloexec",
        "12 dup 4",
        "13 dup 4 cloexec",
        "12 cloexec true",
        "12 cloexec false",
        "12 cloexec true",
        "5 closed",
        "range 10 13 true false",
        "range 11 13 false false",
        "5 pipe cloexec",
        "6 pipe cloexec",
        "7 socketpair",
        "8 socketpair",
        "9 other",
        "11 other cloexec",
        "unshared",
        "12 open /dev/net/tun cloexec",
        "12 now tun state0",
        "12 closed",
    ];
    assert_eq!(changes(&seen), expected);
}

#[test]
fn sockets_become_something() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    // A peer that never answers: the connect goes on in the background.
    namespace.ip("link add name quiet type veth peer name silent");
    namespace.ip("link set silent up");
    namespace.ip("addr add 10.50.0.1/24 dev quiet");
    namespace.ip("link set quiet up");
    let mut ports = (0, 0);
    let seen = {
        let mut player = play(Some(&namespace), |stage| {
            stage.cue();
            let udp = UdpSocket::bind("127.0.0.1:8285").unwrap();
            udp.connect("127.0.0.1:9000").unwrap();
            let listener = TcpListener::bind("[::1]:7001").unwrap();
            let client = TcpStream::connect("[::1]:7001").unwrap();
            let (server, _) = listener.accept().unwrap();
            let slow = slow_connect();
            let refused = TcpStream::connect("127.0.0.1:1");
            assert!(refused.is_err());
            mark_end();
            let port = |stream: &TcpStream| stream.local_addr().unwrap().port();
            let slow = TcpStream::from(slow);
            stage.tell(format_args!("{} {}", port(&client), port(&slow)));
            drop(server);
        });
        player.expect("up");
        let mut seen = Seen::start(&ProbeOptions::default(), player.pid, Tracker::empty());
        player.cue();
        let told = player.hear();
        let (client, slow) = told.split_once(' ').unwrap();
        ports.0 = client.parse().unwrap();
        ports.1 = slow.parse::<u16>().unwrap();
        player.expect("done");
        seen.until_end();
        player.end();
        seen
    };
    let (client, slow) = ports;
    let expected: Vec<String> = [
        "4 socket cloexec".to_owned(),
        "4 now 127.0.0.1:8285".to_owned(),
        "4 now 127.0.0.1:8285 127.0.0.1:9000".to_owned(),
        "5 socket cloexec".to_owned(),
        "5 now [::1]:7001".to_owned(),
        "5 now [::1]:7001".to_owned(),
        "6 socket cloexec".to_owned(),
        format!("6 now [::1]:{client} [::1]:7001"),
        "7 accept 5 cloexec".to_owned(),
        "8 socket".to_owned(),
        format!("8 now 10.50.0.1:{slow} 10.50.0.9:80"),
        "9 socket cloexec".to_owned(),
    ]
    .into();
    let told = changes(&seen);
    assert_eq!(told[..expected.len()], expected);
    let accepted = seen.fds.iter().find_map(|event| match &event.change {
        FdChange::New {
            fd,
            origin: FdOrigin::Accept { .. },
            ..
        } => Some(kind(&fd.kind)),
        _ => None,
    });
    assert_eq!(accepted, Some(format!("[::1]:7001 [::1]:{client}")));
    // A refused one says where it went.
    let refused = &told[expected.len()];
    assert!(
        refused.starts_with("9 now ") && refused.ends_with(" 127.0.0.1:1"),
        "{refused}"
    );
}

/// A connect that cannot wait: EINPROGRESS.
fn slow_connect() -> OwnedFd {
    let to = crate::net::v4(Ipv4Addr::new(10, 50, 0, 9), 80);
    // SAFETY: a whole address; the new descriptor is owned once.
    unsafe {
        let socket = ok(libc::socket(
            libc::AF_INET,
            libc::SOCK_STREAM | libc::SOCK_NONBLOCK,
            0,
        ));
        let length = size_of::<libc::sockaddr_in>() as u32;
        let connected = libc::connect(socket, (&raw const to).cast(), length);
        assert_eq!(connected, -1);
        let errno = std::io::Error::last_os_error().raw_os_error();
        assert_eq!(errno, Some(libc::EINPROGRESS));
        OwnedFd::from_raw_fd(socket)
    }
}

#[test]
fn processes_come_and_go() {
    if !privileged() {
        return;
    }
    let namespace = Namespace::new();
    let scratch = Scratch::new();
    let text = scratch.path("text");
    fs::write(&text, "no program").unwrap();
    fs::set_permissions(&text, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let long = "x".repeat(5000);
    let mut pids = (0, 0);
    let mut player = play(Some(&namespace), |stage| {
        stage.cue();
        let child = |command: &mut Command| {
            // SAFETY: a maker has one thread.
            match unsafe { ok(libc::fork()) } {
                0 => panic!("{}", command.exec()),
                pid => {
                    let mut status = 0;
                    // SAFETY: the child was not waited for yet.
                    unsafe { libc::waitpid(pid, &mut status, 0) };
                    (pid, status)
                }
            }
        };
        let (one, status) = child(Command::new("/bin/sh").args(["-c", "exit 7", "with space", ""]));
        assert_eq!(status, 7 << 8);
        let (two, _) = child(Command::new("/bin/true").arg(&long));
        forked(|| {
            let failed = Command::new("/nonexistent/program").exec();
            assert_eq!(failed.raw_os_error(), Some(libc::ENOENT));
            // The C library's execvp would give it to a shell.
            let text = path(text.to_str().unwrap());
            // SAFETY: a valid path, and an array that ends.
            let failed = unsafe { libc::execv(text.as_ptr(), [std::ptr::null()].as_ptr()) };
            let errno = std::io::Error::last_os_error().raw_os_error();
            assert_eq!((failed, errno), (-1, Some(libc::ENOEXEC)));
        });
        std::thread::spawn(|| {}).join().unwrap();
        mark_end();
        stage.tell(format_args!("{one} {two}"));
    });
    player.expect("up");
    let mut seen = Seen::start(&ProbeOptions::default(), player.pid, Tracker::empty());
    player.cue();
    let told = player.hear();
    let (one, two) = told.split_once(' ').unwrap();
    pids.0 = one.parse().unwrap();
    pids.1 = two.parse::<u32>().unwrap();
    player.expect("done");
    seen.until_end();
    let maker = player.pid;
    player.end();
    seen.until("the exit of the maker", |seen| {
        let last = seen
            .processes
            .iter()
            .rev()
            .find(|event| event.actor.pid == maker);
        matches!(
            last.map(|event| &event.change),
            Some(ProcessChange::Exit {
                last: true,
                code: 0
            })
        )
    });
    let of = |pid: u32| -> Vec<&ProcessChange> {
        let events = seen
            .processes
            .iter()
            .filter(move |event| event.actor.pid == pid);
        events.map(|event| &event.change).collect()
    };
    let fork = ProcessChange::Fork {
        parent: maker,
        thread: false,
        shares_files: false,
    };
    let args = ["/bin/sh", "-c", "exit 7", "with space", ""].map(|arg| arg.as_bytes().to_vec());
    let exec = ProcessChange::Exec {
        filename: b"/bin/sh".to_vec(),
        args: args.to_vec(),
        cut: false,
        uid: 0,
        parent: maker,
    };
    let exit = ProcessChange::Exit {
        code: 7 << 8,
        last: true,
    };
    assert_eq!(of(pids.0), [&fork, &exec, &exit]);
    match of(pids.1)[..] {
        [
            _,
            ProcessChange::Exec { args, cut, .. },
            ProcessChange::Exit {
                code: 0,
                last: true,
            },
        ] => {
            assert!(cut);
            assert_eq!(args[0], b"/bin/true");
            assert!(args[1].len() > 4000 && args[1].iter().all(|&byte| byte == b'x'));
        }
        ref other => panic!("{other:?}"),
    }
    let failed: Vec<_> = seen
        .processes
        .iter()
        .filter_map(|event| match &event.change {
            ProcessChange::ExecFailed { filename, errno } => Some((filename.clone(), *errno)),
            _ => None,
        })
        .collect();
    let expected = [
        (b"/nonexistent/program".to_vec(), libc::ENOENT),
        (bytes(&text), libc::ENOEXEC),
    ];
    assert_eq!(failed, expected);
    let threads = of(maker).into_iter().filter(|change| {
        matches!(
            change,
            ProcessChange::Fork {
                thread: true,
                shares_files: true,
                ..
            }
        )
    });
    assert_eq!(threads.count(), 1);
    for event in &seen.processes {
        assert_eq!(event.netns, namespace.inode(), "{event:?}");
    }
}

/// What `/proc` shows of a process: number, and the link's text.
fn open_files(pid: u32) -> BTreeMap<RawFd, String> {
    let mut open = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
        let num = entry.file_name().to_string_lossy().parse().unwrap();
        let link = fs::read_link(entry.path()).unwrap();
        open.insert(num, link.to_string_lossy().into_owned());
    }
    open
}

/// A process does all sorts of things; after that the tracker, which heard of
/// them, knows what `/proc` shows.
#[test]
fn the_tracker_agrees_with_proc() {
    if !privileged() {
        return;
    }
    let scratch = Scratch::new();
    let namespace = Namespace::new();
    let folder = scratch.path("");
    let mut player = play(Some(&namespace), |stage| {
        stage.cue();
        let mut kept = Vec::new();
        let within = folder.clone();
        let open = move |name: &str| -> OwnedFd {
            let mut options = OpenOptions::new();
            options
                .write(true)
                .create(true)
                .custom_flags(libc::O_CLOEXEC);
            options.open(within.join(name)).unwrap().into()
        };
        for round in 0..20 {
            kept.push(open(&format!("file-{round}")));
            if round % 3 == 2 {
                kept.remove(0);
            }
            let copy = kept.last().unwrap().try_clone().unwrap();
            if round % 4 == 0 {
                kept.push(copy);
            }
        }
        std::env::set_current_dir(&folder).unwrap();
        kept.push(File::open("file-1").unwrap().into());
        let here = File::open(".").unwrap();
        // SAFETY: an open folder, a valid path, numbers of open descriptors.
        unsafe {
            let fd = ok(libc::openat(
                here.as_raw_fd(),
                c"file-2".as_ptr(),
                libc::O_RDONLY,
            ));
            ok(libc::dup2(fd, 100));
            ok(libc::dup2(kept[0].as_raw_fd(), 101));
            ok(libc::dup2(kept[1].as_raw_fd(), 102));
            ok(libc::close_range(
                101,
                101,
                libc::CLOSE_RANGE_UNSHARE as i32,
            ));
        }
        kept.push(here.into());
        let udp = UdpSocket::bind("127.0.0.1:8285").unwrap();
        udp.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, 5)))
            .unwrap();
        kept.push(udp.into());
        kept.push(plain_tun("agree0", 1));
        // A thread's doings are the process's.
        kept.push(
            std::thread::spawn(move || open("file-of-thread"))
                .join()
                .unwrap(),
        );
        forked(|| {
            // SAFETY: a child's own table.
            unsafe { libc::close_range(3, u32::MAX, 0) };
        });
        mark_end();
        std::mem::forget(kept);
        stage.tell("open");
    });
    player.expect("up");
    let pid = player.pid;
    // One tracker is only told, the other may look.
    let mut seen = Seen::start(&ProbeOptions::default(), pid, Tracker::empty());
    seen.other = Some(Tracker::from_proc().unwrap());
    let before = open_files(pid);
    player.cue();
    player.expect("open");
    player.expect("done");
    let after = open_files(pid);
    assert!(after.len() > 15);
    seen.until_end();
    let other = seen.other.take().unwrap();
    for (mut tracker, looks) in [(seen.tracker, false), (other, true)] {
        for num in 0..200 {
            let known = tracker.fd(pid, pid, num);
            let Some(link) = after.get(&num) else {
                assert!(known.is_none(), "{num} is closed: {known:?}");
                continue;
            };
            if !looks && before.contains_key(&num) {
                continue;
            }
            let known = known.unwrap_or_else(|| panic!("{num} is {link}"));
            let name = known
                .name()
                .map(|name| name.to_string())
                .unwrap_or_default();
            match link.as_str() {
                "/dev/net/tun" => assert_eq!(name, "/dev/net/tun (agree0)"),
                link if link.starts_with("socket:") && num > 3 => {
                    assert_eq!(name, "127.0.0.1:8285→127.0.0.1:5");
                }
                link if link.starts_with('/') => {
                    // Relative to a folder that only a tracker that looks knows.
                    let relative = !looks && !name.starts_with('/');
                    let name = name.trim_end_matches('.');
                    assert!(
                        name == link || relative && link.ends_with(name),
                        "{num}: {name}, {link}"
                    );
                }
                _ => {}
            }
        }
    }
    player.end();
}
