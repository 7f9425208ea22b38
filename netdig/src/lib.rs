//! netdig as a library: sources, observations, evidence, outputs.
pub mod annotation;
pub mod observation;
pub mod output;
pub mod source;
