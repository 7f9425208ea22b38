//! Why a link gives no packets, as sentences.

use std::io;

#[derive(Debug, thiserror::Error)]
pub enum NetdevError {
    #[error("there is no network link {name} in this network namespace; there are: {links}")]
    Unknown { name: String, links: String },
    #[error(
        "network link {name} is down and carries no packets; bring it up: ip link set {name} up"
    )]
    Down { name: String },
    #[error("network link {name} went down or was removed while packets were read from it")]
    WentDown { name: String },
    #[error(
        "may not open a packet socket on {name}: {source}; that takes CAP_NET_RAW: run as root, or \
         give it to the program with setcap cap_net_raw+ep $(command -v netdig). Captures can be \
         read without it: -r FILE"
    )]
    Permission { name: String, source: io::Error },
    #[error(
        "cannot enter the network namespace: {source}; it takes CAP_SYS_ADMIN, and a file as \
         /run/netns/NAME or /proc/PID/ns/net"
    )]
    Netns { source: io::Error },
    #[error("{what} on network link {name} failed: {source}")]
    System {
        name: String,
        what: &'static str,
        source: io::Error,
    },
    #[error("the thread that opened network link {name} failed")]
    Thread { name: String },
}

impl NetdevError {
    pub(super) fn system(name: &str, what: &'static str, source: io::Error) -> NetdevError {
        NetdevError::System {
            name: name.to_owned(),
            what,
            source,
        }
    }
}
