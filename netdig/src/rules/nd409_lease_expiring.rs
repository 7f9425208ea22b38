//! A lease that is about to end, and that nobody has renewed.

use super::etcdctl::{Verb, etcdctl};
use super::view::Overlay;
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::context::flannel::{Lease, NetworkConfig};
use crate::context::registry::{Api, ApiVersion, flannel_prefixes};
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(409),
    name: "lease-expiring",
    severity: Severity::High,
    title: "A lease is about to end, and nobody renews it",
    needs: &[Part::Registry],
    page: include_str!("../../../docs/playbooks/nd409_lease_expiring.md"),
    check,
};

/// flanneld renews a lease when it has this many minutes left (--subnet-lease-renew-margin).
const MARGIN_MINUTES: i64 = 60;
/// Seconds that a renewal may take: it tries once a minute.
const PATIENCE: i64 = 120;
fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let margin = margin(view);
    let told = told_ttl(view);
    for overlay in &view.overlays {
        let late = |lease: &&Lease| is_late(lease, renewal(lease, margin, told));
        let mut leases: Vec<&Lease> = overlay.leases.iter().filter(late).collect();
        leases.sort_by_key(|lease| lease.ttl);
        if let Some(first) = leases.first() {
            found.push(draft(view, first, &leases, renewal(first, margin, told)));
        }
        found.extend(gone(view, overlay));
    }
}

/// This host's subnet is in no lease any more, though the network's keys are there.
fn gone(view: &View<'_>, overlay: &Overlay<'_>) -> Option<Draft> {
    let (config, file) = (overlay.config.as_ref()?, overlay.subnet_env?);
    let subnet = file.subnet.or(file.ipv6_subnet)?.trunc();
    let is_ours = |lease: &Lease| view.is_ours(lease);
    // One of another subnet is ND403's; one that others have of this subnet, ND402's.
    let leased = overlay.leases_in(subnet).next().is_some() || overlay.leases.iter().any(is_ours);
    if leased || !is_its_registry(view, overlay, config) {
        return None;
    }
    let origin = &config.origin;
    let key = format!("{}/subnets/", overlay.prefix);
    let title = format!(
        "this host's lease {subnet} is gone: {} has it, and no key below {key} does",
        file.file
    );
    let draft = Draft::new(format!("gone {key}{subnet}"), title)
        .because(format!(
            "A lease that is not renewed in 24 hours ends, and a key may be deleted. The other \
             hosts have no route to {subnet}, and it goes to the next host that asks, while \
             containers here keep its addresses. flanneld was down, or did not reach etcd."
        ))
        .seen(Evidence::new(
            "file",
            file.file.clone(),
            format!("this host has {subnet}"),
        ))
        .seen(Evidence::new(
            origin.source(),
            key,
            format!("leases here: {}; none is in {subnet}", overlay.leases.len()),
        ))
        .fix("systemctl status flanneld; journalctl -u flanneld -n 50")
        .fix("# it asks for the subnet that stands in subnet.env, and gets it while it is free:")
        .fix("systemctl restart flanneld")
        .confidence(Confidence::Likely);
    Some(draft)
}

/// Whether what was read is all, and is what this host's flanneld reads: another prefix or
/// etcd, or Kubernetes, may have its lease.
fn is_its_registry(view: &View<'_>, overlay: &Overlay<'_>, config: &NetworkConfig) -> bool {
    let context = view.context;
    let registry = &context.registry;
    let failed = |api: &Api| matches!(api, Api::Failed { .. });
    let read = match config.origin.api {
        ApiVersion::V2 => &registry.v2,
        ApiVersion::V3 => &registry.v3,
    };
    let kube = context.processes.iter().any(|one| {
        one.runs("flanneld") && one.args.iter().any(|arg| arg.contains("kube-subnet-mgr"))
    });
    let prefixes = flannel_prefixes(context);
    let ours = prefixes.iter().any(|prefix| {
        let prefix = prefix.trim_end_matches('/');
        prefix.trim_start_matches('/') == overlay.prefix.trim_start_matches('/')
    });
    read.is_read()
        && !failed(&registry.v2)
        && !failed(&registry.v3)
        && context.has_all(Part::Registry)
        && ours
        && !kube
}

