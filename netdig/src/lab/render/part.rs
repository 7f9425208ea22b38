//! A scenario's renderer as a process.

use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::super::scenario::Renderer;
use super::options::ApiArgument;

/// The command line of `renderer`, which finds etcd at `nodes`; `folder` takes
/// its template. `confd`: the real one is to run.
pub fn command(
    renderer: &Renderer,
    nodes: &[SocketAddrV4],
    folder: &Path,
    ready: &Path,
    confd: Option<PathBuf>,
) -> Result<Command> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let base = renderer.dest.file_name().unwrap_or_default();
    let template = folder.join(format!("{}.tmpl", base.to_string_lossy()));
    fs::write(&template, &renderer.template)
        .with_context(|| format!("cannot write {}", template.display()))?;
    let executable = std::env::current_exe().context("cannot find netdig's own executable")?;
    let mut command = Command::new(executable);
    command.args(["lab", "render"]);
    for node in nodes {
        command.args(["--node", &node.to_string()]);
    }
    command.args(["--api", ApiArgument::from(renderer.api).name()]);
    // A text may begin with a hyphen.
    let mut flag = |name: &str, value: &str| {
        command.arg(format!("--{name}={value}"));
    };
    flag("prefix", &renderer.prefix);
    for key in &renderer.keys {
        flag("key", key);
    }
    for (name, value) in [
        ("mode", &renderer.mode),
        ("check", &renderer.check),
        ("reload", &renderer.reload),
        (
            "interval",
            &renderer.interval_s.map(|seconds| seconds.to_string()),
        ),
    ] {
        if let Some(value) = value {
            flag(name, value);
        }
    }
    if renderer.bind_mounted {
        command.arg("--bind-mounted");
    }
    if let Some(confd) = confd {
        command.arg("--confd").arg(confd);
        command.arg("--confdir").arg(folder.join("confd"));
    }
    command.arg("--template").arg(&template);
    command.arg("--dest").arg(&renderer.dest);
    command.arg("--ready-file").arg(ready);
    Ok(command)
}
