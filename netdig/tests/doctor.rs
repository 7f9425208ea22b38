//! `netdig doctor`, `explain` and `rules` as a person meets them: output, exit codes, saved looks,
//! and what goes wrong.
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

#[path = "lab/privileged.rs"]
mod privileged;

use privileged::privileged;

const NETDIG: &str = env!("CARGO_BIN_EXE_netdig");
const NOBODY: [&str; 4] = ["--reuid=65534", "--regid=65534", "--clear-groups", "--"];

/// A folder that everybody may look into; it goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Folder {
        let name = format!("netdig-doctor-{test}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("open to all");
        Folder(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("a file");
        path.display().to_string()
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A standing lab, taken down with the test.
struct Lab(String);

impl Lab {
    fn up(scenario: &str, test: &str) -> Lab {
        let lab = Lab(format!("doctor-{test}-{}", std::process::id()));
        let up = run(Command::new(NETDIG).args(["lab", "up", scenario, "--name", &lab.0]));
        assert_eq!(up.status.code(), Some(0), "{}", stderr(&up));
        lab
    }

    fn on(&self, host: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(NETDIG);
        command.args(["lab", "exec", "--name", &self.0, host, "--"]);
        run(command.args([NETDIG, "doctor"]).args(arguments))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = run(Command::new(NETDIG).args(["lab", "down", &self.0]));
    }
}

fn run(command: &mut Command) -> Output {
    for name in ["ETCDCTL_ENDPOINTS", "ETCDCTL_USER", "NO_COLOR"] {
        command.env_remove(name);
    }
    command.output().expect("it starts")
}

fn netdig(arguments: &[&str]) -> Output {
    run(Command::new(NETDIG).args(arguments))
}

/// With `input` on standard input.
fn fed(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(NETDIG)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("netdig starts");
    let _ = child.stdin.take().expect("a pipe").write_all(input);
    child.wait_with_output().expect("it ends")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The objects of a run, without when it was.
fn objects(output: &Output) -> Vec<Value> {
    let text = stdout(output);
    let lines = text.lines().map(|line| {
        let mut object: Value = serde_json::from_str(line).expect("an object a line");
        let fields = object.as_object_mut().expect("an object");
        assert!(fields.remove("ts").is_some() && fields.remove("ts_ns").is_some());
        object
    });
    lines.collect()
}

/// One sentence on standard error, and exit code 2.
fn refused(output: &Output, says: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.starts_with("netdig: ") && said.contains(says),
        "{says}: {said}"
    );
    assert_eq!(said.lines().count(), 1, "{said}");
}

/// A context in which two rules speak, one of them critical.
fn guilty(folder: &Folder) -> String {
    let context = r#"{"schema":"netdig-context/1","host":{"name":"balancer","kernel":"6"},
      "net":{"links":[
        {"index":2,"name":"eth0","kind":"physical","up":true,"running":true,"mtu":1500},
        {"index":3,"name":"flannel0","kind":{"tun":{"tap":false}},"up":true,"running":true,"mtu":1472}],
      "addresses":[
        {"link":"eth0","net":"10.1.1.95/24","scope":"global"},
        {"link":"flannel0","net":"10.1.88.0/16","scope":"global"}],
      "routes":[
        {"to":"10.1.1.0/24","kind":"unicast","table":254,"hops":[{"dev":"eth0"}]},
        {"to":"10.1.0.0/16","kind":"unicast","table":254,"hops":[{"dev":"flannel0"}]}]},
      "files":{"subnet_env":[{"file":"/run/flannel/subnet.env","network":["10.1.0.0/16"],
        "subnet":"10.1.88.1/24","mtu":1472}]},
      "sysctls":{"net.ipv4.ip_forward":"0"}}"#;
    folder.file("guilty.json", context.as_bytes())
}

#[test]
fn text_table_and_objects_tell_the_same() {
    if !privileged() {
        return;
    }
    let lab = Lab::up("overlay-swallows-underlay", "formats");
    let json = lab.on("balancer", &["--format", "json"]);
    let mut all = objects(&json);
    let summary = all.pop().expect("a summary");
    assert_eq!(summary["kind"], "summary");
    let codes: Vec<&str> = all.iter().filter_map(|one| one["code"].as_str()).collect();
    assert!(
        codes.contains(&"ND101") && codes.contains(&"ND102"),
        "{codes:?}"
    );
    for severity in ["critical", "high", "medium", "info"] {
        let count = all.iter().filter(|one| one["severity"] == severity).count();
        assert_eq!(summary["findings"][severity], count, "{severity}");
    }
    let text = stdout(&lab.on("balancer", &[]));
    let table = stdout(&lab.on("balancer", &["--format", "table"]));
    for code in codes {
        assert!(
            text.contains(code) && table.contains(code),
            "{code}\n{text}\n{table}"
        );
    }
    assert!(
        text.contains("  fix: ") && !table.contains("fix: "),
        "{text}\n{table}"
    );
    assert!(
        text.starts_with("balancer: overlay 10.1.0.0/16 by "),
        "{text}"
    );
    for threshold in ["info", "medium", "high", "critical"] {
        let output = lab.on("balancer", &["--fail-on", threshold]);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{threshold}: {}",
            stderr(&output)
        );
    }
    let innocent = lab.on("router", &["--fail-on", "info"]);
    assert_eq!(innocent.status.code(), Some(0), "{}", stdout(&innocent));
    assert!(stdout(&innocent).contains("no overlay network found"));
}

