//! Who starts containers asks for a file that flanneld has not written.
use super::renumber::{self, Verb, etcdctl, quoted};
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::context::files::SubnetEnv;
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(404),
    name: "subnet-env-missing",
    severity: Severity::High,
    title: "subnet.env is not where docker and CNI look for it",
    needs: &[Part::SubnetEnv],
    page: include_str!("../../../docs/playbooks/nd404_subnet_env_missing.md"),
    check,
};

/// Where flanneld writes it and CNI's plugin reads it, unless told otherwise.
const DEFAULT: &str = "/run/flannel/subnet.env";

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let files = &view.context.files.subnet_env;
    let wanted = wanted(view);
    let there = |one: &Wanted| files.iter().find(|file| same(&file.file, &one.file));
    let whole = |file: &SubnetEnv| file.subnet.is_some() || file.ipv6_subnet.is_some();
    let missing = |one: &&Wanted| !there(one).is_some_and(whole);
    let missing: Vec<&Wanted> = wanted.iter().filter(missing).collect();
    let Some(first) = missing.first() else {
        return;
    };
    let empty = there(first);
    // flanneld may write elsewhere than its readers read: then that is the trouble.
    let others = files.iter().filter(|_| empty.is_none());
    let elsewhere = others.map(|file| {
        Evidence::new(
            "file",
            file.file.clone(),
            "subnet.env is here, where nobody named above looks",
        )
    });
    let flanneld = view
        .context
        .processes
        .iter()
        .find(|one| one.runs("flanneld"));
    let why = match (flanneld, files.is_empty()) {
        _ if empty.is_some() => {
            "It is there without a subnet: somebody else wrote it, or the disk is full."
        }
        (_, false) => "It is elsewhere: flanneld's --subnet-file and its readers do not agree.",
        (Some(_), true) => {
            "flanneld runs and has not written it: it waits for etcd, for its configuration or for a subnet."
        }
        (None, true) => "flanneld does not run here, or runs where it is not seen.",
    };
    let mut draft = Draft::new(
        first.file.clone(),
        match empty {
            Some(_) => format!("{} has no FLANNEL_SUBNET: {}", first.file, first.who),
            None => format!("{} is missing: {}", first.file, first.who),
        },
    )
    .because(format!(
        "flanneld writes the file once it has a lease. {why} Until then docker's unit does not \
         start, or CNI's plugin fails each container with {}.",
        match empty {
            Some(_) => "`missing FLANNEL_SUBNET`".to_owned(),
            None => format!("`open {}: no such file or directory`", first.file),
        }
    ))
    .seen_all(empty.into_iter().flat_map(unlike))
    .seen_all(missing.iter().map(|one| one.evidence.clone()))
    .seen_all(elsewhere)
    .fix("systemctl status flanneld; journalctl -u flanneld -n 50");
    let config = view
        .overlays
        .iter()
        .find_map(|overlay| overlay.config.as_ref());
    draft = match config {
        Some(config) => draft.fix(format!(
            "# the configuration is there: {}",
            config.origin.key
        )),
        None => draft.fix(format!(
            "{} /coreos.com/network/config   # is the network configured?",
            etcdctl(view, renumber::read_api(view), Verb::Get)
        )),
    };
    found.push(
        draft
            .fix("systemctl restart flanneld")
            .fix(format!("cat {}", quoted(&first.file)))
            // What keeps flanneld from a lease.
            .comes_of(Code(405))
            .comes_of(Code(304))
            .comes_of(Code(107))
            .comes_of(Code(108))
            .confidence(match first.certain {
                true => Confidence::Certain,
                false => Confidence::Likely,
            }),
    );
}

/// The lines of a subnet.env that nobody understands, or that it has none.
fn unlike(file: &SubnetEnv) -> Vec<Evidence> {
    let lines = file.broken.iter().take(4);
    let lines: Vec<Evidence> = lines
        .map(|(line, why)| Evidence::new("file", format!("{}:{line}", file.file), why.clone()))
        .collect();
    match lines.is_empty() {
        true => vec![Evidence::new(
            "file",
            file.file.clone(),
            "no FLANNEL_SUBNET in it",
        )],
        false => lines,
    }
}

fn same(a: &str, b: &str) -> bool {
    let plain = |path: &str| path.strip_prefix("/var").unwrap_or(path).to_owned();
    plain(a) == plain(b)
}

/// Somebody who needs a subnet.env.
struct Wanted {
    file: String,
    /// `the CNI network cbr0 asks for it`.
    who: String,
    evidence: Evidence,
    certain: bool,
}

