use super::*;
use std::fs;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const POD: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

/// A folder of its own, removed when dropped.
struct Tree(PathBuf);

impl Tree {
    fn new(name: &str) -> Tree {
        let path = std::env::temp_dir().join(format!("netdig-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Tree(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn containers(&self) -> Containers {
        Containers::new(&self.0)
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn cgroup_paths_of_all_runtimes() {
    let cases = [
        ("/docker/ID", Runtime::Docker, ID),
        ("/system.slice/docker-ID.scope", Runtime::Docker, ID),
        ("/system.slice/docker-ID.scope/init", Runtime::Docker, ID),
        ("/docker/POD/docker/ID", Runtime::Docker, ID),
        ("/system.slice:docker:ID", Runtime::Docker, ID),
        (
            "/kubepods.slice/kubepods-pod1.slice/cri-containerd-ID.scope",
            Runtime::Containerd,
            ID,
        ),
        ("/kubepods/burstable/pod3c9f/ID", Runtime::Containerd, ID),
        (
            "/system.slice/containerd.service/kubepods-besteffort-pod1.slice:cri-containerd:ID",
            Runtime::Containerd,
            ID,
        ),
        ("/system.slice/nerdctl-ID.scope", Runtime::Containerd, ID),
        (
            "/kubepods.slice/kubepods-pod1.slice/crio-ID.scope/container",
            Runtime::CriO,
            ID,
        ),
        (
            "/machine.slice/libpod-ID.scope/container",
            Runtime::Podman,
            ID,
        ),
        ("/libpod_parent/libpod-ID", Runtime::Podman, ID),
        (
            "/machine.slice/machine-web\\x2d1.scope/payload",
            Runtime::Nspawn,
            "web-1",
        ),
        (
            "/machine.slice/systemd-nspawn@db.service/payload",
            Runtime::Nspawn,
            "db",
        ),
        ("/lxc.payload.alpine/init.scope", Runtime::Lxc, "alpine"),
        ("/lxc/alpine", Runtime::Lxc, "alpine"),
        ("/buildkit/ID", Runtime::Other, ID),
    ];
    let tree = Tree::new("paths");
    for (path, runtime, id) in cases {
        let path = path.replace("ID", ID).replace("POD", POD);
        for text in [
            format!("0::{path}\n"),
            format!("5:cpu,cpuacct:{path}\n0::/\n"),
            format!("1:name=systemd:/\n0::{path}"),
        ] {
            let container = tree
                .containers()
                .of(&text)
                .unwrap_or_else(|| panic!("{text}"));
            assert_eq!(
                (container.runtime, container.id.as_str()),
                (runtime, id),
                "{text}"
            );
            assert_eq!(
                container.name,
                short(id),
                "without state the short id names it"
            );
        }
    }
}

#[test]
fn what_runs_on_the_host_is_in_no_container() {
    let tree = Tree::new("host");
    for path in [
        "/",
        "/user.slice/user-0.slice/session-1.scope",
        "/system.slice/docker.service",
        "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope",
        "/machine.slice/libpod-conmon-ID.scope",
        "/system.slice/crio-conmon-ID.scope",
        "/system.slice/docker-short.scope",
        "/lxc.monitor.alpine",
        "/process_api/b8560488a91d597ac5e8bc1a508b44cc",
    ] {
        let text = format!("0::{}\n", path.replace("ID", ID));
        assert_eq!(tree.containers().of(&text), None, "{text}");
    }
    for garbage in ["", ":", "0:", "0::", "\n\n", "0::/a:b:c", "0::///"] {
        assert_eq!(tree.containers().of(garbage), None);
    }
}

#[test]
fn names_come_from_the_runtimes_files() {
    let tree = Tree::new("names");
    let docker = format!("var/lib/docker/containers/{ID}/config.v2.json");
    tree.write(&docker, r#"{"Name":"/web","Config":{"Labels":{}}}"#);
    let found = tree
        .containers()
        .of(&format!("0::/system.slice/docker-{ID}.scope"))
        .unwrap();
    assert_eq!((found.name.as_str(), found.short_id()), ("web", &ID[..12]));

    let tree = Tree::new("names-cri");
    let bundle = format!("run/containerd/io.containerd.runtime.v2.task/k8s.io/{ID}/config.json");
    tree.write(&bundle, r#"{"annotations":{"io.kubernetes.cri.container-name":"dns",
        "io.kubernetes.cri.sandbox-name":"coredns-1","io.kubernetes.cri.sandbox-namespace":"kube-system"}}"#);
    let found = tree
        .containers()
        .of(&format!("0::/kubepods/burstable/pod1/{ID}"))
        .unwrap();
    assert_eq!(found.name, "dns");
    assert_eq!(found.pod.as_deref(), Some("coredns-1"));
    assert_eq!(found.pod_namespace.as_deref(), Some("kube-system"));

    let tree = Tree::new("names-crio");
    let bundle = format!("var/lib/containers/storage/overlay-containers/{ID}/userdata/config.json");
    tree.write(
        &bundle,
        r#"{"annotations":{"io.kubernetes.container.name":"app",
        "io.kubernetes.pod.name":"app-0","io.kubernetes.pod.namespace":"prod"}}"#,
    );
    let found = tree
        .containers()
        .of(&format!("0::/kubepods.slice/crio-{ID}.scope"))
        .unwrap();
    assert_eq!((found.name.as_str(), found.runtime), ("app", Runtime::CriO));
    // The cgroupfs driver names no engine; its files do.
    let found = tree
        .containers()
        .of(&format!("0::/kubepods/pod1/{ID}"))
        .unwrap();
    assert_eq!((found.name.as_str(), found.runtime), ("app", Runtime::CriO));

    let tree = Tree::new("names-podman");
    tree.write(
        "var/lib/containers/storage/overlay-containers/containers.json",
        &format!(r#"[{{"id":"{POD}","names":["other"]}},{{"id":"{ID}","names":["db","x"]}}]"#),
    );
    let found = tree
        .containers()
        .of(&format!("0::/machine.slice/libpod-{ID}.scope"))
        .unwrap();
    assert_eq!(
        (found.name.as_str(), found.runtime),
        ("db", Runtime::Podman)
    );
}

#[test]
fn a_name_that_appears_later_is_found_later() {
    let tree = Tree::new("later");
    let mut containers = tree.containers();
    let cgroup = format!("0::/docker/{ID}");
    assert_eq!(containers.of(&cgroup).unwrap().name, &ID[..12]);
    let file = format!("var/lib/docker/containers/{ID}/config.v2.json");
    for garbage in ["", "{", "[]", "{\"Name\":7}", "null"] {
        tree.write(&file, garbage);
        assert_eq!(containers.of(&cgroup).unwrap().name, &ID[..12]);
    }
    tree.write(&file, r#"{"Name":"/web"}"#);
    assert_eq!(containers.of(&cgroup).unwrap().name, "web");
}

#[test]
fn runc_and_crun_by_the_cgroups_in_their_state() {
    let tree = Tree::new("plain");
    let mut containers = tree.containers();
    assert_eq!(containers.of("0::/some/where"), None);
    tree.write(
        "run/runc/web/state.json",
        r#"{"id":"web","cgroup_paths":{
        "memory":"/sys/fs/cgroup/memory/some/where","":"/sys/fs/cgroup/unified/web"}}"#,
    );
    tree.write(
        "run/crun/db/status",
        r#"{"pid":7,"cgroup-path":"/user.slice/db"}"#,
    );
    let found = containers.of("4:memory:/some/where\n0::/\n").unwrap();
    assert_eq!((found.runtime, found.name.as_str()), (Runtime::Runc, "web"));
    assert_eq!(containers.of("0::/web/below").unwrap().id, "web");
    let found = containers.of("0::/user.slice/db").unwrap();
    assert_eq!((found.runtime, found.name.as_str()), (Runtime::Crun, "db"));
    assert_eq!(containers.of("0::/some"), None);
    assert_eq!(containers.of("0::/some/wherever"), None);
    fs::remove_dir_all(tree.0.join("run/runc/web")).unwrap();
    assert_eq!(containers.of("0::/some/where"), None);
}

#[test]
fn runc_where_only_the_second_version_is_mounted() {
    let tree = Tree::new("v2");
    tree.write(
        "run/runc/web/state.json",
        r#"{"cgroup_paths":{"":"/sys/fs/cgroup/a/web"}}"#,
    );
    assert_eq!(tree.containers().of("0::/a/web").unwrap().id, "web");
    assert_eq!(tree.containers().of("0::/web"), None);
}

#[test]
fn containers_of_ctr_by_their_tasks() {
    let tree = Tree::new("ctr");
    let bundle = "run/containerd/io.containerd.runtime.v2.task/default/web/config.json";
    tree.write(bundle, r#"{"annotations":null}"#);
    let found = tree.containers().of("1:cpu:/default/web\n0::/\n").unwrap();
    assert_eq!(
        (found.runtime, found.name.as_str()),
        (Runtime::Containerd, "web")
    );
    for host in [
        "0::/default",
        "0::/web",
        "0::/default/other",
        "0::/../default/..",
    ] {
        assert_eq!(tree.containers().of(host), None, "{host}");
    }
}
