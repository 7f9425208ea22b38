//! Daemons of the calling thread's network namespace that make an overlay, a registry or a
//! balancer, with their command lines; passwords in those never leave this file.
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use super::mask::{self, MASK};
use super::{Context, Part, Process, Unread, proc};
use crate::tracker::containers::Containers;

const DAEMONS: [&str; 14] = [
    "flanneld",
    "dockerd",
    "docker",
    "containerd",
    "confd",
    "consul-template",
    "haproxy",
    "nginx",
    "etcd",
    "kubelet",
    "kube-proxy",
    "dnsmasq",
    "systemd-resolved",
    "coredns",
];
/// Workers of a balancer are many, and say the same.
const MAX_PROCESSES: usize = 256;
/// What configures flannel, etcd and its clients, and confd, begins so.
const VARIABLES: [&str; 4] = ["FLANNELD_", "ETCDCTL_", "ETCD_", "CONFD_"];

/// Reads them; containers' state is looked up below `root`.
pub fn read(context: &mut Context, root: &Path) {
    read_below(context, Path::new(proc::ROOT), root);
}

fn read_below(context: &mut Context, proc_root: &Path, root: &Path) {
    let Some(own) = proc::own_namespace(proc_root) else {
        let why = format!("{} has no thread-self/ns/net", proc_root.display());
        context.lacks(Part::Processes, why, Some("mount /proc".to_owned()));
        return;
    };
    let mut containers = Containers::new(root);
    let mut denied = Vec::new();
    let pids = proc::pids(proc_root);
    // Every PID namespace has its first process.
    if pids.first() != Some(&1) {
        context.unread.push(Unread {
            part: Part::Processes,
            what: "other users' processes".to_owned(),
            why: format!("{} hides them (hidepid)", proc_root.display()),
            hint: Some("run it as root".to_owned()),
            partly: true,
        });
    }
    for pid in pids {
        let Some(comm) = proc::comm(proc_root, pid) else {
            continue;
        };
        let mut process = Process {
            pid,
            comm,
            args: proc::args(proc_root, pid),
            ..Process::default()
        };
        if !is_daemon(&process) || context.processes.len() >= MAX_PROCESSES {
            continue;
        }
        match proc::namespace(proc_root, pid) {
            Ok(namespace) if namespace == own => {}
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                denied.push(format!("{} ({pid})", process.comm));
                continue;
            }
            _ => continue,
        }
        let container = containers.of(&proc::cgroups(proc_root, pid));
        process.args = mask_args(&process.args);
        process.env = environment(&proc::environment(proc_root, pid));
        process.container = container.map(|container| container.name.clone());
        context.processes.push(process);
    }
    if !denied.is_empty() {
        context.unread.push(Unread {
            part: Part::Processes,
            what: denied.join(", "),
            why: "their network namespace may not be asked for: permission denied".to_owned(),
            hint: Some("run it as root".to_owned()),
            partly: true,
        });
    }
}

fn is_daemon(process: &Process) -> bool {
    DAEMONS.iter().any(|daemon| process.runs(daemon))
}

/// The variables that matter, passwords masked.
fn environment(variables: &[String]) -> BTreeMap<String, String> {
    variables
        .iter()
        .filter(|one| VARIABLES.iter().any(|prefix| one.starts_with(prefix)))
        .filter_map(|one| one.split_once('='))
        .map(|(name, value)| (name.to_owned(), masked(name, value)))
        .collect()
}

/// A command line without its passwords: those of options such as `--password X`,
/// `-etcd-password=X` and `--user NAME:X`, and those of URLs.
pub fn mask_args(args: &[String]) -> Vec<String> {
    let mut out = Vec::with_capacity(args.len());
    // The option that the next argument is the value of.
    let mut option: Option<&str> = None;
    for arg in args {
        let dashed = arg.starts_with('-');
        let value_of = option.take().filter(|_| !dashed || arg == "-");
        out.push(match (value_of, dashed, arg.split_once('=')) {
            (Some(name), _, _) => masked(name, arg),
            (None, _, Some((name, value))) => format!("{name}={}", masked(name, value)),
            (None, true, None) => {
                option = Some(arg);
                arg.clone()
            }
            (None, false, None) => mask::text(arg),
        });
        // A password may begin with a dash; what follows such an option is masked for sure.
        if dashed
            && out.len() > 1
            && is_secret(&args[out.len() - 2])
            && !args[out.len() - 2].contains('=')
        {
            if let Some(last) = out.last_mut() {
                *last = MASK.to_owned();
            }
            option = None;
        }
    }
    out
}