#[test]
fn a_saved_look_says_the_same_to_everybody() {
    if !privileged() {
        return;
    }
    let folder = Folder::new("saved");
    let lab = Lab::up("overlay-swallows-underlay", "saved");
    let file = folder.path("look.json");
    let looked = lab.on("balancer", &["--format", "json", "--save", &file]);
    assert_eq!(looked.status.code(), Some(1), "{}", stderr(&looked));
    let mode = fs::metadata(&file).expect("saved").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Where the build is, not everybody may look.
    let program = folder.path("netdig");
    fs::copy(NETDIG, &program).expect("a copy");
    let as_nobody = || {
        let mut command = Command::new("setpriv");
        command.args(NOBODY).arg(&program);
        run(command.args(["doctor", "--format", "json", "--from", &file]))
    };
    refused(&as_nobody(), "Permission denied");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("for all");
    let again = as_nobody();
    assert_eq!(again.status.code(), Some(1), "{}", stderr(&again));
    assert_eq!(objects(&again), objects(&looked));
    let text = fs::read(&file).expect("saved");
    let fed = fed(&["doctor", "--format", "json", "--from", "-"], &text);
    assert_eq!(objects(&fed), objects(&looked));
    // Standard output has the look alone, which is one again.
    let printed = netdig(&["doctor", "--from", &file, "--save", "-"]);
    assert_eq!(printed.stdout, text);
    assert_eq!(printed.status.code(), Some(1));
}

#[test]
fn a_threshold_decides_on_the_exit_code() {
    let folder = Folder::new("threshold");
    let file = guilty(&folder);
    let all = objects(&netdig(&["doctor", "--from", &file, "--format", "json"]));
    let has = |severity: &str| all.iter().any(|one| one["severity"] == severity);
    assert!(has("critical"), "{all:?}");
    let mild = folder.file(
        "mild.json",
        br#"{"schema":"netdig-context/1","unread":[{"part":"firewall","what":"x","why":"y","hint":null,"partly":true}]}"#,
    );
    for (file, threshold, code) in [
        (&file, "critical", 1),
        (&file, "info", 1),
        (&mild, "info", 1),
        (&mild, "medium", 0),
        (&mild, "high", 0),
        (&mild, "critical", 0),
    ] {
        let output = netdig(&["doctor", "--from", file, "--fail-on", threshold]);
        assert_eq!(output.status.code(), Some(code), "{file} {threshold}");
    }
    assert_eq!(
        netdig(&["doctor", "--fail-on", "awful"]).status.code(),
        Some(2)
    );
}

