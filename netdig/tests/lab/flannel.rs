//! The overlay with etcd: leases, and what each backend makes of them.

use super::*;

/// Two hosts with a container each, etcd on the first.
fn scenario(overlay: &str) -> String {
    format!(
        r#"
title = "test"
story = "test"

[sysctls]
"net.ipv4.ip_forward" = "1"
"net.ipv6.conf.default.disable_ipv6" = "1"

[overlay]
network = "10.5.0.0/16"
daemon = "lab"
{overlay}

[etcd]
at = "one"

[[host]]
name = "one"
addresses = ["10.1.1.95/24"]
subnet = "10.5.52.0/24"

[[host]]
name = "two"
addresses = ["10.1.1.187/24"]
subnet = "10.5.13.0/24"

[[container]]
name = "ca"
host = "one"
address = "10.5.52.2/24"
runtime = "namespace"

[[container]]
name = "cb"
host = "two"
address = "10.5.13.2/24"
runtime = "namespace"
"#
    )
}

/// A lab of a scenario that is a file of its own.
struct Own {
    lab: Named,
    file: PathBuf,
}

impl Own {
    fn up(name: &str, scenario: &str) -> Own {
        Own::up_with(name, scenario, &[])
    }

    fn up_with(name: &str, scenario: &str, more: &[&str]) -> Own {
        let lab = Named::new(name);
        let file = std::env::temp_dir().join(format!("netdig-{}.toml", lab.0));
        fs::write(&file, scenario).expect("the scenario can be written");
        let own = Own { lab, file };
        let path = own.file.to_str().expect("a plain path").to_owned();
        ok(&[&["up", &path, "--name", &own.lab.0], more].concat());
        own
    }

    /// The command line of the daemon of a host, and its pid.
    fn daemon(&self, host: &str) -> (u64, Vec<String>) {
        let status = self.lab.status().expect("the lab stands");
        let processes = status["processes"].as_array().expect("processes");
        let name = format!("tunnel-{host}");
        let daemon = processes.iter().find(|process| process["name"] == name);
        let pid = daemon.expect("a daemon")["pid"].as_u64().expect("a pid");
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("a command line");
        let words = line.trim_end_matches('\0').split('\0');
        (pid, words.map(str::to_owned).collect())
    }

    fn subnet_file(&self, host: &str) -> String {
        self.lab.exec_ok(host, &["cat", "/run/flannel/subnet.env"])
    }

    fn etcdctl(&self, arguments: &[&str]) -> String {
        let words = ["env", "ETCDCTL_API=3", "etcdctl"];
        self.lab.exec_ok("one", &[&words[..], arguments].concat())
    }

    fn v2(&self, key: &str, more: &[&str]) -> Value {
        let url = format!("http://127.0.0.1:4001/v2/keys{key}");
        let said = self
            .lab
            .exec_ok("one", &[&["curl", "-sS", &url], more].concat());
        serde_json::from_str(&said).expect("JSON")
    }

    /// A key's entry, of v2 a `node`; null where there is none.
    fn entry(&self, api: &str, key: &str) -> Value {
        if api == "v2" {
            return self.v2(key, &[])["node"].clone();
        }
        let shown = self.etcdctl(&["get", "-w", "json", key]);
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        shown["kvs"][0].clone()
    }

    fn expires(&self, api: &str, key: &str) -> bool {
        let entry = self.entry(api, key);
        assert!(entry.is_object(), "{api} {key} is gone");
        entry["lease"].as_i64().unwrap_or_default() != 0 || entry["ttl"].is_u64()
    }

    fn ping(&self) {
        let words = ["ping", "-n", "-c", "1", "-W", "5", "10.5.13.2"];
        self.lab.exec_ok("ca", &words);
    }

    /// What a host has that leads to the other's subnet or public address.
    fn ways(&self, device: &str) -> String {
        let look = format!(
            "ip route show 10.5.13.0/24; ip neighbour show dev {device} to 10.5.13.0/24 nud permanent; \
             bridge fdb show dev {device} | grep 'dst 10.1.1.187' || true"
        );
        self.lab.exec_ok("one", &["sh", "-c", &look])
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.file);
    }
}

fn kill(pid: u64) {
    // SAFETY: a process that the lab started for this test.
    unsafe { libc::kill(pid as i32, libc::SIGKILL) };
    wait_until("the daemon is dead", || !alive(pid));
}

