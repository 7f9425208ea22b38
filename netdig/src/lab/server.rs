//! The servers of a lab: nginx, dnsmasq and haproxy, configured to touch nothing
//! outside the lab's folder and their own place, and the lab's own.

mod haproxy;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::netns;
use super::place::Place;
use super::scenario::Server;
use crate::output::line::text::push_escaped;

/// A server's command, and what to try to learn that it serves.
pub struct Prepared {
    /// `nginx`, `dnsmasq`, `haproxy`, `raw`.
    pub program: &'static str,
    pub command: Command,
    pub probe: Probe,
}

#[derive(Debug, Clone)]
pub enum Probe {
    /// A TCP connection can be opened.
    Tcp(SocketAddrV4),
    /// A DNS query is answered, whatever the answer.
    Dns(SocketAddrV4),
    /// A TCP connection can be opened to each.
    AllTcp(Vec<SocketAddrV4>),
}

impl Probe {
    /// One try, inside the server's own namespace.
    pub fn succeeds(&self, namespace: &str) -> Result<bool> {
        netns::inside(namespace, || match self {
            Probe::Tcp(address) => accepts(address),
            Probe::Dns(address) => answers(*address).unwrap_or(false),
            Probe::AllTcp(addresses) => addresses.iter().all(accepts),
        })
    }
}

fn accepts(address: &SocketAddrV4) -> bool {
    TcpStream::connect_timeout(&SocketAddr::V4(*address), Duration::from_millis(200)).is_ok()
}

/// Asks for the root's name servers; dnsmasq refuses, and so is there.
fn answers(server: SocketAddrV4) -> std::io::Result<bool> {
    const QUERY: &[u8] = b"\x6e\x64\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x01";
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    socket.connect(server)?;
    socket.send(QUERY)?;
    let mut answer = [0; 512];
    let len = socket.recv(&mut answer)?;
    Ok(answer[..len].starts_with(&QUERY[..2]))
}

/// Writes what the server needs into `folder`, or where its place has it, and
/// returns how to start it.
pub fn prepare(server: &Server, place: &Place, folder: &Path) -> Result<Prepared> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    match server {
        Server::Http {
            listen,
            body,
            header,
            ..
        } => nginx(*listen, body, header, folder),
        Server::Dns {
            listen, records, ..
        } => {
            let records = records.iter().flat_map(|(name, address)| {
                [
                    format!("--host-record={name},{address}"),
                    format!("--local=/{name}/"),
                ]
            });
            Ok(dnsmasq(*listen, records, folder))
        }
        Server::Haproxy { config, listen, .. } => haproxy::prepare(config, listen, place),
        Server::Raw { listen, answer, .. } => raw(*listen, answer, folder),
    }
}

fn raw(listen: SocketAddrV4, answer: &str, folder: &Path) -> Result<Prepared> {
    let path = folder.join("answer");
    fs::write(&path, answer).with_context(|| format!("cannot write {}", path.display()))?;
    let executable = std::env::current_exe().context("cannot find netdig's own executable")?;
    let mut command = Command::new(executable);
    command.args(["lab", "raw", "--listen", &listen.to_string()]);
    command.arg("--answer").arg(path);
    Ok(Prepared {
        program: "raw",
        command,
        probe: Probe::Tcp(listen),
    })
}

/// A line of an answer's head as nginx is to add it; one with a name of nginx's
/// own takes the place of that.
fn added_header(line: &str) -> Result<String> {
    let Some((name, value)) = line.split_once(':') else {
        bail!("`{line}` is no header line: a name, a colon, a value");
    };
    let legal = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(legal) || value.contains(['\r', '\n', '$']) {
        bail!("nginx cannot send the header line `{line}`; a server of kind \"raw\" can");
    }
    let value = value.trim().replace('\\', "\\\\").replace('"', "\\\"");
    Ok(match name.eq_ignore_ascii_case("content-type") {
        true => format!("types {{}} default_type \"{value}\"; "),
        false => format!("add_header {name} \"{value}\" always; "),
    })
}

fn nginx(listen: SocketAddrV4, body: &str, header: &[String], folder: &Path) -> Result<Prepared> {
    let here = folder.display();
    let write = |name: &str, text: &str| {
        fs::write(folder.join(name), text)
            .with_context(|| format!("cannot write {}", folder.join(name).display()))
    };
    let header = header
        .iter()
        .map(|line| added_header(line))
        .collect::<Result<String>>()?;
    let config = format!(
        "user root; daemon off; worker_processes 1; pid {here}/nginx.pid; error_log {here}/error.log;\n\
         events {{}}\n\
         http {{\n  access_log {here}/access.log; default_type text/html;\n  \
         client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/fastcgi;\n  \
         uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;\n  \
         server {{ listen {listen}; root {here}/www; {header}location / {{ try_files /index.html =404; }} }}\n}}\n"
    );
    fs::create_dir_all(folder.join("www")).with_context(|| format!("cannot make {here}/www"))?;
    write("nginx.conf", &config)?;
    write("www/index.html", &format!("{body}\n"))?;
    let mut command = Command::new("nginx");
    command
        .arg("-p")
        .arg(folder)
        .arg("-c")
        .arg(folder.join("nginx.conf"));
    Ok(Prepared {
        program: "nginx",
        command,
        probe: Probe::Tcp(listen),
    })
}

fn dnsmasq(listen: SocketAddrV4, records: impl Iterator<Item = String>, folder: &Path) -> Prepared {
    let mut command = Command::new("dnsmasq");
    command
        .args([
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--no-resolv",
            "--no-hosts",
            "--user=root",
        ])
        .args([
            "--bind-interfaces",
            "--except-interface=lo",
            "--log-queries",
            "--log-facility=-",
        ])
        .arg(format!("--pid-file={}/dnsmasq.pid", folder.display()))
        .arg(format!("--listen-address={}", listen.ip()))
        .arg(format!("--port={}", listen.port()))
        .args(records);
    Prepared {
        program: "dnsmasq",
        command,
        probe: Probe::Dns(listen),
    }
}

/// The end of a log file, for an error.
pub fn tail(path: &Path) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text
        .lines()
        .filter(|line| !line.trim().is_empty())
        .rev()
        .take(6)
        .collect();
    let last = lines.into_iter().rev().collect::<Vec<_>>().join(" | ");
    if last.is_empty() {
        "it said nothing".to_owned()
    } else {
        format!("it said: {}", escaped(&last))
    }
}

/// A program's words without control characters.
pub fn escaped(text: &str) -> String {
    let mut out = Vec::new();
    push_escaped(&mut out, text.as_bytes());
    String::from_utf8_lossy(&out).into_owned()
}

/// Sends a program's output to a log file, and gives it no input.
pub fn log_to(command: &mut Command, path: &Path) -> Result<()> {
    let log = fs::File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let again = log
        .try_clone()
        .context("cannot duplicate a log's descriptor")?;
    command.stdin(Stdio::null()).stdout(log).stderr(again);
    Ok(())
}