#[test]
fn what_is_no_saved_look_is_refused_in_a_sentence() {
    let folder = Folder::new("foreign");
    let whole = fs::read(guilty(&folder)).expect("a context");
    for (name, bytes, says) in [
        ("cut", &whole[..whole.len() / 2], "is no saved context"),
        ("empty", b"", "is no saved context"),
        ("garbage", b"\xff\xfe\x00{", "is no saved context"),
        ("foreign", b"{\"kind\":\"Pod\"}", "no `schema`"),
        (
            "later",
            b"{\"schema\":\"netdig-context/2\\u001b\"}",
            "netdig-context/2",
        ),
        (
            "lines",
            b"{\"kind\":\"finding\"}\n{\"kind\":\"summary\"}\n",
            "is no saved context",
        ),
    ] {
        let file = folder.file(name, bytes);
        let output = netdig(&["doctor", "--from", &file]);
        refused(&output, says);
        assert!(!stderr(&output).contains('\x1b'));
        refused(&fed(&["doctor", "--from", "-"], bytes), says);
    }
    let huge = folder.path("huge");
    let file = fs::File::create(&huge).expect("a file");
    file.set_len(3 << 30).expect("a sparse file");
    refused(
        &netdig(&["doctor", "--from", &huge]),
        "longer than 1024 MiB",
    );
    refused(
        &netdig(&["doctor", "--from", "/dev/zero"]),
        "is no saved context",
    );
    refused(
        &netdig(&["doctor", "--from", &folder.path("")]),
        "directory",
    );
    refused(
        &netdig(&["doctor", "--from", &folder.path("none")]),
        "No such file",
    );
    let both = netdig(&["doctor", "--from", "x", "--etcd", "http://h:1"]);
    assert_eq!(both.status.code(), Some(2));
    assert!(
        stderr(&both).contains("cannot be used with"),
        "{}",
        stderr(&both)
    );
}

#[test]
fn a_look_that_cannot_be_kept_is_shown_still() {
    let folder = Folder::new("unkept");
    let file = guilty(&folder);
    let output = netdig(&[
        "doctor",
        "--from",
        &file,
        "--save",
        &folder.path("no/such/folder"),
    ]);
    refused(&output, "cannot write");
    assert!(stdout(&output).contains("ND101"), "{}", stdout(&output));
}

#[test]
fn a_page_by_its_code_or_its_name() {
    let page = stdout(&netdig(&["explain", "ND101"]));
    assert!(
        page.starts_with("# ND101 overlay-underlay-overlap\n"),
        "{page}"
    );
    for name in ["nd101", "101", "overlay-underlay-overlap", " ND101 "] {
        assert_eq!(stdout(&netdig(&["explain", name])), page, "{name}");
    }
    for name in ["ND999", "", "nonsense\u{1b}[2J", "1010"] {
        let output = netdig(&["explain", name]);
        refused(&output, "netdig rules");
        assert!(!stderr(&output).contains('\x1b'));
    }
}

