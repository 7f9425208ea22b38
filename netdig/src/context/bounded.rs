//! Reading with bounds: files below a root, and what a command prints.
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A file of configuration that is longer is none.
pub const MAX_FILE: u64 = 1 << 20;
/// Rules of a host with tens of thousands of services fit in.
const MAX_OUTPUT: u64 = 64 << 20;
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);

/// Opens `path` as a process whose root is `root` would: absolute symbolic links stay below
/// it. A FIFO or a device in a file's place does not hang the look.
pub fn open(root: &Path, path: &str) -> io::Result<File> {
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY;
    if root == Path::new("/") {
        let absolute = root.join(path.trim_start_matches('/'));
        return fs::OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(absolute);
    }
    let folder = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
        .open(root)?;
    let name = CString::new(path.trim_start_matches('/'))?;
    // SAFETY: an all-zero open_how is valid.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = flags as u64;
    how.resolve = libc::RESOLVE_IN_ROOT;
    // SAFETY: the name ends in a NUL, and `how` outlives the call with its true size.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_openat2,
            folder.as_raw_fd(),
            name.as_ptr(),
            &raw const how,
            size_of::<libc::open_how>(),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call made the descriptor, and nobody else has it.
    Ok(unsafe { File::from_raw_fd(fd as i32) })
}

/// All of a file, as long as it is no longer than [`MAX_FILE`].
pub fn file(root: &Path, path: &str) -> io::Result<Vec<u8>> {
    contents(&open(root, path)?)
}

/// All of an open file, as long as it is no longer than [`MAX_FILE`].
pub fn contents(file: &File) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > MAX_FILE {
        true => Err(io::Error::other("it is longer than 1 MiB")),
        false => Ok(bytes),
    }
}

/// Names in a folder, sorted; at most `most`.
pub fn names(root: &Path, path: &str, most: usize) -> io::Result<Vec<String>> {
    let folder = open(root, path)?;
    // What was opened below the root is listed, whatever the path leads to here.
    let opened = format!("/proc/thread-self/fd/{}", folder.as_raw_fd());
    let names = fs::read_dir(opened)?
        .flatten()
        .map(|entry| entry.file_name())
        .filter_map(|name| name.into_string().ok());
    let mut names: Vec<String> = names.take(most).collect();
    names.sort();
    Ok(names)
}

/// What `command` prints, run in the caller's network namespace. The error says what became
/// of it; one that does not end in two seconds is killed.
pub fn output(command: &mut Command) -> io::Result<Vec<u8>> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let reading = std::thread::spawn(move || all(stdout, MAX_OUTPUT));
    let complaints = std::thread::spawn(move || all(stderr, 4096));
    let status = match ended(&mut child) {
        Ok(status) => status,
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            return Err(error);
        }
    };
    let bytes = reading.join().unwrap_or_default();
    let complaints = complaints.join().unwrap_or_default();
    if !status.success() {
        let said = String::from_utf8_lossy(&complaints);
        let said = said.lines().find(|line| !line.trim().is_empty());
        return Err(io::Error::other(match said {
            Some(line) => line.trim().to_owned(),
            None => format!("it ended with {status}"),
        }));
    }
    match bytes.len() as u64 >= MAX_OUTPUT {
        true => Err(io::Error::other("it printed more than 64 MiB")),
        false => Ok(bytes),
    }
}

fn all(pipe: Option<impl Read>, most: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        let mut pipe = pipe.take(most);
        let _ = pipe.read_to_end(&mut bytes);
        // What is above the limit is read and forgotten, so that the command can end.
        let _ = io::copy(&mut pipe.into_inner(), &mut io::sink());
    }
    bytes
}

fn ended(child: &mut Child) -> io::Result<std::process::ExitStatus> {
    let deadline = Instant::now() + COMMAND_TIMEOUT;
    let mut pause = Duration::from_micros(500);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "it did not end within 2 seconds",
            ));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// Whether an error says that the thing is simply not there.
pub fn absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
pub mod testing {
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicU32, Ordering};

    /// A folder of a test's own; it goes with the value.
    pub struct Folder(PathBuf);

    impl Folder {
        pub fn new() -> Folder {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("netdig-context-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&path).expect("a folder for the test");
            Folder(path)
        }

        pub fn with(files: &[(&str, &[u8])]) -> Folder {
            let folder = Folder::new();
            for (path, bytes) in files {
                folder.write(path, bytes);
            }
            folder
        }

        /// `path` is taken below the folder, with a slash at its beginning too: an absolute path
        /// that is joined would be the machine's own.
        pub fn write(&self, path: &str, bytes: &[u8]) {
            let path = self.0.join(path.trim_start_matches('/'));
            assert!(path.starts_with(&self.0) && !path.to_string_lossy().contains(".."));
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            std::fs::write(path, bytes).expect("written");
        }

        pub fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStrExt;

    use super::testing::Folder;
    use super::*;

    #[test]
    fn links_stay_below_the_root() {
        let folder = Folder::with(&[("run/real", b"inside"), ("etc/x", b"")]);
        std::os::unix::fs::symlink("/run/real", folder.path().join("etc/link")).unwrap();
        std::os::unix::fs::symlink("../../../../etc/passwd", folder.path().join("etc/out"))
            .unwrap();
        assert_eq!(file(folder.path(), "/etc/link").unwrap(), b"inside");
        assert!(absent(&file(folder.path(), "/etc/out").unwrap_err()));
        assert_eq!(
            names(folder.path(), "/etc", 9).unwrap(),
            ["link", "out", "x"]
        );
    }

    #[test]
    fn what_is_too_long_or_no_file_is_refused() {
        let folder = Folder::with(&[("huge", &vec![b'x'; MAX_FILE as usize + 1])]);
        assert!(file(folder.path(), "huge").is_err());
        assert!(file(folder.path(), "/").is_err());
        let fifo = CString::new(folder.path().join("fifo").as_os_str().as_bytes()).unwrap();
        // SAFETY: a path that ends in a NUL, and a mode.
        assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
        assert!(file(folder.path(), "fifo").is_err());
    }

    #[test]
    fn a_command_that_fails_says_why_and_one_that_hangs_is_killed() {
        let shell = |text: &str| output(Command::new("sh").args(["-c", text]));
        assert_eq!(shell("echo well").unwrap(), b"well\n");
        let error = shell("echo 'no such thing' >&2; exit 3").unwrap_err();
        assert_eq!(error.to_string(), "no such thing");
        let begun = Instant::now();
        assert_eq!(
            shell("exec sleep 60").unwrap_err().kind(),
            io::ErrorKind::TimedOut
        );
        assert!(begun.elapsed() < Duration::from_secs(10));
        assert!(absent(
            &output(&mut Command::new("/nonexistent/nft")).unwrap_err()
        ));
    }
}
