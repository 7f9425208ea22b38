//! What the tunnel daemon is told.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;

/// An IPv4 address with a prefix length, host bits kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ipv4Net {
    pub address: Ipv4Addr,
    /// 0 to 32.
    pub prefix: u8,
}

impl Ipv4Net {
    fn mask(self) -> u32 {
        u32::MAX
            .checked_shl(32 - u32::from(self.prefix))
            .unwrap_or(0)
    }

    /// The same with the host bits cleared.
    pub fn network(self) -> Ipv4Net {
        Ipv4Net {
            address: Ipv4Addr::from_bits(self.address.to_bits() & self.mask()),
            prefix: self.prefix,
        }
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask() == self.address.to_bits() & self.mask()
    }

    /// Whether there are addresses in both.
    pub fn overlaps(self, other: Ipv4Net) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }
}

impl fmt::Display for Ipv4Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Ipv4Net {
    type Err = String;

    fn from_str(text: &str) -> Result<Ipv4Net, String> {
        let wrong = || {
            format!("`{text}` is not an IPv4 address with a prefix length, such as 192.168.69.0/24")
        };
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address = address.parse().map_err(|_| wrong())?;
        let prefix = prefix
            .parse()
            .ok()
            .filter(|prefix| *prefix <= 32)
            .ok_or_else(wrong)?;
        Ok(Ipv4Net { address, prefix })
    }
}

/// One lease of another host: `SUBNET=PEER:PORT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TunnelRoute {
    pub subnet: Ipv4Net,
    pub peer: SocketAddrV4,
}

impl FromStr for TunnelRoute {
    type Err = String;

    fn from_str(text: &str) -> Result<TunnelRoute, String> {
        let wrong =
            || format!("`{text}` is not SUBNET=PEER:PORT, such as 192.168.13.0/24=10.1.1.187:8285");
        let (subnet, peer) = text.split_once('=').ok_or_else(wrong)?;
        Ok(TunnelRoute {
            subnet: subnet.parse()?,
            peer: peer.parse().map_err(|_| wrong())?,
        })
    }
}

/// How packets are taken from the tun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum TunRead {
    #[default]
    Read,
    /// The IP header and the rest in two vectors.
    Readv,
}

/// How packets are put into the tun.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum TunWrite {
    #[default]
    Write,
    /// The IP header and the rest in two vectors.
    Writev,
}

/// How datagrams leave.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum UdpSend {
    #[default]
    Sendto,
    /// The IP header and the rest in two vectors.
    Sendmsg,
    /// Several packets in one call.
    Sendmmsg,
}

/// How datagrams are taken from the socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum UdpRecv {
    /// recv: no source address is asked for, as flannel does it.
    #[default]
    Recv,
    /// recvfrom with room for the source address.
    Recvfrom,
    /// The IP header and the rest in two vectors, with the source address.
    Recvmsg,
    /// Several datagrams in one call, with their source addresses.
    Recvmmsg,
}

/// Everything that the daemon needs to know.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct TunnelOptions {
    /// Name of the tun device to make
    #[arg(long, value_name = "NAME", default_value = "flannel0")]
    pub tun: String,
    /// Own overlay address, with the prefix length of the whole overlay network
    #[arg(long, value_name = "ADDRESS/PREFIX")]
    pub address: Ipv4Net,
    /// Public address and port to bind the tunnel socket to
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: SocketAddrV4,
    /// A peer's subnet; repeatable
    #[arg(long = "route", value_name = "SUBNET=PEER:PORT")]
    pub routes: Vec<TunnelRoute>,
    /// MTU of the tun device, in bytes: the underlay's less 28
    #[arg(long, value_name = "BYTES", default_value_t = 1472, value_parser = clap::value_parser!(u32).range(68..=65535))]
    pub mtu: u32,
    /// File to create once packets flow
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    #[command(flatten)]
    pub calls: Calls,
}

/// By which system calls packets move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::Args)]
pub struct Calls {
    #[arg(long, value_enum, default_value_t)]
    pub tun_read: TunRead,
    #[arg(long, value_enum, default_value_t)]
    pub tun_write: TunWrite,
    #[arg(long, value_enum, default_value_t)]
    pub udp_send: UdpSend,
    #[arg(long, value_enum, default_value_t)]
    pub udp_recv: UdpRecv,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_parse_mask_and_refuse() {
        let net: Ipv4Net = "10.1.88.0/16".parse().unwrap();
        assert_eq!(net.network().to_string(), "10.1.0.0/16");
        assert!(
            net.contains(Ipv4Addr::new(10, 1, 0, 2)) && !net.contains(Ipv4Addr::new(10, 2, 0, 2))
        );
        assert!(
            "0.0.0.0/0"
                .parse::<Ipv4Net>()
                .unwrap()
                .contains(Ipv4Addr::BROADCAST)
        );
        for bad in [
            "",
            "10.1.0.0",
            "10.1.0.0/33",
            "10.1.0/16",
            "10.1.0.0/-1",
            "10.1.0.0/",
        ] {
            assert!(bad.parse::<Ipv4Net>().is_err(), "{bad}");
        }
        assert!("192.168.13.0/24=10.1.1.187".parse::<TunnelRoute>().is_err());
    }
}