#[test]
fn every_rule_is_listed_and_has_its_page() {
    let listed = netdig(&["rules", "--format", "json"]);
    let rules = objects(&listed);
    assert!(rules.len() > 30, "{}", rules.len());
    for rule in &rules {
        assert_eq!(rule["kind"], "rule");
        let code = rule["code"].as_str().expect("a code");
        let name = rule["name"].as_str().expect("a name");
        for field in ["severity", "title"] {
            assert!(
                rule[field].as_str().is_some_and(|text| !text.is_empty()),
                "{rule}"
            );
        }
        assert!(rule["needs"].is_array(), "{rule}");
        let page = stdout(&netdig(&["explain", code]));
        assert!(page.starts_with(&format!("# {code} {name}\n")), "{page}");
    }
    let text = stdout(&netdig(&["rules"]));
    assert_eq!(text.lines().count(), rules.len() + 1);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let folder = Folder::new("pipe");
    let file = guilty(&folder);
    for arguments in [
        &["rules"][..],
        &["rules", "--format", "json"],
        &["explain", "ND101"],
        &["doctor", "--from", &file, "-v"],
        &["doctor", "--from", &file, "--format", "json"],
        &["doctor", "--from", &file, "--save", "-"],
        &["doctor", "--help"],
    ] {
        let mut child = Command::new(NETDIG)
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("netdig starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(stderr(&output), "", "{arguments:?}");
        let wanted = i32::from(arguments.contains(&"--from"));
        assert_eq!(output.status.code(), Some(wanted), "{arguments:?}");
    }
}

#[test]
fn colours_are_for_those_who_want_them() {
    let folder = Folder::new("colour");
    let file = guilty(&folder);
    let colored = |arguments: &[&str]| {
        let mut all = vec!["doctor", "--from", &file];
        all.extend(arguments);
        stdout(&netdig(&all)).contains('\x1b')
    };
    assert!(!colored(&[]) && !colored(&["--color", "never"]));
    assert!(colored(&["--color", "always"]));
    assert!(!colored(&["--color", "always", "--format", "json"]));
    let on_terminal =
        |before: &str| terminal(80, &format!("{before} {NETDIG} doctor --from {file}"));
    let Some(plain) = on_terminal("NO_COLOR=1") else {
        return;
    };
    assert!(!plain.contains('\x1b'), "{plain:?}");
    assert!(on_terminal("NO_COLOR=").is_some_and(|text| text.contains('\x1b')));
}

/// What a command prints on a terminal of so many columns; none where there is no script(1).
fn terminal(columns: u16, command: &str) -> Option<String> {
    let script = format!("stty cols {columns}; {command}");
    let output = Command::new("script")
        .args(["-qec", &script, "/dev/null"])
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) => Some(stdout(&output)),
        Err(_) => {
            assert!(
                std::env::var_os("CI").is_none_or(|ci| ci != "true"),
                "CI has script(1)"
            );
            eprintln!("skipped: there is no script(1)");
            None
        }
    }
}

#[test]
fn lines_fit_the_terminal() {
    let folder = Folder::new("width");
    let file = guilty(&folder);
    let mut lines = Vec::new();
    for columns in [40, 80, 200] {
        let command = format!("{NETDIG} doctor --from {file} --format table --color never");
        let Some(text) = terminal(columns, &command) else {
            return;
        };
        let findings = text.split("\r\n\r\n").nth(1).expect("the findings");
        let longest = findings
            .lines()
            .map(|line| line.trim_end().chars().count())
            .max();
        assert!(
            longest.is_some_and(|longest| longest <= usize::from(columns)),
            "{text}"
        );
        lines.push(findings.lines().count());
    }
    assert!(lines[0] > lines[1] && lines[1] >= lines[2], "{lines:?}");
}

#[test]
fn a_namespace_by_name_by_path_and_by_process() {
    if !privileged() {
        return;
    }
    let lab = Lab::up("overlay-swallows-underlay", "netns");
    let name = format!("netdig-{}-balancer", lab.0);
    let path = format!("/run/netns/{name}");
    for named in [&name, &path] {
        let output = netdig(&["doctor", "--netns", named, "--format", "json"]);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{named}: {}",
            stderr(&output)
        );
        assert!(
            stdout(&output).contains("ND101"),
            "{named}: {}",
            stdout(&output)
        );
    }
    let mut sleeper = Command::new("ip")
        .args(["netns", "exec", &name, "sleep", "60"])
        .spawn()
        .expect("ip starts");
    let named = format!("pid:{}", sleeper.id());
    let own = fs::read_link("/proc/self/ns/net").expect("ours");
    let theirs = format!("/proc/{}/ns/net", sleeper.id());
    let deadline = Instant::now() + Duration::from_secs(10);
    while fs::read_link(&theirs).is_ok_and(|one| one == own) && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let by_process = netdig(&["doctor", "--netns", &named, "--format", "json"]);
    let _ = sleeper.kill();
    let _ = sleeper.wait();
    assert!(
        stdout(&by_process).contains("ND101"),
        "{}",
        stdout(&by_process)
    );
    // It is gone now.
    refused(&netdig(&["doctor", "--netns", &named]), "cannot open");
    drop(lab);
    refused(&netdig(&["doctor", "--netns", &name]), "ip netns list");
    refused(
        &netdig(&["doctor", "--netns", "/dev/null"]),
        "no network namespace",
    );
}

