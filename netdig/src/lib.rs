//! netdig as a library: sources, observations, evidence, outputs.
pub mod observation;
