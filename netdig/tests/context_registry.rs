//! etcd as it is: Debian's, on loopback, with what can stand between it and a reader.
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use netdig::context::registry::{
    Api, ApiVersion, Key, LONGEST_VALUE, Options, TlsFiles, User, Value, Which, read,
};
use netdig::context::{Context, Part};

/// Whether what a test needs may be missing: not where CI runs it.
fn may_skip() -> bool {
    std::env::var_os("CI").is_none_or(|ci| ci != "true")
}

fn missing(program: &str) -> bool {
    let missing = Command::new(program)
        .arg("version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_err();
    assert!(!missing || may_skip(), "CI has {program}");
    if missing {
        eprintln!("skipped: there is no {program}");
    }
    missing
}

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("netdig-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn arg(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

struct Etcd {
    child: Child,
    url: String,
    folder: Folder,
    tls: Vec<String>,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Etcd {
    fn start(name: &str, args: &[&str]) -> Option<Etcd> {
        if missing("etcd") | missing("etcdctl") {
            return None;
        }
        Some(Etcd::run(Folder::new(name), "http", args, Vec::new()))
    }

    fn run(folder: Folder, scheme: &str, args: &[&str], tls: Vec<String>) -> Etcd {
        let url = format!("{scheme}://127.0.0.1:{}", free_port());
        let peer = format!("http://127.0.0.1:{}", free_port());
        let log = fs::File::create(folder.path("log")).expect("a log");
        let child = Command::new("etcd")
            .args(["--name", "t", "--logger", "zap", "--log-outputs", "stderr"])
            .args(["--unsafe-no-fsync", "--data-dir", &folder.arg("data")])
            .args([
                "--listen-client-urls",
                &url,
                "--advertise-client-urls",
                &url,
            ])
            .args([
                "--listen-peer-urls",
                &peer,
                "--initial-advertise-peer-urls",
                &peer,
            ])
            .args(["--initial-cluster", &format!("t={peer}")])
            .args(["--heartbeat-interval", "10", "--election-timeout", "50"])
            .args(args)
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("etcd starts");
        let etcd = Etcd {
            child,
            url,
            folder,
            tls,
        };
        let end = Instant::now() + Duration::from_secs(20);
        while !etcd.try_ctl(&["endpoint", "health"]).0 {
            let log = fs::read_to_string(etcd.folder.path("log")).unwrap_or_default();
            assert!(Instant::now() < end, "etcd does not serve: {log}");
            std::thread::sleep(Duration::from_millis(20));
        }
        etcd
    }

    fn try_ctl(&self, args: &[&str]) -> (bool, String) {
        let output = Command::new("etcdctl")
            .env_clear()
            .env("ETCDCTL_API", "3")
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .arg(format!("--endpoints={}", self.url))
            .args(&self.tls)
            .args(args)
            .output()
            .expect("etcdctl runs");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    }

    fn ctl(&self, args: &[&str]) -> String {
        let (done, said) = self.try_ctl(args);
        assert!(done, "etcdctl {args:?}: {said}");
        said
    }

    fn put(&self, key: &str, value: &str) {
        self.ctl(&["put", "--", key, value]);
    }

    /// A request to API v2; the answer's body.
    fn v2(&self, method: &str, path: &str, form: &str) -> String {
        let agent = ureq::Agent::new_with_defaults();
        let url = format!("{}{path}", self.url);
        let kind = "application/x-www-form-urlencoded";
        let answer = match method {
            "PUT" => agent.put(&url).content_type(kind).send(form),
            "POST" => agent.post(&url).content_type("application/json").send(form),
            _ => agent.get(&url).call(),
        };
        let mut answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        answer.body_mut().read_to_string().expect("a text")
    }

    fn options(&self) -> Options {
        options(&[&self.url])
    }
}

fn options(urls: &[&str]) -> Options {
    let named = |url: &&str| netdig::context::registry::Named {
        url: url.parse().expect("a URL"),
        by: "--etcd".to_owned(),
    };
    Options {
        endpoints: urls.iter().map(named).collect(),
        command_timeout: Duration::from_secs(5),
        dial_timeout: Duration::from_secs(5),
        ..Options::default()
    }
}

fn look(options: &Options) -> Context {
    let mut context = Context::default();
    read(&mut context, options);
    context
}

fn find<'a>(context: &'a Context, api: ApiVersion, key: &str) -> &'a Key {
    let mut keys = context.registry.keys.iter();
    keys.find(|one| one.api == api && one.key == key)
        .unwrap_or_else(|| panic!("{api} {key} in {:#?}", context.registry))
}

/// Why the registry, or some of it, was not read.
fn why(context: &Context) -> String {
    let unread = context
        .unread
        .iter()
        .filter(|one| one.part == Part::Registry);
    let said = unread.map(|one| {
        format!(
            "{}: {} [{}]",
            one.what,
            one.why,
            one.hint.as_deref().unwrap_or("")
        )
    });
    said.collect::<Vec<_>>().join("\n")
}

const CONFIG: &str = "/coreos.com/network/config";

#[test]
fn both_stores_are_read() {
    let Some(etcd) = Etcd::start("both", &["--enable-v2"]) else {
        return;
    };
    etcd.put(CONFIG, r#"{"Network":"10.1.0.0/16"}"#);
    etcd.put(CONFIG, r#"{"Network":"10.2.0.0/16"}"#);
    etcd.v2(
        "PUT",
        "/v2/keys/coreos.com/network/config",
        "value=%7B%22Network%22%3A%2210.3.0.0%2F16%22%7D",
    );
    etcd.v2(
        "PUT",
        "/v2/keys/coreos.com/network/config",
        "value=%7B%22Network%22%3A%2210.4.0.0%2F16%22%7D",
    );
    etcd.v2(
        "PUT",
        "/v2/keys/coreos.com/network/subnets/10.4.5.0-24",
        "value=x&ttl=500",
    );
    etcd.v2("PUT", "/v2/keys/coreos.com/network/empty", "dir=true");
    etcd.v2("PUT", "/v2/keys/other/key", "value=x");
    let context = look(&etcd.options());
    assert_eq!(why(&context), "");
    let v3 = find(&context, ApiVersion::V3, CONFIG);
    assert_eq!(v3.value.text(), Some(r#"{"Network":"10.2.0.0/16"}"#));
    assert_eq!(v3.version, Some(2));
    assert_eq!(v3.history.len(), 1);
    assert_eq!(
        v3.history[0].value.text(),
        Some(r#"{"Network":"10.1.0.0/16"}"#)
    );
    assert_eq!(v3.history[0].modified, v3.created);
    let v2 = find(&context, ApiVersion::V2, CONFIG);
    assert_eq!(v2.value.text(), Some(r#"{"Network":"10.4.0.0/16"}"#));
    assert_eq!(v2.history.len(), 1, "{v2:?}");
    assert_eq!(
        v2.history[0].value.text(),
        Some(r#"{"Network":"10.3.0.0/16"}"#)
    );
    let lease = find(
        &context,
        ApiVersion::V2,
        "/coreos.com/network/subnets/10.4.5.0-24",
    );
    assert!(
        lease.ttl.is_some_and(|ttl| (480..=500).contains(&ttl)),
        "{lease:?}"
    );
    assert!(find(&context, ApiVersion::V2, "/coreos.com/network/empty").directory);
    assert!(
        !context
            .registry
            .keys
            .iter()
            .any(|key| key.key.contains("other"))
    );
    let endpoint = &context.registry.endpoints[0];
    assert!(
        endpoint
            .version
            .as_ref()
            .is_some_and(|it| it.starts_with("3.")),
        "{endpoint:?}"
    );
    assert_eq!(endpoint.error, None);
    let (
        Api::Read {
            cluster: a,
            revision: v3,
        },
        Api::Read {
            cluster: b,
            revision: v2,
        },
    ) = (&context.registry.v3, &context.registry.v2)
    else {
        panic!("{:?}", context.registry);
    };
    assert!(a.is_some() && a == b, "one cluster: {a:?} {b:?}");
    assert!(*v3 >= 3 && *v2 >= 4);
}

/// What etcdctl prints as JSON, read from a file, is what netdig reads by itself.
#[test]
fn a_dump_is_what_etcd_tells() {
    let Some(etcd) = Etcd::start("dump", &["--enable-v2"]) else {
        return;
    };
    for number in 0..30 {
        etcd.put(
            &format!("/coreos.com/network/k{number:02}"),
            &format!("{{\"a\":{number}}}"),
        );
    }
    etcd.ctl(&["put", "--", "/coreos.com/network/empty", ""]);
    let (v3, v2) = (etcd.folder.path("v3.json"), etcd.folder.path("v2.json"));
    let all = etcd.ctl(&["get", "--prefix", "/coreos.com/network/", "-w", "json"]);
    fs::write(&v3, all).expect("a file");
    etcd.v2("PUT", "/v2/keys/coreos.com/network/config", "value=x");
    fs::write(&v2, etcd.v2("GET", "/v2/keys/?recursive=true", "")).expect("a file");
    let live = look(&etcd.options());
    let of = |api: ApiVersion| {
        let mut keys = live.registry.keys.clone();
        keys.retain(|key| key.api == api);
        keys
    };
    for (file, api) in [(v3, ApiVersion::V3), (v2, ApiVersion::V2)] {
        let dumped = look(&Options {
            keys: Some(file),
            ..Options::default()
        });
        assert_eq!(why(&dumped), "");
        assert_eq!(dumped.registry.keys, of(api));
        assert!(!dumped.registry.keys.is_empty());
    }
}

#[test]
fn plain_lines_and_broken_files() {
    let folder = Folder::new("lines");
    let file = folder.path("keys");
    let from = |text: &[u8], api| {
        fs::write(&file, text).expect("a file");
        look(&Options {
            keys: Some(file.clone()),
            api,
            ..Options::default()
        })
    };
    let context = from(b"# mine\n/a\tb\tc\r\n\n/\xff\\\t\xff\n", Which::Auto);
    assert_eq!(why(&context), "");
    assert_eq!(
        find(&context, ApiVersion::V3, "/a").value.text(),
        Some("b\tc")
    );
    let odd = find(&context, ApiVersion::V3, r"/\xff\\");
    assert_eq!(
        odd.value,
        Value::Bytes {
            base64: "/w==".to_owned()
        }
    );
    assert_eq!(
        find(&from(b"/a\tb", Which::V2), ApiVersion::V2, "/a")
            .value
            .text(),
        Some("b")
    );
    for broken in [
        &b"/a b\n"[..],
        b"{",
        b"{}",
        b"{\"kvs\":[]}",
        b"\xff\xfe",
        b"{\"node\":3}",
        br#"{"header":{},"kvs":[{"key":"!!"}]}"#,
        br#"{"header":{"revision":-1}}"#,
    ] {
        let context = from(broken, Which::Auto);
        assert!(!context.has(Part::Registry), "{broken:?}: {context:?}");
        assert!(why(&context).contains("keys"), "{}", why(&context));
    }
    let deep = format!("{{\"node\":{}", "{\"nodes\":[".repeat(100_000));
    assert!(!from(deep.as_bytes(), Which::Auto).has(Part::Registry));
    let gone = look(&Options {
        keys: Some(folder.path("none")),
        ..Options::default()
    });
    assert!(why(&gone).contains("cannot be read"), "{}", why(&gone));
}

#[test]
fn a_store_that_is_off_is_no_failure() {
    let Some(etcd) = Etcd::start("off", &[]) else {
        return;
    };
    let context = look(&etcd.options());
    assert_eq!(context.registry.v2, Api::Disabled);
    assert!(context.registry.v3.is_read());
    assert_eq!(why(&context), "");
    let only = look(&Options {
        api: Which::V2,
        ..etcd.options()
    });
    assert_eq!(only.registry.v3, Api::NotAsked);
    assert!(
        !only.has(Part::Registry) && why(&only).contains("API"),
        "{}",
        why(&only)
    );
}

#[test]
fn leases_long_values_and_odd_names() {
    let Some(etcd) = Etcd::start("leases", &[]) else {
        return;
    };
    let granted = etcd.ctl(&["lease", "grant", "300"]);
    let id = granted.split_whitespace().nth(1).expect("an id").to_owned();
    for key in ["/coreos.com/network/a", "/coreos.com/network/b"] {
        etcd.ctl(&["put", &format!("--lease={id}"), key, "x"]);
    }
    let long = "ü".repeat(LONGEST_VALUE / 2 + 1);
    // Longer than an argument may be: by standard input.
    let mut put = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args([
            &format!("--endpoints={}", etcd.url),
            "put",
            "/coreos.com/network/long",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("etcdctl runs");
    put.stdin
        .take()
        .expect("a pipe")
        .write_all(long.as_bytes())
        .expect("written");
    assert!(put.wait().expect("it ends").success());
    let body = r#"{"key":"L2NvcmVvcy5jb20vbmV0d29yay//XA==","value":"/w=="}"#;
    etcd.v2("POST", "/v3/kv/put", body);
    let context = look(&etcd.options());
    assert_eq!(why(&context), "");
    for key in ["/coreos.com/network/a", "/coreos.com/network/b"] {
        let key = find(&context, ApiVersion::V3, key);
        assert_eq!(key.granted_ttl, Some(300));
        assert!(
            key.ttl.is_some_and(|ttl| (280..=300).contains(&ttl)),
            "{key:?}"
        );
    }
    let cut = &find(&context, ApiVersion::V3, "/coreos.com/network/long").value;
    let Value::Cut { bytes, begins } = cut else {
        panic!("{cut:?}")
    };
    assert!(*bytes == long.len() as u64 && begins.len() < 2000);
    let odd = find(&context, ApiVersion::V3, r"/coreos.com/network/\xff\\");
    assert_eq!(
        odd.value,
        Value::Bytes {
            base64: "/w==".to_owned()
        }
    );
}

/// More keys than one page, and values of more than one answer.
#[test]
fn many_keys_come_in_pages() {
    let Some(etcd) = Etcd::start("pages", &[]) else {
        return;
    };
    for batch in 0..100 {
        let puts: Vec<String> = (0..120)
            .map(|number| {
                let key = base64(format!("/coreos.com/network/k{batch:03}-{number:03}").as_bytes());
                format!(r#"{{"request_put":{{"key":"{key}","value":"eA=="}}}}"#)
            })
            .collect();
        etcd.v2(
            "POST",
            "/v3/kv/txn",
            &format!(r#"{{"success":[{}]}}"#, puts.join(",")),
        );
    }
    let big = base64(&vec![b'x'; 900_000]);
    for number in 0..40 {
        let key = base64(format!("/coreos.com/network/long{number}").as_bytes());
        etcd.v2(
            "POST",
            "/v3/kv/put",
            &format!(r#"{{"key":"{key}","value":"{big}"}}"#),
        );
    }
    let context = look(&etcd.options());
    assert_eq!(why(&context), "");
    assert_eq!(context.registry.keys.len(), 12_040);
    let mut names: Vec<&str> = context
        .registry
        .keys
        .iter()
        .map(|key| key.key.as_str())
        .collect();
    names.dedup();
    assert_eq!(names.len(), 12_040);
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut three = [0; 3];
        three[..chunk.len()].copy_from_slice(chunk);
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for at in 0..4 {
            let letter = char::from(LETTERS[(bits >> (18 - 6 * at) & 63) as usize]);
            text.push(if at <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

#[test]
fn names_that_are_nearly_right_are_found() {
    let Some(etcd) = Etcd::start("near", &["--enable-v2"]) else {
        return;
    };
    let value = r#"{"Network":"10.1.0.0/16"}"#;
    for key in [
        "coreos.com/network/config",
        "/coreos.com/networks/config",
        "/coreos.com/network/Config",
        "/else/config",
    ] {
        etcd.put(key, value);
    }
    etcd.v2("PUT", "/v2/keys/coreos.com/Network/config", "value=x");
    etcd.v2("PUT", "/v2/keys/coreos.con/network/config", "value=x");
    etcd.v2("PUT", "/v2/keys/else/config", "value=x");
    let context = look(&etcd.options());
    let mut names: Vec<String> = context
        .registry
        .keys
        .iter()
        .map(|key| format!("{} {}", key.api, key.key))
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            "v2 /coreos.com/Network/config",
            "v2 /coreos.con/network/config",
            "v3 /coreos.com/network/Config",
            "v3 /coreos.com/networks/config",
            "v3 coreos.com/network/config",
        ]
    );
}

fn openssl(folder: &Path, args: &str) {
    let output = Command::new("openssl")
        .args(args.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("openssl runs");
    assert!(
        output.status.success(),
        "openssl {args}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A CA, a server's certificate for 127.0.0.1, and a client's.
fn certificates(folder: &Path) {
    fs::write(folder.join("server.ext"), "subjectAltName=IP:127.0.0.1\n").expect("a file");
    fs::write(
        folder.join("other.ext"),
        "subjectAltName=DNS:other.example\n",
    )
    .expect("a file");
    fs::write(folder.join("client.ext"), "extendedKeyUsage=clientAuth\n").expect("a file");
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    for ca in ["ca", "stranger"] {
        openssl(
            folder,
            &format!("req -x509 {key} -days 2 -subj /CN={ca} -keyout {ca}.key -out {ca}.pem"),
        );
    }
    for name in ["server", "other", "client"] {
        openssl(
            folder,
            &format!("req {key} -subj /CN=root -keyout {name}.key -out {name}.csr"),
        );
        openssl(
            folder,
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.ext -out {name}.pem"
            ),
        );
    }
}

fn tls_etcd(name: &str, certificate: &str) -> Option<Etcd> {
    if missing("etcd") | missing("etcdctl") | missing("openssl") {
        return None;
    }
    let folder = Folder::new(name);
    certificates(&folder.0);
    let (cert, key, ca) = (
        folder.arg(&format!("{certificate}.pem")),
        folder.arg(&format!("{certificate}.key")),
        folder.arg("ca.pem"),
    );
    let tls = vec![
        format!("--cert={}", folder.arg("client.pem")),
        format!("--key={}", folder.arg("client.key")),
        "--insecure-skip-tls-verify".to_owned(),
    ];
    let args = [
        "--enable-v2",
        "--client-cert-auth",
        "--trusted-ca-file",
        &ca,
        "--cert-file",
        &cert,
        "--key-file",
        &key,
    ];
    Some(Etcd::run(folder, "https", &args, tls))
}

impl Etcd {
    fn tls(&self, ca: Option<&str>, client: bool) -> TlsFiles {
        TlsFiles {
            cacert: ca.map(|name| self.folder.path(name)),
            cert: client.then(|| self.folder.path("client.pem")),
            key: client.then(|| self.folder.path("client.key")),
            insecure: false,
        }
    }
}

#[test]
fn tls_with_client_certificates() {
    let Some(etcd) = tls_etcd("tls", "server") else {
        return;
    };
    etcd.put(CONFIG, "x");
    let with = |tls| {
        look(&Options {
            tls,
            ..etcd.options()
        })
    };
    let context = with(etcd.tls(Some("ca.pem"), true));
    assert_eq!(why(&context), "");
    assert!(context.registry.v2.is_read() && context.registry.v3.is_read());
    find(&context, ApiVersion::V3, CONFIG);
    let insecure = with(TlsFiles {
        insecure: true,
        ..etcd.tls(None, true)
    });
    assert_eq!(why(&insecure), "");
    find(&insecure, ApiVersion::V3, CONFIG);

    for (tls, said, hint) in [
        (
            etcd.tls(Some("stranger.pem"), true),
            "signed by no CA",
            "--cacert",
        ),
        (etcd.tls(None, true), "signed by no CA", "--cacert"),
        (
            etcd.tls(Some("ca.pem"), false),
            "client certificate",
            "--cert",
        ),
        (
            etcd.tls(Some("none.pem"), true),
            "cannot be read",
            "--cacert",
        ),
        (
            etcd.tls(Some("client.ext"), true),
            "nothing in it is PEM",
            "--cacert",
        ),
    ] {
        let context = with(tls);
        assert!(!context.has(Part::Registry));
        assert!(
            why(&context).contains(said) && why(&context).contains(hint),
            "{}",
            why(&context)
        );
    }
    let plain = look(&options(&[&etcd.url.replace("https", "http")]));
    assert!(
        why(&plain).contains("may speak TLS") && why(&plain).contains("https://"),
        "{}",
        why(&plain)
    );
}

#[test]
fn a_certificate_for_another_name() {
    let Some(etcd) = tls_etcd("name", "other") else {
        return;
    };
    let context = look(&Options {
        tls: etcd.tls(Some("ca.pem"), true),
        ..etcd.options()
    });
    assert!(!context.has(Part::Registry));
    assert!(
        why(&context).contains("for another name"),
        "{}",
        why(&context)
    );
}

#[test]
fn https_to_what_speaks_http() {
    let Some(etcd) = Etcd::start("plain", &[]) else {
        return;
    };
    let context = look(&options(&[&etcd.url.replace("http", "https")]));
    assert!(
        why(&context).contains("may speak no TLS"),
        "{}",
        why(&context)
    );
}

#[test]
fn users_and_what_they_may_read() {
    // Its other store, which is empty, is read by anybody.
    let Some(mut etcd) = Etcd::start("auth", &["--enable-v2"]) else {
        return;
    };
    etcd.put(CONFIG, "x");
    etcd.put("/skydns/config", "x");
    etcd.ctl(&["user", "add", "root:top"]);
    etcd.ctl(&["user", "add", "flannel:s3cret"]);
    etcd.ctl(&["role", "add", "flannel"]);
    etcd.ctl(&[
        "role",
        "grant-permission",
        "flannel",
        "--prefix=true",
        "read",
        "/coreos.com/network/",
    ]);
    etcd.ctl(&["user", "grant-role", "flannel", "flannel"]);
    etcd.ctl(&["user", "grant-role", "root", "root"]);
    etcd.ctl(&["auth", "enable"]);
    etcd.tls = vec!["--user=root:top".to_owned()];
    let by = |name: &str, password: &str, prefixes: &[&str]| {
        let user = User {
            name: name.to_owned(),
            password: password.to_owned(),
        };
        let context = look(&Options {
            user: Some(user).filter(|user| !user.name.is_empty()),
            prefixes: prefixes.iter().map(|&one| one.to_owned()).collect(),
            ..etcd.options()
        });
        let saved = serde_json::to_string(&context).expect("JSON");
        assert!(!saved.contains("s3cret"), "{saved}");
        context
    };
    let good = by("flannel", "s3cret", &[]);
    assert_eq!(why(&good), "");
    find(&good, ApiVersion::V3, CONFIG);
    let some = by("flannel", "s3cret", &["/coreos.com/network", "/skydns"]);
    find(&some, ApiVersion::V3, CONFIG);
    assert!(some.has(Part::Registry), "partly");
    assert!(
        why(&some).contains("/skydns") && why(&some).contains("permission denied"),
        "{}",
        why(&some)
    );
    for (name, password, prefix, said) in [
        ("flannel", "wrong", CONFIG, "name with that password"),
        ("nobody", "wrong", CONFIG, "name with that password"),
        ("", "", CONFIG, "without a name"),
        ("flannel", "s3cret", "/skydns", "permission denied"),
    ] {
        let context = by(name, password, &[prefix]);
        assert!(!context.has(Part::Registry), "{context:?}");
        assert!(why(&context).contains(said), "{}", why(&context));
        assert!(matches!(context.registry.v3, Api::Failed { .. }));
    }
    let url = etcd.url.replace("http://", "http://flannel:s3cret@");
    let in_url = look(&options(&[&url]));
    assert_eq!(why(&in_url), "");
    assert!(
        !serde_json::to_string(&in_url)
            .expect("JSON")
            .contains("s3cret")
    );
}

#[test]
fn a_name_where_nobody_asks_for_one() {
    let Some(etcd) = Etcd::start("noauth", &["--enable-v2"]) else {
        return;
    };
    let user = User {
        name: "a".to_owned(),
        password: "b".to_owned(),
    };
    let context = look(&Options {
        user: Some(user),
        ..etcd.options()
    });
    assert_eq!(why(&context), "");
    assert!(context.registry.v2.is_read() && context.registry.v3.is_read());
}

/// A server that takes connections and does `serve` with them.
fn server(serve: fn(std::net::TcpStream)) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    format!("http://{address}")
}

fn silent(mut stream: std::net::TcpStream) {
    let mut buffer = [0; 1024];
    while stream.read(&mut buffer).is_ok_and(|read| read > 0) {}
}

fn garbage(mut stream: std::net::TcpStream) {
    let _ = stream.read(&mut [0; 1024]);
    let _ = stream.write_all(&[0xff; 4096]);
}

fn another(mut stream: std::net::TcpStream) {
    let _ = stream.read(&mut [0; 1024]);
    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\x1b[2J!");
}

fn endless(mut stream: std::net::TcpStream) {
    let _ = stream.read(&mut [0; 1024]);
    let head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"node\":{\"key\":\"";
    let mut sent = stream.write_all(head);
    while sent.is_ok() {
        sent = stream.write_all(&[b'x'; 65536]);
    }
}

#[test]
fn bad_servers_cost_two_seconds_at_most() {
    let closing: fn(std::net::TcpStream) = drop;
    let refused = format!("http://127.0.0.1:{}", free_port());
    for (url, said) in [
        (server(silent), "no answer"),
        (server(closing), "clos"),
        (server(garbage), "no HTTP"),
        (server(another), "is not etcd"),
        (refused, "connection refused"),
        ("http://nobody.invalid:2379".to_owned(), "resolved"),
    ] {
        let short = Options::default();
        let options = Options {
            dial_timeout: short.dial_timeout,
            command_timeout: short.command_timeout,
            ..options(&[&url])
        };
        let begin = Instant::now();
        let context = look(&options);
        assert!(
            begin.elapsed() < Duration::from_millis(2900),
            "{url}: {:?}",
            begin.elapsed()
        );
        assert!(!context.has(Part::Registry), "{said}: {context:?}");
        let error = context.registry.endpoints[0]
            .error
            .as_deref()
            .unwrap_or_default();
        assert!(error.contains(said), "{said}: {error}\n{}", why(&context));
        assert!(!why(&context).contains('\x1b'), "{}", why(&context));
    }
    let context = look(&Options {
        api: Which::V2,
        ..Options {
            endpoints: options(&[&server(endless)]).endpoints,
            ..Options::default()
        }
    });
    assert!(!context.has(Part::Registry), "{context:?}");
}

#[test]
fn one_good_endpoint_is_enough() {
    let Some(etcd) = Etcd::start("half", &["--enable-v2"]) else {
        return;
    };
    etcd.put(CONFIG, "x");
    let refused = format!("http://127.0.0.1:{}", free_port());
    let begin = Instant::now();
    let silent = server(silent);
    let context = look(&Options {
        dial_timeout: Duration::from_secs(1),
        ..options(&[&refused, &silent, &etcd.url])
    });
    assert!(begin.elapsed() < Duration::from_secs(3));
    assert_eq!(why(&context), "");
    find(&context, ApiVersion::V3, CONFIG);
    let errors: Vec<bool> = context
        .registry
        .endpoints
        .iter()
        .map(|one| one.error.is_some())
        .collect();
    assert_eq!(errors, [true, true, false]);
}

#[test]
fn nobody_names_an_etcd() {
    let context = look(&Options::default());
    assert!(context.registry.endpoints.is_empty() && !context.has(Part::Registry));
    assert!(why(&context).contains("[--etcd URL]"), "{}", why(&context));
}
