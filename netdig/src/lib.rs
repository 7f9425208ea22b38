//! netdig as a library: sources, observations, evidence, outputs.
pub mod btf;
pub mod observation;
pub mod tracker;
