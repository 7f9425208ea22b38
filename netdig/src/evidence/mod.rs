//! What was understood from observations.
pub mod flow;
pub mod join;
pub mod packet;
pub mod services;
pub mod traffic;
