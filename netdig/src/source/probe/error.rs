//! What can keep the probe out of the kernel, and what to do about it.
use std::error::Error;

/// Why the probe could not be put into the kernel.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("cannot find its way in this kernel: {0}")]
    Btf(crate::btf::BtfError),
    #[error("cannot read the kernel's type information: {0}")]
    KernelBtf(String),
    #[error(
        "the embedded BPF object lacks `{0}`: this build is broken, rebuild with scripts/build-ebpf"
    )]
    Object(String),
    #[error("the kernel refused {what}: {why}; {}", advice(*.errno))]
    Refused {
        what: String,
        why: String,
        errno: Option<i32>,
    },
}

impl ProbeError {
    pub(super) fn refused(what: &str, error: &(dyn Error + 'static)) -> ProbeError {
        ProbeError::Refused {
            what: what.to_owned(),
            why: chain(error),
            errno: errno(error),
        }
    }

    pub(super) fn map(error: aya::maps::MapError) -> ProbeError {
        ProbeError::refused("a map of the probe", &error)
    }
}

/// The error number at the bottom of a chain of errors.
fn errno(error: &(dyn Error + 'static)) -> Option<i32> {
    let mut current = Some(error);
    while let Some(error) = current {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return io.raw_os_error();
        }
        current = error.source();
    }
    None
}

/// What the person at the keyboard can do.
fn advice(errno: Option<i32>) -> &'static str {
    let lockdown = std::fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    if lockdown.contains("[confidentiality]") {
        return "this kernel is locked down (/sys/kernel/security/lockdown says confidentiality), \
                which forbids reading its memory: boot with lockdown=integrity or none, \
                or read a capture with -r, or a link with -i";
    }
    match errno {
        Some(libc::EPERM | libc::EACCES) => {
            "run as root, or with CAP_BPF and CAP_PERFMON (in a container: --privileged, or add \
             those two); without them, netdig overlay -i LINK needs only CAP_NET_RAW, and -r FILE \
             needs nothing"
        }
        Some(libc::EMFILE | libc::ENFILE) => {
            "too few open files are allowed: raise the limit, as with `ulimit -n 1024`"
        }
        Some(libc::ENOMEM) => "too little memory for its maps: a smaller --buffer-size may do",
        Some(libc::ENOENT) => "this kernel lacks the tracepoint: it needs CONFIG_FTRACE_SYSCALLS",
        _ => {
            "it needs Linux 5.17 or later with CONFIG_DEBUG_INFO_BTF; \
             -i LINK and -r FILE work without it"
        }
    }
}

/// An error with its causes, the verifier's long log left out.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut current = Some(error);
    while let Some(error) = current {
        let part = error.to_string();
        let part = part
            .split("Verifier output:")
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned();
        if !text.contains(&part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&part);
        }
        current = error.source();
    }
    text
}
