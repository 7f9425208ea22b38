//! What was understood from observations.
pub mod flow;
