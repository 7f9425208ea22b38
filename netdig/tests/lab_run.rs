//! Runs of scenarios: many at once, in any order, interrupted, and what each key of
//! a step and of what is expected does.

#[path = "lab/privileged.rs"]
mod privileged;
#[path = "lab/traces.rs"]
mod traces;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use privileged::privileged;
use serde_json::Value;
use traces::{traces, wait_until};

const NETDIG: &str = env!("CARGO_BIN_EXE_netdig");

/// Scenarios of one test, in a folder that goes with it. The labs bear their names.
struct Scenarios {
    mark: String,
    folder: PathBuf,
}

impl Scenarios {
    fn new(test: &str) -> Scenarios {
        let mark = format!("test-{}-{test}", std::process::id());
        let folder = std::env::temp_dir().join(format!("netdig-{mark}"));
        fs::create_dir_all(&folder).expect("a folder");
        Scenarios { mark, folder }
    }

    /// A scenario of one host, with `text` behind that; its path.
    fn add(&self, name: &str, head: &str, text: &str) -> String {
        let path = self.folder.join(format!("{}-{name}.toml", self.mark));
        let host = "[[host]]\nname = 'host'\naddresses = ['10.9.0.1/24']\n";
        let text = format!("title = '{name}'\nstory = ''\n{head}\n{host}{text}");
        fs::write(&path, text).expect("a scenario");
        path.display().to_string()
    }

    fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.mark)
    }

    fn traces(&self) -> Vec<String> {
        traces(&self.mark)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts `netdig lab run` and waits until the traffic of all of `names` flows.
    fn start(&self, paths: &[&str], names: &[&str]) -> Child {
        let child = Command::new(NETDIG)
            .args(["lab", "run", "--jobs", "9"])
            .args(paths)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("netdig starts");
        for name in names {
            let log = format!("/run/netdig/lab/{}/traffic-1.log", self.name(name));
            wait_until(&log, || Path::new(&log).exists());
        }
        child
    }
}

impl Drop for Scenarios {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(NETDIG)
        .args(["lab", "run"])
        .args(arguments)
        .output()
        .expect("netdig starts")
}

/// The objects of a run as JSON, and its exit code.
fn objects(arguments: &[&str]) -> (Vec<Value>, Option<i32>) {
    let output = run(&[&["--format", "json"], arguments].concat());
    let text = String::from_utf8_lossy(&output.stdout);
    let objects = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    (objects.collect(), output.status.code())
}

const TRUE: &str = "[[traffic]]\non = 'host'\nrun = ['true']\n";
const FOREVER: &str = "[[traffic]]\non = 'host'\nrun = ['sleep', '300']\ndeadline_s = 300\n";

