//! Network laboratories: hosts, tunnels and servers in network namespaces.

mod ip;
pub mod tunnel;
