//! flannel's subnet.env, wherever flanneld was told to write it and CNI to read it.
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::UNIX_EPOCH;

use super::{SubnetEnv, not_read};
use crate::context::{Context, Part, bounded};

const DEFAULT: &str = "/run/flannel/subnet.env";
const FOLDER: &str = "/run/flannel";
/// Of flannel's networks and of a folder's files.
const MAX_FILES: usize = 64;

/// Reads them all. flanneld's and CNI's configuration and units must be in `context`
/// already.
pub fn read(context: &mut Context, root: &Path) {
    let mut missing = Vec::new();
    for file in files(context, root) {
        match one(root, &file) {
            Ok(env) => context.files.subnet_env.push(env),
            Err(error) if bounded::absent(&error) => missing.push(file),
            Err(error) => not_read(context, Part::SubnetEnv, &file, &error),
        }
    }
    let found = beside_flanneld(context, &missing);
    context.files.subnet_env.extend(found);
}

/// A file with what it says.
fn one(root: &Path, file: &str) -> std::io::Result<SubnetEnv> {
    let open = bounded::open(root, file)?;
    let modified = open.metadata()?.modified().ok();
    let bytes = bounded::contents(&open)?;
    let age = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let mut env = parse(file, &String::from_utf8_lossy(&bytes));
    env.modified_ns = age.map_or(0, |age| age.as_nanos().try_into().unwrap_or(0));
    Ok(env)
}

/// flanneld may see other files than those that were looked at, in a container or in a mount
/// namespace beside the network's: what it wrote is there then.
fn beside_flanneld(context: &Context, missing: &[String]) -> Vec<SubnetEnv> {
    let daemons = super::running(context, "flanneld");
    let roots = daemons.map(|one| PathBuf::from(format!("/proc/{}/root", one.pid)));
    let roots: Vec<PathBuf> = roots.collect();
    let first = |file: &String| roots.iter().find_map(|root| one(root, file).ok());
    missing.iter().filter_map(first).collect()
}

/// The default one, what flanneld, CNI and units name, and those of flannel's several networks.
fn files(context: &Context, root: &Path) -> Vec<String> {
    let mut files = vec![DEFAULT.to_owned()];
    for process in super::running(context, "flanneld") {
        files.extend(super::option(&process.args, "subnet-file").map(str::to_owned));
        files.extend(process.env.get("FLANNELD_SUBNET_FILE").cloned());
    }
    files.extend(
        context
            .files
            .cni
            .iter()
            .filter_map(|one| one.subnet_file.clone()),
    );
    let wanted = context.files.subnet_env_wanted.iter();
    files.extend(wanted.map(|reader| reader.wants.clone()));
    let beside = bounded::names(root, FOLDER, MAX_FILES).unwrap_or_default();
    let beside = beside.into_iter().filter(|name| name.ends_with(".env"));
    files.extend(beside.map(|name| format!("{FOLDER}/{name}")));
    let networks = bounded::names(root, "/run/flannel/networks", MAX_FILES).unwrap_or_default();
    let networks = networks.into_iter().filter(|name| name.ends_with(".env"));
    files.extend(networks.map(|name| format!("{FOLDER}/networks/{name}")));
    let mut seen = Vec::new();
    for file in files {
        if file.starts_with('/') && !seen.contains(&file) && seen.len() < MAX_FILES {
            seen.push(file);
        }
    }
    seen
}

fn parse(file: &str, text: &str) -> SubnetEnv {
    let mut env = SubnetEnv {
        file: file.to_owned(),
        ..SubnetEnv::default()
    };
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Err(why) = assign(&mut env, line) {
            env.broken.push((number, why));
        }
    }
    env
}

fn assign(env: &mut SubnetEnv, line: &str) -> Result<(), String> {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let Some((name, value)) = line.split_once('=') else {
        return Err("it is no NAME=VALUE".to_owned());
    };
    let value = value.trim().trim_matches(['"', '\'']);
    match name {
        "FLANNEL_NETWORK" => env.network = list(name, value)?,
        "FLANNEL_SUBNET" => env.subnet = Some(parsed(name, value)?),
        "FLANNEL_IPV6_NETWORK" => env.ipv6_network = list(name, value)?,
        "FLANNEL_IPV6_SUBNET" => env.ipv6_subnet = Some(parsed(name, value)?),
        "FLANNEL_MTU" => env.mtu = Some(parsed(name, value)?),
        "FLANNEL_IPMASQ" => env.ipmasq = Some(parsed(name, value)?),
        // A later flannel's.
        _ => {}
    }
    Ok(())
}

/// Newer flannels write several, with commas between.
fn list<T: FromStr>(name: &str, value: &str) -> Result<Vec<T>, String> {
    let parts = value.split(',').map(str::trim);
    parts.map(|part| parsed(name, part)).collect()
}

fn parsed<T: FromStr>(name: &str, value: &str) -> Result<T, String> {
    value
        .parse()
        .map_err(|_| format!("{name} cannot be `{value}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Process;
    use crate::context::bounded::testing::Folder;

    #[test]
    fn flannels_own_form_is_read() {
        let env = parse(
            "x",
            "FLANNEL_NETWORK=192.168.0.0/16,10.5.0.0/16\nFLANNEL_SUBNET=192.168.69.1/24\n\
             FLANNEL_IPV6_NETWORK=fd00::/48\nFLANNEL_IPV6_SUBNET=fd00:0:0:1::1/64\n\
             FLANNEL_MTU=1472\nFLANNEL_IPMASQ=false\nFLANNEL_NEW=x\n",
        );
        assert_eq!(env.network.len(), 2);
        assert_eq!(env.subnet.unwrap().to_string(), "192.168.69.1/24");
        assert!(env.ipv6_subnet.is_some() && env.ipv6_network.len() == 1);
        assert_eq!((env.mtu, env.ipmasq), (Some(1472), Some(false)));
        assert!(env.broken.is_empty());
    }

    #[test]
    fn broken_lines_are_named() {
        let env = parse(
            "x",
            "# x\nFLANNEL_MTU=14x\n\u{fffd}\nFLANNEL_SUBNET=\nexport FLANNEL_IPMASQ=\"true\"",
        );
        let lines: Vec<u32> = env.broken.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [2, 3, 4]);
        assert_eq!(env.ipmasq, Some(true));
        assert!(env.broken[0].1.contains("14x"));
    }

    #[test]
    fn every_file_is_read_once() {
        let folder = Folder::with(&[
            ("run/flannel/subnet.env", b"FLANNEL_MTU=1\n"),
            ("run/flannel/second.env", b"FLANNEL_MTU=2\n"),
            ("opt/third.env", b"FLANNEL_MTU=3\n\xff\n"),
            ("run/flannel/networks/blue.env", b"FLANNEL_MTU=4\n"),
            ("run/flannel/docker", b"DOCKER_OPTS=x\n"),
        ]);
        let mut context = Context::default();
        context.processes.push(Process {
            comm: "flanneld".to_owned(),
            args: vec![
                "flanneld".to_owned(),
                "-subnet-file=/opt/third.env".to_owned(),
            ],
            ..Process::default()
        });
        read(&mut context, folder.path());
        let mut mtus: Vec<_> = context
            .files
            .subnet_env
            .iter()
            .filter_map(|e| e.mtu)
            .collect();
        mtus.sort();
        assert_eq!(mtus, [1, 2, 3, 4]);
        assert!(
            context
                .files
                .subnet_env
                .iter()
                .all(|one| one.modified_ns > 0)
        );
    }
}
