//! The packet socket and its ring: all that the kernel and this program share.
//!
//! The ring is a row of blocks. A block belongs to the kernel until its status
//! says otherwise, then to this program until it gives it back. Packets are
//! read in place; the borrow that [`Ring::bytes`] gives ends before the next
//! [`Ring::next`] can return the block.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

use super::NetdevError;
use crate::observation::PacketType;

/// Bytes of a block. A packet must fit in one; the largest (BIG TCP) have half a megabyte.
const BLOCK: usize = 1024 * 1024;
/// After so long the kernel hands over a block that is not full.
const RETIRE_MS: u32 = 10;
/// Bytes of a VLAN tag: protocol and tag control information.
const VLAN_TAG: usize = 4;
/// Bytes of the two MAC addresses, behind which the tag goes.
const MAC_ADDRESSES: usize = 12;

/// Opens a packet socket that receives nothing yet. Without Ethernet headers,
/// packets begin with what the link carries.
pub(super) fn packet_socket(name: &str, ethernet: bool) -> Result<OwnedFd, NetdevError> {
    let kind = if ethernet {
        libc::SOCK_RAW
    } else {
        libc::SOCK_DGRAM
    };
    // SAFETY: plain numbers; the descriptor is owned by nobody else.
    let fd = unsafe {
        libc::socket(
            libc::AF_PACKET,
            kind | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
            0,
        )
    };
    if fd < 0 {
        let source = io::Error::last_os_error();
        return Err(match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => NetdevError::Permission {
                name: name.to_owned(),
                source,
            },
            _ => NetdevError::system(name, "opening a packet socket", source),
        });
    }
    // SAFETY: the descriptor was just made.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets an option whose value is plain data.
fn set<T: Copy>(socket: &OwnedFd, level: i32, option: i32, value: &T) -> io::Result<()> {
    // SAFETY: the pointer and the length are those of `value`; the kernel only reads.
    let failed = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as libc::socklen_t,
        )
    };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Cuts packets in the kernel: a filter that takes all and returns the length.
pub(super) fn limit_snaplen(socket: &OwnedFd, name: &str, snaplen: u32) -> Result<(), NetdevError> {
    filter(socket, snaplen)
        .map_err(|error| NetdevError::system(name, "setting the snap length", error))
}

/// Takes nothing from here on, and counts nothing: a filter that returns 0.
pub(super) fn refuse_all(socket: &OwnedFd, name: &str) -> Result<(), NetdevError> {
    filter(socket, 0).map_err(|error| NetdevError::system(name, "ending the capture", error))
}

fn filter(socket: &OwnedFd, length: u32) -> io::Result<()> {
    let mut take = libc::sock_filter {
        code: (libc::BPF_RET | libc::BPF_K) as u16,
        jt: 0,
        jf: 0,
        k: length,
    };
    let program = libc::sock_fprog {
        len: 1,
        filter: &raw mut take,
    };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Leaves out what this host sends; kernels before 4.20 cannot, and then the
/// packets are told by their type.
pub(super) fn ignore_outgoing(socket: &OwnedFd) {
    let _ = set(
        socket,
        libc::SOL_PACKET,
        libc::PACKET_IGNORE_OUTGOING,
        &1_i32,
    );
}

pub(super) fn promiscuous(socket: &OwnedFd, name: &str, index: i32) -> Result<(), NetdevError> {
    let request = libc::packet_mreq {
        mr_ifindex: index,
        mr_type: libc::PACKET_MR_PROMISC as u16,
        mr_alen: 0,
        mr_address: [0; 8],
    };
    set(
        socket,
        libc::SOL_PACKET,
        libc::PACKET_ADD_MEMBERSHIP,
        &request,
    )
    .map_err(|error| NetdevError::system(name, "switching to promiscuous mode", error))
}

/// Begins to receive from one link.
pub(super) fn bind(socket: &OwnedFd, name: &str, index: i32) -> Result<(), NetdevError> {
    // SAFETY: sockaddr_ll is plain data for which zero is a value.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
    address.sll_ifindex = index;
    let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the pointer and the length are those of `address`; the kernel only reads.
    let failed = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
    match failed {
        0 => pending_error(socket, name),
        _ => Err(NetdevError::system(
            name,
            "binding the packet socket",
            io::Error::last_os_error(),
        )),
    }
}

/// What happened to the link since it was asked last.
pub(super) fn pending_error(socket: &OwnedFd, name: &str) -> Result<(), NetdevError> {
    let mut code: libc::c_int = 0;
    get(socket, libc::SOL_SOCKET, libc::SO_ERROR, &mut code)
        .map_err(|error| NetdevError::system(name, "asking for errors", error))?;
    match code {
        0 => Ok(()),
        libc::ENETDOWN | libc::ENODEV | libc::ENXIO => Err(NetdevError::WentDown {
            name: name.to_owned(),
        }),
        code => Err(NetdevError::system(
            name,
            "receiving",
            io::Error::from_raw_os_error(code),
        )),
    }
}

/// Packets received, dropped ones included, and dropped, since the last call.
pub(super) fn statistics(socket: &OwnedFd, name: &str) -> Result<(u64, u64), NetdevError> {
    let mut statistics = libc::tpacket_stats_v3 {
        tp_packets: 0,
        tp_drops: 0,
        tp_freeze_q_cnt: 0,
    };
    get(
        socket,
        libc::SOL_PACKET,
        libc::PACKET_STATISTICS,
        &mut statistics,
    )
    .map_err(|error| NetdevError::system(name, "asking for statistics", error))?;
    Ok((
        u64::from(statistics.tp_packets),
        u64::from(statistics.tp_drops),
    ))
}

fn get<T: Copy>(socket: &OwnedFd, level: i32, option: i32, value: &mut T) -> io::Result<()> {
    let mut len = size_of::<T>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes, which is the size of
    // `value`; both types used here take any bits.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_mut(value).cast(),
            &raw mut len,
        )
    };
    if failed == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// One packet of the ring: where its bytes are, until the next is taken.
