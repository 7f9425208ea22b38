//! Against a real etcd, where it is installed.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

const LONG: Duration = Duration::from_secs(10);

/// An etcd on ports of its own, its data gone with it.
struct Etcd {
    child: Child,
    folder: PathBuf,
    address: SocketAddrV4,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn free() -> SocketAddrV4 {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    SocketAddrV4::new(Ipv4Addr::LOCALHOST, socket.local_addr().unwrap().port())
}

impl Etcd {
    fn start(name: &str) -> Option<Etcd> {
        let (client, peer) = (free(), free());
        let folder = std::env::temp_dir().join(format!(
            "netdig-test-registry-{}-{name}",
            std::process::id()
        ));
        let (url, peer) = (format!("http://{client}"), format!("http://{peer}"));
        let started = Command::new("etcd")
            .args(["--enable-v2", "--name", "test", "--data-dir"])
            .arg(&folder)
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
            .args(["--initial-cluster", &format!("test={peer}")])
            .args(["--heartbeat-interval", "10", "--election-timeout", "50"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = started else {
            let ci = std::env::var_os("CI").is_some_and(|ci| ci == "true");
            assert!(!ci, "CI must have etcd");
            crate::lab::tell!("skipped: etcd is not installed");
            return None;
        };
        let etcd = Etcd {
            child,
            folder,
            address: client,
        };
        let end = Instant::now() + Duration::from_secs(20);
        while !etcd.registry(Api::V3).healthy() {
            assert!(Instant::now() < end, "etcd does not come up");
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(etcd)
    }

    /// The first endpoint is one where nobody is.
    fn registry(&self, api: Api) -> Registry {
        Registry::new(api, vec![free(), self.address])
    }
}

/// The next changes, whatever was made before them.
fn next(watch: &mut Watch) -> Vec<Change> {
    let end = Instant::now() + LONG;
    while Instant::now() < end {
        match watch.next(LONG).unwrap() {
            Watched::Changes(changes) if changes.is_empty() => {}
            Watched::Changes(changes) => return changes,
            other => panic!("{other:?}"),
        }
    }
    panic!("no change came");
}

fn both_apis(test: impl Fn(&Etcd, Api)) {
    for (api, name) in [(Api::V2, "v2"), (Api::V3, "v3")] {
        let thread = std::thread::current();
        let name = format!("{name}-{}", thread.name().unwrap_or("").replace(':', "-"));
        let Some(etcd) = Etcd::start(&name) else {
            return;
        };
        test(&etcd, api);
    }
}

#[test]
fn what_is_written_is_read_listed_and_replaced() {
    both_apis(|etcd, api| {
        let registry = etcd.registry(api);
        assert_eq!(registry.get("/a/b").unwrap(), None);
        let listing = registry.list("/a/").unwrap();
        assert_eq!(listing.entries, []);
        assert_eq!(listing.missing, api == Api::V2);
        let value = "{\"x\": \"ä & = % +\"}\n";
        registry.put("/a/b", value, None).unwrap();
        assert!(registry.create("/a/a c", "", None).unwrap());
        assert!(!registry.create("/a/b", "other", None).unwrap());
        let found = registry.get("/a/b").unwrap().unwrap();
        assert_eq!((found.key.as_str(), found.value.as_str()), ("/a/b", value));
        let listing = registry.list("/a/").unwrap();
        let keys: Vec<_> = listing.entries.iter().map(|entry| &entry.key[..]).collect();
        assert_eq!(keys, ["/a/a c", "/a/b"]);
        assert!(listing.revision >= found.revision);
        assert!(registry.replace("/a/b", "2", None, found.revision).unwrap());
        assert!(!registry.replace("/a/b", "3", None, found.revision).unwrap());
        assert_eq!(registry.get("/a/b").unwrap().unwrap().value, "2");
        assert!(registry.delete("/a/b").unwrap());
        assert!(!registry.delete("/a/b").unwrap());
    });
}

#[test]
fn a_watch_leaves_nothing_out_and_tells_what_expires() {
    both_apis(|etcd, api| {
        let registry = etcd.registry(api);
        registry.put("/w/a", "1", None).unwrap();
        let before = registry.list("/w/").unwrap().revision;
        let mut watch = registry.watch("/w/", before);
        let nothing = watch.next(Duration::from_millis(1)).unwrap();
        assert_eq!(nothing, Watched::Nothing);
        registry.put("/elsewhere", "1", None).unwrap();
        registry.put("/w/a", "2", None).unwrap();
        registry.put("/w/b", "3", Some(1)).unwrap();
        registry.delete("/w/a").unwrap();
        let mut told = Vec::new();
        while told.len() < 4 {
            told.extend(next(&mut watch).into_iter().map(|one| (one.key, one.value)));
        }
        let change = |key: &str, value: Option<&str>| (key.to_owned(), value.map(str::to_owned));
        assert_eq!(
            told,
            [
                change("/w/a", Some("2")),
                change("/w/b", Some("3")),
                change("/w/a", None),
                change("/w/b", None),
            ]
        );
        assert_eq!(registry.get("/w/b").unwrap(), None);
    });
}

#[test]
fn a_watch_from_now_on_tells_nothing_of_before() {
    both_apis(|etcd, api| {
        let registry = etcd.registry(api);
        registry.put("/n/a", "1", None).unwrap();
        let mut watch = registry.watch_from_now("/n/");
        let nothing = watch.next(Duration::from_millis(300)).unwrap();
        assert_eq!(nothing, Watched::Nothing);
        registry.put("/n/a", "2", None).unwrap();
        let told = next(&mut watch);
        assert_eq!(told[0].value.as_deref(), Some("2"));
    });
}

#[test]
fn a_watch_from_a_forgotten_revision_says_so() {
    let Some(etcd) = Etcd::start("cleared") else {
        return;
    };
    let registry = etcd.registry(Api::V2);
    registry.put("/c/a", "1", None).unwrap();
    for _ in 0..1100 {
        registry.put("/other", "1", None).unwrap();
    }
    assert_eq!(
        registry.watch("/c/", 1).next(LONG).unwrap(),
        Watched::Cleared
    );
}

#[test]
fn nobody_there_is_said_with_every_address() {
    let (one, two) = (free(), free());
    let error = Registry::new(Api::V3, vec![one, two])
        .list("/")
        .unwrap_err();
    let text = format!("{error:#}");
    assert!(
        text.contains(&one.to_string()) && text.contains(&two.to_string()),
        "{text}"
    );
}
