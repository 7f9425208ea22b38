//! netdig as a library: sources, observations, evidence, outputs.
pub mod lab;
pub mod observation;
