//! Lines of the commands that print a list.
use std::io::{self, Write};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::output::clock::Clock;

/// Prints one line, or several. Where the reader went away it is `true` still: output ends,
/// not the work.
pub fn print(text: &str) -> Result<bool> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(true),
        other => other
            .map(|()| true)
            .context("cannot write to standard output"),
    }
}

/// Nanoseconds since 1970.
pub fn unix_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

/// A JSON line with the fields that every object has.
pub fn object(kind: &str, ts_ns: u64, mut fields: Value) -> String {
    let mut ts = Vec::new();
    Clock::rfc3339().push(&mut ts, ts_ns);
    fields["schema"] = json!("netdig/1");
    fields["kind"] = json!(kind);
    fields["ts"] = json!(String::from_utf8_lossy(&ts));
    fields["ts_ns"] = json!(ts_ns);
    fields.to_string()
}
