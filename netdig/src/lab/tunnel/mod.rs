//! A small tunnel daemon that acts, on the wire and at its system calls, as
//! flanneld with its UDP backend does on x86_64: one tun device, one UDP
//! socket, bare IPv4 packets as payload.

mod device;
mod io;
mod options;
mod packet;

use std::fs::File;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};

use self::io::{BATCH, Slot};
use self::packet::{IPV4_HEADER, RouteTable, addresses, decrement_ttl, net_unreachable};
pub use options::{
    Calls, Ipv4Net, TunRead, TunWrite, TunnelOptions, TunnelRoute, UdpRecv, UdpSend,
};

/// Runs the daemon until SIGTERM or SIGINT. Errors on packets are logged to
/// standard error and do not end it.
pub fn run(options: &TunnelOptions) -> Result<()> {
    let stop = Stop::on_signals()?;
    let mut tunnel = Tunnel::open(options)?;
    if let Some(path) = &options.ready_file {
        File::create(path)
            .with_context(|| format!("cannot create the ready file {}", path.display()))?;
    }
    tunnel.serve(&stop)
}

/// What ends the daemon: a flag, and a descriptor that wakes poll. The latter
/// stands where flanneld has its control socket.
pub struct Stop {
    asked: Arc<AtomicBool>,
    wake: UnixStream,
}

impl Stop {
    pub fn on_signals() -> Result<Stop> {
        let asked = Arc::new(AtomicBool::new(false));
        let (wake, end) = UnixStream::pair().context("cannot make a socket pair")?;
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            let end = end.try_clone().context("cannot duplicate a socket")?;
            signal_hook::flag::register(signal, asked.clone()).context("cannot handle signals")?;
            signal_hook::low_level::pipe::register(signal, end).context("cannot handle signals")?;
        }
        Ok(Stop { asked, wake })
    }

    fn asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Which peer serves which subnet, changed while packets go their ways.
#[derive(Debug, Clone)]
pub struct Routes(Arc<Mutex<RouteTable>>);

impl Routes {
    fn lock(&self) -> MutexGuard<'_, RouteTable> {
        // Whoever panicked with it left it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, subnet: Ipv4Net, peer: SocketAddrV4) {
        self.lock().set(subnet, peer);
    }

    pub fn remove(&self, subnet: Ipv4Net) {
        self.lock().remove(subnet);
    }
}

pub struct Tunnel<'a> {
    options: &'a TunnelOptions,
    tun: File,
    socket: UdpSocket,
    routes: Routes,
    /// As long as the tun's MTU, like flannel's buffer: a longer datagram is cut.
    slots: Vec<Slot>,
}

