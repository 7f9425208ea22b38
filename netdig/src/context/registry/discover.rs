//! Where etcd may be: what daemons of this host were told, and what listens here.
use std::path::{Path, PathBuf};

use super::ApiVersion;
use super::options::{Named, Options, TlsFiles, Url};
use crate::context::flannel::PREFIX;
use crate::context::{Context, Process, Socket};

/// Ports of etcd's clients: IANA's, and the one of before.
const PORTS: [u16; 2] = [2379, 4001];
/// flanneld's own default.
const FLANNELD: &str = "http://127.0.0.1:4001,http://127.0.0.1:2379";

/// Whom to ask, for what, and with which certificates.
#[derive(Debug, Default)]
pub struct Sources {
    pub endpoints: Vec<Named>,
    pub prefixes: Vec<String>,
    pub tls: TlsFiles,
}

/// The person's endpoints; else those of the daemons; else what listens.
pub fn sources(context: &Context, options: &Options) -> Sources {
    let mut sources = Sources {
        endpoints: options.endpoints.clone(),
        prefixes: options.prefixes.clone(),
        tls: options.tls.clone(),
    };
    let ask = sources.endpoints.is_empty();
    let daemons = || context.processes.iter().filter_map(Daemon::of);
    if ask {
        for daemon in daemons() {
            daemon.add_endpoints(&mut sources);
        }
        if sources.endpoints.is_empty() {
            sources.endpoints.extend(listener(context));
        }
    }
    if sources.prefixes.is_empty() {
        sources.prefixes = flannel_prefixes(context);
        sources
            .prefixes
            .extend(daemons().flat_map(|daemon| daemon.prefixes()));
    }
    sources.prefixes = widest(&sources.prefixes);
    sources
}

/// Prefixes of flannel's keys: what its daemons were told, or its default.
pub fn flannel_prefixes(context: &Context) -> Vec<String> {
    let daemons = context.processes.iter().filter_map(Daemon::of);
    let told = daemons
        .filter(|daemon| daemon.program == Program::Flanneld)
        .flat_map(|daemon| daemon.prefixes());
    let mut prefixes: Vec<String> = told.collect();
    if prefixes.is_empty() {
        prefixes.push(PREFIX.to_owned());
    }
    prefixes
}

/// The API that flanneld was told to use, where it takes such an option; its own versions use
/// one alone, which their command line does not show.
pub fn told_api(context: &Context) -> Option<ApiVersion> {
    let daemons = context.processes.iter().filter_map(Daemon::of);
    let flanneld = daemons.filter(|daemon| daemon.program == Program::Flanneld);
    flanneld
        .flat_map(|daemon| daemon.told("api"))
        .find_map(|api| match api.as_str() {
            "v2" => Some(ApiVersion::V2),
            "v3" => Some(ApiVersion::V3),
            _ => None,
        })
}

/// Without those that stand below another one; `/` is all.
fn widest(prefixes: &[String]) -> Vec<String> {
    let folder = |prefix: &str| prefix.trim_end_matches('/').to_owned();
    let mut folders: Vec<String> = prefixes.iter().map(|prefix| folder(prefix)).collect();
    folders.sort();
    folders.dedup();
    let below = |one: &String, other: &String| {
        one != other
            && one
                .strip_prefix(other.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
    };
    let all = folders.iter().any(String::is_empty);
    let kept = folders.iter().filter(|one| match all {
        true => one.is_empty(),
        false => !folders.iter().any(|other| below(one, other)),
    });
    kept.map(|one| match one.is_empty() {
        true => "/".to_owned(),
        false => one.clone(),
    })
    .collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Flanneld,
    Confd,
}

/// A daemon that asks etcd.
struct Daemon<'a> {
    process: &'a Process,
    program: Program,
}

impl<'a> Daemon<'a> {
    fn of(process: &'a Process) -> Option<Daemon<'a>> {
        let file = process.args.first().map(|path| Path::new(path).file_name());
        let file = file.flatten().and_then(|name| name.to_str());
        let is = |name: &str| process.comm == name || file == Some(name);
        let program = match () {
            () if is("flanneld") => Program::Flanneld,
            () if is("confd") => Program::Confd,
            // Another program that takes flanneld's options stands for it.
            () if has_option(process, "etcd-endpoints") => Program::Flanneld,
            () => return None,
        };
        Some(Daemon { process, program })
    }

    /// An option's values: `-name value`, `--name=value`, or a variable of the environment.
    fn told(&self, name: &str) -> Vec<String> {
        let mut values = Vec::new();
        let mut args = self.process.args.iter().skip(1);
        while let Some(arg) = args.next() {
            let Some(option) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
                continue;
            };
            match option.split_once('=') {
                Some((option, value)) if option == name => values.push(value.to_owned()),
                None if option == name => values.extend(args.next().cloned()),
                _ => {}
            }
        }
        let start = match self.program {
            Program::Flanneld => "FLANNELD_",
            Program::Confd => "CONFD_",
        };
        let variable = format!("{start}{}", name.replace('-', "_").to_uppercase());
        match self.process.env.get(&variable) {
            Some(value) if values.is_empty() => vec![value.clone()],
            _ => values,
        }
    }