#[test]
fn udp_leases_in_v2_and_carries() {
    if !privileged() {
        return;
    }
    let own = Own::up("udp2", &scenario("backend = \"udp\"\napi = \"v2\""));
    own.ping();
    let lease = own.v2("/coreos.com/network/subnets/10.5.52.0-24", &[]);
    assert_eq!(lease["node"]["value"], r#"{"PublicIP":"10.1.1.95"}"#);
    assert!(lease["node"]["ttl"].as_u64().expect("a TTL") > 86_000);
    let config = own.v2("/coreos.com/network/config", &[]);
    let config = config["node"]["value"]
        .as_str()
        .expect("a value")
        .to_owned();
    assert_eq!(
        config,
        r#"{"Network":"10.5.0.0/16","SubnetLen":24,"Backend":{"Type":"udp","Port":8285}}"#
    );
    assert_eq!(
        own.subnet_file("one"),
        "FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET=10.5.52.1/24\nFLANNEL_MTU=1472\nFLANNEL_IPMASQ=false\n"
    );
    // Without the other's lease the daemon knows no way, and says so to who asks.
    let key = "/coreos.com/network/subnets/10.5.13.0-24";
    own.v2(key, &["-X", "DELETE"]);
    wait_until("the way to two is gone", || {
        let out = own
            .lab
            .exec("ca", &["curl", "-sS", "-m", "2", "http://10.5.13.2/"]);
        String::from_utf8_lossy(&out.stderr).contains("(28)")
            || String::from_utf8_lossy(&out.stderr).contains("nreachable")
            || String::from_utf8_lossy(&out.stderr).contains("No route")
    });
    let (lab, name) = (&own.lab, own.lab.0.clone());
    ok(&["down", &name]);
    assert_eq!(lab.traces(), [""; 0]);
}

#[test]
fn vxlan_sets_route_neighbour_and_forwarding_entry_and_takes_them_away() {
    if !privileged() {
        return;
    }
    let own = Own::up("vxlan3", &scenario("backend = \"vxlan\"\nvni = 7"));
    own.ping();
    let mac = own
        .lab
        .exec_ok("two", &["ip", "-br", "link", "show", "flannel.7"]);
    let mac = mac.split_whitespace().nth(2).expect("a hardware address");
    let key = "/coreos.com/network/subnets/10.5.13.0-24";
    assert_eq!(
        own.etcdctl(&["get", "--print-value-only", key]),
        format!(
            "{{\"PublicIP\":\"10.1.1.187\",\"PublicIPv6\":null,\"BackendType\":\"vxlan\",\"BackendData\":{{\"VNI\":7,\"VtepMAC\":\"{mac}\"}}}}\n"
        )
    );
    assert!(own.subnet_file("two").contains("FLANNEL_MTU=1450\n"));
    // What has no expiry has expired: two writes its lease again.
    own.etcdctl(&[
        "put",
        key,
        r#"{"PublicIP":"10.1.1.9","BackendType":"vxlan"}"#,
    ]);
    wait_until("two has its lease again, and one its ways", || {
        let lease = own.etcdctl(&["get", "--print-value-only", key]);
        lease.contains("10.1.1.187") && own.ways("flannel.7").contains("dst 10.1.1.187")
    });
    let ways = own.ways("flannel.7");
    for way in [
        "10.5.13.0/24 via 10.5.13.0 dev flannel.7 onlink".to_owned(),
        format!("10.5.13.0 lladdr {mac} PERMANENT"),
        format!("{mac} dst 10.1.1.187 self permanent"),
    ] {
        assert!(ways.contains(&way), "{way}: {ways}");
    }
    // What is gone already keeps none of the rest.
    own.lab
        .exec_ok("one", &["ip", "route", "del", "10.5.13.0/24"]);
    own.etcdctl(&["del", key]);
    wait_until("all that led to two is gone", || {
        own.ways("flannel.7").is_empty()
    });
    // A value is no command: neither a line of its own, nor an argument.
    let wrong = r#"{"PublicIP":"10.1.1.187","BackendType":"vxlan","BackendData":{"VNI":7,"VtepMAC":"aa:bb:cc:dd:ee:ff\nlink delete eth0"}}"#;
    own.etcdctl(&["put", key, wrong]);
    wait_until("the wrong lease is logged", || {
        let log = format!("/run/netdig/lab/{}/tunnel-one.log", own.lab.0);
        fs::read_to_string(log).is_ok_and(|log| log.contains("wrong VtepMAC"))
    });
    assert_eq!(own.ways("flannel.7"), "");
    own.lab.exec_ok("one", &["ip", "link", "show", "eth0"]);
}

#[test]
fn host_gw_routes_by_the_public_address_until_the_lease_expires() {
    if !privileged() {
        return;
    }
    let overlay = "backend = \"host-gw\"\nttl_s = 2";
    let own = Own::up("gw3", &scenario(overlay));
    own.ping();
    let key = "/coreos.com/network/subnets/10.5.13.0-24";
    assert_eq!(
        own.etcdctl(&["get", "--print-value-only", key]),
        "{\"PublicIP\":\"10.1.1.187\",\"PublicIPv6\":null,\"BackendType\":\"host-gw\"}\n"
    );
    assert!(own.subnet_file("one").contains("FLANNEL_MTU=1500\n"));
    assert_eq!(
        own.ways("eth0").trim(),
        "10.5.13.0/24 via 10.1.1.187 dev eth0"
    );
    own.lab
        .exec_ok("one", &["ip", "route", "del", "10.5.13.0/24"]);
    wait_until("the route is put back", || !own.ways("eth0").is_empty());
    let version = || {
        let shown = own.etcdctl(&["get", "-w", "json", key]);
        let shown: Value = serde_json::from_str(&shown).expect("JSON");
        shown["kvs"][0]["version"].as_u64()
    };
    let first = version();
    wait_until("the lease is renewed twice", || {
        version() >= first.map(|n| n + 2)
    });
    own.ping();
    // Nobody renews any more.
    kill(own.daemon("two").0);
    wait_until("the route is gone", || own.ways("eth0").is_empty());
    assert_eq!(version(), None);
}

/// A key of v2 that somebody wrote for a host without a time to live is a reservation; of v3
/// flanneld takes it for one that has ended, and writes its own in its place.
#[test]
fn a_reservation_stays_one_where_flanneld_knows_them() {
    if !privileged() {
        return;
    }
    for (api, stays) in [("v2", true), ("v3", false)] {
        let key = "/coreos.com/network/subnets/10.5.13.0-24";
        let reserved = format!(
            "[[key]]\nkey = \"{key}\"\napi = \"{api}\"\n\
             value = '{{\"PublicIP\":\"10.1.1.187\",\"BackendType\":\"host-gw\"}}'\n"
        );
        let overlay = format!("backend = \"host-gw\"\nttl_s = 2\napi = \"{api}\"");
        let own = Own::up(
            &format!("reserved{}", &api[1..]),
            &(scenario(&overlay) + &reserved),
        );
        own.ping();
        assert_eq!(!own.expires(api, key), stays, "{api}");
        kill(own.daemon("two").0);
        if stays {
            // Two times to live later, as the other's renewals tell, it is there still.
            let other = "/coreos.com/network/subnets/10.5.52.0-24";
            let index = || own.entry("v2", other)["modifiedIndex"].as_u64();
            for _ in 0..3 {
                let before = index();
                wait_until("the other lease is renewed", || index() > before);
            }
            own.ping();
            assert!(!own.expires(api, key), "{api}");
        } else {
            wait_until("the lease is gone", || own.entry("v3", key).is_null());
        }
    }
}

#[test]
fn a_lease_is_found_by_its_public_address_after_a_restart() {
    if !privileged() {
        return;
    }
    let overlay = "backend = \"vxlan\"\napi = \"v2\"";
    let text = scenario(overlay).replace(
        "addresses = [\"10.1.1.187/24\"]",
        "addresses = [\"10.1.1.187/24\", \"10.1.1.188/24\"]\npublic_ip = \"10.1.1.188\"",
    );
    let own = Own::up("again2", &text);
    own.ping();
    let (pid, mut line) = own.daemon("two");
    kill(pid);
    let at = line
        .iter()
        .position(|word| word == "--subnet")
        .expect("a subnet");
    line[at + 1] = "10.5.99.0/24".to_owned();
    let ready = PathBuf::from(line.last().expect("the ready file"));
    fs::remove_file(&ready).expect("the ready file can be removed");
    let mut other = Command::new(NETDIG)
        .args(["lab", "exec", "two", "--name", &own.lab.0, "--"])
        .args(&line)
        .stderr(Stdio::null())
        .spawn()
        .expect("netdig starts");
    wait_until("the other daemon is ready", || ready.exists());
    own.ping();
    let leases = own.v2("/coreos.com/network/subnets", &[]);
    let leases = leases["node"]["nodes"].as_array().expect("leases").clone();
    let mut keys: Vec<_> = leases
        .iter()
        .filter_map(|node| node["key"].as_str())
        .collect();
    keys.sort_unstable();
    assert_eq!(
        keys,
        [
            "/coreos.com/network/subnets/10.5.13.0-24",
            "/coreos.com/network/subnets/10.5.52.0-24"
        ]
    );
    let lease = leases
        .iter()
        .find(|node| node["key"] == keys[0])
        .expect("two's");
    assert!(
        lease["value"]
            .as_str()
            .expect("a value")
            .contains("10.1.1.188")
    );
    ok(&["down", &own.lab.0]);
    other.wait().expect("reaped");
}

#[test]
fn without_a_configuration_the_daemons_wait_and_go_on_when_it_comes() {
    if !privileged() {
        return;
    }
    let own = Own::up("wait3", &scenario("config = \"\"\nprefix = \"/other/net\""));
    let log = format!("/run/netdig/lab/{}/tunnel-one.log", own.lab.0);
    let log = fs::read_to_string(log).expect("a log");
    assert!(log.contains("no key /other/net/config"), "{log}");
    assert_eq!(own.etcdctl(&["get", "--prefix", "/other/net"]), "");
    own.etcdctl(&["put", "/other/net/config", r#"{"Network":"10.5.0.0/16"}"#]);
    wait_until("both have leased", || {
        own.etcdctl(&["get", "--prefix", "--keys-only", "/other/net/subnets/"])
            .matches("-24")
            .count()
            == 2
    });
}

#[test]
fn the_real_flanneld_runs_where_it_is_named() {
    if !privileged() {
        return;
    }
    let lab = unique("real");
    let folder = std::env::temp_dir().join(format!("netdig-{lab}-flanneld"));
    fs::create_dir_all(&folder).expect("a folder");
    let (program, said) = (folder.join("flanneld"), folder.join("said"));
    // Stands for flanneld: notes how it was started, and says that it has leased.
    let script = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && echo v0.22.3 && exit\necho \"$@\" >> {}\nfor word; do\n  [ \"$last\" = --subnet-file ] && echo FLANNEL_MTU=1450 >> \"$word\"\n  last=$word\ndone\nexec sleep 600\n",
        said.display()
    );
    fs::write(&program, script).expect("a program");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(&program, mode).expect("it may be run");
    let text = scenario("backend = \"vxlan\"").replace("daemon = \"lab\"", "");
    let text = text.replace(
        "addresses = [\"10.1.1.187/24\"]",
        "addresses = [\"10.1.1.187/24\"]\npublic_ip = \"192.0.2.7\"",
    );
    let path = program.to_str().expect("a plain path");
    let own = Own::up_with("real", &text, &["--flanneld", path]);
    let started = fs::read_to_string(&said).expect("what it was told");
    let mut started: Vec<_> = started.lines().collect();
    started.sort_unstable();
    let [a, b] = started[..] else {
        panic!("{started:?}");
    };
    for (line, public) in [(a, None), (b, Some("--public-ip 192.0.2.7"))] {
        let line = if public.is_some() == line.contains("--public-ip") {
            line
        } else {
            b
        };
        assert!(
            line.contains("--etcd-endpoints http://10.1.1.95:2379,http://10.1.1.95:4001"),
            "{line}"
        );
        assert!(
            line.contains("--etcd-prefix /coreos.com/network --iface eth0"),
            "{line}"
        );
        assert!(public.is_none_or(|public| started.iter().any(|line| line.contains(public))));
        assert!(line.ends_with("--iptables-forward-rules=false"), "{line}");
    }
    let files: Vec<_> = ["one", "two"].map(|host| own.subnet_file(host)).into();
    assert!(
        files[0].contains("FLANNEL_SUBNET=10.5.52.1/24"),
        "{files:?}"
    );
    assert!(
        files[1].contains("FLANNEL_SUBNET=10.5.13.1/24"),
        "{files:?}"
    );
    let name = own.lab.0.clone();
    let missing = netdig(&[
        "up",
        "flannel-vxlan",
        "--name",
        &name,
        "--flanneld",
        "/nowhere",
    ]);
    assert!(!missing.status.success());
    ok(&["down", &name]);
    fs::remove_dir_all(&folder).expect("the folder can be removed");
}
