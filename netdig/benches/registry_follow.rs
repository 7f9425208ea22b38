//! How fast a registry is listed and followed: etcd on loopback with 100,000 keys, then writers
//! at a steady rate, beside `etcdctl watch --prefix` on the same writes.
//!
//! `cargo bench -p netdig --bench registry_follow [-- WRITES_PER_SECOND]`. The goals: listed in
//! 3 s and 300 MB, 5000 changes a second without a lag that grows. v2 is written and followed in
//! the same way, without a reference and as fast as one writer goes.
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use etcd_client::{Client, Txn, TxnOp};
use netdig::context::Context;
use netdig::context::registry::{Key, Named, Options, Value, Which};
use netdig::source::registry::{Change, Follower, Told, follow};

const KEYS: usize = 100_000;
const IN_ONE: usize = 100;
const SECONDS: u64 = 5;
const WRITERS: u64 = 4;

struct Etcd {
    child: Child,
    url: String,
    folder: PathBuf,
}

impl Drop for Etcd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Etcd {
    fn start() -> Etcd {
        let folder = std::env::temp_dir().join(format!("netdig-bench-{}", std::process::id()));
        let at = || format!("http://127.0.0.1:{}", free_port());
        let (url, peer) = (at(), at());
        let child = Command::new("etcd")
            .args(["--name", "b", "--enable-v2", "--unsafe-no-fsync"])
            .args(["--log-level", "error", "--logger", "zap"])
            .arg("--data-dir")
            .arg(&folder)
            .args([
                "--listen-client-urls",
                &url,
                "--advertise-client-urls",
                &url,
            ])
            .args(["--listen-peer-urls", &peer])
            .args(["--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("b={peer}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("etcd starts");
        let end = Instant::now() + Duration::from_secs(20);
        while ureq::get(format!("{url}/health")).call().is_err() {
            assert!(Instant::now() < end, "etcd does not serve");
            thread::sleep(Duration::from_millis(20));
        }
        Etcd { child, url, folder }
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

fn main() {
    let rate: u64 = std::env::args()
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(5000);
    let etcd = Etcd::start();
    fill(&etcd.url);
    let before = rss_kib();
    let start = Instant::now();
    let (follower, listed) = begin(&etcd.url, Which::V3);
    let took = start.elapsed();
    println!(
        "v3: {listed} keys listed in {:.2} s; {:.0} MB resident, {:.0} MB of it for them",
        took.as_secs_f64(),
        rss_kib() as f64 / 1000.0,
        (rss_kib() - before) as f64 / 1000.0
    );
    v3(&etcd.url, &follower, rate);
    drop(follower);
    v2(&etcd.url, rate);
}

fn fill(url: &str) {
    runtime().block_on(async {
        let mut client = Client::connect([url], None).await.expect("etcd");
        for chunk in 0..KEYS / IN_ONE {
            let at = chunk * IN_ONE;
            let put = |at| {
                let key = format!("/p/services/s{:04}/upstreams/u{at:06}", at / 50);
                TxnOp::put(
                    key,
                    format!("10.5.{}.{}:8080", at / 250 % 250, at % 250),
                    None,
                )
            };
            let puts: Vec<TxnOp> = (at..at + IN_ONE).map(put).collect();
            client.txn(Txn::new().and_then(puts)).await.expect("keys");
        }
    });
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().expect("a runtime")
}

fn begin(url: &str, api: Which) -> (Follower, usize) {
    let options = Options {
        endpoints: vec![Named {
            url: url.parse().expect("a URL"),
            by: "--etcd".to_owned(),
        }],
        api,
        ..Options::default()
    };
    let follower = follow(&Context::default(), &options, "/p").expect("it follows");
    match follower.told().recv_timeout(Duration::from_secs(30)) {
        Ok(Told::Listed(listing)) => (follower, listing.keys.len()),
        told => panic!("{told:?}"),
    }
}

fn rss_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn now_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_micros() as u64)
}

/// Times between a write and its being heard of.
#[derive(Default)]
struct Lags(Vec<u64>);

impl Lags {
    fn heard(&mut self, value: &str) {
        if let Ok(written) = value.parse() {
            self.0.push(now_us().saturating_sub(written));
        }
    }

    fn print(mut self, who: &str) {
        self.0.sort_unstable();
        let at = |part: usize| self.0.get(self.0.len() * part / 100).or(self.0.last());
        let ms = |lag: Option<&u64>| *lag.unwrap_or(&0) as f64 / 1000.0;
        println!(
            "  {who}: {} changes, lag {:.1} ms median, {:.1} ms of 99 %, {:.1} ms greatest",
            self.0.len(),
            ms(at(50)),
            ms(at(99)),
            ms(self.0.last())
        );
    }
}

/// Writers put the time of writing as the value.
fn v3(url: &str, follower: &Follower, rate: u64) {
    let mut reference = Command::new("etcdctl")
        .env("ETCDCTL_API", "3")
        .args(["--endpoints", url, "watch", "--prefix", "/p/"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("etcdctl runs");
    let lines = BufReader::new(reference.stdout.take().expect("its output")).lines();
    let total = (rate * SECONDS) as usize;
    let beside = thread::spawn(move || {
        let mut lags = Lags::default();
        for line in lines.map_while(Result::ok) {
            // A type, a key and a value, a line each.
            if line.starts_with("17") || line.starts_with("18") {
                lags.heard(&line);
            }
            if line == "end" {
                break;
            }
        }
        lags
    });
    thread::sleep(Duration::from_millis(500));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let url = url.to_owned();
            thread::spawn(move || runtime().block_on(write_v3(&url, writer, rate / WRITERS)))
        })
        .collect();
    let started = Instant::now();
    let lags = hear(follower.told(), total);
    let took = started.elapsed();
    writers
        .into_iter()
        .for_each(|one| one.join().expect("a writer"));
    runtime().block_on(async {
        let mut client = Client::connect([url], None).await.expect("etcd");
        client.put("/p/end", "end", None).await.expect("a write");
    });
    println!("v3: {total} writes in {:.1} s", took.as_secs_f64());
    lags.print("netdig");
    beside.join().expect("lags").print("etcdctl watch");
    let _ = reference.kill();
    let _ = reference.wait();
}

async fn write_v3(url: &str, writer: u64, rate: u64) {
    let client = Client::connect([url], None).await.expect("etcd");
    let start = Instant::now();
    let mut under_way = tokio::task::JoinSet::new();
    for at in 0..rate * SECONDS {
        let due = start + Duration::from_micros(at * 1_000_000 / rate);
        tokio::time::sleep_until(due.into()).await;
        let mut client = client.clone();
        let key = format!("/p/w{writer}/{}", at % 1000);
        under_way.spawn(async move { client.put(key, now_us().to_string(), None).await });
    }
    while let Some(done) = under_way.join_next().await {
        done.expect("a task").expect("a write");
    }
}

/// Hears so many changes, or what comes until it is silent.
fn hear(told: &Receiver<Told>, count: usize) -> Lags {
    let mut lags = Lags::default();
    let mut gaps = 0;
    while lags.0.len() < count {
        match told.recv_timeout(Duration::from_secs(3)) {
            Ok(Told::Changed(changes)) => changes.iter().for_each(|change| take(&mut lags, change)),
            Ok(Told::Gap(_)) => gaps += 1,
            Ok(told) => println!("  {told:?}"),
            Err(_) => break,
        }
    }
    if gaps > 0 {
        println!("  {gaps} gaps: etcd forgot faster than it was asked");
    }
    lags
}

fn take(lags: &mut Lags, change: &Change) {
    if let Some(Key {
        value: Value::Text(text),
        ..
    }) = &change.new
    {
        lags.heard(text);
    }
}

/// As v2 is followed with a question an event, the writer goes at several speeds.
fn v2(url: &str, most: u64) {
    let agent = ureq::Agent::new_with_defaults();
    let put = |key: &str| {
        let url = format!("{url}/v2/keys/p/{key}");
        let form = [("value", now_us().to_string())];
        let mut answer = agent.put(&url).send_form(form).expect("a write");
        answer.body_mut().read_to_vec().expect("an answer");
    };
    put("first");
    for rate in [500, 1000, 2000, most] {
        let (follower, _) = begin(url, Which::V2);
        let count = (rate * 2) as usize;
        let start = Instant::now();
        let hearing = thread::spawn(move || hear(follower.told(), count));
        for at in 0..count {
            let due = start + Duration::from_micros(at as u64 * 1_000_000 / rate);
            thread::sleep(due.saturating_duration_since(Instant::now()));
            put(&format!("k{}", at % 100));
        }
        let wrote = count as f64 / start.elapsed().as_secs_f64();
        println!("v2: {wrote:.0} writes a second, one after the other");
        hearing.join().expect("lags").print("netdig");
    }
}
