//! What dockerd was told: its command line, over what daemon.json says, and mk-docker-opts'
//! files where no dockerd runs yet.
use std::path::Path;
use std::str::FromStr;

use serde_json::Value;

use super::{Docker, Place, not_understood, option, options, running, text};
use crate::context::{Context, Part};

const DAEMON_JSON: &str = "/etc/docker/daemon.json";
/// Where mk-docker-opts.sh writes unless told otherwise, and where units put it.
const OPTS: [&str; 3] = [
    "/run/flannel/docker",
    "/run/docker_opts.env",
    "/run/flannel_docker_opts.env",
];

pub fn read(context: &mut Context, root: &Path) {
    let daemon = running(context, "dockerd").next();
    // Docker before 1.12 was `docker daemon`.
    let daemon = daemon.or_else(|| {
        let mut clients = running(context, "docker");
        clients.find(|one| one.args.iter().any(|arg| arg == "daemon" || arg == "-d"))
    });
    let daemon = daemon.cloned();
    let args = daemon.as_ref().map_or(&[][..], |process| &process.args[..]);
    let file = option(args, "config-file")
        .unwrap_or(DAEMON_JSON)
        .to_owned();
    let mut docker = match text(context, root, &file, Part::Configuration) {
        Some(text) => of_json(context, &file, &text),
        None => None,
    };
    if let Some(process) = &daemon {
        let docker = docker.get_or_insert_with(|| Docker {
            place: at(format!("dockerd's command line (pid {})", process.pid)),
            ..Docker::default()
        });
        add_args(docker, &process.args);
    } else if docker.is_none() {
        docker = of_opts(context, root);
    }
    context.files.docker = docker;
}

fn at(file: String) -> Place {
    Place { file, line: 0 }
}

/// None of a file that is no JSON: dockerd would not start with it either.
fn of_json(context: &mut Context, file: &str, text: &str) -> Option<Docker> {
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        // dockerd takes an empty file for none.
        Err(_) if text.trim().is_empty() => return None,
        Err(error) => {
            let why = format!("{file} is no JSON: {error}");
            not_understood(context, Part::Configuration, file, why);
            return None;
        }
    };
    let string = |name: &str| value.get(name).and_then(Value::as_str);
    let list = |name: &str| {
        value
            .get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    let number = value.get("mtu").and_then(Value::as_u64);
    Some(Docker {
        place: at(file.to_owned()),
        bip: string("bip").and_then(parsed),
        fixed_cidr: string("fixed-cidr").and_then(parsed),
        mtu: number
            .and_then(|mtu| u32::try_from(mtu).ok())
            .filter(|mtu| *mtu > 0),
        bridge: string("bridge")
            .filter(|name| !name.is_empty())
            .map(str::to_owned),
        dns: list("dns")
            .filter_map(Value::as_str)
            .filter_map(parsed)
            .collect(),
        ip_masq: value.get("ip-masq").and_then(Value::as_bool),
        iptables: value.get("iptables").and_then(Value::as_bool),
        pools: list("default-address-pools")
            .filter_map(|pool| pool.get("base")?.as_str().and_then(parsed))
            .collect(),
    })
}

/// The command line's word is the last one.
fn add_args(docker: &mut Docker, args: &[String]) {
    let value = |name: &str| option(args, name);
    docker.bip = value("bip").and_then(parsed).or(docker.bip);
    docker.fixed_cidr = value("fixed-cidr").and_then(parsed).or(docker.fixed_cidr);
    docker.mtu = value("mtu")
        .and_then(parsed)
        .filter(|mtu| *mtu > 0)
        .or(docker.mtu);
    let bridge = value("bridge").or_else(|| value("b")).map(str::to_owned);
    docker.bridge = bridge.or(docker.bridge.take());
    docker.ip_masq = switch(args, "ip-masq").or(docker.ip_masq);
    docker.iptables = switch(args, "iptables").or(docker.iptables);
    docker
        .dns
        .extend(options(args, "dns").filter_map(parsed::<std::net::IpAddr>));
    for pool in options(args, "default-address-pool") {
        let base = pool.split(',').find_map(|part| part.strip_prefix("base="));
        docker.pools.extend(base.and_then(parsed::<ipnet::IpNet>));
    }
}

/// A switch: `--ip-masq`, `--ip-masq=false`. Its value is never a word of its own.
fn switch(args: &[String], name: &str) -> Option<bool> {
    let mut words = args.iter().filter_map(|arg| {
        let arg = arg.trim_start_matches('-').strip_prefix(name)?;
        match arg.strip_prefix('=') {
            Some(value) => value.parse().ok(),
            None => arg.is_empty().then_some(true),
        }
    });
    words.next_back()
}

