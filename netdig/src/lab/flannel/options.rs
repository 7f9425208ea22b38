//! What the daemon is told: flanneld's own flags, and what the lab needs besides.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use crate::lab::scenario::Api;
use crate::lab::tunnel::{Calls, Ipv4Net};

#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct FlannelOptions {
    /// Where etcd is
    #[arg(long, value_name = "URL", value_delimiter = ',', required = true, value_parser = endpoint)]
    pub etcd_endpoints: Vec<SocketAddrV4>,
    /// Prefix of the keys
    #[arg(long, value_name = "KEY", default_value = "/coreos.com/network")]
    pub etcd_prefix: String,
    /// Link to the other hosts
    #[arg(long, value_name = "NAME", default_value = "eth0")]
    pub iface: String,
    /// What the lease says in place of the link's address
    #[arg(long, value_name = "ADDRESS")]
    pub public_ip: Option<Ipv4Addr>,
    /// File for those that start containers
    #[arg(long, value_name = "FILE", default_value = "/run/flannel/subnet.env")]
    pub subnet_file: PathBuf,
    #[arg(long, value_enum, default_value_t)]
    pub api: Api,
    /// Subnet to lease, if no lease bears this host's public address and it is free
    #[arg(long, value_name = "SUBNET")]
    pub subnet: Option<Ipv4Net>,
    /// Seconds that the lease lasts without being renewed
    #[arg(long, value_name = "SECONDS", default_value_t = 86_400)]
    pub ttl: u32,
    /// Public addresses whose leases have to be known before it is ready;
    /// without any it is ready once it works, or waits for its configuration
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    pub ready_with: Vec<Ipv4Addr>,
    #[command(flatten)]
    pub calls: Calls,
    /// File to create then
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
}

fn endpoint(text: &str) -> Result<SocketAddrV4, String> {
    let plain = text.strip_prefix("http://").unwrap_or(text);
    plain.trim_end_matches('/').parse().map_err(|_| {
        format!("`{text}` is not an address with a port, such as http://10.1.1.95:2379")
    })
}
