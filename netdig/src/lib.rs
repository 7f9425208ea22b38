//! netdig as a library: sources, observations, evidence, outputs.
pub mod evidence;
pub mod observation;
pub mod output;
