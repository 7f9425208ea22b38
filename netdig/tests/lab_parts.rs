//! Servers, announcers and renderers as parts of a lab, with real etcd and haproxy.

#[path = "lab/privileged.rs"]
mod privileged;
#[path = "lab/traces.rs"]
mod traces;

use std::path::Path;
use std::process::{Command, Output};

use privileged::privileged;
use traces::{traces, wait_until};

const NETDIG: &str = env!("CARGO_BIN_EXE_netdig");
const SCENARIO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lab_parts");

struct Named(String);

impl Named {
    fn shell(&self, script: &str) -> String {
        let words = [
            "exec", "balancer", "--name", &self.0, "--", "sh", "-c", script,
        ];
        String::from_utf8_lossy(&netdig(&words).stdout).into_owned()
    }

    fn until(&self, script: &str, wanted: &str) {
        wait_until(&format!("`{script}` prints {wanted:?}"), || {
            self.shell(script).contains(wanted)
        });
    }
}

impl Drop for Named {
    fn drop(&mut self) {
        netdig(&["down", &self.0]);
    }
}

fn netdig(arguments: &[&str]) -> Output {
    let mut command = Command::new(NETDIG);
    command.arg("lab").args(arguments);
    command.output().expect("netdig starts")
}

#[test]
fn parts_do_as_the_real_ones() {
    if !privileged() {
        return;
    }
    let lab = Named(format!("test-{}-parts", std::process::id()));
    let up = netdig(&["up", SCENARIO, "--name", &lab.0]);
    assert!(
        up.status.success(),
        "{}",
        String::from_utf8_lossy(&up.stderr)
    );
    // A late container had no address when its unit wrote.
    lab.until("cat /etc/haproxy/haproxy.cfg", "server slow :80 check");
    lab.until(
        "cat /etc/haproxy/haproxy.cfg",
        "server web 192.168.69.2:80 check",
    );
    // One that writes again has it by and by; the file is a mount point, and keeps its inode.
    lab.until("cat /etc/old/list", "slow=192.168.69.3:80\n");
    lab.until("grep -c ' /etc/old/list ' /proc/self/mountinfo", "1");
    // Written in place, it keeps the mode that it has.
    let log = format!("cat /run/netdig/lab/{}/renderer-old.log", lab.0);
    lab.until("stat -c %a /etc/old/list", "644");
    lab.until(&log, "/etc/old/list has mode 644 should be 640");
    lab.until("cat /run/curl3", "it's \"1\"");
    lab.until(
        "curl -si -m 3 http://192.168.69.2/",
        "X-Greeting: to \"you\"",
    );
    lab.until(
        "curl -si -m 3 http://192.168.69.2:81/",
        "text/plain: Content-type",
    );
    // A failed check leaves the file alone.
    let put =
        "ETCDCTL_API=2 etcdctl --endpoints http://127.0.0.1:4001 set /lb/services/myapp/domain ";
    lab.shell(&format!("{put}bad"));
    lab.until(&log, "Config check failed");
    assert!(!lab.shell("cat /etc/old/list").contains("bad"));
    // A failed reload is logged; the file is there.
    lab.shell(&format!("{put}stuck"));
    lab.until(&log, "Config reload failed");
    assert!(lab.shell("cat /etc/old/list").contains("stuck"));
    let name = lab.0.clone();
    drop(lab);
    assert_eq!(traces(&name), [""; 0]);
}

/// A script stands for confd: what it is told, and which files it finds.
#[test]
fn confd_runs_in_the_renderers_place() {
    let folder = std::env::temp_dir().join(format!("netdig-confd-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (confd, template) = (folder.join("confd"), folder.join("list.tmpl"));
    let script = "#!/bin/sh\ncd \"$(dirname \"$0\")\" && echo \"$@\" >>told\n";
    std::fs::write(&confd, script).expect("a script");
    std::fs::set_permissions(&confd, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("a script that can be run");
    std::fs::write(&template, "{{getv \"/a\"}}").expect("a template");
    let mut command = Command::new(NETDIG);
    command.args(["lab", "render", "--node", "127.0.0.1:1", "--api", "v2"]);
    command.args(["--prefix=/lb", "--key=/a", "--check=test -s \"{{.src}}\""]);
    command.arg("--template").arg(&template);
    command.arg("--dest").arg(folder.join("out/list"));
    command.arg("--confd").arg(&confd);
    command.arg("--confdir").arg(folder.join("c"));
    let output = command.output().expect("netdig starts");
    assert!(output.status.success(), "{output:?}");
    let read = |file: &str| std::fs::read_to_string(folder.join(file)).expect(file);
    let here = folder.display();
    let told = format!("-backend etcd -node http://127.0.0.1:1 -prefix /lb -confdir {here}/c");
    assert_eq!(read("told"), format!("{told} -onetime\n{told} -watch\n"));
    assert_eq!(read("c/templates/list.tmpl"), "{{getv \"/a\"}}");
    let resource = read("c/conf.d/list.toml");
    for line in [
        "[template]".to_owned(),
        "src = \"list.tmpl\"".to_owned(),
        format!("dest = \"{here}/out/list\""),
        "keys = [\"/a\"]".to_owned(),
        r#"check_cmd = "test -s \"{{.src}}\"""#.to_owned(),
    ] {
        assert!(
            resource.lines().any(|said| said == line),
            "{line}: {resource}"
        );
    }
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}

/// Also where no part of the scenario would run it.
#[test]
fn a_program_that_was_named_has_to_be_one() {
    let folder = std::env::temp_dir().join(format!("netdig-named-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let plain = folder.join("plain");
    std::fs::write(&plain, "").expect("a file");
    for (path, why) in [
        (Path::new("/nowhere"), "cannot be found"),
        (&folder, "is no file"),
        (&plain, "may not be executed"),
    ] {
        for program in ["flanneld", "confd"] {
            let flag = format!("--{program}");
            let path = path.to_str().expect("a plain path");
            let output = netdig(&["run", "overlay-swallows-underlay", &flag, path]);
            let said = String::from_utf8_lossy(&output.stderr);
            let named = format!("{path} was named as the {program} to run, but {why}");
            assert!(said.contains(&named), "{said}");
            assert_eq!(output.status.code(), Some(2), "{said}");
        }
    }
    std::fs::remove_dir_all(&folder).expect("the folder goes");
}
