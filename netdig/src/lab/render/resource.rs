//! One file and what belongs to it: staged beside its destination, compared,
//! checked, moved there, reloaded, in confd's order and with its outcomes.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions, Permissions};
use std::hash::{BuildHasher, RandomState};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::log;
use super::options::RenderOptions;
use super::template::{Store, Template, Value};

pub struct Resource<'a> {
    options: &'a RenderOptions,
}

/// The file that a pass has staged; removed at its end, as long as it is there.
struct Staged(PathBuf);

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Resource<'_> {
    pub const fn new(options: &RenderOptions) -> Resource<'_> {
        Resource { options }
    }

    /// One pass with these keys.
    pub fn process(&self, store: &Store) -> Result<()> {
        let mode = match &self.options.mode {
            Some(mode) => mode_of(mode)?,
            None => fs::metadata(&self.options.dest).map_or(0o644, |file| file.mode() & 0o7777),
        };
        let staged = self.stage(store, mode)?;
        self.sync(&staged, mode)
    }

    fn stage(&self, store: &Store, mode: u32) -> Result<Staged> {
        let source = &self.options.template;
        let text = fs::read_to_string(source)
            .with_context(|| format!("cannot read the template {}", source.display()))?;
        let name = source.file_name().unwrap_or_default().to_string_lossy();
        let template = Template::parse(&name, &text)?;
        let (mut file, staged) = beside(&self.options.dest)?;
        let rendered = template.render(&Value::Nil, store)?;
        let cannot = || format!("cannot write {}", staged.0.display());
        file.write_all(rendered.as_bytes()).with_context(cannot)?;
        // confd does not look at what comes of these.
        let _ = fs::set_permissions(&staged.0, Permissions::from_mode(mode));
        let (user, group) = own_ids();
        let _ = chown(&staged.0, Some(user), Some(group));
        Ok(staged)
    }

    fn sync(&self, staged: &Staged, mode: u32) -> Result<()> {
        let dest = self.options.dest.display();
        if same(&staged.0, &self.options.dest) {
            log("DEBUG", &format!("Target config {dest} in sync"));
            return Ok(());
        }
        log("INFO", &format!("Target config {dest} out of sync"));
        if let Some(check) = &self.options.check {
            self.check(check, &staged.0)?;
        }
        self.overwrite(&staged.0, mode)?;
        if let Some(reload) = &self.options.reload {
            // The file is there: the next pass finds it in sync and does not try again.
            run(reload).context("Config reload failed")?;
        }
        log("INFO", &format!("Target config {dest} has been updated"));
        Ok(())
    }

    fn check(&self, command: &str, staged: &Path) -> Result<()> {
        let source = Value::Text(staged.display().to_string());
        let root = Value::Map(BTreeMap::from([("src".to_owned(), source)]));
        let template = Template::parse("checkcmd", command)?;
        let command = template.render(&root, &Store::default())?;
        run(&command).context("Config check failed")
    }

    fn overwrite(&self, staged: &Path, mode: u32) -> Result<()> {
        let dest = &self.options.dest;
        match fs::rename(staged, dest) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::ResourceBusy => {}
            Err(error) => {
                return Err(error)
                    .with_context(|| format!("rename {} {}", staged.display(), dest.display()));
            }
        }
        log(
            "DEBUG",
            "Rename failed - target is likely a mount. Trying to write instead",
        );
        let cannot = || format!("cannot write {} in place", dest.display());
        let contents = fs::read(staged).with_context(cannot)?;
        // The mode is for a file that is made here; one that is there keeps its own.
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(dest)
            .with_context(cannot)?;
        let written = file.write_all(&contents).with_context(cannot);
        let (user, group) = own_ids();
        let _ = chown(dest, Some(user), Some(group));
        written
    }
}

/// A number as Go reads it: what stands before it says of which base, and 644
/// is decimal. Of a mode, Go's chmod takes the nine bits of permissions.
fn mode_of(text: &str) -> Result<u32> {
    let lower = text.to_ascii_lowercase();
    let (digits, base) = match lower.as_bytes() {
        [b'0', b'x', ..] => (&lower[2..], 16),
        [b'0', b'o', ..] => (&lower[2..], 8),
        [b'0', b'b', ..] => (&lower[2..], 2),
        [b'0', _, ..] => (&lower[1..], 8),
        _ => (&lower[..], 10),
    };
    let number = Some(digits).filter(|digits| !digits.starts_with(['+', '-']));
    number
        .and_then(|digits| u32::from_str_radix(digits, base).ok())
        .map(|mode| mode & 0o777)
        .with_context(|| format!("strconv.ParseUint: parsing {text:?}: invalid syntax"))
}

fn own_ids() -> (u32, u32) {
    // SAFETY: neither can fail.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// A new file in the same folder, its name hidden and with nine digits behind.
fn beside(dest: &Path) -> Result<(fs::File, Staged)> {
    let base = dest.file_name().context("the file to render has no name")?;
    for _ in 0..10_000 {
        let number = RandomState::new().hash_one(0) % 1_000_000_000;
        let name = format!(".{}{number:09}", base.to_string_lossy());
        let path = dest.with_file_name(name);
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path);
        match opened {
            Ok(file) => return Ok((file, Staged(path))),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("open {}", path.display())),
        }
    }
    bail!(
        "no name is free for a staging file beside {}",
        dest.display()
    )
}

/// Whether owner, mode and content agree; says what does not.
fn same(staged: &Path, dest: &Path) -> bool {
    let (Ok(new), Ok(old)) = (fs::metadata(staged), fs::metadata(dest)) else {
        return false;
    };
    let mut agree = true;
    let mut differ = |what: &str, has: u32, should: u32| {
        if has != should {
            let (has, should) = match what {
                "mode" => (format!("{has:o}"), format!("{should:o}")),
                _ => (has.to_string(), should.to_string()),
            };
            log(
                "INFO",
                &format!("{} has {what} {has} should be {should}", dest.display()),
            );
            agree = false;
        }
    };
    differ("UID", old.uid(), new.uid());
    differ("GID", old.gid(), new.gid());
    differ("mode", old.mode() & 0o7777, new.mode() & 0o7777);
    agree && fs::read(staged).ok() == fs::read(dest).ok()
}

/// As confd does it: one shell, and its output only in the log.
fn run(command: &str) -> Result<()> {
    log("DEBUG", &format!("Running {command}"));
    let output = Command::new("/bin/sh")
        .args(["-c", command])
        .output()
        .context("cannot start /bin/sh")?;
    let said = [output.stdout, output.stderr].concat();
    let said = format!("{:?}", String::from_utf8_lossy(&said));
    if output.status.success() {
        log("DEBUG", &said);
        return Ok(());
    }
    log("ERROR", &said);
    bail!("{}", output.status)
}

#[cfg(test)]
mod tests {
    use super::mode_of;

    #[test]
    fn a_mode_is_read_as_go_reads_numbers() {
        for (text, wanted) in [
            ("0644", 0o644),
            ("0o640", 0o640),
            ("0x1a4", 0o644),
            ("420", 0o644),
            ("0", 0),
            // Decimal: 01204, of which chmod gets the last nine bits.
            ("644", 0o204),
        ] {
            assert_eq!(mode_of(text).unwrap(), wanted, "{text}");
        }
        for wrong in ["", "0x", "rw", "-1", "0+1", "0888", "99999999999"] {
            assert!(mode_of(wrong).is_err(), "{wrong}");
        }
    }
}
