//! Units that register their service: real commands, which look their
//! container's address up when they run and write what they then know.

use std::fs::File;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use anyhow::{Context, Result, bail};

use super::scenario::{Announcer, Api, Via};
use super::{Lab, PART_DEADLINE, etcd, interrupt, netns, process, server};

/// What one that writes again and again says after each time.
const WROTE: &str = "wrote";

/// Programs that the announcers of a lab need.
pub fn programs(announcers: &[Announcer]) -> impl Iterator<Item = &'static str> {
    announcers.iter().flat_map(|announcer| {
        let program = match via(announcer) {
            Via::Etcdctl => "etcdctl",
            Via::Curl => "curl",
        };
        let enters = announcer.container.is_some();
        std::iter::once(program).chain(enters.then_some("nsenter"))
    })
}

fn via(announcer: &Announcer) -> Via {
    announcer.via.unwrap_or(match announcer.api {
        Api::V2 => Via::Curl,
        Api::V3 => Via::Etcdctl,
    })
}

impl Lab {
    /// Starts all announcers, and waits until each has written once.
    pub(super) fn announce(&self) -> Result<()> {
        let mut started = Vec::new();
        for announcer in &self.scenario.announcers {
            started.push((announcer, self.start_announcer(announcer)?));
        }
        started
            .into_iter()
            .try_for_each(|(announcer, child)| self.wait_for_announcer(announcer, child))
    }

    fn start_announcer(&self, announcer: &Announcer) -> Result<Child> {
        let nodes = etcd::endpoints(&self.scenario, &announcer.on);
        let node = nodes.first();
        let node = node.context("etcd listens nowhere that the announcers reach")?;
        let elsewhere = announcer
            .container
            .as_ref()
            .filter(|container| **container != announcer.on);
        let namespace = elsewhere
            .map(|container| inherited(&self.namespace(container)))
            .transpose()?;
        let what = name(announcer);
        let mut command = command(announcer, *node, namespace.as_ref().map(AsRawFd::as_raw_fd));
        server::log_to(&mut command, &self.log(&what))?;
        let place = self.place(&announcer.on)?;
        process::spawn(&self.journal, &what, &place, command, false)
    }

    fn wait_for_announcer(&self, announcer: &Announcer, mut child: Child) -> Result<()> {
        let what = name(announcer);
        let log = self.log(&what);
        let ended = interrupt::poll_until(PART_DEADLINE, || {
            if let Some(status) = child.try_wait().context("cannot wait for an announcer")? {
                return Ok(Some(Some(status)));
            }
            // One that goes on is waited for no longer than its first time.
            let goes_on = announcer.every_s.is_some()
                && std::fs::read_to_string(&log)
                    .is_ok_and(|log| log.lines().any(|line| line.ends_with(WROTE)));
            Ok(goes_on.then_some(None))
        })?;
        match ended {
            Some(None) => Ok(()),
            Some(Some(status)) if status.success() && announcer.every_s.is_none() => Ok(()),
            Some(Some(status)) => bail!(
                "{what} could not write {} ({status}); {}",
                announcer.key,
                server::tail(&log)
            ),
            None => bail!(
                "{what} has not written {} after {} s; {}",
                announcer.key,
                PART_DEADLINE.as_secs(),
                server::tail(&log)
            ),
        }
    }
}

fn name(announcer: &Announcer) -> String {
    format!("announcer-{}", announcer.name)
}

/// The network namespace as a descriptor that a child may keep, by a number
/// that no other is given: the paths to it may be hidden where the command runs.
fn inherited(namespace: &str) -> Result<OwnedFd> {
    let file: File = netns::open(namespace)?;
    // SAFETY: the descriptor is open; the new one is nobody else's.
    unsafe {
        match libc::fcntl(file.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 100) {
            -1 => Err(std::io::Error::last_os_error()).context("cannot duplicate a descriptor"),
            number => Ok(OwnedFd::from_raw_fd(number)),
        }
    }
}

/// The unit's shell. `namespace`: descriptor of that of its container, where
/// that is not the one that it runs in.
fn command(announcer: &Announcer, node: SocketAddrV4, namespace: Option<i32>) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &script(announcer, node, namespace)]);
    // The script's own.
    command.env_remove("address");
    if let Some(number) = namespace {
        // SAFETY: one system call on a number, between fork and exec.
        unsafe {
            command.pre_exec(move || match libc::fcntl(number, libc::F_SETFD, 0) {
                -1 => Err(std::io::Error::last_os_error()),
                _ => Ok(()),
            });
        }
    }
    command
}

fn script(announcer: &Announcer, node: SocketAddrV4, namespace: Option<i32>) -> String {
    let mut script = String::new();
    let enter = namespace.map(|number| format!("nsenter --net=/proc/self/fd/{number} "));
    if announcer.container.is_some() {
        // eth0's first; before it is there, nothing.
        script += &format!(
            "address=$({}ip -4 -o addr show dev eth0 | \
             sed -n '1s/.* inet \\([0-9.]*\\).*/\\1/p'); ",
            enter.unwrap_or_default()
        );
    }
    let write = write(announcer, node);
    match announcer.every_s {
        None => script + &write,
        Some(seconds) => {
            format!("while :; do {script}{write} && echo {WROTE}; sleep {seconds}; done")
        }
    }
}