#[test]
fn many_run_at_once_and_one_failure_fails_them_all() {
    if !privileged() {
        return;
    }
    let all = Scenarios::new("many");
    let good = all.add("good", "", TRUE);
    let bad = all.add("bad", "", &TRUE.replace("true", "false"));
    let lacks = all.add("lacks", "needs = ['no-such-program']", TRUE);
    let values = "[values]\nWHAT = 'true'\n[[variant]]\nname = 'one'\n\
        [[variant]]\nname = 'two'\nvalues = { WHAT = 'false' }";
    let faces = all.add("faces", values, &TRUE.replace("true", "${WHAT}"));
    let one = format!("{faces}#one");

    let output = run(&["--jobs", "3", &good, &bad, &lacks, &faces, &good]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    let has = |begins: &str, name: &str| {
        let name = all.name(name);
        let is_it = |line: &&str| line.starts_with(begins) && line.split(' ').any(|w| w == name);
        text.lines().filter(is_it).count()
    };
    assert_eq!(has("ok ", "good"), 2, "{text}");
    assert_eq!(has("ok ", "faces/one"), 1, "{text}");
    // Where it ends, and in the summary.
    assert_eq!((has("FAILED ", "bad"), has("FAILED ", "faces/two")), (2, 2));
    assert!(text.contains("success was expected"), "{text}");
    assert!(text.contains("no-such-program"), "{text}");
    assert!(text.contains("3 as expected, 2 not, 1 skipped"), "{text}");

    let (told, code) = objects(&[&good, &one]);
    assert_eq!(code, Some(0), "{told:?}");
    assert_eq!(told.len(), 3);
    let summary = &told[2];
    assert_eq!(summary["kind"], "scenario-summary");
    // One that was skipped has shown nothing.
    let (skipped, code) = objects(&[&good, &lacks]);
    assert_eq!(code, Some(1), "{skipped:?}");
    assert_eq!(
        (&summary["ok"], &summary["schema"]),
        (&2.into(), &"netdig/1".into())
    );
    assert_eq!(all.traces(), [""; 0]);

    let named = run(&["--name", "x", &good, &bad]);
    assert_eq!(named.status.code(), Some(2));
}

/// The lab goes, and its logs with it: their ends are in what is said of the run.
#[test]
fn a_failed_run_shows_the_ends_of_its_logs() {
    if !privileged() {
        return;
    }
    let all = Scenarios::new("logs");
    let step = |kind: &str, shell: &str| {
        format!("[[{kind}]]\non = 'host'\nrun = ['sh', '-c', '{shell}']\n")
    };
    let shell = "seq 100 109; echo mind the gap; exit 4";
    let (said, failed) = (step("step", "echo made"), step("traffic", shell));
    let bad = all.add("bad", "", &(said.clone() + &failed));
    let alone = run(&[&bad]);
    assert_eq!(alone.status.code(), Some(1));
    let beside = run(&["--jobs", "1", &bad, &all.add("good", "", &(said + TRUE))]);
    let texts = [&alone.stderr, &beside.stdout].map(|text| String::from_utf8_lossy(text));
    for text in &texts {
        for line in ["step-1.log", "made", "traffic-1.log", "109", "mind the gap"] {
            assert!(
                text.lines().any(|said| said.trim() == line),
                "{line}: {text}"
            );
        }
        assert!(!text.lines().any(|said| said.trim() == "100"), "{text}");
    }
    assert_eq!(texts[1].matches("step-1.log").count(), 1, "one has failed");
    let (told, _) = objects(&[&bad]);
    let logs = told[0]["logs"].as_array().expect("logs");
    assert_eq!(logs[1]["log"], "traffic-1.log", "{logs:?}");
    assert_eq!(logs[1]["lines"][5], "mind the gap", "{logs:?}");
    assert!(
        objects(&[&all.add("fine", "", TRUE)]).0[0]
            .get("logs")
            .is_none()
    );
    // One that does not come to its end has them too.
    let server = "[[server]]\nkind = 'haproxy'\nat = 'host'\nconfig = 'nonsense'\nlisten = []\n";
    let (told, code) = objects(&[&all.add("broken", "", &format!("{server}{TRUE}"))]);
    if told[0]["result"] == "failed" {
        assert_eq!(code, Some(2), "{told:?}");
        assert_eq!(told[0]["logs"][0]["log"], "haproxy-0-host.log", "{told:?}");
    }
    assert_eq!(all.traces(), [""; 0]);
}

#[test]
fn a_missing_program_is_said_and_no_success() {
    if !privileged() {
        return;
    }
    let all = Scenarios::new("lacks");
    let lacks = all.add("lacks", "needs = ['no-such-program']", TRUE);
    let output = run(&[&lacks]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.contains("skipped") && said.contains("no-such-program"),
        "{said}"
    );
    let (told, code) = objects(&[&lacks, &lacks]);
    assert_eq!(code, Some(2), "{told:?}");
    assert_eq!(told[0]["result"], "skipped");
}

/// Each scenario shows what one key does: as expected, or what is said instead.
#[test]
fn every_key_decides() {
    if !privileged() {
        return;
    }
    let all = Scenarios::new("keys");
    let step = |kind: &str, run: &str, more: &str| {
        format!("[[{kind}]]\non = 'host'\nrun = ['sh', '-c', '''{run}''']\n{more}\n")
    };
    let (counted, marked) = (all.file("counted"), all.file("marked"));
    let count = format!(
        "echo x >> {0}; test $(wc -l < {0}) -ge 3",
        counted.display()
    );
    let mark = format!("echo up; echo $$ > {}; exec sleep 300", marked.display());
    let there = format!("kill -0 $(cat {})", marked.display());
    let watch = "[watch]\nhost = 'host'\narguments = ['-i', 'eth0']\n";
    let summary = "[[expect]]\nwhat = 'it ends'\nkind = 'summary'\n";
    let conclusion = "[[conclusion]]\ncode = 'ND101'\n";
    let cases = [
        ("until", step("step", &count, "until = 60") + TRUE, None),
        (
            "never",
            step("traffic", "exit 1", "until = 1"),
            Some("tries within 1 s"),
        ),
        (
            "beside",
            step("step", &mark, "background = true\nprints = 'up'") + &step("traffic", &there, ""),
            None,
        ),
        (
            "silent",
            step(
                "step",
                "sleep 300",
                "background = true\nprints = 'up'\ndeadline_s = 1",
            ),
            Some("has not printed `up`"),
        ),
        (
            "died",
            step("step", "exit 3", "background = true") + &step("traffic", "sleep 1", ""),
            Some("failed, but success"),
        ),
        (
            "hangs",
            step(
                "traffic",
                "sleep 300 & wait",
                "outcome = 'hangs'\ndeadline_s = 1",
            ),
            None,
        ),
        (
            "unwanted",
            step("traffic", "echo ab", "prints_not = 'b'"),
            Some("prints `b`, which it must not"),
        ),
        (
            "wanted",
            step("traffic", "echo ab", "prints = 'ab'\nprints_not = 'c'"),
            None,
        ),
        ("holds", format!("{watch}{TRUE}{summary}"), None),
        (
            "mark",
            format!("{watch}{TRUE}{summary}pending = true"),
            Some("remove its mark `pending`"),
        ),
        (
            "pending",
            format!("{watch}{TRUE}{conclusion}by = 'overlay'\npending = true"),
            None,
        ),
        (
            "unseen",
            format!("{watch}{TRUE}{conclusion}by = 'overlay'"),
            Some("overlay on host concludes ND101: wanted at least 1, saw 0"),
        ),
        (
            "none",
            format!("{watch}{TRUE}[none]\ncodes = ['ND101']\nfrom = 'info'"),
            None,
        ),
    ];
    let paths: Vec<_> = cases
        .iter()
        .map(|(name, text, _)| all.add(name, "", text))
        .collect();
    let paths: Vec<_> = paths.iter().map(String::as_str).collect();
    let (told, code) = objects(&paths);
    assert_eq!(code, Some(1), "{told:?}");
    for (name, _, failure) in &cases {
        let is_it = |report: &&Value| report["name"] == all.name(name).as_str();
        let report = told
            .iter()
            .find(is_it)
            .unwrap_or_else(|| panic!("{name}: {told:?}"));
        let failures = report["failures"].as_array().expect("failures");
        match failure {
            None => assert_eq!(
                (&report["result"], failures.len()),
                (&"ok".into(), 0),
                "{report}"
            ),
            Some(text) => {
                assert_eq!(
                    (&report["result"], failures.len()),
                    (&"failed".into(), 1),
                    "{report}"
                );
                assert!(
                    failures[0].as_str().is_some_and(|said| said.contains(text)),
                    "{report}"
                );
            }
        }
    }
    assert_eq!(told.last().expect("a summary")["pending"], 1);
    assert_eq!(
        fs::read_to_string(&counted).expect("counted"),
        "x\n".repeat(3)
    );
    let beside = fs::read_to_string(&marked).expect("marked");
    assert!(
        !Path::new("/proc").join(beside.trim()).exists(),
        "it ends with the run"
    );
    assert_eq!(all.traces(), [""; 0]);
}

#[test]
fn a_seed_repeats_an_order() {
    if !privileged() {
        return;
    }
    let all = Scenarios::new("order");
    let names = ["a", "b", "c", "d", "e"];
    let paths: Vec<_> = names.iter().map(|name| all.add(name, "", TRUE)).collect();
    let order = |more: &[&str]| {
        let paths = paths.iter().map(String::as_str);
        let arguments: Vec<_> = more
            .iter()
            .copied()
            .chain(["--jobs", "1"])
            .chain(paths)
            .collect();
        let (told, code) = objects(&arguments);
        assert_eq!(code, Some(0), "{told:?}");
        let (summary, runs) = told.split_last().expect("a summary");
        let title = |run: &Value| run["title"].as_str().expect("a title").to_owned();
        (
            runs.iter().map(title).collect::<Vec<_>>(),
            summary["seed"].clone(),
        )
    };
    let (shuffled, seed) = order(&["--random", "3"]);
    assert_eq!(order(&["--random", "3"]).0, shuffled);
    assert_ne!(shuffled, names);
    assert_eq!(seed, 3);
    let (any, seed) = order(&["--random", "--repeat", "1"]);
    assert_eq!(any.len(), names.len());
    assert!(seed.is_u64());
    let (repeated, _) = order(&["--repeat", "2"]);
    assert_eq!(repeated, [names, names].concat());
}

#[test]
fn signals_take_every_lab_down() {
    if !privileged() {
        return;
    }
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGKILL] {
        let all = Scenarios::new(&format!("signal{signal}"));
        let one = all.add("one", "", FOREVER);
        let two = all.add("two", "", FOREVER);
        let mut started = all.start(&[&one, &two, &one], &["one", "one-2", "two"]);
        // SAFETY: the child is ours and not reaped.
        unsafe { libc::kill(started.id().cast_signed(), signal) };
        let status = started.wait().expect("reaped");
        if signal == libc::SIGKILL {
            // Those that run the labs hear that nobody waits for them any more.
            wait_until("the labs are gone", || all.traces().is_empty());
        } else {
            assert_eq!(status.code(), Some(2), "signal {signal}");
            assert_eq!(all.traces(), [""; 0], "signal {signal}");
        }
    }
}

