//! etcd followed as it is: Debian's, on loopback, with what can come between it and a follower.
use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use netdig::context::Context;
use netdig::context::registry::{ApiVersion, Key, Named, Options, User, Value, Which};
use netdig::source::registry::{Action, Change, Follower, Forgotten, Gap, Listing, Told, follow};

/// Longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether what a test needs may be missing: not where CI runs it.
fn may_skip() -> bool {
    std::env::var_os("CI").is_none_or(|ci| ci != "true")
}

fn missing(program: &str) -> bool {
    let mut command = Command::new(program);
    let command = command.arg("version").stdout(Stdio::null());
    let missing = command.stderr(Stdio::null()).status().is_err();
    assert!(!missing || may_skip(), "CI has {program}");
    if missing {
        eprintln!("skipped: there is no {program}");
    }
    missing
}

struct Folder(PathBuf);

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
    child: Option<Child>,
    port: u16,
    peer: u16,
    folder: Folder,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Etcd {
    fn start(name: &str) -> Option<Etcd> {
        if missing("etcd") | missing("etcdctl") {
            return None;
        }
        let path = std::env::temp_dir().join(format!("netdig-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a folder");
        let mut etcd = Etcd {
            child: None,
            port: free_port(),
            peer: free_port(),
            folder: Folder(path),
        };
        etcd.run("data", "one", true);
        Some(etcd)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// With the data of a folder, at the same ports each time.
    fn run(&mut self, data: &str, token: &str, v2: bool) {
        let (url, peer) = (self.url(), format!("http://127.0.0.1:{}", self.peer));
        let log = fs::File::create(self.folder.0.join("log")).expect("a log");
        let data = self.folder.0.join(data).display().to_string();
        let child = Command::new("etcd")
            .args(["--name", "t", "--logger", "zap", "--log-outputs", "stderr"])
            .args(["--unsafe-no-fsync", "--data-dir", &data])
            .args([
                "--listen-client-urls",
                &url,
                "--advertise-client-urls",
                &url,
            ])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("t={peer}")])
            .args(["--initial-cluster-token", token])
            .args(["--heartbeat-interval", "10", "--election-timeout", "50"])
            .arg(format!("--enable-v2={v2}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("etcd starts"));
        let end = Instant::now() + PATIENCE;
        while !self.try_ctl(&["endpoint", "health"]).0 {
            let log = fs::read_to_string(self.folder.0.join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "etcd does not serve: {log}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn signal(&self, signal: i32) {
        let pid = self.child.as_ref().expect("it runs").id() as i32;
        // SAFETY: a call without memory; the child is ours and not waited for yet.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    /// A transaction as etcdctl reads it: what is compared, then what is done.
    fn txn(&self, text: &str) {
        let mut child = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.url(), "txn"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("etcdctl runs");
        let mut input = child.stdin.take().expect("its input");
        input.write_all(text.as_bytes()).expect("it reads");
        input.write_all(b"\n\n").expect("it reads");
        drop(input);
        assert!(child.wait().expect("it ends").success());
    }

    fn try_ctl(&self, args: &[&str]) -> (bool, String) {
        let output = Command::new("etcdctl")
            .env_clear()
            .env("ETCDCTL_API", "3")
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .arg(format!("--endpoints={}", self.url()))
            .args(args)
            .output();
        let output = output.expect("etcdctl runs");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.success(), said)
    }

    fn ctl(&self, args: &[&str]) -> String {
        let (done, said) = self.try_ctl(args);
        assert!(done, "etcdctl {args:?}: {said}");
        said
    }

    fn put(&self, key: &str, value: &str) {
        self.ctl(&["put", "--", key, value]);
    }

    fn revision(&self) -> u64 {
        let said = self.ctl(&["endpoint", "status", "-w", "json"]);
        let status: serde_json::Value = serde_json::from_str(&said).expect("JSON");
        let revision = status[0]["Status"]["header"]["revision"].as_u64();
        revision.unwrap_or_else(|| panic!("{said}"))
    }

    fn compact(&self) -> u64 {
        let revision = self.revision();
        self.ctl(&["compact", &revision.to_string()]);
        revision
    }

    fn v2(&self, method: &str, path: &str, form: &str) {
        v2(
            &ureq::Agent::new_with_defaults(),
            &self.url(),
            method,
            path,
            form,
        );
    }
}

/// A request to API v2.
fn v2(agent: &ureq::Agent, base: &str, method: &str, path: &str, form: &str) {
    let url = format!("{base}/v2{path}");
    let answer = match method {
        "PUT" => agent
            .put(&url)
            .content_type("application/x-www-form-urlencoded")
            .send(form),
        "POST" => agent.post(&url).content_type("application/json").send(form),
        _ => agent.delete(&format!("{url}?{form}")).call(),
    };
    let mut answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    answer.body_mut().read_to_vec().expect("an answer");
}

/// Stands between etcd and a follower, and cuts them off.
struct Between {
    port: u16,
    open: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    /// How often something went through.
    carried: Arc<AtomicUsize>,
}

impl Between {
    fn start(to: u16) -> Between {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (open, streams) = (Arc::new(AtomicBool::new(true)), Arc::default());
        let between = Between {
            port,
            open: Arc::clone(&open),
            streams: Arc::clone(&streams),
            carried: Arc::default(),
        };
        let carried = Arc::clone(&between.carried);
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let far = TcpStream::connect((Ipv4Addr::LOCALHOST, to));
                let (true, Ok(far)) = (open.load(Ordering::SeqCst), far) else {
                    continue;
                };
                let mut streams = streams.lock().expect("no panic");
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let pair = (from.try_clone(), to.try_clone());
                    let (Ok(from), Ok(to)) = pair else { continue };
                    streams.extend(from.try_clone());
                    let carried = Arc::clone(&carried);
                    thread::spawn(move || carry(from, to, &carried));
                }
            }
        });
        between
    }

    fn cut(&self) {
        self.open.store(false, Ordering::SeqCst);
        for stream in self.streams.lock().expect("no panic").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, carried: &AtomicUsize) {
    let mut bytes = [0; 16 * 1024];
    loop {
        match from.read(&mut bytes) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break,
            Ok(length) if to.write_all(&bytes[..length]).is_err() => break,
            Ok(_) => drop(carried.fetch_add(1, Ordering::SeqCst)),
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn options(urls: &[String], api: Which) -> Options {
    let named = |url: &String| Named {
        url: url.parse().expect("a URL"),
        by: "--etcd".to_owned(),
    };
    Options {
        endpoints: urls.iter().map(named).collect(),
        api,
        command_timeout: Duration::from_secs(5),
        dial_timeout: Duration::from_secs(5),
        ..Options::default()
    }
}

/// A follower with what it has told.
struct Heard {
    follower: Follower,
    /// As told, key by key.
    keys: BTreeMap<String, String>,
}

impl Heard {
    fn follow(url: &str, api: Which, prefix: &str) -> Heard {
        Heard::by(&options(&[url.to_owned()], api), prefix)
    }

    fn by(options: &Options, prefix: &str) -> Heard {
        let follower = follow(&Context::default(), options, prefix).expect("it follows");
        Heard {
            follower,
            keys: BTreeMap::new(),
        }
    }

    fn next(&mut self) -> Told {
        let told = self.follower.told().recv_timeout(PATIENCE);
        let told = told.unwrap_or_else(|error| panic!("{error}; so far {:?}", self.keys));
        match &told {
            Told::Listed(listing) => {
                let pair = |key: &Key| (key.key.clone(), text(key));
                self.keys = listing.keys.iter().map(pair).collect();
            }
            Told::Changed(changes) => self.apply(changes),
            Told::Gap(gap) => self.apply(&gap.changes),
            _ => {}
        }
        told
    }

    /// Each change fits what was told before: none is told twice, and none is missing.
    fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            let before = match &change.new {
                Some(key) => self.keys.insert(change.key.clone(), text(key)),
                None => self.keys.remove(&change.key),
            };
            assert_eq!(before, change.old.as_ref().map(text), "{change:?}");
        }
    }

    fn listing(&mut self) -> Listing {
        match self.next() {
            Told::Listed(listing) => listing,
            told => panic!("{told:?}"),
        }
    }

    fn changes(&mut self) -> Vec<Change> {
        match self.next() {
            Told::Changed(changes) => changes,
            told => panic!("{told:?}"),
        }
    }

    /// The next change, as action, key, old and new value.
    fn change(&mut self) -> (Action, String, Option<String>, Option<String>) {
        let changes = self.changes();
        let [change] = changes.as_slice() else {
            panic!("{changes:?}");
        };
        let value = |key: &Option<Key>| key.as_ref().map(text);
        (
            change.action,
            change.key.clone(),
            value(&change.old),
            value(&change.new),
        )
    }

    fn gap(&mut self) -> Gap {
        match self.next() {
            Told::Gap(gap) => gap,
            told => panic!("{told:?}"),
        }
    }

    fn away(&mut self) {
        let told = self.next();
        assert!(matches!(told, Told::Away { .. }), "{told:?}");
    }

    fn back(&mut self) {
        let told = self.next();
        assert!(matches!(told, Told::Back { .. }), "{told:?}");
    }

    fn ended(&mut self) -> (String, String) {
        match self.next() {
            Told::Ended { why, hint, .. } => (why, hint.unwrap_or_default()),
            told => panic!("{told:?}"),
        }
    }

    /// Hears changes until a key has a value, and nothing but changes.
    fn until(&mut self, key: &str, value: &str) {
        while self.keys.get(key).is_none_or(|now| now != value) {
            self.changes();
        }
    }
}

fn text(key: &Key) -> String {
    match &key.value {
        Value::Text(text) => text.clone(),
        value => format!("{value:?}"),
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn v3_tells_what_is_there_and_then_what_changes() {
    let Some(etcd) = Etcd::start("follow-v3") else {
        return;
    };
    etcd.put("/p/a", "1");
    etcd.put("/pother", "x");
    let mut heard = Heard::follow(&etcd.url(), Which::V3, "/p/");
    let listing = heard.listing();
    assert_eq!((listing.api, listing.revision), (ApiVersion::V3, 3));
    assert_eq!(
        heard.keys,
        BTreeMap::from([("/p/a".to_owned(), "1".to_owned())])
    );
    etcd.put("/p/a", "2");
    etcd.put("/pother", "y");
    etcd.put("/p/b", "3");
    etcd.ctl(&["del", "--prefix", "/p/"]);
    assert_eq!(
        heard.change(),
        (Action::Set, "/p/a".into(), some("1"), some("2"))
    );
    assert_eq!(
        heard.change(),
        (Action::Create, "/p/b".into(), None, some("3"))
    );
    let both = heard.changes();
    assert_eq!(
        both.len(),
        2,
        "those of one revision come together: {both:?}"
    );
    assert!(
        both.iter()
            .all(|one| one.action == Action::Delete && one.revision == 7)
    );
    assert_eq!(both[1].old.as_ref().map(text), some("3"));
    let lease = etcd.ctl(&["lease", "grant", "1"]);
    let lease = lease.split_whitespace().nth(1).expect("a lease");
    etcd.ctl(&["put", "/p/short", "s", "--lease", lease]);
    assert_eq!(
        heard.change(),
        (Action::Create, "/p/short".into(), None, some("s"))
    );
    assert_eq!(
        heard.change(),
        (Action::Delete, "/p/short".into(), some("s"), None)
    );
}

#[test]
fn both_stores_are_followed_and_a_prefix_may_come_later() {
    let Some(etcd) = Etcd::start("follow-both") else {
        return;
    };
    let mut heard = Heard::follow(&etcd.url(), Which::Auto, "/later");
    let mut apis = [heard.listing(), heard.listing()].map(|one| (one.api, one.keys.len()));
    apis.sort();
    assert_eq!(apis, [(ApiVersion::V2, 0), (ApiVersion::V3, 0)]);
    etcd.put("/later/three", "3");
    let three = heard.changes();
    assert_eq!(
        (three[0].api, three[0].action),
        (ApiVersion::V3, Action::Create)
    );
    etcd.v2("PUT", "/keys/later/two", "value=2");
    let two = heard.changes();
    assert_eq!((two[0].api, two[0].action), (ApiVersion::V2, Action::Set));
    assert_eq!(two[0].new.as_ref().map(text), some("2"));
}

#[test]
fn v2_tells_each_key_of_a_directory_that_goes() {
    let Some(etcd) = Etcd::start("follow-v2") else {
        return;
    };
    etcd.v2("PUT", "/keys/p/d/a", "value=1");
    etcd.v2("PUT", "/keys/p/d/b", "value=2");
    etcd.v2("PUT", "/keys/p/dx", "value=3");
    let mut heard = Heard::follow(&etcd.url(), Which::V2, "p");
    assert_eq!(heard.listing().keys.len(), 3);
    etcd.v2("PUT", "/keys/p/d/a", "value=9&prevValue=1");
    assert_eq!(
        heard.change(),
        (
            Action::CompareAndSwap,
            "/p/d/a".into(),
            some("1"),
            some("9")
        )
    );
    etcd.v2("DELETE", "/keys/p/d", "recursive=true");
    let gone = heard.changes();
    let names: Vec<&str> = gone.iter().map(|one| one.key.as_str()).collect();
    assert_eq!(names, ["/p/d/a", "/p/d/b"]);
    assert!(
        gone.iter()
            .all(|one| one.action == Action::Delete && one.new.is_none())
    );
    etcd.v2("PUT", "/keys/p/short", "value=s&ttl=1");
    assert_eq!(heard.change().0, Action::Set);
    assert_eq!(
        heard.change(),
        (Action::Expire, "/p/short".into(), some("s"), None)
    );
    etcd.v2("PUT", "/keys/p/dx", "prevExist=true&value=4");
    assert_eq!(
        heard.change(),
        (Action::Set, "/p/dx".into(), some("3"), some("4"))
    );
    etcd.v2("DELETE", "/keys/p/dx", "prevValue=4");
    assert_eq!(
        heard.change(),
        (Action::CompareAndDelete, "/p/dx".into(), some("4"), None)
    );
    etcd.v2("PUT", "/keys/p/e", "dir=true");
    etcd.v2("PUT", "/keys/p/e/f", "value=5");
    assert!(
        heard.changes()[0]
            .new
            .as_ref()
            .is_some_and(|new| new.directory)
    );
    assert_eq!(
        heard.change(),
        (Action::Set, "/p/e/f".into(), None, some("5"))
    );
    etcd.v2("DELETE", "/keys/p", "recursive=true");
    assert_eq!(
        heard.change(),
        (Action::Delete, "/p/e/f".into(), some("5"), None)
    );
}

#[test]
fn v3_compacted_while_cut_off_is_one_gap() {
    let Some(etcd) = Etcd::start("follow-compact") else {
        return;
    };
    for key in ["/p/same", "/p/set", "/p/gone"] {
        etcd.put(key, "1");
    }
    let between = Between::start(etcd.port);
    let mut heard = Heard::follow(&between.url(), Which::V3, "/p");
    let since = heard.listing().revision;
    between.cut();
    heard.away();
    etcd.put("/p/set", "2");
    etcd.put("/p/set", "3");
    etcd.ctl(&["del", "/p/gone"]);
    etcd.put("/p/new", "4");
    let until = etcd.compact();
    between.mend();
    heard.back();
    let gap = heard.gap();
    assert!(matches!(gap.why, Forgotten::Compacted(_)), "{gap:?}");
    assert_eq!((gap.since, gap.until), (since, until));
    let what = gap.changes.iter().map(|one| (one.action, one.key.as_str()));
    let mut what: Vec<_> = what.collect();
    what.sort_by_key(|one| one.1);
    assert_eq!(
        what,
        [
            (Action::Delete, "/p/gone"),
            (Action::Create, "/p/new"),
            (Action::Set, "/p/set")
        ]
    );
    etcd.put("/p/same", "5");
    assert_eq!(
        heard.change(),
        (Action::Set, "/p/same".into(), some("1"), some("5"))
    );
}

#[test]
fn cut_off_without_compaction_nothing_is_missed_or_told_twice() {
    let Some(etcd) = Etcd::start("follow-cut") else {
        return;
    };
    let between = Between::start(etcd.port);
    for (api, prefix) in [(Which::V3, "/three"), (Which::V2, "/two")] {
        let write = |key: &str, value: &str| match api {
            Which::V3 => etcd.put(&format!("{prefix}/{key}"), value),
            _ => etcd.v2(
                "PUT",
                &format!("/keys{prefix}/{key}"),
                &format!("value={value}"),
            ),
        };
        let mut heard = Heard::follow(&between.url(), api, prefix);
        heard.listing();
        write("a", "1");
        heard.until(&format!("{prefix}/a"), "1");
        between.cut();
        heard.away();
        for value in 2..12 {
            write("a", &value.to_string());
        }
        write("b", "end");
        between.mend();
        heard.back();
        let mut changes = Vec::new();
        while !heard.keys.contains_key(&format!("{prefix}/b")) {
            changes.extend(heard.changes());
        }
        assert_eq!(changes.len(), 11, "{api:?}: {changes:?}");
    }
}

#[test]
fn restarted_with_the_same_data_there_is_no_gap() {
    let Some(mut etcd) = Etcd::start("follow-restart") else {
        return;
    };
    etcd.put("/p/a", "1");
    etcd.v2("PUT", "/keys/p/a", "value=1");
    let mut three = Heard::follow(&etcd.url(), Which::V3, "/p");
    let mut two = Heard::follow(&etcd.url(), Which::V2, "/p");
    three.listing();
    two.listing();
    etcd.kill();
    three.away();
    two.away();
    etcd.run("data", "one", true);
    etcd.put("/p/a", "2");
    etcd.v2("PUT", "/keys/p/a", "value=2");
    for heard in [&mut three, &mut two] {
        heard.back();
        assert_eq!(
            heard.change(),
            (Action::Set, "/p/a".into(), some("1"), some("2"))
        );
    }
}

#[test]
fn another_cluster_or_an_older_one_is_a_gap() {
    let Some(mut etcd) = Etcd::start("follow-other") else {
        return;
    };
    for value in ["1", "2", "3"] {
        etcd.put("/p/a", value);
        etcd.v2("PUT", "/keys/p/a", &format!("value={value}"));
        etcd.v2("PUT", "/keys/p/b", &format!("value={value}"));
    }
    let mut heard = [Which::V3, Which::V2].map(|api| Heard::follow(&etcd.url(), api, "/p"));
    heard.iter_mut().for_each(|one| drop(one.listing()));
    let mut again = |etcd: &mut Etcd, data: &str, token: &str, old: &str| {
        etcd.kill();
        heard.iter_mut().for_each(Heard::away);
        etcd.run(data, token, true);
        let gaps = heard.each_mut().map(|one| {
            one.back();
            one.gap()
        });
        for gap in &gaps {
            let first = &gap.changes[0];
            assert_eq!(first.old.as_ref().map(text), some(old), "{gap:?}");
            assert_eq!((first.key.as_str(), first.action), ("/p/a", Action::Delete));
        }
        etcd.put("/p/a", "4");
        etcd.v2("PUT", "/keys/p/a", "value=4");
        for one in &mut heard {
            assert_eq!(one.change().3, some("4"));
        }
        gaps.map(|gap| gap.why)
    };
    for why in again(&mut etcd, "other", "two", "3") {
        assert!(matches!(why, Forgotten::OtherCluster { .. }), "{why:?}");
    }
    // Of the same name as the one before, and empty.
    let why = again(&mut etcd, "empty", "two", "4");
    assert_eq!(why, [Forgotten::RolledBack, Forgotten::RolledBack]);
}

#[test]
fn v2_cleared_by_others_while_cut_off_is_a_gap() {
    let Some(etcd) = Etcd::start("follow-cleared") else {
        return;
    };
    etcd.v2("PUT", "/keys/p/a", "value=1");
    let between = Between::start(etcd.port);
    let mut heard = Heard::follow(&between.url(), Which::V2, "/p");
    let since = heard.listing().revision;
    between.cut();
    heard.away();
    etcd.v2("PUT", "/keys/p/a", "value=2");
    let agent = ureq::Agent::new_with_defaults();
    for value in 0..1001 {
        v2(
            &agent,
            &etcd.url(),
            "PUT",
            "/keys/other",
            &format!("value={value}"),
        );
    }
    between.mend();
    heard.back();
    let gap = heard.gap();
    assert_eq!(
        (gap.why, gap.since, gap.until),
        (Forgotten::Cleared, since, since + 1002)
    );
    assert_eq!(gap.changes.len(), 1);
    etcd.v2("PUT", "/keys/p/a", "value=3");
    assert_eq!(
        heard.change(),
        (Action::Set, "/p/a".into(), some("2"), some("3"))
    );
}

#[test]
fn v2_is_not_forgotten_while_others_write() {
    let Some(etcd) = Etcd::start("follow-busy") else {
        return;
    };
    let mut heard = Heard::follow(&etcd.url(), Which::V2, "/p");
    heard.listing();
    let agent = ureq::Agent::new_with_defaults();
    // Two questions and more stay without an answer.
    let end = Instant::now() + Duration::from_secs(9);
    let mut written = 0;
    while Instant::now() < end {
        v2(&agent, &etcd.url(), "PUT", "/keys/other", "value=x");
        written += 1;
    }
    assert!(
        written > 3000,
        "only {written} writes: history never ran out"
    );
    etcd.v2("PUT", "/keys/p/a", "value=end");
    heard.until("/p/a", "end");
}

#[test]
fn who_is_not_let_in_is_told_so() {
    let Some(mut etcd) = Etcd::start("follow-auth") else {
        return;
    };
    etcd.ctl(&["user", "add", "root:top"]);
    etcd.ctl(&["auth", "enable"]);
    let mut asks = options(&[etcd.url()], Which::V3);
    let (why, hint) = Heard::by(&asks, "/p").ended();
    assert!(why.contains("lets nobody read without a name"), "{why}");
    assert_eq!(hint, "--user NAME:PASSWORD");
    let user = |password: &str| User {
        name: "root".to_owned(),
        password: password.to_owned(),
    };
    asks.user = Some(user("wrong"));
    let (why, _) = Heard::by(&asks, "/p").ended();
    assert!(
        why.contains("does not know that name with that password"),
        "{why}"
    );
    asks.user = Some(user("top"));
    let mut heard = Heard::by(&asks, "/p");
    heard.listing();
    etcd.ctl(&["--user", "root:top", "put", "/p/a", "1"]);
    heard.until("/p/a", "1");
    etcd.kill();
}

#[test]
fn v2_switched_off_is_the_end_of_it_alone() {
    let Some(mut etcd) = Etcd::start("follow-off") else {
        return;
    };
    etcd.v2("PUT", "/keys/p/a", "value=1");
    let mut two = Heard::follow(&etcd.url(), Which::V2, "/p");
    two.listing();
    etcd.kill();
    two.away();
    etcd.run("data", "one", false);
    let (why, hint) = two.ended();
    assert!(why.contains("does not speak API v2"), "{why}");
    assert!(hint.contains("--enable-v2"), "{hint}");
    let mut both = Heard::follow(&etcd.url(), Which::Auto, "/p");
    let told = [both.next(), both.next()];
    assert!(told.iter().any(|one| matches!(
        one,
        Told::Ended {
            api: ApiVersion::V2,
            ..
        }
    )));
    assert!(
        told.iter().any(|one| matches!(one, Told::Listed(_))),
        "{told:?}"
    );
}

#[test]
fn an_etcd_that_comes_later_is_waited_for_at_each_endpoint() {
    let Some(etcd) = Etcd::start("follow-late") else {
        return;
    };
    let between = Between::start(etcd.port);
    between.cut();
    let dead = format!("http://127.0.0.1:{}", free_port());
    let mut heard = Heard::by(&options(&[dead.clone(), between.url()], Which::V3), "/p");
    match heard.next() {
        Told::Away { why, .. } => assert!(why.contains(&format!("{dead}: connection refused"))),
        told => panic!("{told:?}"),
    }
    between.mend();
    assert_eq!(
        heard.next(),
        Told::Back {
            api: ApiVersion::V3,
            endpoint: between.url()
        }
    );
    assert_eq!(heard.listing().endpoint, between.url());
}

#[test]
fn v3_compacted_while_the_prefix_is_quiet_is_no_gap() {
    let Some(etcd) = Etcd::start("follow-quiet") else {
        return;
    };
    etcd.put("/p/a", "1");
    let between = Between::start(etcd.port);
    let mut heard = Heard::follow(&between.url(), Which::V3, "/p");
    heard.listing();
    for value in ["1", "2", "3"] {
        etcd.put("/other", value);
    }
    // Its questions of each second and their answers.
    let before = between.carried.load(Ordering::SeqCst);
    let end = Instant::now() + PATIENCE;
    while between.carried.load(Ordering::SeqCst) < before + 24 {
        assert!(Instant::now() < end, "nobody asks how far etcd is");
        thread::sleep(Duration::from_millis(50));
    }
    between.cut();
    heard.away();
    etcd.compact();
    between.mend();
    heard.back();
    etcd.put("/p/a", "2");
    assert_eq!(
        heard.change(),
        (Action::Set, "/p/a".into(), some("1"), some("2"))
    );
}

#[test]
fn long_values_come_in_parts_and_are_cut() {
    let Some(etcd) = Etcd::start("follow-long") else {
        return;
    };
    let between = Between::start(etcd.port);
    let mut heard = Heard::follow(&between.url(), Which::V3, "/p");
    heard.listing();
    between.cut();
    heard.away();
    // More than one answer holds, and no whole number of revisions in it.
    let long = "x".repeat(100_000);
    for at in 0..20 {
        let mut puts = String::from("\n");
        for part in 0..7 {
            puts.push_str(&format!("put /p/{at:02}/{part} {long}\n"));
        }
        etcd.txn(&puts);
    }
    between.mend();
    heard.back();
    let mut revisions = BTreeMap::new();
    while revisions.values().sum::<usize>() < 140 {
        let mut here = BTreeMap::new();
        for change in heard.changes() {
            let value = change.new.map(|new| new.value);
            assert!(matches!(value, Some(Value::Cut { bytes: 100_000, .. })));
            *here.entry(change.revision).or_insert(0) += 1;
        }
        assert!(here.values().all(|&count| count == 7), "{here:?}");
        revisions.extend(here);
    }
    assert_eq!(revisions.len(), 20);
}

#[test]
fn an_etcd_that_says_nothing_is_away() {
    let Some(etcd) = Etcd::start("follow-silent") else {
        return;
    };
    etcd.put("/p/a", "1");
    let mut three = Heard::follow(&etcd.url(), Which::V3, "/p");
    let mut two = Heard::follow(&etcd.url(), Which::V2, "/p");
    three.listing();
    two.listing();
    // It has answered before: that it does not is told sooner then.
    etcd.put("/p/a", "0");
    three.until("/p/a", "0");
    etcd.signal(libc::SIGSTOP);
    three.away();
    two.away();
    etcd.signal(libc::SIGCONT);
    three.back();
    two.back();
    etcd.put("/p/a", "2");
    assert_eq!(
        three.change(),
        (Action::Set, "/p/a".into(), some("0"), some("2"))
    );
}

/// The program on two services, of which one's blank value is cured while it looks.
#[test]
fn the_program_tells_what_is_wrong_and_what_is_cured() {
    let Some(etcd) = Etcd::start("watch-program") else {
        return;
    };
    let folder = "/haproxy-discover/services/myapp/upstreams";
    let put = |name: &str, value: &str| {
        assert!(etcd.try_ctl(&["put", &format!("{folder}/{name}"), value]).0);
    };
    put("frontend1", "192.0.2.1:80");
    put("frontend2", ":80");
    let program = Command::new(env!("CARGO_BIN_EXE_netdig"))
        .args(["etcd-watch", "--format", "json", "--count", "1", "-M", "20"])
        .args(["--etcd", &etcd.url(), "--fail-on", "high"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut program = program.expect("netdig starts");
    let mut lines = std::io::BufReader::new(program.stdout.take().expect("a pipe"));
    let mut told = Vec::new();
    let mut next = |what: &str| {
        let mut line = String::new();
        let read = std::io::BufRead::read_line(&mut lines, &mut line).expect("a line");
        assert!(read > 0, "it ended before {what}: {told:?}");
        let object: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        told.push(line);
        object
    };
    let is = |object: &serde_json::Value, kind: &str, code: &str| {
        object["kind"] == kind && object["code"] == code
    };
    let blank = loop {
        let object = next("the blank value");
        if is(&object, "finding", "ND501") {
            break object;
        }
    };
    let title = blank["title"].as_str().expect("a title");
    assert!(title.contains(&format!("{folder}/frontend2")), "{title}");
    put("frontend2", "192.0.2.2:80");
    let change = loop {
        let object = next("the change");
        if object["kind"] == "key" && object["action"] != "get" {
            break object;
        }
    };
    assert_eq!(change["old"], ":80");
    assert_eq!(change["value"], "192.0.2.2:80");
    while !is(&next("the cure"), "cured", "ND501") {}
    while next("the summary")["kind"] != "summary" {}
    assert_eq!(program.wait().expect("it ends").code(), Some(0));
}