/// What mk-docker-opts made of subnet.env: `DOCKER_OPTS=" --bip=… --mtu=…"`, or a line an option.
fn of_opts(context: &mut Context, root: &Path) -> Option<Docker> {
    for file in OPTS {
        let Some(text) = text(context, root, file, Part::Configuration) else {
            continue;
        };
        let lines = text.lines().filter_map(|line| line.split_once('='));
        let values = lines.map(|(_, value)| value.trim().trim_matches(['"', '\'']));
        let args: Vec<String> = values
            .flat_map(str::split_whitespace)
            .map(str::to_owned)
            .collect();
        let mut docker = Docker {
            place: at(file.to_owned()),
            ..Docker::default()
        };
        add_args(&mut docker, &args);
        return Some(docker);
    }
    None
}

fn parsed<T: FromStr>(text: &str) -> Option<T> {
    text.trim_matches(['"', '\'']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Process;
    use crate::context::bounded::testing::Folder;

    fn docker(files: &[(&str, &[u8])], line: Option<&str>) -> Context {
        let folder = Folder::with(files);
        let mut context = Context::default();
        context.processes.extend(line.map(|line| Process {
            pid: 758,
            comm: "dockerd".to_owned(),
            args: line.split(' ').map(str::to_owned).collect(),
            ..Process::default()
        }));
        read(&mut context, folder.path());
        context
    }

    #[test]
    fn the_command_line_is_over_the_file() {
        let json = br#"{"bip":"172.26.0.1/16","mtu":1400,"dns":["10.1.0.2"],"ip-masq":false,
            "default-address-pools":[{"base":"10.200.0.0/16","size":24}]}"#;
        let line = "dockerd --bip=192.168.69.1/24 --ip-masq --default-address-pool base=10.9.0.0/16,size=24";
        let context = docker(&[("etc/docker/daemon.json", json)], Some(line));
        let docker = context.files.docker.expect("docker");
        assert_eq!(docker.bip.unwrap().to_string(), "192.168.69.1/24");
        assert_eq!((docker.mtu, docker.ip_masq), (Some(1400), Some(true)));
        assert_eq!(docker.pools.len(), 2);
        assert_eq!(docker.place.to_string(), "/etc/docker/daemon.json");
    }

    #[test]
    fn another_file_and_no_file() {
        let line = "dockerd --config-file=/etc/d.json";
        let context = docker(&[("etc/d.json", b"{\"mtu\":9000}")], Some(line));
        assert_eq!(context.files.docker.unwrap().mtu, Some(9000));
        let context = docker(&[], Some("dockerd --mtu 1450 --iptables=false"));
        let found = context.files.docker.unwrap();
        assert_eq!((found.mtu, found.iptables), (Some(1450), Some(false)));
        assert_eq!(found.place.to_string(), "dockerd's command line (pid 758)");
        assert_eq!(docker(&[], None).files.docker, None);
    }

    #[test]
    fn mk_docker_opts_files_are_read_in_both_forms() {
        let one = b"DOCKER_OPTS=\" --bip=192.168.69.1/24 --ip-masq=true --mtu=1472\"\n";
        let each = b"DOCKER_OPT_BIP=\"--bip=192.168.69.1/24\"\nDOCKER_OPT_MTU=\"--mtu=1472\"\n";
        for text in [&one[..], &each[..]] {
            let found = docker(&[("run/flannel/docker", text)], None)
                .files
                .docker
                .unwrap();
            assert_eq!(found.mtu, Some(1472));
            assert_eq!(found.bip.unwrap().to_string(), "192.168.69.1/24");
        }
    }

    #[test]
    fn odd_files_are_said_or_tolerated() {
        for bytes in [&b"{"[..], b"\xff", b"[1"] {
            let context = docker(&[("etc/docker/daemon.json", bytes)], None);
            assert_eq!(context.unread.len(), 1);
            assert_eq!(context.files.docker, None);
        }
        let odd = br#"{"bip":5,"mtu":-1,"dns":"x","default-address-pools":[1,{}],"bridge":""}"#;
        let context = docker(&[("etc/docker/daemon.json", odd)], None);
        assert_eq!(context.files.docker.unwrap().bip, None);
        assert!(
            docker(&[("etc/docker/daemon.json", b"")], None)
                .unread
                .is_empty()
        );
    }
}
