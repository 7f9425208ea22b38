//! Where packets and findings go: one module a format.
pub mod capture;
pub mod line;
pub mod pcap;
pub mod pcapng;
mod sink;
