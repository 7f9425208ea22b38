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
    /// As the options say it.
    mode: Option<u32>,
}

/// The file that a pass has staged; removed at its end, as long as it is there.
struct Staged(PathBuf);

impl Drop for Staged {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

impl Resource<'_> {
    pub fn new(options: &RenderOptions) -> Result<Resource<'_>> {
        let mode = options.mode.as_deref().map(|mode| {
            u32::from_str_radix(mode, 8)
                .with_context(|| format!("`{mode}` is no mode of a file, such as 0644"))
        });
        Ok(Resource {
            options,
            mode: mode.transpose()?,
        })
    }

    /// One pass with these keys.
    pub fn process(&self, store: &Store) -> Result<()> {
        let mode = self.mode.unwrap_or_else(|| {
            fs::metadata(&self.options.dest).map_or(0o644, |file| file.mode() & 0o7777)
        });
        let staged = self.stage(store, mode)?;
        self.sync(&staged)
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
        fs::set_permissions(&staged.0, Permissions::from_mode(mode)).with_context(cannot)?;
        let (user, group) = own_ids();
        chown(&staged.0, Some(user), Some(group)).with_context(cannot)?;
        Ok(staged)
    }

    fn sync(&self, staged: &Staged) -> Result<()> {
        let dest = self.options.dest.display();
        if same(&staged.0, &self.options.dest) {
            log("DEBUG", &format!("Target config {dest} in sync"));
            return Ok(());
        }
        log("INFO", &format!("Target config {dest} out of sync"));
        if let Some(check) = &self.options.check {
            self.check(check, &staged.0)?;
        }
        self.overwrite(&staged.0)?;
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

    fn overwrite(&self, staged: &Path) -> Result<()> {
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
        let mode = fs::metadata(staged).with_context(cannot)?.mode() & 0o7777;
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(dest)
            .with_context(cannot)?;
        file.write_all(&contents).with_context(cannot)?;
        let (user, group) = own_ids();
        chown(dest, Some(user), Some(group)).with_context(cannot)?;
        fs::set_permissions(dest, Permissions::from_mode(mode)).with_context(cannot)
    }
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
