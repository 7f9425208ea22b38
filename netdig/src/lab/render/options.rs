//! What the renderer is told.

use std::net::SocketAddrV4;
use std::path::PathBuf;

use super::super::scenario::Api;

/// Everything that the renderer needs to know.
#[derive(Debug, Clone, clap::Args)]
pub struct RenderOptions {
    /// etcd's address and port; repeatable
    #[arg(long = "node", value_name = "ADDRESS:PORT", required = true)]
    pub nodes: Vec<SocketAddrV4>,
    /// Which of etcd's APIs
    #[arg(long, value_name = "v2|v3", value_parser = api, default_value = "v3")]
    pub api: Api,
    /// Put before every key, and not seen by the template
    #[arg(long, default_value = "")]
    pub prefix: String,
    /// Key or folder that the template needs, under the prefix; repeatable
    #[arg(long = "key", value_name = "KEY", default_value = "/")]
    pub keys: Vec<String>,
    /// File with the template
    #[arg(long, value_name = "FILE")]
    pub template: PathBuf,
    /// File to render
    #[arg(long, value_name = "FILE")]
    pub dest: PathBuf,
    /// Mode of the rendered file, octal with a 0 before it [default: as it is, or 0644]
    #[arg(long, value_name = "MODE")]
    pub mode: Option<String>,
    /// Shell command that says whether the staging file {{.src}} is good
    #[arg(long, value_name = "COMMAND")]
    pub check: Option<String>,
    /// Shell command to run after the file has changed
    #[arg(long, value_name = "COMMAND")]
    pub reload: Option<String>,
    /// Look again after so many seconds [default: watch]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub interval: Option<u32>,
    /// File to create after the first pass, whatever came of it
    #[arg(long, value_name = "FILE")]
    pub ready_file: Option<PathBuf>,
    /// The real confd, to be run instead
    #[arg(long, value_name = "PATH", requires = "confdir")]
    pub confd: Option<PathBuf>,
    /// Folder to write confd's own configuration into
    #[arg(long, value_name = "FOLDER")]
    pub confdir: Option<PathBuf>,
}

/// As the command line has it.
pub const fn name(api: Api) -> &'static str {
    match api {
        Api::V2 => "v2",
        Api::V3 => "v3",
    }
}

fn api(text: &str) -> Result<Api, String> {
    let known = [Api::V2, Api::V3].into_iter();
    let mut named = known.filter(|api| name(*api) == text);
    named.next().ok_or("etcd's APIs are v2 and v3".to_owned())
}
