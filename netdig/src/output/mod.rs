//! One file a format.
pub mod line;
