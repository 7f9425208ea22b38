//! What a descriptor is: from the task's table to `struct file`, to the socket
//! or tun behind it.
use netdig_ebpf::{Address, Descriptor, class};

use crate::{
    kernel::{Object, Task, load, read, user},
    maps::{PORTS, TUN_PIDS, config},
};

const S_IFMT: u16 = 0o170000;
const S_IFIFO: u16 = 0o010000;
const S_IFCHR: u16 = 0o020000;
const S_IFDIR: u16 = 0o040000;
const S_IFBLK: u16 = 0o060000;
const S_IFREG: u16 = 0o100000;
const S_IFSOCK: u16 = 0o140000;
/// Device number of /dev/net/tun, misc 10:200, in the kernel's encoding.
const TUN_DEVICE: u32 = (10 << 20) | 200;
const SOCK_STREAM: u16 = 1;
const SOCK_DGRAM: u16 = 2;
const AF_UNIX: u16 = 1;
pub const AF_INET: u16 = 2;
pub const AF_INET6: u16 = 10;
const AF_NETLINK: u16 = 16;
const IPPROTO_UDP: u8 = 17;

/// A descriptor's file, classified.
#[derive(Clone, Copy)]
pub struct File {
    file: Object,
    inode: Object,
    /// `struct sock` of a socket.
    sock: Object,
    pub class: u8,
    pub protocol: u8,
    pub family: u16,
    /// Ports of an INET socket, host order.
    pub local_port: u16,
    pub remote_port: u16,
    /// A tunnel only because its process holds a tun: its port is any, and what
    /// it carries must have a tunnel's shape.
    pub by_process: bool,
}

/// The file behind descriptor `num` of `task`, or 0.
#[inline(always)]
pub fn file_of(task: Task, num: i32) -> u64 {
    unsafe {
        let files: u64 = load(task.0, config!(offsets.task_files));
        if files == 0 {
            return 0;
        }
        let table: u64 = load(files, config!(offsets.files_fdt));
        let max: u32 = load(table, config!(offsets.fdt_max));
        if num as u32 >= max {
            return 0;
        }
        let slots: u64 = load(table, config!(offsets.fdt_fd));
        let slot = slots + u64::from(num as u32) * 8;
        Object::new(slot, config!(types.slot)).get(0)
    }
}

/// Whether descriptor `num` is marked close-on-exec.
#[inline(always)]
pub fn cloexec(task: Task, num: i32) -> bool {
    unsafe {
        let files: u64 = load(task.0, config!(offsets.task_files));
        if files == 0 {
            return false;
        }
        let table: u64 = load(files, config!(offsets.files_fdt));
        let words: u64 = load(table, config!(offsets.fdt_cloexec));
        let word: u64 = read(words + (num as u32 as u64 / 64) * 8);
        word >> (num as u32 % 64) & 1 == 1
    }
}

impl File {
    #[inline(always)]
    pub fn classify(task: Task, file: u64) -> File {
        let nothing = unsafe { Object::new(0, 0) };
        let mut this = File {
            file: nothing,
            inode: nothing,
            sock: nothing,
            class: class::UNKNOWN,
            protocol: 0,
            family: 0,
            local_port: 0,
            remote_port: 0,
            by_process: false,
        };
        if file == 0 {
            return this;
        }
        unsafe {
            this.file = Object::new(file, config!(types.file));
            let inode = this.file.get(config!(offsets.file_inode));
            this.inode = Object::new(inode, config!(types.inode));
            let mode: u16 = this.inode.get(config!(offsets.inode_mode));
            match mode & S_IFMT {
                S_IFREG => this.class = class::REGULAR,
                S_IFSOCK => this.classify_socket(task),
                S_IFCHR => {
                    let rdev: u32 = this.inode.get(config!(offsets.inode_rdev));
                    this.class = if rdev == TUN_DEVICE {
                        class::TUN
                    } else {
                        class::CHAR
                    };
                }
                S_IFIFO => this.class = class::PIPE,
                S_IFDIR => this.class = class::DIRECTORY,
                S_IFBLK => this.class = class::BLOCK,
                _ => this.class = class::ANON,
            }
        }
        this
    }

