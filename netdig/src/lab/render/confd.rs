//! The real confd in the renderer's place.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::json;

use super::super::scenario::Api;
use super::log;
use super::options::RenderOptions;

/// Writes confd's own configuration, renders once with it, and becomes its daemon.
pub fn become_it(confd: &Path, options: &RenderOptions) -> Result<()> {
    let confdir = options.confdir.as_deref();
    let confdir = confdir.context("confd needs a folder for its configuration: --confdir")?;
    configure(options, confdir)?;
    let cannot = || format!("cannot start {}", confd.display());
    let mut once = command(confd, options, confdir);
    let status = once.arg("-onetime").status().with_context(cannot)?;
    if !status.success() {
        // Its daemon tries again.
        log("ERROR", &format!("confd -onetime: {status}"));
    }
    if let Some(path) = &options.ready_file {
        File::create(path)
            .with_context(|| format!("cannot create the ready file {}", path.display()))?;
    }
    let mut daemon = command(confd, options, confdir);
    match options.interval {
        Some(seconds) => daemon.args(["-interval", &seconds.to_string()]),
        None => daemon.arg("-watch"),
    };
    Err(daemon.exec()).with_context(cannot)
}

fn command(confd: &Path, options: &RenderOptions, confdir: &Path) -> Command {
    let backend = match options.api {
        Api::V2 => "etcd",
        Api::V3 => "etcdv3",
    };
    let mut command = Command::new(confd);
    command.args(["-backend", backend]);
    for node in &options.nodes {
        command.args(["-node", &format!("http://{node}")]);
    }
    if !options.prefix.is_empty() {
        command.args(["-prefix", &options.prefix]);
    }
    command.arg("-confdir").arg(confdir);
    command
}

fn configure(options: &RenderOptions, confdir: &Path) -> Result<()> {
    let name = options.template.file_name().unwrap_or_default();
    let name = name.to_string_lossy();
    let mut text = "[template]\n".to_owned();
    // JSON's strings and lists of them are TOML's too.
    let mut set = |key: &str, value: serde_json::Value| text += &format!("{key} = {value}\n");
    set("src", json!(name));
    set("dest", json!(options.dest.display().to_string()));
    set("keys", json!(options.keys));
    for (key, value) in [
        ("mode", &options.mode),
        ("check_cmd", &options.check),
        ("reload_cmd", &options.reload),
    ] {
        if let Some(value) = value {
            set(key, json!(value));
        }
    }
    let stem = name.split('.').next().unwrap_or_default();
    for (folder, file, text) in [
        ("conf.d", format!("{stem}.toml"), text.as_bytes()),
        (
            "templates",
            name.to_string(),
            &fs::read(&options.template)
                .with_context(|| format!("cannot read {}", options.template.display()))?,
        ),
    ] {
        let folder = confdir.join(folder);
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let path = folder.join(file);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