/// An etcd's port where somebody takes connections and says nothing.
fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut buffer = [0; 1024];
                while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
            });
        }
    });
    url
}

#[test]
fn an_etcd_that_is_named_and_does_not_answer_costs_a_second_and_the_rest_is_said() {
    let port = TcpListener::bind("127.0.0.1:0").expect("a port");
    let closed = format!("http://{}", port.local_addr().expect("bound"));
    drop(port);
    for (url, says) in [
        (closed, "connection refused"),
        (silent(), "gave no answer in time"),
        (
            format!("{},{}", silent(), silent()),
            "gave no answer in time",
        ),
    ] {
        let begun = Instant::now();
        let output = netdig(&["doctor", "--etcd", &url]);
        let took = begun.elapsed();
        refused(&output, says);
        assert!(
            stderr(&output).starts_with("netdig: etcd: http://127.0.0.1:"),
            "{}",
            stderr(&output)
        );
        let text = stdout(&output);
        assert!(
            text.contains("ND903") && text.contains("rules checked"),
            "{text}"
        );
        assert!(took < Duration::from_millis(1900), "{took:?}");
    }
}

#[test]
fn a_file_of_keys_that_is_none_is_refused_and_odd_keys_are_taken() {
    let folder = Folder::new("keys");
    let garbage = folder.file("garbage", b"{\"node\":7}");
    let output = netdig(&["doctor", "--keys", &garbage]);
    refused(&output, "etcdctl get --prefix / -w json");
    assert!(stdout(&output).contains("ND903"), "{}", stdout(&output));
    let mut odd = b"/coreos.com/network/config\t{\"Network\":[1]}\n\
        /coreos.com/network/subnets/x'; rm -rf $(id) -99\t{\"PublicIP\":7}\n\
        /coreos.com/network/subnets/10.1.1.0-24\t\xff\xfe\n\xff\xfe\tx\n\t\n\x1b[2J\ty\n"
        .to_vec();
    odd.extend(b"/coreos.com/network/subnets/10.1.2.0-24\t");
    odd.extend(vec![b'x'; 10 << 20]);
    let odd = folder.file("odd", &odd);
    let output = netdig(&["doctor", "--keys", &odd, "-v"]);
    assert!(
        output.status.code().is_some_and(|code| code < 2),
        "{}",
        stderr(&output)
    );
    assert!(!stdout(&output).contains('\x1b'), "{}", stdout(&output));
}

/// Where a password may stand, and be taken for a fact. All is on file systems that are the
/// script's own, below namespaces that end with it.
const PLANTED: &str = r#"
set -e
ip link set lo up
for folder in /etc /run /var/lib; do mount -t tmpfs none $folder; done
mkdir -p /etc/haproxy /etc/docker /etc/cni/net.d /run/flannel
cat >/etc/haproxy/haproxy.cfg <<X
userlist u
  user me insecure-password S3CRET
listen stats
  bind :9000
  stats auth admin:S3CRET
  server a 10.1.1.1:80 check