    #[inline(always)]
    fn private(&self) -> u64 {
        unsafe { self.file.get(config!(offsets.file_private)) }
    }

    #[inline(always)]
    unsafe fn classify_socket(&mut self, task: Task) {
        unsafe {
            let socket = Object::new(self.private(), config!(types.socket));
            let kind: u16 = socket.get(config!(offsets.socket_type));
            let sock: u64 = socket.get(config!(offsets.socket_sk));
            if sock == 0 {
                self.class = class::SOCKET_OTHER;
                return;
            }
            self.sock = Object::new(sock, config!(types.sock));
            self.family = self.sk(config!(offsets.sk_family));
            match self.family {
                AF_INET | AF_INET6 => {
                    let protocol: u16 = self.sk(config!(offsets.sk_protocol));
                    self.protocol = protocol as u8;
                    self.read_ports();
                    self.class = match kind {
                        SOCK_STREAM => class::INET_STREAM,
                        SOCK_DGRAM if self.tunnel(task) => class::TUNNEL,
                        SOCK_DGRAM => class::INET_DGRAM,
                        _ => class::SOCKET_OTHER,
                    };
                }
                AF_UNIX => self.class = class::UNIX,
                AF_NETLINK => self.class = class::NETLINK,
                _ => self.class = class::SOCKET_OTHER,
            }
        }
    }

    /// Both ports, by one load where they lie side by side, as they have for long.
    #[inline(always)]
    unsafe fn read_ports(&mut self) {
        let (local, remote) = (config!(offsets.sk_num), config!(offsets.sk_dport));
        unsafe {
            if local == remote + 2 {
                let pair: [u16; 2] = core::mem::transmute::<u32, [u16; 2]>(self.sk(remote));
                self.remote_port = u16::from_be(pair[0]);
                self.local_port = pair[1];
            } else {
                self.local_port = self.sk(local);
                let port: u16 = self.sk(remote);
                self.remote_port = u16::from_be(port);
            }
        }
    }

    /// Whether a datagram socket carries a tunnel: by either port, or because its
    /// process holds a tun.
    #[inline(always)]
    unsafe fn tunnel(&mut self, task: Task) -> bool {
        if self.protocol != IPPROTO_UDP {
            return false;
        }
        if port_listed(self.local_port) || port_listed(self.remote_port) {
            return true;
        }
        unsafe {
            self.by_process =
                config!(follow_tun_processes) != 0 && TUN_PIDS.get(&task.tgid()).is_some();
            self.by_process
        }
    }

    /// A socket that has no tunnel's port itself may send to one.
    #[inline(always)]
    pub fn sends_to(&mut self, address: u64) {
        if address == 0 || self.protocol != IPPROTO_UDP {
            return;
        }
        // The port stands behind the family, in IPv4 and in IPv6.
        if let Some(port) = unsafe { user::<u16>(address + 2) }
            && port_listed(u16::from_be(port))
        {
            self.class = class::TUNNEL;
        }
    }

    /// Whether a datagram at `buffer` is to be shown as a tunnel's: always on a
    /// tunnel's port, elsewhere when it is one bare IP packet.
    #[inline(always)]
    pub fn carries(&self, buffer: u64, length: u64) -> bool {
        !self.by_process || bare_ip(buffer, length)
    }

    #[inline(always)]
    unsafe fn sk<T: Copy>(&self, offset: u64) -> T {
        unsafe { self.sock.get(offset) }
    }

    /// Fills `to` with all that is known; `to` must be zeroed.
    #[inline(always)]
    pub fn describe(&self, num: i32, to: &mut Descriptor) {
        to.num = num;
        to.class = self.class;
        to.protocol = self.protocol;
        to.family = self.family;
        if self.class == class::UNKNOWN {
            return;
        }
        unsafe {
            to.inode = self.inode.get(config!(offsets.inode_ino));
            match self.class {
                class::TUN => self.describe_tun(to),
                class::TUNNEL | class::INET_DGRAM | class::INET_STREAM => self.describe_inet(to),
                class::CHAR | class::BLOCK => {
                    to.rdev = self.inode.get(config!(offsets.inode_rdev));
                }
                _ => {}
            }
        }
    }

