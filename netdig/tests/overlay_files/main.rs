//! `netdig overlay -r`: the program, end to end, on files of every kind.

mod against_tshark;
mod agreement;
#[allow(dead_code)]
#[path = "../tshark_lines/build.rs"]
mod build;
mod checksums;
#[allow(dead_code)]
#[path = "../captures/craft.rs"]
mod craft;
mod cut;
mod cuts;
mod facts;
mod failures;
mod field_cases;
mod findings;
mod folder;
mod foreign;
mod formats;
mod hostile;
mod links;
mod options;
mod parts;
mod pdml;
#[allow(dead_code)]
mod program;
#[path = "../tshark_lines/protocols.rs"]
mod protocols;
mod sets;
mod snapped;
mod streams;