    fn has(&self, name: &str) -> bool {
        let flag = |arg: &str| arg.trim_start_matches('-') == name;
        let on = |value: &String| value == "true";
        self.process.args.iter().any(|arg| flag(arg)) || self.told(name).iter().any(on)
    }

    /// Whether its keys are etcd's: flannel may have Kubernetes', confd many others'.
    fn asks_etcd(&self) -> bool {
        match self.program {
            Program::Flanneld => !self.has("kube-subnet-mgr"),
            Program::Confd => {
                let backend = self.told("backend");
                backend.is_empty() || backend.iter().any(|one| one.starts_with("etcd"))
            }
        }
    }

    fn prefixes(&self) -> Vec<String> {
        let name = match self.program {
            Program::Flanneld => "etcd-prefix",
            Program::Confd => "prefix",
        };
        match self.asks_etcd() {
            // A prefix of confd's may be the whole keyspace: that is the person's to ask for.
            true => self
                .told(name)
                .into_iter()
                .filter(|one| one.len() > 1)
                .collect(),
            false => Vec::new(),
        }
    }

    fn add_endpoints(&self, sources: &mut Sources) {
        if !self.asks_etcd() {
            return;
        }
        let (option, files) = match self.program {
            Program::Flanneld => (
                "etcd-endpoints",
                ["etcd-cafile", "etcd-certfile", "etcd-keyfile"],
            ),
            Program::Confd => ("node", ["client-ca-keys", "client-cert", "client-key"]),
        };
        let mut texts = self.told(option);
        if texts.is_empty() && self.program == Program::Flanneld {
            texts.push(FLANNELD.to_owned());
        }
        let by = format!(
            "{}'s command line (pid {})",
            self.process.comm, self.process.pid
        );
        for text in texts.iter().flat_map(|texts| texts.split(',')) {
            let Ok(mut url) = text.trim().parse::<Url>() else {
                continue;
            };
            // Its password is its own.
            url.user = None;
            if !sources.endpoints.iter().any(|one| one.url == url) {
                sources.endpoints.push(Named {
                    url,
                    by: by.clone(),
                });
            }
        }
        if sources.tls.is_empty() {
            let [cacert, cert, key] = files.map(|name| self.file(name));
            sources.tls = TlsFiles {
                cacert,
                cert,
                key,
                insecure: false,
            };
        }
    }

    /// A file as the daemon sees it: it may live in another mount namespace.
    fn file(&self, option: &str) -> Option<PathBuf> {
        let path = self
            .told(option)
            .into_iter()
            .find(|path| !path.is_empty())?;
        let inside = format!("/proc/{}/root{path}", self.process.pid);
        match Path::new(&inside).exists() {
            true => Some(PathBuf::from(inside)),
            false => Some(PathBuf::from(path)),
        }
    }
}

fn has_option(process: &Process, name: &str) -> bool {
    process.args.iter().skip(1).any(|arg| {
        let option = arg
            .strip_prefix('-')
            .map(|rest| rest.trim_start_matches('-'));
        option.is_some_and(|option| option.split('=').next() == Some(name))
    })
}

/// An etcd of this host, by its listening socket.
fn listener(context: &Context) -> Option<Named> {
    let listens = |socket: &&Socket| {
        socket.state.as_deref() == Some("LISTEN") && socket.protocol.starts_with("tcp")
    };
    let sockets = || {
        context
            .sockets
            .iter()
            .filter(listens)
            .filter_map(|socket| Some((socket, socket.address()?)))
    };
    let best = PORTS.iter().find_map(|port| {
        let at_port = sockets().filter(|(_, address)| address.port() == *port);
        at_port.min_by_key(|(_, address)| {
            (!address.ip().is_loopback(), !address.ip().is_unspecified())
        })
    });
    let (socket, address) = best?;
    let host = match address.ip() {
        ip if !ip.is_unspecified() => ip.to_string(),
        // A socket of `[::]` takes IPv4 as well, unless bindv6only is set.
        _ => "127.0.0.1".to_owned(),
    };
    Some(Named {
        url: Url {
            tls: Some(speaks_tls(context, address.port())),
            host,
            port: address.port(),
            user: None,
        },
        by: format!("what listens on {}", socket.local),
    })
}

