//! Packets off a network link: an AF_PACKET socket with a TPACKET_V3 ring
//! (packet(7), Documentation/networking/packet_mmap.rst).
//!
//! What libpcap does, this does: a VLAN tag that the device took off is put
//! back as a 802.1Q header, and on the loopback device, which shows every
//! packet twice, the outgoing copy is left out. Links without Ethernet headers
//! (tun, ppp, ipip, …) give bare IP packets.

mod error;
mod link;
mod ring;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::SystemTime;

use decoders::LinkType;

use crate::observation::{
    Frame, Interface, Loss, LossCause, Observation, PacketType, UnixNanos, Via,
};
pub use error::NetdevError;
use link::LinkInfo;
use ring::Ring;

/// What to open.
#[derive(Debug, Clone)]
pub struct NetdevOptions<'a> {
    /// The link's name.
    pub name: &'a str,
    /// Most bytes kept of a packet; 0 is all.
    pub snaplen: u32,
    /// Also packets that are not for this host.
    pub promiscuous: bool,
    /// Network namespace of the link; the caller's own if none.
    pub netns: Option<BorrowedFd<'a>>,
    /// Index that frames and losses carry as their interface.
    pub interface: u32,
    /// Bytes of the ring; halved as long as the kernel has not that much.
    pub ring_bytes: usize,
}

impl<'a> NetdevOptions<'a> {
    /// Whole packets, not promiscuous, in the caller's network namespace.
    pub fn new(name: &'a str) -> NetdevOptions<'a> {
        let ring_bytes = 16 * 1024 * 1024;
        NetdevOptions {
            name,
            snaplen: 0,
            promiscuous: false,
            netns: None,
            interface: 0,
            ring_bytes,
        }
    }
}

/// A packet off a link.
#[derive(Debug, Clone)]
pub struct LinkFrame<'a> {
    pub frame: Frame<'a>,
    pub packet_type: PacketType,
}

/// An open link. Its descriptor is readable when [`Netdev::next`] has packets.
pub struct Netdev {
    socket: OwnedFd,
    ring: Ring,
    interface: Interface,
    index: u32,
    loopback: bool,
    received: u64,
    dropped: u64,
    taken: u64,
    /// Until when losses were reported.
    reported_ns: UnixNanos,
}

impl Netdev {
    /// Opens the link and begins to receive.
    ///
    /// # Errors
    /// A sentence for each of: no such link, link down, no permission, no such
    /// namespace, and whatever else the system refused.
    pub fn open(options: &NetdevOptions<'_>) -> Result<Netdev, NetdevError> {
        let Some(netns) = options.netns else {
            return Netdev::open_here(options);
        };
        // A namespace belongs to a thread, and a socket to the namespace where
        // it was made: a thread of its own leaves the caller's as it is.
        std::thread::scope(|scope| {
            let opened = scope.spawn(|| {
                link::enter_netns(netns)?;
                Netdev::open_here(options)
            });
            opened.join().unwrap_or_else(|_| {
                Err(NetdevError::Thread {
                    name: options.name.to_owned(),
                })
            })
        })
    }

    fn open_here(options: &NetdevOptions<'_>) -> Result<Netdev, NetdevError> {
        let info = LinkInfo::look_up(options.name)?;
        let socket = ring::packet_socket(options.name, info.ethernet)?;
        if options.snaplen > 0 {
            ring::limit_snaplen(&socket, options.name, options.snaplen)?;
        }
        if info.loopback {
            ring::ignore_outgoing(&socket);
        }
        let ring = Ring::map(&socket, options.name, options.ring_bytes)?;
        ring::bind(&socket, options.name, info.index)?;
        if options.promiscuous {
            ring::promiscuous(&socket, options.name, info.index)?;
        }
        let link = if info.ethernet {
            LinkType::Ethernet
        } else {
            LinkType::RawIp
        };
        let interface = Interface {
            name: options.name.to_owned(),
            link,
            snaplen: options.snaplen,
            addresses: info.addresses,
        };
        Ok(Netdev {
            socket,
            ring,
            interface,
            index: options.interface,
            loopback: info.loopback,
            received: 0,
            dropped: 0,
            taken: 0,
            reported_ns: now_ns(),
        })
    }

