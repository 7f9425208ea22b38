//! A scenario's renderers as parts of a lab: the lab's own, or confd.

use std::fs::{self, OpenOptions};
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::super::place::Place;
use super::super::scenario::{Daemon, Renderer};
use super::super::{Lab, etcd, mounts, programs};
use super::options;

impl Lab {
    /// Starts all renderers, and waits until each has made its first pass.
    pub(in super::super) fn start_renderers(&self) -> Result<()> {
        let mut started = Vec::new();
        for renderer in &self.scenario.renderers {
            if renderer.bind_mounted {
                make_mount_point(&self.place(&renderer.on)?, &renderer.dest)?;
            }
            let what = format!("renderer-{}", renderer.name);
            let ready = self.path(&format!("{what}.ready"));
            let nodes = etcd::endpoints(&self.scenario, &renderer.on);
            let command = command(
                renderer,
                &nodes,
                &self.path(&what),
                &ready,
                confd(renderer.daemon)?,
            )?;
            started.push((self.start(&what, &renderer.on, command)?, what, ready));
        }
        for (child, what, ready) in started {
            self.wait_for(child, &what, || Ok(ready.exists()))?;
        }
        Ok(())
    }
}

/// Makes a file a mount point, as Docker does with a file given by `-v`. All in
/// the place see it, and it goes with the place.
fn make_mount_point(place: &Place, file: &Path) -> Result<()> {
    let mounted = place.visit(|| {
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        OpenOptions::new().create(true).append(true).open(file)?;
        mounts::bind(file, file)
    })?;
    mounted.with_context(|| format!("cannot make {} in {place} a mount point", file.display()))
}

/// The real one, if it is to run.
fn confd(daemon: Daemon) -> Result<Option<PathBuf>> {
    match daemon {
        Daemon::Lab => Ok(None),
        Daemon::Any => programs::find("confd"),
        Daemon::Real => match programs::find("confd")? {
            Some(confd) => Ok(Some(confd)),
            None => bail!(
                "the scenario asks for the real confd, which is not on PATH; name it with --confd"
            ),
        },
    }
}

/// The command line of `renderer`, which finds etcd at `nodes`; `folder` takes
/// its template. `confd`: the real one is to run.
fn command(
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
    command.args(["--api", options::name(renderer.api)]);
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
    if let Some(confd) = confd {
        // As it was named where netdig was started; a place may have other folders.
        let confd = std::path::absolute(confd).context("cannot find the working folder")?;
        command.arg("--confd").arg(confd);
        command.arg("--confdir").arg(folder.join("confd"));
    }
    command.arg("--template").arg(&template);
    command.arg("--dest").arg(&renderer.dest);
    command.arg("--ready-file").arg(ready);
    Ok(command)
}
