//! Where packets and findings go: one module a format.
pub mod capture;
pub mod clock;
pub mod hexdump;
pub mod json;
pub mod line;
pub mod pcap;
pub mod pcapng;
mod sink;
pub mod summary;
pub mod text;