/// The commands that write.
fn write(announcer: &Announcer, node: SocketAddrV4) -> String {
    let key = &announcer.key;
    let value = value(&announcer.value);
    let quoted = quote(key);
    match (via(announcer), announcer.api, announcer.ttl_s) {
        (Via::Etcdctl, Api::V3, None) => {
            format!("ETCDCTL_API=3 etcdctl --endpoints=http://{node} put -- {quoted} {value}")
        }
        (Via::Etcdctl, Api::V3, Some(ttl_s)) => format!(
            "lease=$(ETCDCTL_API=3 etcdctl --endpoints=http://{node} lease grant {ttl_s} | cut -d' ' -f2) && \
             ETCDCTL_API=3 etcdctl --endpoints=http://{node} put --lease=$lease -- {quoted} {value}"
        ),
        (Via::Etcdctl, Api::V2, ttl_s) => {
            let ttl = ttl_s.map(|ttl_s| format!("--ttl {ttl_s} "));
            format!(
                "ETCDCTL_API=2 etcdctl --endpoints=http://{node} set {}-- {quoted} {value}",
                ttl.unwrap_or_default()
            )
        }
        (Via::Curl, Api::V2, ttl_s) => {
            let url = quote(&format!("http://{node}/v2/keys/{}", key.trim_matches('/')));
            // Units write `-d value=…`; what a form would misread is encoded.
            let flag = match announcer.value.contains(['&', '+', '%', ';']) {
                true => "--data-urlencode",
                false => "-d",
            };
            let ttl = ttl_s.map(|ttl_s| format!(" -d ttl={ttl_s}"));
            format!(
                "curl -sS -f -X PUT {url} {flag} value={value}{}",
                ttl.unwrap_or_default()
            )
        }
        (Via::Curl, Api::V3, ttl_s) => curl_v3(&quoted, &value, node, ttl_s),
    }
}

/// Through etcd's JSON gateway, keys and values in base64.
fn curl_v3(key: &str, value: &str, node: SocketAddrV4, ttl_s: Option<u32>) -> String {
    let grant = ttl_s.map(|ttl_s| {
        format!(
            "lease=$(curl -sS -f http://{node}/v3/lease/grant -d '{{\"TTL\":\"{ttl_s}\"}}' | \
             sed 's/.*\"ID\":\"\\([0-9]*\\)\".*/\\1/') && "
        )
    });
    let lease = ttl_s.map(|_| ",\\\"lease\\\":\\\"$lease\\\"");
    format!(
        "{}key=$(printf %s {key} | base64 -w0) && value=$(printf %s {value} | base64 -w0) && \
         curl -sS -f -X POST http://{node}/v3/kv/put \
         -d \"{{\\\"key\\\":\\\"$key\\\",\\\"value\\\":\\\"$value\\\"{}}}\"",
        grant.unwrap_or_default(),
        lease.unwrap_or_default()
    )
}

/// The value as a shell's word, with the address that was found.
fn value(text: &str) -> String {
    if text.is_empty() {
        return quote(text);
    }
    let word = |part: &str| match part {
        "" => String::new(),
        part => quote(part),
    };
    let parts: Vec<_> = text.split("{address}").map(word).collect();
    parts.join("\"$address\"")
}

fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn announcer(more: &str) -> Announcer {
        let text =
            format!("name = \"a\"\non = \"h\"\nkey = \"/k\"\nvalue = \"{{address}}:80\"\n{more}");
        toml::from_str(&text).unwrap()
    }

    fn written(more: &str) -> String {
        script(
            &announcer(more),
            "10.0.0.1:2379".parse().unwrap(),
            Some(101),
        )
    }

    #[test]
    fn commands_are_those_of_units() {
        for (more, wanted) in [
            (
                "",
                "ETCDCTL_API=3 etcdctl --endpoints=http://10.0.0.1:2379 put -- '/k' \"$address\"':80'",
            ),
            (
                "api = \"v2\"",
                "curl -sS -f -X PUT 'http://10.0.0.1:2379/v2/keys/k' -d value=\"$address\"':80'",
            ),
            (
                "api = \"v2\"\nvia = \"etcdctl\"\nttl_s = 60",
                "ETCDCTL_API=2 etcdctl --endpoints=http://10.0.0.1:2379 set --ttl 60 -- '/k' \"$address\"':80'",
            ),
        ] {
            assert_eq!(written(more), wanted);
        }
        let looks = written("container = \"c\"\nevery_s = 5");
        assert!(
            looks.starts_with("while :; do address=$(nsenter --net=/proc/self/fd/101 ip -4 "),
            "{looks}"
        );
        assert!(looks.ends_with("&& echo wrote; sleep 5; done"), "{looks}");
    }

    #[test]
    fn an_address_of_the_environment_is_not_the_containers() {
        let command = command(&announcer(""), "10.0.0.1:2379".parse().unwrap(), None);
        assert!(
            command
                .get_envs()
                .any(|variable| variable == ("address".as_ref(), None))
        );
    }

    #[test]
    fn a_quote_in_a_value_stays_one() {
        assert_eq!(value("it's {address}"), r#"'it'\''s '"$address""#);
    }
}