/// `value` as it may be shown, of an option or a variable of this name.
fn masked(name: &str, value: &str) -> String {
    if is_secret(name) && !value.is_empty() {
        return MASK.to_owned();
    }
    match value.split_once(':') {
        Some((user, password)) if is_user(name) && !password.starts_with("//") => {
            format!("{user}:{MASK}")
        }
        _ => mask::text(value),
    }
}

fn is_secret(name: &str) -> bool {
    let name = name.trim_start_matches('-').to_ascii_lowercase();
    // `--basic-auth-file`, `token-ttl`: files and times are no secrets.
    let about = ["file", "ttl", "path", "provider", "type"];
    let says = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "api-key",
    ];
    name.starts_with('-') || name == "pass" || {
        says.iter().any(|word| name.contains(word)) && !about.iter().any(|end| name.ends_with(end))
    }
}

fn is_user(name: &str) -> bool {
    let name = name.trim_start_matches('-').to_ascii_lowercase();
    ["user", "username", "auth", "u"].contains(&name.as_str()) || name.ends_with("_user")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked_line(line: &str) -> String {
        let args: Vec<String> = line.split(' ').map(str::to_owned).collect();
        mask_args(&args).join(" ")
    }

    #[test]
    fn no_form_of_a_password_is_shown() {
        for (line, shown) in [
            ("confd --password geheim -x", "confd --password ******** -x"),
            ("confd -password=geheim", "confd -password=********"),
            ("confd --password -geheim x", "confd --password ******** x"),
            (
                "etcdctl --user root:geheim get",
                "etcdctl --user root:******** get",
            ),
            ("etcdctl --user=root:geheim", "etcdctl --user=root:********"),
            ("etcdctl -u root:geheim", "etcdctl -u root:********"),
            (
                "flanneld -etcd-password geheim",
                "flanneld -etcd-password ********",
            ),
            (
                "flanneld -etcd-username=root",
                "flanneld -etcd-username=root",
            ),
            (
                "x -e=http://a:geheim@h:2379,https://b:ge@heim@i/p",
                "x -e=http://a:********@h:2379,https://b:********@i/p",
            ),
            ("x http://a:geheim@h", "x http://a:********@h"),
            ("x --endpoints http://h:2379", "x --endpoints http://h:2379"),
            ("x --client-token geheim", "x --client-token ********"),
            ("x --token-file /etc/t", "x --token-file /etc/t"),
            ("x --user http://h", "x --user http://h"),
        ] {
            assert_eq!(masked_line(line), shown);
        }
        let variables = [
            "FLANNELD_ETCD_PASSWORD=geheim",
            "ETCDCTL_USER=root:geheim",
            "PATH=/",
        ];
        let env = environment(&variables.map(str::to_owned));
        assert_eq!(env.len(), 2);
        assert_eq!(env["ETCDCTL_USER"], "root:********");
        assert_eq!(env["FLANNELD_ETCD_PASSWORD"], "********");
    }

    #[test]
    fn daemons_are_known_by_name_or_program() {
        let known = |comm: &str, line: &str| {
            is_daemon(&Process {
                comm: comm.to_owned(),
                args: line.split(' ').map(str::to_owned).collect(),
                ..Process::default()
            })
        };
        assert!(known("flanneld", ""));
        assert!(known("systemd-resolve", "/lib/x"));
        assert!(known("exe", "/opt/bin/flanneld -iface eth0"));
        assert!(known("x", "nginx: master process nginx"));
        assert!(known("netdig", "netdig lab flannel --iface eth0"));
        assert!(!known("netdig", "netdig lab up flannel"));
        assert!(!known("etcd-backup", "vi etcd"));
        assert!(!known("", ""));
    }

    #[test]
    fn without_proc_the_part_is_lacking() {
        let mut context = Context::default();
        read_below(&mut context, Path::new("/nonexistent"), Path::new("/"));
        assert!(!context.has(Part::Processes));
        let mut context = Context::default();
        read(&mut context, Path::new("/"));
        assert!(context.has(Part::Processes));
    }
}
