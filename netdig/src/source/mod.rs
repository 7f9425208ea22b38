//! Where observations come from; each source knows nothing of rules or outputs.
pub mod idle;
pub mod netdev;
pub mod pcap;
pub mod peers;
pub mod probe;
pub mod registry;