    #[inline(always)]
    unsafe fn describe_tun(&self, to: &mut Descriptor) {
        if config!(tun_known) == 0 {
            return;
        }
        unsafe {
            let file = Object::new(self.private(), config!(types.tun_file));
            let tun: u64 = file.get(config!(offsets.tfile_tun));
            if tun == 0 {
                return;
            }
            let tun = Object::new(tun, config!(types.tun_struct));
            to.tun_flags = tun.get(config!(offsets.tun_flags));
            to.vnet_hdr_len = tun.get(config!(offsets.tun_vnet_hdr));
            let device = tun.get(config!(offsets.tun_dev));
            let device = Object::new(device, config!(types.net_device));
            let at = config!(offsets.dev_name);
            let name: [u64; 2] = [device.get(at), device.get(at + 8)];
            to.local.bytes = core::mem::transmute::<[u64; 2], [u8; 16]>(name);
        }
    }

    #[inline(always)]
    unsafe fn describe_inet(&self, to: &mut Descriptor) {
        unsafe {
            to.local.port = self.local_port;
            to.remote.port = self.remote_port;
            to.local.family = self.family;
            if self.remote_port != 0 {
                to.remote.family = self.family;
            }
            let (local, remote) = (config!(offsets.sk_rcv_saddr), config!(offsets.sk_daddr));
            if self.family == AF_INET && local == remote + 4 {
                let pair: [u32; 2] = core::mem::transmute::<u64, [u32; 2]>(self.sk(remote));
                to.remote.bytes = v4(pair[0]);
                to.local.bytes = v4(pair[1]);
            } else if self.family == AF_INET {
                to.local.bytes = v4(self.sk(local));
                to.remote.bytes = v4(self.sk(remote));
            } else {
                to.local.bytes = self.v6(config!(offsets.sk_v6_rcv_saddr));
                to.remote.bytes = self.v6(config!(offsets.sk_v6_daddr));
            }
        }
    }

    #[inline(always)]
    unsafe fn v6(&self, offset: u64) -> [u8; 16] {
        unsafe {
            core::mem::transmute::<[u64; 2], [u8; 16]>([self.sk(offset), self.sk(offset + 8)])
        }
    }
}

/// Whether `length` bytes of the caller's are one bare IP packet.
#[inline(always)]
pub fn bare_ip(buffer: u64, length: u64) -> bool {
    let Some(head) = (unsafe { user::<[u8; 8]>(buffer) }) else {
        return false;
    };
    match head[0] >> 4 {
        4 => u64::from(u16::from_be_bytes([head[2], head[3]])) == length,
        6 => u64::from(u16::from_be_bytes([head[4], head[5]])) + 40 == length,
        _ => false,
    }
}

#[inline(always)]
fn v4(address: u32) -> [u8; 16] {
    unsafe { core::mem::transmute::<[u32; 4], [u8; 16]>([address, 0, 0, 0]) }
}

#[inline(always)]
pub fn port_listed(port: u16) -> bool {
    let word = unsafe { core::ptr::read_volatile(PORTS.as_ptr().add(usize::from(port >> 6))) };
    word >> (port & 63) & 1 == 1
}

/// Reads a socket address of the caller's into `to`; false where there is none.
#[inline(always)]
pub fn user_address(address: u64, to: &mut Address) -> bool {
    if address == 0 {
        return false;
    }
    let Some(head) = (unsafe { user::<[u8; 8]>(address) }) else {
        return false;
    };
    let family = u16::from_ne_bytes([head[0], head[1]]);
    let port = u16::from_be_bytes([head[2], head[3]]);
    if family == AF_INET {
        to.bytes = v4(u32::from_ne_bytes([head[4], head[5], head[6], head[7]]));
    } else if family == AF_INET6 {
        let Some(bytes) = (unsafe { user::<[u8; 16]>(address + 8) }) else {
            return false;
        };
        to.bytes = bytes;
    } else {
        return false;
    }
    to.family = family;
    to.port = port;
    true
}
