//! `netdig overlay` on the running kernel: the real probe, real tun devices,
//! in network namespaces that each test makes and removes.
//!
//! Probes see the whole host, and tests run side by side: each looks at its own
//! namespace or processes only.

mod calls;
mod daemons;
mod descriptors;
mod ends;
mod filters;
mod findings;
mod links;
mod load;
mod net;
mod play;
mod seen;
mod shapes;
mod state;
mod watch;
mod world;
