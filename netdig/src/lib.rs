//! netdig as a library: sources, observations, evidence, outputs.
pub mod annotation;
pub mod btf;
pub mod cli;
pub mod commands;
pub mod engine;
pub mod evidence;
pub mod lab;
pub mod observation;
pub mod output;
pub mod selection;
pub mod source;
pub mod tracker;
