//! The syscall table: which calls the probe looks at, by the number they have on
//! this architecture.
use netdig_ebpf::{SYSCALL_TABLE, call};

/// Calls that exist on every architecture that netdig runs on.
const EVERYWHERE: &[(libc::c_long, u8)] = &[
    (libc::SYS_read, call::READ),
    (libc::SYS_pread64, call::READ),
    (libc::SYS_write, call::WRITE),
    (libc::SYS_pwrite64, call::WRITE),
    (libc::SYS_sendto, call::SENDTO),
    (libc::SYS_recvfrom, call::RECVFROM),
    (libc::SYS_readv, call::READV),
    (libc::SYS_preadv, call::READV),
    (libc::SYS_preadv2, call::READV),
    (libc::SYS_writev, call::WRITEV),
    (libc::SYS_pwritev, call::WRITEV),
    (libc::SYS_pwritev2, call::WRITEV),
    (libc::SYS_sendmsg, call::SENDMSG),
    (libc::SYS_recvmsg, call::RECVMSG),
    (libc::SYS_sendmmsg, call::SENDMMSG),
    (libc::SYS_recvmmsg, call::RECVMMSG),
    (libc::SYS_openat, call::OPENAT),
    (libc::SYS_openat2, call::OPENAT2),
    (libc::SYS_socket, call::SOCKET),
    (libc::SYS_socketpair, call::SOCKETPAIR),
    (libc::SYS_connect, call::CONNECT),
    (libc::SYS_bind, call::BIND),
    (libc::SYS_listen, call::LISTEN),
    (libc::SYS_accept, call::ACCEPT),
    (libc::SYS_accept4, call::ACCEPT),
    (libc::SYS_dup, call::DUP),
    (libc::SYS_dup3, call::DUP3),
    (libc::SYS_fcntl, call::FCNTL),
    (libc::SYS_close, call::CLOSE),
    (libc::SYS_close_range, call::CLOSE_RANGE),
    (libc::SYS_pipe2, call::PIPE2),
    (libc::SYS_ioctl, call::IOCTL),
    (libc::SYS_pidfd_getfd, call::PIDFD_GETFD),
    (libc::SYS_unshare, call::UNSHARE),
    (libc::SYS_epoll_create1, call::ANON_FD),
    (libc::SYS_eventfd2, call::ANON_FD),
    (libc::SYS_signalfd4, call::ANON_FD),
    (libc::SYS_timerfd_create, call::ANON_FD),
    (libc::SYS_inotify_init1, call::ANON_FD),
    (libc::SYS_memfd_create, call::ANON_FD),
    (libc::SYS_pidfd_open, call::ANON_FD),
    (libc::SYS_io_uring_setup, call::ANON_FD),
    (libc::SYS_perf_event_open, call::ANON_FD),
    (libc::SYS_userfaultfd, call::ANON_FD),
    (libc::SYS_fanotify_init, call::ANON_FD),
    (libc::SYS_renameat, call::RENAMEAT),
    (libc::SYS_renameat2, call::RENAMEAT),
    (libc::SYS_unlinkat, call::UNLINKAT),
    (libc::SYS_truncate, call::TRUNCATE),
    (libc::SYS_ftruncate, call::FTRUNCATE),
    (libc::SYS_fsync, call::FSYNC),
    (libc::SYS_fdatasync, call::FSYNC),
    (libc::SYS_execve, call::EXECVE),
    (libc::SYS_execveat, call::EXECVEAT),
];

/// Calls that only older architectures have under a number of their own.
#[cfg(target_arch = "x86_64")]
const LEGACY: &[(libc::c_long, u8)] = &[
    (libc::SYS_open, call::OPEN),
    (libc::SYS_creat, call::CREAT),
    (libc::SYS_dup2, call::DUP2),
    (libc::SYS_pipe, call::PIPE),
    (libc::SYS_epoll_create, call::ANON_FD),
    (libc::SYS_eventfd, call::ANON_FD),
    (libc::SYS_signalfd, call::ANON_FD),
    (libc::SYS_inotify_init, call::ANON_FD),
    (libc::SYS_rename, call::RENAME),
    (libc::SYS_unlink, call::UNLINK),
];
#[cfg(not(target_arch = "x86_64"))]
const LEGACY: &[(libc::c_long, u8)] = &[];

/// The table as the probe wants it: the meaning of each number.
pub fn table() -> [u8; SYSCALL_TABLE] {
    let mut table = [call::NONE; SYSCALL_TABLE];
    for &(number, meaning) in EVERYWHERE.iter().chain(LEGACY) {
        table[number as usize] = meaning;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_has_one_number_of_its_own() {
        let mut numbers: Vec<_> = EVERYWHERE.iter().chain(LEGACY).map(|&(n, _)| n).collect();
        numbers.sort_unstable();
        let count = numbers.len();
        numbers.dedup();
        assert_eq!(numbers.len(), count);
        assert!(
            numbers
                .iter()
                .all(|&n| (0..SYSCALL_TABLE as i64).contains(&n))
        );
    }
}
