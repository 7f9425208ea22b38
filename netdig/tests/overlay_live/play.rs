//! Traffic makers: forked from the test, as the probe never looks at its own
//! process. They wait for cues and tell when they are done.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::world::{DEADLINE, Namespace};

/// What the maker may say to the test.
pub struct Stage {
    line: BufReader<UnixStream>,
}

impl Stage {
    /// Waits until the test says so.
    pub fn cue(&mut self) {
        let mut line = String::new();
        let count = self.line.read_line(&mut line).expect("a cue");
        if count == 0 {
            // The test is gone.
            // SAFETY: ends the process at once.
            unsafe { libc::_exit(3) };
        }
    }

    pub fn tell(&mut self, what: impl std::fmt::Display) {
        writeln!(self.line.get_mut(), "{what}").expect("the test listens");
    }
}

/// A running maker; killed when dropped.
pub struct Player {
    pub pid: u32,
    line: BufReader<UnixStream>,
    ended: bool,
}

/// Descriptor of the line to the test, in every maker.
const LINE: RawFd = 3;

/// Forks a maker that plays `scene` in `namespace`. It has no descriptors of
/// the test's but the standard ones and [`LINE`].
pub fn play(namespace: Option<&Namespace>, scene: impl FnOnce(&mut Stage)) -> Player {
    let (ours, theirs) = UnixStream::pair().expect("a socket pair");
    ours.set_read_timeout(Some(DEADLINE)).expect("a time limit");
    // SAFETY: the child runs on the forking thread alone and leaves by _exit.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", std::io::Error::last_os_error()),
        0 => perform(namespace, theirs, scene),
        pid => Player {
            pid: pid as u32,
            line: BufReader::new(ours),
            ended: false,
        },
    }
}

fn perform(namespace: Option<&Namespace>, line: UnixStream, scene: impl FnOnce(&mut Stage)) -> ! {
    // Outlives a panic, which is told over it.
    let mut played_on = None;
    let played = catch_unwind(AssertUnwindSafe(|| {
        if let Some(namespace) = namespace {
            namespace.enter();
        }
        // SAFETY: nothing of the test is used from here on but the line, which
        // moves to a number of its own; a descriptor is owned once.
        let line = unsafe {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            let moved = match line.as_raw_fd() {
                LINE => LINE,
                other => libc::dup3(other, LINE, libc::O_CLOEXEC),
            };
            std::mem::forget(line);
            libc::close_range(LINE as u32 + 1, u32::MAX, 0);
            UnixStream::from_raw_fd(moved)
        };
        let stage = played_on.insert(Stage {
            line: BufReader::new(line),
        });
        stage.tell("up");
        scene(stage);
        stage.tell("done");
        // The test looks at this process, then lets it go.
        stage.cue();
    }));
    let code = match played {
        Ok(()) => 0,
        Err(panic) => {
            let text = panic
                .downcast_ref::<String>()
                .map(String::as_str)
                .or_else(|| panic.downcast_ref::<&str>().copied())
                .unwrap_or("panicked");
            let text = format!("failed: {}\n", text.replace('\n', " "));
            // SAFETY: a descriptor number and a valid buffer.
            unsafe { libc::write(LINE, text.as_ptr().cast(), text.len()) };
            1
        }
    };
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(code) }
}

impl Player {
    /// The next thing that it tells.
    pub fn hear(&mut self) -> String {
        let mut line = String::new();
        self.line.read_line(&mut line).expect("the maker speaks");
        let line = line.trim_end().to_owned();
        assert!(!line.is_empty(), "the maker ended without a word");
        assert!(!line.starts_with("failed: "), "the maker {line}");
        line
    }

    pub fn expect(&mut self, what: &str) {
        let told = self.hear();
        assert_eq!(told, what);
    }

    pub fn cue(&mut self) {
        writeln!(self.line.get_mut(), "go").expect("the maker listens");
    }

    /// Plays the whole scene: it waits for one cue before it begins.
    pub fn perform(&mut self) {
        self.cue();
        self.expect("done");
    }

    /// Lets a maker that is done end.
    pub fn end(mut self) {
        self.cue();
        self.reap();
    }

    fn reap(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            // SAFETY: a child of ours that was not waited for yet.
            unsafe { libc::waitpid(self.pid as i32, std::ptr::null_mut(), 0) };
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        if !self.ended {
            // SAFETY: a child of ours that was not waited for yet.
            unsafe { libc::kill(self.pid as i32, libc::SIGKILL) };
            self.reap();
        }
    }
}

/// Forks within a scene; waits for the child, which must succeed.
pub fn forked(act: impl FnOnce()) {
    // SAFETY: a maker has one thread; the child leaves by _exit.
    unsafe {
        match libc::fork() {
            -1 => panic!("fork: {}", std::io::Error::last_os_error()),
            0 => {
                let acted = catch_unwind(AssertUnwindSafe(act));
                libc::_exit(i32::from(acted.is_err()));
            }
            pid => {
                let mut status = 0;
                libc::waitpid(pid, &mut status, 0);
                assert_eq!(status, 0, "the forked child failed");
            }
        }
    }
}

/// Turns a system call's result into itself, or a panic with its errno.
pub fn ok<T: Copy + Into<i64>>(result: T) -> T {
    assert!(result.into() >= 0, "{}", std::io::Error::last_os_error());
    result
}
