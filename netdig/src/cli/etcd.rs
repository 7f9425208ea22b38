//! Arguments of etcd, for every command that reads it: they are named as etcdctl names them.
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};

use crate::context::registry::{Options, Said, TlsFiles, Which, duration};

#[derive(Debug, Args)]
#[command(next_help_heading = "etcd")]
pub struct EtcdArgs {
    /// etcd's endpoints, http://HOST:PORT, repeatable [default: $ETCDCTL_ENDPOINTS, or what
    /// flanneld's and confd's command lines name, or what listens here on 2379 or 4001]
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub etcd: Vec<String>,
    /// Which of etcd's stores is read: a key of one is not in the other
    #[arg(long, value_enum, default_value_t)]
    pub etcd_api: Which,
    /// Folder of keys to read, repeatable; / is all [default: /coreos.com/network, and what
    /// flanneld's and confd's command lines name]
    #[arg(long, value_name = "PREFIX")]
    pub etcd_prefix: Vec<String>,
    /// CA of etcd's certificate [default: $ETCDCTL_CACERT, or the system's]
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<PathBuf>,
    /// Client certificate [default: $ETCDCTL_CERT]
    #[arg(long, value_name = "FILE")]
    pub cert: Option<PathBuf>,
    /// Key of the client certificate [default: $ETCDCTL_KEY]
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Do not check etcd's certificate
    #[arg(long, action = ArgAction::SetTrue)]
    pub insecure_skip_tls_verify: bool,
    /// User of etcd [default: $ETCDCTL_USER]
    #[arg(long, value_name = "NAME[:PASSWORD]")]
    pub user: Option<String>,
    /// Password of the user; better in $ETCDCTL_PASSWORD, which no list of processes shows
    #[arg(long, value_name = "PASSWORD")]
    pub password: Option<String>,
    /// How long an endpoint may take for its first word
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub dial_timeout: Duration,
    /// How long etcd may take for each answer after it
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub command_timeout: Duration,
    /// Read keys from a file in place of etcd: what `etcdctl get --prefix / -w json` prints,
    /// what /v2/keys/?recursive=true answers, or lines of KEY, tab, VALUE
    #[arg(long, value_name = "FILE", conflicts_with_all = ["etcd", "cacert", "cert", "key",
          "insecure_skip_tls_verify", "user", "password", "dial_timeout", "command_timeout"])]
    pub keys: Option<PathBuf>,
}

impl EtcdArgs {
    /// What they ask for, with etcdctl's variables where they say nothing.
    pub fn options(&self) -> anyhow::Result<Options> {
        let said = Said {
            endpoints: &self.etcd,
            user: self.user.as_deref(),
            password: self.password.as_deref(),
            options: Options {
                api: self.etcd_api,
                prefixes: self.etcd_prefix.clone(),
                tls: TlsFiles {
                    cacert: self.cacert.clone(),
                    cert: self.cert.clone(),
                    key: self.key.clone(),
                    insecure: self.insecure_skip_tls_verify,
                },
                dial_timeout: self.dial_timeout,
                command_timeout: self.command_timeout,
                keys: self.keys.clone(),
                ..Options::default()
            },
        };
        Options::of(said, |name| std::env::var(name).ok())
    }
}
