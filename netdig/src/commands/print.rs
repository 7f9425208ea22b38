//! Lines of the commands that print a list.
use std::io::{self, Write};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::observation::UnixNanos;
use crate::output::clock::Clock;

/// Prints one line, or several; a reader who went away ends the output, not the work.
pub fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other.context("cannot write to standard output"),
    }
}

/// A JSON line with the fields that every object has.
pub fn object(kind: &str, ts_ns: UnixNanos, mut fields: Value) -> String {
    let mut ts = Vec::new();
    Clock::rfc3339().push(&mut ts, ts_ns);
    fields["schema"] = json!("netdig/1");
    fields["kind"] = json!(kind);
    fields["ts"] = json!(String::from_utf8_lossy(&ts));
    fields["ts_ns"] = json!(ts_ns);
    fields.to_string()
}
