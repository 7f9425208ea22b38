//! Where observations come from: one module a source.
pub mod netdev;
pub mod pcap;
