//! Values of a registry as haproxy itself takes them: its check says the same of each.
use std::io::Write;
use std::process::{Command, Stdio};

use netdig::context::registry::Value;
use netdig::evidence::services::{Host, Target, of_server};

/// Whether what a test needs may be missing: not where CI runs it.
fn may_skip() -> bool {
    std::env::var_os("CI").is_none_or(|ci| ci != "true")
}

fn missing() -> bool {
    let ran = Command::new("haproxy")
        .arg("-v")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(ran.is_ok() || may_skip(), "CI has haproxy");
    if ran.is_err() {
        eprintln!("skipped: there is no haproxy");
    }
    ran.is_err()
}

/// What registries hold in the place of an address, and what scripts leave there.
const VALUES: &[&str] = &[
    ":80",
    ":",
    "*",
    "*:80",
    "*:0",
    ":0",
    "0.0.0.0",
    "0.0.0.0:80",
    "0:80",
    "[::]",
    "[::]:80",
    ":::80",
    "::",
    "::1:80",
    "[::1]:80",
    "localhost:80",
    "127.0.0.1:80",
    "127.0.1.1:80",
    "[::ffff:127.0.0.1]:80",
    "$HOST_THAT_IS_NOT_SET:80",
    "",
    " ",
    "\n",
    "null",
    "nil",
    "nil:80",
    "null:80",
    "None:80",
    "undefined:80",
    "<no value>",
    "<no value>:80",
    "10.0.0.9",
    "10.0.0.9:",
    "10.0.0.9:0",
    "10.0.0.9:80",
    "10.0.0.9:080",
    "10.0.0.9:80a",
    "10.0.0.9:+80",
    "10.0.0.9:-80",
    "10.0.0.9:80-90",
    "10.0.0.9:http",
    "10.0.0.9:65535",
    "10.0.0.9:65536",
    "10.0.0.9:99999",
    ":99999",
    "10.0.0.9:80:80",
    "10.0.0.9: 80",
    "10.0.0.9 :80",
    "10.0.0.9:80 extra",
    "10.0.0.9:80 weight 10",
    "10.0.0.9:80 # a remark",
    "10.0.0.9:80,10.0.0.8:80",
    "10.0.0.9:80, 10.0.0.8:80",
    "10.0.0.9;80",
    "10.0.0.9/24:80",
    "10.0.0.256:80",
    "10.0.0:80",
    "10.9:80",
    "010.0.0.9:80",
    "0x0a000009:80",
    "255.255.255.255:80",
    "http://10.0.0.9:80",
    "http://10.0.0.9:80/",
    "http://:80",
    "http://",
    "fd00::1",
    "fd00::1:80",
    "[fd00::1]",
    "[fd00::1]:80",
    "[fd00::1:80",
    "[10.0.0.9]:80",
    "unix@/tmp/x.sock",
    "/tmp/x.sock",
    "ipv4@10.0.0.9:80",
    "ipv6@[fd00::1]:80",
    "tcp@10.0.0.9:80",
    "udp@10.0.0.9:80",
    "fd@3",
    " 10.0.0.9:80",
    "10.0.0.9:80 ",
    "\t10.0.0.9:80\t",
    "10.0.0.9:80\r\n",
    "10.0.0.9:80\n",
    "\n10.0.0.9:80",
    "10.0.0.9:80\n10.0.0.8:80",
    "\"10.0.0.9:80\"",
    "'10.0.0.9:80'",
    "\"10.0.0.9:80",
    "{\"host\":\"10.0.0.9\",\"port\":80}",
    "{{.Address}}:80",
    "-:80",
    "@:80",
    "80",
    "a\0b:80",
];

/// Whether `haproxy -c` accepts a configuration with the value in a `server` line.
fn accepts(value: &str, check: &str) -> bool {
    let folder = std::env::temp_dir();
    let (process, thread) = (std::process::id(), std::thread::current().id());
    let file = folder.join(format!("netdig-haproxy-{process}-{thread:?}.cfg"));
    let head = "defaults\n  mode http\n  timeout connect 1s\n  timeout client 1s\n  \
                timeout server 1s\nfrontend in\n  bind 127.0.0.1:18080\n  \
                default_backend b\nbackend b\n  server frontend1 10.0.0.1:80\n";
    let mut written = std::fs::File::create(&file).expect("a file");
    writeln!(written, "{head}  server frontend2 {value}{check}").expect("written");
    let status = Command::new("haproxy")
        .args(["-c", "-q", "-f"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let _ = std::fs::remove_file(&file);
    status.expect("haproxy runs").success()
}

/// A colon without a port, which haproxy refuses where the server is checked.
fn ends_open(value: &str) -> bool {
    value.ends_with(':') && value.len() > 1 && value != "::"
}

#[test]
fn haproxy_says_the_same_of_each_value() {
    if missing() {
        return;
    }
    let mut differ = Vec::new();
    for value in VALUES {
        let target = of_server(&Value::Text((*value).to_owned()));
        let ours = matches!(target, Target::Upstream { .. }) || ends_open(value);
        let theirs = accepts(value, "");
        if ours != theirs {
            differ.push(format!("{value:?}: haproxy {theirs}, netdig {target:?}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

#[test]
fn an_address_without_a_port_is_refused_where_it_is_checked() {
    if missing() {
        return;
    }
    for value in ["10.0.0.9", "10.0.0.9:", "10.0.0.9:0"] {
        assert!(accepts(value, ""), "{value}");
        assert!(!accepts(value, " check"), "{value}");
    }
    for value in [":80", ":", "0.0.0.0:80", "*:80", "[::]:80", "127.0.1.1:80"] {
        assert!(accepts(value, " check"), "{value}");
        let target = of_server(&Value::Text(value.to_owned()));
        let host = match target {
            Target::Upstream { host, .. } => host,
            Target::Refused(why) => panic!("{value}: {why}"),
        };
        let own = match host {
            Host::Blank | Host::Any => true,
            Host::Address(ip) => ip.is_unspecified() || ip.is_loopback(),
            Host::Name(_) => false,
        };
        assert!(own, "{value} is the balancer itself");
    }
}
