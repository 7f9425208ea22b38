//! Arguments of `netdig etcd-watch`.
use std::num::NonZeroU64;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::etcd::EtcdArgs;
use super::overlay::{Color, Format, seconds};
use crate::evidence::services::Schema;
use crate::finding::Severity;

#[derive(Debug, Args)]
#[command(after_help = "\
First the services below PREFIX as they are, each upstream with what is wrong with it; then every
change as it comes, and what is cured. Both of etcd's stores are followed where both answer. It
writes nothing to etcd and needs no privileges.

Exit status: 0 done; 1 a finding at or above --fail-on is there at the end; 2 could not do it.

  netdig etcd-watch /haproxy-discover                     from the etcd that listens here
  netdig etcd-watch /services --etcd http://10.1.1.95:2379
  netdig etcd-watch / --format json -M 60                 for a minute, one object a line
  netdig etcd-watch /haproxy-discover --keys dump.json    judge a dump, and end")]
pub struct EtcdWatchArgs {
    /// The folder to follow
    #[arg(value_name = "PREFIX", default_value = "/haproxy-discover")]
    pub prefix: String,
    /// What the keys' layout is, where netdig should not find out
    #[arg(long, value_enum)]
    pub schema: Option<SchemaName>,
    /// End after this many changes
    #[arg(short, long, value_name = "N")]
    pub count: Option<NonZeroU64>,
    /// End after this many seconds
    #[arg(short = 'M', long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,
    /// Print no keys: only gaps, findings and the summary
    #[arg(short, long)]
    pub quiet: bool,
    /// Connect to each upstream now and then, to see whether somebody listens there
    #[arg(long, conflicts_with = "keys")]
    pub probe: bool,
    /// Compare with the routes and links of this network namespace, and reach etcd from it: a
    /// name as `ip netns` knows it, a path, or pid:N
    #[arg(long, value_name = "NETNS")]
    pub netns: Option<String>,
    /// How it is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Exit with 1 if a finding of this severity or above is there at the end
    #[arg(long, value_name = "SEVERITY", value_enum)]
    pub fail_on: Option<Severity>,
    /// Whether text is coloured
    #[arg(long, value_enum, default_value_t)]
    pub color: Color,
    #[command(flatten)]
    pub etcd: EtcdArgs,
}

/// Layouts of keys, as the command line names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SchemaName {
    /// <prefix>/services/<s>/upstreams/<u> = ip:port
    HaproxyConfd,
    /// <prefix>/<name>/<host:container:port> = ip:port
    Registrator,
    /// <prefix>/<reversed labels> = {"host":…,"port":…}
    Skydns,
    /// <prefix>/backends/<b>/servers/<s> = {"URL":…}
    Vulcand,
    /// <prefix>/http/services/<s>/loadbalancer/servers/<n>/url
    Traefik,
    /// By what values look like
    Shape,
}

impl SchemaName {
    pub fn schema(self) -> Schema {
        match self {
            SchemaName::HaproxyConfd => Schema::HaproxyConfd,
            SchemaName::Registrator => Schema::Registrator,
            SchemaName::Skydns => Schema::SkyDns,
            SchemaName::Vulcand => Schema::Vulcand,
            SchemaName::Traefik => Schema::Traefik,
            SchemaName::Shape => Schema::Shape,
        }
    }
}