fn wanted(view: &View<'_>) -> Vec<Wanted> {
    let context = view.context;
    let mut wanted = Vec::new();
    for cni in context.files.cni.iter().filter(|cni| cni.kind == "flannel") {
        let file = cni
            .subnet_file
            .clone()
            .unwrap_or_else(|| DEFAULT.to_owned());
        let what = format!(
            "the network {} is flannel's, and its plugin reads {file}",
            cni.name
        );
        wanted.push(Wanted {
            file,
            who: format!("the CNI network {} asks for it", cni.name),
            evidence: Evidence::new("file", cni.place.to_string(), what),
            certain: true,
        });
    }
    for place in &context.files.subnet_env_wanted {
        wanted.push(Wanted {
            file: place.wants.clone(),
            who: format!("{} asks for it", place.place.file),
            evidence: Evidence::new(
                "file",
                place.place.to_string(),
                format!("it reads {}", place.wants),
            ),
            certain: true,
        });
    }
    for process in &context.processes {
        let file = process.args.iter().enumerate().find_map(|(at, arg)| {
            let option = arg.trim_start_matches('-').strip_prefix("subnet-file")?;
            match option.strip_prefix('=') {
                Some(file) => Some(file.to_owned()),
                None => process
                    .args
                    .get(at + 1)
                    .filter(|_| option.is_empty())
                    .cloned(),
            }
        });
        // Another program that takes flanneld's option stands for it.
        if !process.runs("flanneld") && file.is_none() {
            continue;
        }
        let file = file.unwrap_or_else(|| DEFAULT.to_owned());
        wanted.push(Wanted {
            evidence: Evidence::new(
                "process",
                process.pid.to_string(),
                format!("flanneld is to write {file}"),
            ),
            who: "flanneld has not written it".to_owned(),
            file,
            certain: false,
        });
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::super::{View, evaluate, testing};
    use super::*;
    use crate::context::files::{CniNetwork, Place, SubnetEnvReader};
    use crate::context::{Context, Process};

    fn told(context: &Context) -> Vec<String> {
        let report = evaluate(&View::new(context, None));
        let mine = report
            .findings
            .into_iter()
            .filter(|one| one.code == Code(404));
        mine.map(|one| format!("{} {:?}", one.title, one.confidence))
            .collect()
    }

    fn cni(file: Option<&str>) -> Context {
        let mut context = Context::default();
        context.files.cni.push(CniNetwork {
            name: "cbr0".to_owned(),
            kind: "flannel".to_owned(),
            subnet_file: file.map(str::to_owned),
            ..CniNetwork::default()
        });
        context
    }

    fn with_file(mut context: Context, file: &str) -> Context {
        context.files.subnet_env.push(SubnetEnv {
            file: file.to_owned(),
            subnet: Some("192.168.69.1/24".parse().expect("a subnet")),
            ..SubnetEnv::default()
        });
        context
    }

    #[test]
    fn cnis_plugin_reads_it() {
        let found = told(&cni(None));
        assert!(
            found.len() == 1 && found[0].contains("/run/flannel/subnet.env is missing"),
            "{found:?}"
        );
        assert!(told(&with_file(cni(None), "/run/flannel/subnet.env")).is_empty());
        assert!(told(&with_file(cni(None), "/var/run/flannel/subnet.env")).is_empty());
        let elsewhere = told(&with_file(
            cni(Some("/run/blue.env")),
            "/run/flannel/subnet.env",
        ));
        assert!(elsewhere[0].contains("/run/blue.env"), "{elsewhere:?}");
    }

    #[test]
    fn a_file_without_a_subnet_is_as_good_as_none() {
        let file = "/run/flannel/subnet.env";
        let mut context = with_file(cni(None), file);
        context.files.subnet_env[0].subnet = None;
        context.files.subnet_env[0].broken = vec![(2, "FLANNEL_SUBNET cannot be `x`".to_owned())];
        let report = evaluate(&View::new(&context, None));
        let mine = report.findings.iter().find(|one| one.code == Code(404));
        let mine = mine.expect("a finding");
        let title =
            "/run/flannel/subnet.env has no FLANNEL_SUBNET: the CNI network cbr0 asks for it";
        assert_eq!(mine.title, title);
        assert!(
            mine.evidence
                .iter()
                .any(|one| one.place == format!("{file}:2"))
        );
        context.files.subnet_env[0].ipv6_subnet = Some("fd10::1/64".parse().unwrap());
        assert!(told(&context).is_empty(), "of IPv6 alone");
        context.files.subnet_env[0].ipv6_subnet = None;
        context.files.cni.clear();
        assert!(told(&context).is_empty(), "nobody reads it");
    }

    #[test]
    fn a_unit_or_a_daemon_names_it() {
        let mut context = Context::default();
        assert!(told(&context).is_empty(), "a host without an overlay");
        context.files.subnet_env_wanted.push(SubnetEnvReader {
            place: Place {
                file: "/etc/systemd/system/docker.service.d/flannel.conf".to_owned(),
                line: 2,
            },
            wants: DEFAULT.to_owned(),
        });
        assert!(told(&context)[0].contains("docker.service.d/flannel.conf asks for it"));
        context.files.subnet_env_wanted.clear();
        context.processes.push(Process {
            pid: 7,
            comm: "flanneld".to_owned(),
            args: vec![
                "flanneld".to_owned(),
                "--subnet-file".to_owned(),
                "/run/x.env".to_owned(),
            ],
            ..Process::default()
        });
        assert!(told(&context)[0].contains("/run/x.env is missing: flanneld has not written it"));
        assert!(told(&with_file(context, "/run/x.env")).is_empty());
    }

    #[test]
    fn it_comes_of_a_key_that_flanneld_does_not_find() {
        let mut context =
            testing::context(r#"key v3 /coreos.com/networks/config {"Network":"192.168.0.0/16"}"#);
        context.files.cni = cni(None).files.cni;
        let report = evaluate(&View::new(&context, None));
        let mut mine = report.findings.iter();
        let mine = mine.find(|one| one.code == Code(404));
        assert_eq!(mine.and_then(|one| one.cause), Some(Code(405)));
    }

    #[test]
    fn what_was_not_read_is_not_missing() {
        let mut context = cni(None);
        context.lacks(Part::SubnetEnv, "permission denied", None);
        assert!(told(&context).is_empty());
    }
}