/// The numbers that daemons were told by an option, as `--name=7` or `--name 7`.
fn told(view: &View<'_>, name: &str) -> Option<i64> {
    let flannel = view
        .context
        .processes
        .iter()
        .filter(|one| one.runs("flanneld"));
    let number = |args: &[String]| {
        let mut rest = args.iter().map(|arg| arg.trim_start_matches('-'));
        rest.find_map(|arg| arg.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
            .or_else(|| {
                let mut pairs = args.windows(2);
                let pair = pairs.find(|pair| pair[0].trim_start_matches('-') == name)?;
                pair[1].parse().ok()
            })
    };
    flannel.filter_map(|one| number(&one.args)).next()
}

/// What flanneld here was told. Others may have been told less than it, but not that they need
/// not renew in the last hour.
fn margin(view: &View<'_>) -> i64 {
    let minutes = told(view, "subnet-lease-renew-margin").unwrap_or(MARGIN_MINUTES);
    minutes.clamp(1, MARGIN_MINUTES) * 60
}

/// Seconds that the daemon here leases for, where it is one that can be told.
fn told_ttl(view: &View<'_>) -> Option<i64> {
    told(view, "ttl").filter(|ttl| *ttl > 0)
}

/// Seconds before its end by which a lease is renewed. One that is short is renewed often, by a
/// part of what it was granted for; v2 does not tell that.
fn renewal(lease: &Lease, margin: i64, told: Option<i64>) -> i64 {
    match lease.granted_ttl.or(told) {
        Some(granted) => margin.min(granted / 4),
        None => margin,
    }
}

fn is_late(lease: &Lease, renewal: i64) -> bool {
    lease
        .ttl
        .is_some_and(|left| left < renewal - PATIENCE.min(renewal / 2))
}

fn draft(view: &View<'_>, first: &Lease, leases: &[&Lease], margin: i64) -> Draft {
    let left = first.ttl.unwrap_or_default();
    let own = view.is_ours(first);
    let whose = match (own, first.public()) {
        (true, _) => "this host's lease ".to_owned() + &first.subnet.to_string(),
        (false, Some(ip)) => format!("the lease {} of {ip}", first.subnet),
        (false, None) => format!("the lease {}", first.subnet),
    };
    let more = match leases.len() {
        1 => String::new(),
        count => format!(" (and {} more)", count - 1),
    };
    let host = match (own, first.public()) {
        (false, Some(ip)) => format!("# on {ip}:"),
        _ => "# on that host:".to_owned(),
    };
    Draft::new(
        first.origin.key.clone(),
        format!(
            "{whose}{more} ends in {} and has not been renewed",
            span(left)
        ),
    )
    .because(format!(
        "flanneld renews its lease when {} are left. This one has less: the daemon is down, or \
         does not reach etcd. When it ends, the others take away their routes to {}, and the \
         subnet goes to whoever asks next.",
        span(margin),
        first.subnet
    ))
    .seen_all(leases.iter().take(5).map(|lease| {
        let granted = lease
            .granted_ttl
            .map_or(String::new(), |of| format!(" of {of}"));
        let what = format!(
            "lease {}, {}{granted} s left",
            lease.subnet,
            lease.ttl.unwrap_or_default()
        );
        Evidence::new(lease.origin.source(), lease.origin.place(), what)
    }))
    .fix(host)
    .fix("systemctl status flanneld; journalctl -u flanneld -n 50")
    .fix(etcdctl(view, first.origin.api, Verb::Health))
    .fix("systemctl restart flanneld")
    .confidence(Confidence::Likely)
}

fn span(seconds: i64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        _ => format!("{} min", seconds / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::context;
    use super::super::{View, evaluate};
    use super::*;
    use crate::context::Process;
    use crate::context::files::SubnetEnv;

    fn told(ttl: Option<i64>, granted: Option<i64>, args: &[&str]) -> Vec<String> {
        let mut context = context(
            r#"
            key v3 /coreos.com/network/config {"Network":"192.168.0.0/16"}
            key v3 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187"}
            "#,
        );
        let key = &mut context.registry.keys[1];
        (key.ttl, key.granted_ttl) = (ttl, granted);
        let args = args.iter().map(|&arg| arg.to_owned()).collect();
        context.processes.push(Process {
            args,
            ..Process::default()
        });
        let report = evaluate(&View::new(&context, None));
        let mine = report
            .findings
            .into_iter()
            .filter(|one| one.code == Code(409));
        mine.map(|one| one.title).collect()
    }

    #[test]
    fn less_than_the_margin_is_left() {
        let found = told(Some(900), Some(86_400), &[]);
        assert!(
            found.len() == 1 && found[0].contains("192.168.13.0/24 of 10.1.1.187"),
            "{found:?}"
        );
        assert!(found[0].contains("ends in 15 min"));
        assert_eq!(told(Some(900), None, &[]).len(), 1, "of v2");
        assert!(told(Some(4), Some(45), &[])[0].contains("4 s"));
        let short = ["netdig", "lab", "flannel", "--ttl", "60"];
        assert_eq!(told(Some(5), None, &short).len(), 1);
        assert_eq!(
            told(Some(45), None, &["flanneld"]).len(),
            1,
            "of v2, which grants a day"
        );
        let wider = ["flanneld", "--subnet-lease-renew-margin=600"];
        assert!(
            told(Some(7_000), Some(86_400), &wider).is_empty(),
            "a peer may have the usual margin"
        );
    }

    /// A host with 192.168.69.1/24 in subnet.env, and these lines.
    fn gone(lines: &str, flanneld: &[&str]) -> Vec<String> {
        let mut context = context(&format!(
            "link eth0\naddress 10.1.1.95/24 dev eth0\n{lines}"
        ));
        context.files.subnet_env.push(SubnetEnv {
            file: "/run/flannel/subnet.env".to_owned(),
            network: vec!["192.168.0.0/16".parse().unwrap()],
            subnet: Some("192.168.69.1/24".parse().unwrap()),
            ..SubnetEnv::default()
        });
        let args = flanneld.iter().map(|&arg| arg.to_owned());
        context.processes.push(Process {
            comm: "flanneld".to_owned(),
            args: std::iter::once("flanneld".to_owned()).chain(args).collect(),
            ..Process::default()
        });
        let report = evaluate(&View::new(&context, None));
        let mine = report.findings.into_iter();
        let mine = mine.filter(|one| one.code == Code(409));
        mine.map(|one| one.title).collect()
    }

    const CONFIG: &str = r#"key v3 /coreos.com/network/config {"Network":"192.168.0.0/16"}"#;
    const PEER: &str =
        r#"key v3 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187"}"#;

    #[test]
    fn this_hosts_lease_is_gone() {
        let found = gone(&format!("{CONFIG}\n{PEER}"), &[]);
        assert_eq!(
            found,
            [
                "this host's lease 192.168.69.0/24 is gone: /run/flannel/subnet.env has it, and no key \
              below /coreos.com/network/subnets/ does"
            ]
        );
        assert_eq!(gone(CONFIG, &[]).len(), 1, "with all the others");
    }

    #[test]
    fn a_lease_that_is_elsewhere_is_not_gone() {
        let own = PEER.replace("192.168.13.0", "192.168.69.0");
        let new = PEER.replace("10.1.1.187", "10.1.1.95");
        for lines in [
            format!("{CONFIG}\n{own}"),
            format!("{CONFIG}\n{new}"),
            // Kubernetes', another network's, or another prefix's.
            String::new(),
            PEER.to_owned(),
            CONFIG.replace("192.168.0.0", "10.9.0.0"),
            CONFIG.replace("coreos.com", "other"),
            format!("{CONFIG}\nunread /coreos.com/network"),
        ] {
            assert!(gone(&lines, &[]).is_empty(), "{lines}");
        }
        assert!(gone(CONFIG, &["-etcd-prefix=/blue/network"]).is_empty());
        assert!(gone(CONFIG, &["--kube-subnet-mgr"]).is_empty());
    }

    #[test]
    fn what_is_renewed_in_time_is_none() {
        assert!(told(Some(80_000), Some(86_400), &[]).is_empty());
        assert!(
            told(Some(3_590), Some(86_400), &[]).is_empty(),
            "it is at it"
        );
        assert!(told(None, None, &[]).is_empty(), "reserved");
        assert!(
            told(Some(40), Some(60), &[]).is_empty(),
            "short, and renewed"
        );
        for left in [45, 20, 15, 8] {
            let text = "short, and just begun or about to be renewed";
            assert!(told(Some(left), Some(60), &[]).is_empty(), "{text}");
            let short = ["netdig", "lab", "flannel", "--ttl", "60"];
            assert!(told(Some(left), None, &short).is_empty(), "{text}, v2");
        }
        // Granted for less than the margin: renewed at once, and again and again.
        assert!(told(Some(1_700), Some(1_800), &[]).is_empty());
        assert!(told(Some(450), Some(1_800), &[]).is_empty());
        let shorter = ["flanneld", "--subnet-lease-renew-margin=10"];
        assert!(told(Some(900), Some(86_400), &shorter).is_empty());
    }
}