    /// The link as an interface of a capture.
    pub fn interface(&self) -> &Interface {
        &self.interface
    }

    /// The next packet, if one is there; does not wait.
    ///
    /// # Errors
    /// When nothing is there and the link went down or was removed. A link that
    /// comes up again gives packets again.
    #[allow(clippy::should_implement_trait)] // Iterator cannot lend
    pub fn next(&mut self) -> Result<Option<LinkFrame<'_>>, NetdevError> {
        let ethernet = self.interface.link == LinkType::Ethernet;
        let packet = loop {
            let packet = self.ring.next(ethernet);
            self.taken += u64::from(packet.is_some());
            match packet {
                Some(packet) if self.loopback && packet.packet_type == PacketType::Outgoing => {}
                Some(packet) => break packet,
                None => {
                    ring::pending_error(&self.socket, &self.interface.name)?;
                    return Ok(None);
                }
            }
        };
        let data = self.ring.bytes(&packet);
        let data = match self.interface.snaplen as usize {
            0 => data,
            snaplen => &data[..data.len().min(snaplen)], // a restored tag may exceed it
        };
        let frame = Frame {
            interface: self.index,
            orig_len: packet.original.max(data.len() as u32),
            ..Frame::new(packet.ts_ns, Via::Link, self.interface.link, data)
        };
        Ok(Some(LinkFrame {
            frame,
            packet_type: packet.packet_type,
        }))
    }

    /// Waits until packets are there, a signal comes or `timeout_ms` have passed.
    /// `false` where the time passed without packets.
    ///
    /// # Errors
    /// Whatever poll(2) says, but for an interruption.
    pub fn wait(&self, timeout_ms: i32) -> Result<bool, NetdevError> {
        let mut poll = libc::pollfd {
            fd: self.socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd, and the count says one.
        let ready = unsafe { libc::poll(&raw mut poll, 1, timeout_ms) };
        let error = std::io::Error::last_os_error();
        match ready {
            -1 if error.kind() == std::io::ErrorKind::Interrupted => Ok(false),
            -1 => Err(NetdevError::system(
                &self.interface.name,
                "waiting for packets",
                error,
            )),
            ready => Ok(ready > 0),
        }
    }

    /// Packets that the ring had no room for since the last call.
    ///
    /// # Errors
    /// When the kernel refuses its statistics.
    pub fn loss(&mut self) -> Result<Option<Loss>, NetdevError> {
        let (received, dropped) = ring::statistics(&self.socket, &self.interface.name)?;
        let dropped = dropped + self.ring.take_unreadable();
        self.received += received;
        self.dropped += dropped;
        let now = now_ns();
        let since = std::mem::replace(&mut self.reported_ns, now);
        Ok((dropped > 0).then(|| Loss {
            ts_ns: now,
            interface: Some(self.index),
            source: self.interface.name.clone(),
            event_kind: "packet",
            cause: LossCause::SocketFull,
            count: dropped,
            window: (since, now),
        }))
    }

    /// Ends the capture: what comes from here on is neither taken nor counted.
    /// What came before is still to be taken; see [`Netdev::pending`].
    ///
    /// # Errors
    /// When the kernel refuses it.
    pub fn stop(&mut self) -> Result<(), NetdevError> {
        ring::refuse_all(&self.socket, &self.interface.name)
    }

    /// Packets that came and were not taken yet, as of the last
    /// [`Netdev::loss`]. The kernel holds the last ones back for a while, until
    /// their block of the ring is full or its time is over.
    pub fn pending(&self) -> u64 {
        self.received.saturating_sub(self.dropped + self.taken)
    }

    /// Packets that came to the socket, dropped ones included, and those that
    /// were dropped; as of the last [`Netdev::loss`].
    pub fn totals(&self) -> (u64, u64) {
        (self.received, self.dropped)
    }
}

impl<'a> From<LinkFrame<'a>> for Observation<'a> {
    fn from(link_frame: LinkFrame<'a>) -> Observation<'a> {
        Observation::Frame(link_frame.frame)
    }
}

impl AsFd for Netdev {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn now_ns() -> UnixNanos {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    })
}
