//! netdig as a library: sources, observations, evidence, rules, outputs.
pub mod annotation;
mod base64;
pub mod btf;
pub mod cli;
pub mod commands;
pub mod conclusions;
pub mod context;
pub mod engine;
pub mod evidence;
pub mod finding;
pub mod lab;
pub mod observation;
pub mod output;
pub mod rules;
pub mod selection;
pub mod source;
pub mod tracker;