/// Whether etcd's own command line has a client URL with https at this port.
fn speaks_tls(context: &Context, port: u16) -> bool {
    let end = format!(":{port}");
    let of_port = |text: &str| {
        let mut urls = text.split([',', '=']);
        urls.any(|url| url.starts_with("https://") && url.trim_end_matches('/').ends_with(&end))
    };
    let etcds = context
        .processes
        .iter()
        .filter(|process| process.comm == "etcd");
    etcds.into_iter().any(|process| {
        let texts = process.args.iter().chain(process.env.values());
        texts.into_iter().any(|text| of_port(text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(args: &[&str]) -> Context {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let comm = args[0].rsplit('/').next().unwrap_or_default().to_owned();
        Context {
            processes: vec![Process {
                pid: 4_000_000,
                comm,
                args,
                ..Process::default()
            }],
            ..Context::default()
        }
    }

    fn urls(context: &Context) -> Vec<String> {
        let sources = sources(context, &Options::default());
        sources
            .endpoints
            .iter()
            .map(|one| one.url.to_string())
            .collect()
    }

    #[test]
    fn flanneld_names_its_etcd() {
        let told = context(&[
            "/opt/bin/flanneld",
            "-etcd-endpoints=https://u:secret@10.1.1.95:2379,https://10.1.1.187:2379",
            "--etcd-prefix",
            "/blue/network",
            "-etcd-cafile=/etc/ca.pem",
        ]);
        let found = sources(&told, &Options::default());
        assert_eq!(
            urls(&told),
            ["https://10.1.1.95:2379", "https://10.1.1.187:2379"]
        );
        assert_eq!(found.prefixes, ["/blue/network"]);
        assert_eq!(found.tls.cacert, Some(PathBuf::from("/etc/ca.pem")));
        assert!(
            found.endpoints[0]
                .by
                .contains("flanneld's command line (pid 4000000)")
        );
        assert!(!format!("{found:?}").contains("secret"));
    }

    #[test]
    fn flanneld_by_its_environment_or_its_default() {
        let mut told = context(&["flanneld"]);
        assert_eq!(
            urls(&told),
            ["http://127.0.0.1:4001", "http://127.0.0.1:2379"]
        );
        let env = &mut told.processes[0].env;
        env.insert(
            "FLANNELD_ETCD_ENDPOINTS".to_owned(),
            "http://e:2379".to_owned(),
        );
        env.insert("FLANNELD_ETCD_PREFIX".to_owned(), "/green".to_owned());
        assert_eq!(urls(&told), ["http://e:2379"]);
        assert_eq!(flannel_prefixes(&told), ["/green"]);
    }

    #[test]
    fn kubernetes_keys_are_not_etcds() {
        assert!(urls(&context(&["flanneld", "--kube-subnet-mgr", "--ip-masq"])).is_empty());
        assert!(
            urls(&context(&[
                "confd", "-backend", "consul", "-node", "c:8500"
            ]))
            .is_empty()
        );
        let confd = context(&[
            "confd",
            "-backend",
            "etcdv3",
            "-node",
            "e:2379",
            "-prefix=/haproxy-discover",
        ]);
        assert_eq!(urls(&confd), ["http://e:2379"]);
        let prefixes = sources(&confd, &Options::default()).prefixes;
        assert_eq!(prefixes, ["/coreos.com/network", "/haproxy-discover"]);
    }

    #[test]
    fn a_listener_is_found_and_a_client_is_not() {
        let mut told = Context::default();
        let mut add = |local: &str, state: &str| {
            told.sockets.push(Socket {
                protocol: "tcp".to_owned(),
                local: local.to_owned(),
                state: Some(state.to_owned()),
                ..Socket::default()
            });
        };
        add("10.1.1.95:2379", "ESTABLISHED");
        add("10.1.1.95:4001", "LISTEN");
        add("10.1.1.95:2379", "LISTEN");
        add("*:x", "LISTEN");
        assert_eq!(urls(&told), ["http://10.1.1.95:2379"]);
        told.sockets.clear();
        assert!(urls(&told).is_empty());
        told.sockets.push(Socket {
            protocol: "tcp6".to_owned(),
            local: "[::]:2379".to_owned(),
            state: Some("LISTEN".to_owned()),
            ..Socket::default()
        });
        told.processes.push(Process {
            comm: "etcd".to_owned(),
            args: vec![
                "etcd".to_owned(),
                "--listen-client-urls=https://0.0.0.0:2379".to_owned(),
            ],
            ..Process::default()
        });
        assert_eq!(urls(&told), ["https://127.0.0.1:2379"]);
    }

    #[test]
    fn the_widest_prefixes_are_read() {
        let widest = |list: &[&str]| {
            let list: Vec<String> = list.iter().map(|&one| one.to_owned()).collect();
            super::widest(&list)
        };
        assert_eq!(widest(&["/a/b", "/a/", "/ab"]), ["/a", "/ab"]);
        assert_eq!(widest(&["/a", "/"]), ["/"]);
        assert_eq!(widest(&["/a", "/a"]), ["/a"]);
    }
}