impl<'a> Tunnel<'a> {
    /// Makes the tun and the socket.
    pub fn open(options: &'a TunnelOptions) -> Result<Tunnel<'a>> {
        let tun = device::open(&options.tun)?;
        device::configure(options)?;
        let socket = UdpSocket::bind(options.listen).with_context(|| {
            format!(
                "cannot bind the tunnel's UDP socket to {}; is it an address of this host, and free?",
                options.listen
            )
        })?;
        socket
            .set_nonblocking(true)
            .context("cannot make the tunnel's UDP socket non-blocking")?;
        let routes = RouteTable::new(&options.routes);
        Ok(Tunnel {
            options,
            tun,
            socket,
            routes: Routes(Arc::new(Mutex::new(routes))),
            slots: vec![Slot::new(options.mtu as usize); BATCH],
        })
    }

    /// A handle to change them by while it serves.
    pub fn routes(&self) -> Routes {
        self.routes.clone()
    }

    /// Moves packets until it is told to stop.
    pub fn serve(&mut self, stop: &Stop) -> Result<()> {
        let pollfd = |fd: BorrowedFd<'_>| libc::pollfd {
            fd: fd.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let mut fds = [
            pollfd(self.tun.as_fd()),
            pollfd(self.socket.as_fd()),
            pollfd(stop.wake.as_fd()),
        ];
        while !stop.asked() {
            // SAFETY: the array lives through the call and has this length.
            if unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, -1) } < 0 {
                let error = std::io::Error::last_os_error();
                if error.kind() == ErrorKind::Interrupted {
                    continue;
                }
                return Err(error).context("poll failed");
            }
            // Both are drained in turns without another poll, as flannel does it.
            if fds[..2].iter().any(|fd| fd.revents & libc::POLLIN != 0) {
                while !stop.asked() {
                    let sent = self.tun_to_udp();
                    let received = self.udp_to_tun(stop);
                    if !sent && !received {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// Moves one packet (with sendmmsg up to [`BATCH`]); whether there was one.
    fn tun_to_udp(&mut self) -> bool {
        let batch = if self.options.calls.udp_send == UdpSend::Sendmmsg {
            BATCH
        } else {
            1
        };
        let mut filled = 0;
        let mut peers: [Option<SocketAddrV4>; BATCH] = [None; BATCH];
        while filled < batch && self.read_tun(filled) {
            peers[filled] = self.forward(filled);
            filled += 1;
        }
        let ready: Vec<(&[u8], SocketAddrV4)> = self.slots[..filled]
            .iter()
            .zip(peers)
            .filter_map(|(slot, peer)| Some((slot.packet(), peer?)))
            .collect();
        self.send(&ready);
        filled > 0
    }

    /// Where the packet in this slot goes, its time to live taken down; what
    /// no lease covers is answered here.
    fn forward(&mut self, at: usize) -> Option<SocketAddrV4> {
        let slot = &mut self.slots[at];
        let (source, destination) = addresses(slot.packet())?;
        let Some(peer) = self.routes.lock().find(destination) else {
            if let Some(answer) = net_unreachable(self.options.address.address, &slot.buffer)
                && let Err(error) = self.write_tun(&answer)
            {
                log(format_args!(
                    "cannot write the unreachable for {source} to the tun: {error}"
                ));
            }
            return None;
        };
        if !decrement_ttl(slot.packet_mut()) {
            log_no_ttl(source, destination);
            return None;
        }
        Some(peer)
    }

    /// Moves one datagram (with recvmmsg up to [`BATCH`]); whether there was one.
    fn udp_to_tun(&mut self, stop: &Stop) -> bool {
        let count = match self.receive() {
            Ok(count) => count,
            Err(error) => {
                if error.kind() != ErrorKind::WouldBlock {
                    log(format_args!("receive on UDP failed: {error}"));
                }
                return false;
            }
        };
        let mut active = false;
        for at in 0..count {
            let slot = &mut self.slots[at];
            let Some((source, destination)) = addresses(slot.packet()) else {
                log(format_args!(
                    "a datagram of {} bytes is too short for a packet",
                    slot.len
                ));
                continue;
            };
            active = true;
            if !decrement_ttl(slot.packet_mut()) {
                log_no_ttl(source, destination);
                continue;
            }
            self.deliver(at, stop);
        }
        active
    }

    fn read_tun(&mut self, at: usize) -> bool {
        let slot = &mut self.slots[at];
        let result = match self.options.calls.tun_read {
            TunRead::Read => io::read(self.tun.as_fd(), &mut slot.buffer),
            TunRead::Readv => io::readv(self.tun.as_fd(), &mut slot.buffer),
        };
        match result {
            Ok(len) if len >= IPV4_HEADER => {
                slot.len = len;
                true
            }
            Ok(len) => {
                log(format_args!(
                    "read {len} bytes from the tun, too short for a packet"
                ));
                false
            }
            Err(error) => {
                if error.kind() != ErrorKind::WouldBlock {
                    log(format_args!("read from the tun failed: {error}"));
                }
                false
            }
        }
    }

    fn write_tun(&self, packet: &[u8]) -> std::io::Result<usize> {
        match self.options.calls.tun_write {
            TunWrite::Write => io::write(self.tun.as_fd(), packet),
            TunWrite::Writev => io::writev(self.tun.as_fd(), packet),
        }
    }

    /// Like flannel, tries again at once as long as the tun would block.
    fn deliver(&self, at: usize, stop: &Stop) {
        let packet = self.slots[at].packet();
        loop {
            match self.write_tun(packet) {
                Ok(len) if len == packet.len() => {}
                Ok(len) => log(format_args!(
                    "wrote only {len} of {} bytes to the tun",
                    packet.len()
                )),
                Err(error) if error.kind() == ErrorKind::WouldBlock && !stop.asked() => continue,
                Err(error) => log(format_args!("write to the tun failed: {error}")),
            }
            return;
        }
    }

    fn receive(&mut self) -> std::io::Result<usize> {
        let fd = self.socket.as_fd();
        let receive = match self.options.calls.udp_recv {
            UdpRecv::Recv => io::recv,
            UdpRecv::Recvfrom => io::recvfrom,
            UdpRecv::Recvmsg => io::recvmsg,
            UdpRecv::Recvmmsg => return io::recvmmsg(fd, &mut self.slots),
        };
        let slot = &mut self.slots[0];
        slot.len = receive(fd, &mut slot.buffer)?;
        Ok(1)
    }

    fn send(&self, packets: &[(&[u8], SocketAddrV4)]) {
        let fd = self.socket.as_fd();
        let one = match self.options.calls.udp_send {
            UdpSend::Sendto => io::sendto,
            UdpSend::Sendmsg => io::sendmsg,
            UdpSend::Sendmmsg => return self.send_batch(packets),
        };
        for (packet, peer) in packets {
            match one(fd, packet, *peer) {
                Ok(len) if len == packet.len() => {}
                Ok(len) => log(format_args!(
                    "sent only {len} of {} bytes to {peer}",
                    packet.len()
                )),
                Err(error) => log(format_args!("send to {peer} failed: {error}")),
            }
        }
    }

    fn send_batch(&self, mut packets: &[(&[u8], SocketAddrV4)]) {
        while let Some((_, peer)) = packets.first() {
            // sendmmsg reports an error only for the first packet of a call:
            // that one is given up, and the rest are tried again.
            let done = io::sendmmsg(self.socket.as_fd(), packets).unwrap_or_else(|error| {
                log(format_args!("sendmmsg to {peer} failed: {error}"));
                1
            });
            packets = packets.get(done.max(1)..).unwrap_or_default();
        }
    }
}

fn log(message: std::fmt::Arguments<'_>) {
    crate::lab::tell!("netdig lab tunnel: {message}");
}

fn log_no_ttl(source: Ipv4Addr, destination: Ipv4Addr) {
    log(format_args!(
        "dropped {source} -> {destination}: its time to live ended"
    ));
}
