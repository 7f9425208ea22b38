//! netdig as a library: sources, observations, evidence, outputs.
pub mod cli;
pub mod commands;
pub mod lab;
pub mod observation;
