//! What `netdig lab run` says of a scenario that is wrong, or comes out otherwise.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

const HEAD: &str = "title = 'x'\nstory = 'x'\n[[host]]\nname = 'a'\naddresses = ['10.9.0.1/24']\n";

/// Whether a lab can be built here; where `CI=true` it has to.
fn privileged() -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    assert!(
        root || std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "CI must run as root"
    );
    if !root {
        eprintln!("skipped: a lab needs root");
    }
    root
}

/// A scenario's file, which goes with the test.
struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// What a run of `HEAD` and `text` says, and its exit code.
fn said(test: &str, text: &str) -> (String, Option<i32>) {
    let name = format!("says-{}-{test}", std::process::id());
    let file = File(std::env::temp_dir().join(format!("{name}.toml")));
    fs::write(&file.0, format!("{HEAD}{text}")).expect("a scenario");
    let mut command = Command::new(env!("CARGO_BIN_EXE_netdig"));
    command.args(["lab", "run", "--name", &name]).arg(&file.0);
    let output = command.output().expect("netdig starts");
    let said = String::from_utf8_lossy(&output.stderr);
    let path = file.0.display().to_string();
    (said.replace(&path, "FILE"), output.status.code())
}

#[test]
fn a_refusal_begins_with_the_place() {
    let (text, code) = said(
        "refused",
        "[[traffic]]\non = \"no\\u001Bbody\"\nrun = ['true']\n",
    );
    let wanted = "netdig: FILE:7:6: [[traffic]] number 1, `on`: `no\\u{1b}body` is neither";
    assert!(text.starts_with(wanted), "{text}");
    assert_eq!(code, Some(2));
}

/// One that `ip` cannot parse it does not count itself.
#[test]
fn a_line_that_ip_refuses_is_named_with_its_key() {
    if !privileged() {
        return;
    }
    let traffic = "[[traffic]]\non = 'a'\nrun = ['true']\n";
    for (key, wanted) in [
        (
            "routes = ['10.8.0.0/24 via 10.9.0.2', '10.0.0.0/33 via 10.9.0.2']\n",
            "[[host]] \"a\", `routes[1]`: `ip route add 10.0.0.0/33 via 10.9.0.2`",
        ),
        (
            "ip = ['route add 10.8.0.0/24 via 10.7.0.1']\n",
            "[[host]] \"a\", `ip[0]`: `ip route add 10.8.0.0/24 via 10.7.0.1`",
        ),
        (
            "[[host]]\nname = 'b'\naddresses = ['10.9.0.2/24']\nbridge = { address = '10.8.0.1/24' }\n\
             [[container]]\nname = 'c'\nhost = 'b'\naddress = '10.8.0.2/24'\nruntime = 'namespace'\n\
             routes = ['default via 10.7.0.1']\n",
            "[[container]] \"c\", `routes[0]`: `ip route add default via 10.7.0.1`",
        ),
    ] {
        let (text, code) = said("ip", &format!("{key}{traffic}"));
        assert!(text.contains(wanted), "{text}");
        assert!(!text.contains("-:"), "{text}");
        assert_eq!(code, Some(2), "{text}");
    }
}

#[test]
fn a_failed_step_is_said_to_leave_the_fault_open_and_a_failure_shows_the_nearest() {
    if !privileged() {
        return;
    }
    let rest = "[watch]\nhost = 'a'\narguments = ['-i', 'lo']\n\
        [[traffic]]\non = 'a'\nrun = ['ping', '-c', '1', '127.0.0.1']\n\
        [[expect]]\nwhat = 'w'\nkind = 'packet'\n\
        where = { 'ip.dst' = '127.0.0.2', 'icmp.type' = 8 }\n";
    let step = |run: &str| format!("[[step]]\non = 'a'\nrun = ['{run}']\n{rest}");
    let sentence = "the fault may not be there; the run goes on";
    let (text, code) = said("failed", &step("false"));
    assert!(text.contains(sentence), "{text}");
    assert!(
        text.contains("its `ip.dst` is \"127.0.0.1\", not \"127.0.0.2\""),
        "{text}"
    );
    assert_eq!(code, Some(1), "{text}");
    let (text, _) = said("done", &step("true"));
    assert!(!text.contains(sentence), "{text}");
}