pub(super) struct RingPacket {
    pub ts_ns: u64,
    pub original: u32,
    pub packet_type: PacketType,
    start: usize,
    len: usize,
}

/// The mapped ring.
pub(super) struct Ring {
    memory: NonNull<u8>,
    blocks: usize,
    block: usize,
    /// Packets left in the block at hand; `None` while the kernel has it.
    left: Option<u32>,
    /// Offset in the memory of the next packet's header.
    at: usize,
    /// Packets that were in the ring and could not be found.
    unreadable: u64,
}

// SAFETY: the memory is the ring's own, and no thread's in particular.
unsafe impl Send for Ring {}

impl Ring {
    /// Makes and maps a ring of up to `bytes`.
    pub(super) fn map(socket: &OwnedFd, name: &str, bytes: usize) -> Result<Ring, NetdevError> {
        let failed = |error| NetdevError::system(name, "making the packet ring", error);
        set(
            socket,
            libc::SOL_PACKET,
            libc::PACKET_VERSION,
            &(libc::tpacket_versions::TPACKET_V3 as i32),
        )
        .map_err(failed)?;
        // Room before each packet, into which the addresses move for a VLAN tag.
        set(
            socket,
            libc::SOL_PACKET,
            libc::PACKET_RESERVE,
            &(VLAN_TAG as u32),
        )
        .map_err(failed)?;
        let mut blocks = (bytes / BLOCK).clamp(2, 1024);
        while let Err(error) = request_ring(socket, blocks) {
            if error.raw_os_error() != Some(libc::ENOMEM) || blocks <= 2 {
                return Err(failed(error));
            }
            blocks /= 2;
        }
        // SAFETY: a new mapping of the ring that was just made, of its size.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                blocks * BLOCK,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                socket.as_raw_fd(),
                0,
            )
        };
        let mapped = if memory == libc::MAP_FAILED {
            None
        } else {
            NonNull::new(memory.cast())
        };
        let memory = mapped.ok_or_else(|| failed(io::Error::last_os_error()))?;
        Ok(Ring {
            memory,
            blocks,
            block: 0,
            left: None,
            at: 0,
            unreadable: 0,
        })
    }

    /// The next packet, if the kernel has handed one over.
    pub(super) fn next(&mut self, ethernet: bool) -> Option<RingPacket> {
        loop {
            match self.left {
                Some(0) => self.give_back(),
                Some(left) => {
                    self.left = Some(left - 1);
                    match self.take(ethernet) {
                        Some(packet) => return Some(packet),
                        // An offset that cannot be: what is left of the block is lost.
                        None => {
                            self.unreadable += u64::from(left);
                            self.give_back();
                        }
                    }
                }
                None => self.take_block()?,
            }
        }
    }

    /// The bytes of the packet that was taken last.
    pub(super) fn bytes(&self, packet: &RingPacket) -> &[u8] {
        // SAFETY: `take` has checked that the bytes are in the block at hand,
        // which the kernel does not touch before it is given back, for which
        // the ring would have to be borrowed mutably.
        unsafe { std::slice::from_raw_parts(self.memory.as_ptr().add(packet.start), packet.len) }
    }

    /// Packets that the kernel delivered and that could not be found, since the
    /// last call; a kernel that keeps to its own layout has none.
    pub(super) fn take_unreadable(&mut self) -> u64 {
        std::mem::take(&mut self.unreadable)
    }

    fn status(&self) -> &AtomicU32 {
        let at = self.block * BLOCK + std::mem::offset_of!(libc::tpacket_block_desc, hdr);
        // SAFETY: inside the mapping, aligned as the kernel's own field (blocks
        // are page-aligned, the field is at 8), shared only by atomic accesses.
        unsafe { AtomicU32::from_ptr(self.memory.as_ptr().add(at).cast()) }
    }

    fn take_block(&mut self) -> Option<()> {
        if self.status().load(Ordering::Acquire) & libc::TP_STATUS_USER == 0 {
            return None;
        }
        let start = self.block * BLOCK;
        // SAFETY: the descriptor is at the block's begin; the block is ours
        // since the acquiring load, so that nobody writes it meanwhile.
        let head = unsafe {
            let block = self
                .memory
                .as_ptr()
                .add(start)
                .cast::<libc::tpacket_block_desc>();
            (*block).hdr.bh1
        };
        self.left = Some(head.num_pkts);
        self.at = start + head.offset_to_first_pkt as usize;
        Some(())
    }

    fn give_back(&mut self) {
        self.status()
            .store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.left = None;
        self.block = (self.block + 1) % self.blocks;
    }

    /// Takes the packet at `at`, and puts its VLAN tag back; `None` where its
    /// header points out of the block.
    fn take(&mut self, ethernet: bool) -> Option<RingPacket> {
        let end = (self.block + 1) * BLOCK;
        let at = self.at;
        let address_at =
            at + size_of::<libc::tpacket3_hdr>().next_multiple_of(libc::TPACKET_ALIGNMENT);
        if address_at + size_of::<libc::sockaddr_ll>() > end {
            return None;
        }
        // SAFETY: both lie inside the block at hand, as just checked, and take any bits.
        let (head, address) = unsafe {
            let memory = self.memory.as_ptr();
            let head = memory.add(at).cast::<libc::tpacket3_hdr>().read_unaligned();
            (
                head,
                memory
                    .add(address_at)
                    .cast::<libc::sockaddr_ll>()
                    .read_unaligned(),
            )
        };
        self.at = at.checked_add(head.tp_next_offset as usize)?;
        let (start, len) = (at + usize::from(head.tp_mac), head.tp_snaplen as usize);
        if start + len > end || start < address_at + VLAN_TAG {
            return None;
        }
        let mut packet = RingPacket {
            ts_ns: u64::from(head.tp_sec) * 1_000_000_000 + u64::from(head.tp_nsec),
            original: head.tp_len,
            packet_type: packet_type(address.sll_pkttype),
            start,
            len,
        };
        if ethernet && len >= MAC_ADDRESSES {
            self.restore_tag(&mut packet, &head);
        }
        Some(packet)
    }

    /// The kernel keeps an 802.1Q tag beside the packet; on the wire it is
    /// behind the addresses.
    fn restore_tag(&mut self, packet: &mut RingPacket, head: &libc::tpacket3_hdr) {
        if head.hv1.tp_vlan_tci == 0 && head.tp_status & libc::TP_STATUS_VLAN_VALID == 0 {
            return;
        }
        let known = head.tp_status & libc::TP_STATUS_VLAN_TPID_VALID != 0;
        let protocol = if known { head.hv1.tp_vlan_tpid } else { 0x8100 };
        packet.start -= VLAN_TAG;
        packet.len += VLAN_TAG;
        packet.original = packet.original.saturating_add(VLAN_TAG as u32);
        // SAFETY: the packet and the 4 bytes before it (PACKET_RESERVE) are in
        // the block at hand, as `take` has checked; nobody else refers to them.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(
                self.memory.as_ptr().add(packet.start),
                MAC_ADDRESSES + VLAN_TAG,
            )
        };
        bytes.copy_within(VLAN_TAG.., 0);
        bytes[MAC_ADDRESSES..MAC_ADDRESSES + 2].copy_from_slice(&protocol.to_be_bytes());
        bytes[MAC_ADDRESSES + 2..].copy_from_slice(&(head.hv1.tp_vlan_tci as u16).to_be_bytes());
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping that `map` made, whole, unmapped once.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.blocks * BLOCK) };
    }
}

fn request_ring(socket: &OwnedFd, blocks: usize) -> io::Result<()> {
    const FRAME: usize = 2048; // V3 does not use it, and wants it to fit
    let request = libc::tpacket_req3 {
        tp_block_size: BLOCK as u32,
        tp_block_nr: blocks as u32,
        tp_frame_size: FRAME as u32,
        tp_frame_nr: (BLOCK / FRAME * blocks) as u32,
        tp_retire_blk_tov: RETIRE_MS,
        tp_sizeof_priv: 0,
        tp_feature_req_word: 0,
    };
    set(socket, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)
}

fn packet_type(sll_pkttype: u8) -> PacketType {
    match sll_pkttype {
        libc::PACKET_BROADCAST => PacketType::Broadcast,
        libc::PACKET_MULTICAST => PacketType::Multicast,
        libc::PACKET_OTHERHOST => PacketType::OtherHost,
        libc::PACKET_OUTGOING => PacketType::Outgoing,
        _ => PacketType::Host,
    }
}
