//! Contexts as files: one JSON object, schema [`SCHEMA`], described in docs/contexts.md.
//!
//! Secrets are masked when a context is read ([`super::mask`]), so that what is saved is what
//! the rules saw.
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow, bail};
use serde::Deserialize;

use super::{Context, SCHEMA};

/// Longest file that is read: 200,000 keys and 100,000 routes are 60 MB.
const MAX_BYTES: u64 = 1 << 30;

/// Writes a context; `-` is standard output. A file is readable by its owner alone, and one
/// that was there before is replaced only by a whole one.
///
/// # Errors
/// Where it cannot be written.
pub fn save(context: &Context, path: &Path) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(context).context("cannot write the context")?;
    text.push(b'\n');
    if path == Path::new("-") {
        return match io::stdout().lock().write_all(&text) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other.context("cannot write to standard output"),
        };
    }
    write(path, &text).with_context(|| format!("cannot write {}", path.display()))
}

fn write(path: &Path, text: &[u8]) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    // A device or pipe is written to, not replaced.
    if path.metadata().is_ok_and(|known| !known.is_file()) {
        return File::options().write(true).open(path)?.write_all(text);
    }
    let mut staging = path.as_os_str().to_owned();
    staging.push(format!(".{}", std::process::id()));
    let staging = Path::new(&staging);
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    let written = options
        .open(staging)
        .and_then(|mut file| {
            file.write_all(text)?;
            file.sync_all()
        })
        .and_then(|()| std::fs::rename(staging, path));
    if written.is_err() {
        let _ = std::fs::remove_file(staging);
    }
    written
}

/// What tells a context from any other JSON.
#[derive(Deserialize)]
struct Head {
    schema: Option<String>,
}

/// Reads a context; `-` is standard input.
///
/// # Errors
/// Where the file cannot be read, or holds none that this netdig knows.
pub fn load(path: &Path) -> Result<Context> {
    let name = path.display();
    let mut text = Vec::new();
    let read = match path == Path::new("-") {
        true => bounded(io::stdin().lock(), &mut text),
        false => File::open(path).and_then(|file| match file.metadata()?.len() > MAX_BYTES {
            true => Ok(false),
            false => bounded(file, &mut text),
        }),
    };
    if !read.with_context(|| format!("cannot read {name}"))? {
        bail!(
            "{name} is longer than {} MiB: no saved context",
            MAX_BYTES >> 20
        );
    }
    parse(&text).map_err(|error| anyhow!("{name} is no saved context: {error:#}"))
}

/// Reads all of what may be a context; false where it is too long. What does not begin as one is
/// not read to its end, which it may not have.
fn bounded(input: impl Read, text: &mut Vec<u8>) -> io::Result<bool> {
    let mut input = input.take(MAX_BYTES + 1);
    input.by_ref().take(4096).read_to_end(text)?;
    let first = text.iter().find(|byte| !byte.is_ascii_whitespace());
    if first == Some(&b'{') {
        input.read_to_end(text)?;
    }
    Ok(text.len() as u64 <= MAX_BYTES)
}

fn parse(text: &[u8]) -> Result<Context> {
    let head: Head = serde_json::from_slice(text)?;
    match head.schema.as_deref() {
        Some(SCHEMA) => {}
        Some(other) => bail!(
            "its schema is `{}`, and this netdig reads {SCHEMA}",
            other.escape_debug()
        ),
        None => bail!("it has no `schema`; `netdig doctor --save FILE` writes one"),
    }
    Ok(serde_json::from_slice(text)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Context {
        Context {
            schema: SCHEMA.to_owned(),
            taken_ns: 1_792_000_000_000_000_000,
            ..Context::default()
        }
    }

    #[test]
    fn what_is_saved_is_loaded() {
        let path = std::env::temp_dir().join(format!("netdig-saved-{}", std::process::id()));
        let context = sample();
        save(&context, &path).unwrap();
        assert_eq!(load(&path).unwrap(), context);
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_is_none_is_refused_with_a_reason() {
        for (text, reason) in [
            (&b""[..], "EOF"),
            (b"\xff\xfe", "expected value"),
            (b"{}", "no `schema`"),
            (b"[]", "invalid"),
            (br#"{"schema":"netdig-context/9"}"#, "netdig-context/9"),
            (br#"{"schema":"netdig-context/1","net":7}"#, "invalid type"),
            (
                br#"{"schema":"netdig-context/1","net":{"routes":[{"to":"10.0.0.0/99"}]}}"#,
                "line 1",
            ),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn fields_of_later_versions_are_passed_over() {
        let text =
            br#"{"schema":"netdig-context/1","weather":"fine","host":{"name":"a","moon":1}}"#;
        assert_eq!(parse(text).unwrap().host.name, "a");
    }
}