X
echo '{"mtu":1400,"proxies":{"http-proxy":"http://me:S3CRET@proxy"},"cluster-store-opts":{"token":"S3CRET"}}' >/etc/docker/daemon.json
echo '{"name":"n","type":"flannel","password":"S3CRET","delegate":{"token":"S3CRET"}}' >/etc/cni/net.d/10-x.conf
printf 'FLANNEL_NETWORK=10.1.0.0/16\nETCD_PASSWORD=S3CRET\nS3CRET\n' >/run/flannel/subnet.env
printf 'nameserver 10.1.0.2\n# S3CRET\n' >/etc/resolv.conf
(export FLANNELD_ETCD_PASSWORD=S3CRET ETCDCTL_USER=root:S3CRET ETCDCTL_PASSWORD=S3CRET
 FLANNELD_ETCD_ENDPOINTS=http://u:S3CRET@127.0.0.1:1 OTHER=S3CRET
 export FLANNELD_ETCD_ENDPOINTS OTHER
 exec -a flanneld sh -c 'read x; true' flanneld -etcd-username=root -etcd-password S3CRET \
   --etcd-endpoints=http://u:S3CRET@127.0.0.1:1 --user root:S3CRET --auth-token=S3CRET) < <(sleep 60) &
until tr '\0' ' ' </proc/$!/cmdline | grep -q '^flanneld .*etcd-password'; do :; done
printf '%s\t%s\n' /coreos.com/network/config '{"Network":"10.1.0.0/16","Password":"S3CRET"}' \
  /coreos.com/network/db_password S3CRET \
  /coreos.com/network/secrets/db S3CRET \
  /coreos.com/network/url 'x http://a:b@c http://me:S3CRET@h/p' \
  /coreos.com/network/env 'A=1 DB_PASSWORD=S3CRET token: "S3CRET"' >/run/keys
"$0" doctor "$@" || true
"#;

#[test]
fn no_password_is_saved() {
    if !privileged() {
        return;
    }
    let look = |more: &[&str]| {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "--net",
            "--pid",
            "--fork",
            "--mount-proc",
            "--kill-child",
        ]);
        command.args(["bash", "-c", PLANTED, NETDIG, "--save", "-"]);
        run(command.args(more))
    };
    for more in [
        &["--keys", "/run/keys"][..],
        &["--etcd", "http://me:S3CRET@127.0.0.1:1"],
        &[],
    ] {
        let output = look(more);
        let (text, said) = (stdout(&output), stderr(&output));
        assert!(text.contains("netdig-context/1"), "{text}\n{said}");
        // It was there to be seen.
        assert!(
            text.contains("--etcd-endpoints=http://u:********@127.0.0.1:1"),
            "{text}"
        );
        assert!(
            text.contains("haproxy.cfg") && text.contains("1400"),
            "{text}"
        );
        assert!(!text.contains("S3CRET"), "{text}");
        assert!(!said.contains("S3CRET"), "{said}");
        if more.is_empty() {
            // A registry that a daemon names and that is down is no failure of the look.
            assert!(text.contains("connection refused"), "{text}");
            assert_eq!(said, "");
        }
        if more.contains(&"--keys") {
            assert!(text.contains("/coreos.com/network/db_password"), "{text}");
        }
    }
}

#[test]
fn without_privileges_it_says_what_it_could_not_read() {
    if !privileged() {
        return;
    }
    let folder = Folder::new("nobody");
    let program = folder.path("netdig");
    fs::copy(NETDIG, &program).expect("a copy");
    let lab = Lab::up("overlay-swallows-underlay", "nobody");
    let mut command = Command::new(NETDIG);
    command.args(["lab", "exec", "--name", &lab.0, "balancer", "--", "setpriv"]);
    let output = run(command
        .args(NOBODY)
        .args([&program, "doctor", "--format", "json"]));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let all = objects(&output);
    let unread = all
        .iter()
        .find(|one| one["code"] == "ND903")
        .expect("ND903");
    assert_eq!(unread["fix"][0], "run it as root");
    assert!(all.iter().any(|one| one["code"] == "ND101"), "{all:?}");
    let denied = run(Command::new("setpriv").args(NOBODY).args([
        &program,
        "doctor",
        "--netns",
        &format!("/run/netns/netdig-{}-balancer", lab.0),
    ]));
    refused(&denied, "root");
}