#[test]
fn one_that_is_to_be_alone_runs_by_itself() {
    if !privileged() {
        return;
    }
    let all = Scenarios::new("alone");
    let seen = all.file("seen");
    let mark = all.name("");
    // Each counts the labs of this test while its traffic flows.
    let look = format!(
        "ls /run/netdig/lab | grep -c -e '{mark}' >> {}",
        seen.display()
    );
    let text = format!("[[traffic]]\non = 'host'\nrun = ['sh', '-c', \"{look}\"]\n");
    let alone = all.add("x", "alone = true", &text);
    let other = all.add("y", "", TRUE);
    let (told, code) = objects(&["--jobs", "3", &other, &alone, &other, &alone]);
    assert_eq!(code, Some(0), "{told:?}");
    assert_eq!(fs::read_to_string(&seen).expect("seen"), "1\n1\n");
}

/// `up` makes the fault, lets what runs in the background run on, and says what to type.
#[test]
fn a_lab_stands_with_its_steps_done() {
    if !privileged() {
        return;
    }
    let all = Scenarios::new("up");
    let made = all.file("made");
    let steps = format!(
        "[[step]]\nwhat = 'a listener'\non = 'host'\nbackground = true\nprints = 'up'\n\
         run = ['sh', '-c', 'echo up; exec sleep 300']\n\
         [[step]]\non = 'host'\nrun = ['touch', '{}']\n",
        made.display()
    );
    let lab = |arguments: &[&str]| {
        let output = Command::new(NETDIG).arg("lab").args(arguments).output();
        output.expect("netdig starts")
    };
    let name = all.name("stands");
    let up = lab(&["up", &all.add("stands", "", &(steps + TRUE))]);
    let told = String::from_utf8_lossy(&up.stdout);
    let status = lab(&["status", "--format", "json"]);
    let status = String::from_utf8_lossy(&status.stdout);
    let typo = format!("{name}s");
    let typos = [
        lab(&["down", &typo]),
        lab(&["exec", "host", "--name", &typo, "--", "true"]),
    ];
    let other = lab(&["down", "no-lab-has-this-name"]);
    let down = lab(&["down", &name]);
    assert!(
        up.status.success() && down.status.success(),
        "{up:?} {down:?}"
    );
    for typo in typos {
        let said = String::from_utf8_lossy(&typo.stderr);
        assert_eq!(typo.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("did you mean {name}?")), "{said}");
    }
    let said = String::from_utf8_lossy(&other.stderr);
    assert_eq!(other.status.code(), Some(2), "{said}");
    assert!(
        said.contains("no lab no-lab-has-this-name stands; see"),
        "{said}"
    );
    assert!(made.exists());
    for wanted in [
        "# a listener".to_owned(),
        format!("netdig lab exec host --name {name} -- true"),
        format!("netdig lab down {name}"),
    ] {
        assert!(told.contains(&wanted), "{wanted}: {told}");
    }
    let standing = status
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .find(|lab| lab["name"] == name.as_str())
        .expect("it stands");
    let processes = standing["processes"].as_array().expect("processes");
    let listener = processes.iter().find(|one| one["name"] == "step-1");
    assert_eq!(listener.expect("the listener")["alive"], true);
    assert_eq!(all.traces(), [""; 0]);

    let bad = all.add(
        "bad",
        "",
        &TRUE.replace("traffic", "step").replace("true", "false"),
    );
    let up = lab(&["up", &bad]);
    assert_eq!(up.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&up.stderr).contains("the fault cannot be made"));
    let faces = "[[variant]]\nname = 'one'\n[[variant]]\nname = 'two'";
    let faces = all.add("faces", faces, TRUE);
    let up = lab(&["up", &faces]);
    assert_eq!(up.status.code(), Some(2));
    let said = String::from_utf8_lossy(&up.stderr);
    assert!(
        said.contains(&format!("{faces}#one, {faces}#two")),
        "{said}"
    );
    assert_eq!(all.traces(), [""; 0]);
}

#[test]
fn the_list_has_every_scenario_with_what_it_expects() {
    let list = Command::new(NETDIG)
        .args(["lab", "list", "--format", "json"])
        .output()
        .expect("netdig starts");
    let text = String::from_utf8_lossy(&list.stdout);
    let listed: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(listed.len() >= 2, "{text}");
    for one in &listed {
        let is_list = |key: &str| one[key].is_array();
        assert!(one["name"].is_string() && one["title"].is_string(), "{one}");
        assert!(
            ["expects", "pending", "codes"].into_iter().all(is_list),
            "{one}"
        );
    }
}
