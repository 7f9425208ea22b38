//! ND509: nobody answers at an upstream's address.
use super::upstreams::{correct, example, key, list, services, shown};
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::context::net::Answer as Kernels;
use crate::evidence::services::{Answer, Service, Upstream};
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(509),
    name: "upstream-unreachable",
    severity: Severity::High,
    title: "nobody answers at an upstream's address",
    needs: &[Part::Services],
    page: include_str!("../../../docs/playbooks/nd509_upstream_unreachable.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    for service in services(view) {
        let away = service.upstreams.iter().filter_map(|one| {
            let why = unreached(view, one)?;
            Some((one, why))
        });
        let (away, why): (Vec<_>, Vec<_>) = away.unzip();
        if !away.is_empty() {
            found.push(draft(view, service, &away, why));
        }
    }
}

/// What shows that it is not reached from here.
fn unreached(view: &View<'_>, upstream: &Upstream<'_>) -> Option<Evidence> {
    let ip = upstream.ip().filter(|ip| !view.is_local(*ip))?;
    let tried = upstream.address().and_then(|at| view.probes?.get(&at));
    let place = || {
        upstream
            .address()
            .map_or(ip.to_string(), |at| at.to_string())
    };
    match tried {
        Some(Answer::Accepts | Answer::Refuses) => return None,
        // A query that nobody made has no answer with UDP.
        _ if upstream.name.ends_with(":udp") => {}
        Some(Answer::Silent) => {
            let what = format!("no answer to a SYN for {}", place());
            return Some(Evidence::new("look-up", place(), what));
        }
        Some(Answer::NoWay(why)) => {
            let what = format!("a connection to {} fails: {why}", place());
            return Some(Evidence::new("look-up", place(), what));
        }
        None => {}
    }
    let neighbours = view.context.net.neighbours.iter();
    let mut entries =
        neighbours.filter(|one| one.address == ip && !view.is_overlay_link(&one.link));
    let failed = entries.clone().find(|one| one.state == "FAILED");
    if let Some(one) = failed.filter(|_| entries.all(|one| one.mac.is_none())) {
        let place = format!("{ip} dev {} FAILED", one.link);
        let what = format!("nobody on {} answers for {ip}", one.link);
        return Some(Evidence::new("neighbour", place, what));
    }
    match &view.asked(ip)?.answer {
        Kernels::Refused(error) => {
            let what = format!("the kernel has no way to {ip}: {error}");
            Some(Evidence::new("look-up", ip.to_string(), what))
        }
        Kernels::Way { .. } => None,
    }
}

fn draft(
    view: &View<'_>,
    service: &Service<'_>,
    away: &[&Upstream<'_>],
    why: Vec<Evidence>,
) -> Draft {
    let name = &service.name;
    let what = match away.len() {
        1 => "an upstream that is",
        _ => "upstreams that are",
    };
    let title = format!(
        "the service {name} has {what} not reached from here, {}: {}",
        why[0].what,
        list(away)
    );
    let first = away[0];
    let draft = Draft::new(key(service), title).because(
        "The balancer's connections end with a timeout or an error, and its clients get a 503 \
         after it. The host is down or has another address, a firewall on the way drops what \
         comes for that port, or no route leads there.",
    );
    let sure = why.iter().all(|one| one.source == "look-up");
    let mut draft = shown(draft, away).seen_all(why.into_iter().take(5));
    if !sure {
        draft = draft.confidence(Confidence::Likely);
    }
    if let Some(ip) = first.ip() {
        draft = draft.fix(format!(
            "ip route get {ip}; ping -c 3 {ip}; ip neigh show {ip}"
        ));
    }
    if let Some(at) = first.address() {
        draft = draft
            .fix(format!(
                "# on {}, whether it listens and what drops it:",
                at.ip()
            ))
            .fix(format!(
                "ss -ltn 'sport = :{}'; nft list ruleset; iptables-save",
                at.port()
            ));
    }
    correct(view, draft, first, &example(first)).comes_of(Code(506))
}

#[cfg(test)]
mod tests {
    use super::super::testing::titles;
    use crate::evidence::services::Answer;

    const KEY: &str = "key v3 /haproxy-discover/services/myapp/upstreams/frontend1 10.1.1.188:80";
    const HOST: &str = "link eth0\naddress 10.1.1.95/24 dev eth0";

    fn of(more: &str, answer: Option<Answer>) -> Vec<String> {
        let probes = answer.map(|answer| ("10.1.1.188:80", answer));
        let probes: Vec<_> = probes.into_iter().collect();
        titles(&format!("{HOST}\n{KEY}\n{more}"), &probes, 509)
    }

    #[test]
    fn nobody_answers() {
        let no_way = Answer::NoWay("EHOSTUNREACH".to_owned());
        for (more, answer) in [
            ("neigh 10.1.1.188 dev eth0 FAILED", None),
            ("neigh 10.1.1.188 dev eth0 FAILED", Some(no_way)),
            ("lookup upstream 10.1.1.188 refused ENETUNREACH", None),
            ("", Some(Answer::Silent)),
        ] {
            let found = of(more, answer);
            assert!(
                found.len() == 1 && found[0].contains("10.1.1.188:80"),
                "{found:?}"
            );
        }
    }

    #[test]
    fn somebody_does_or_nobody_asked() {
        assert!(of("", None).is_empty());
        assert!(of("lookup upstream 10.1.1.188 dev eth0", None).is_empty());
        assert!(
            of(
                "neigh 10.1.1.188 dev eth0 lladdr 02:00:00:00:00:01 STALE",
                None
            )
            .is_empty()
        );
        let failed = "neigh 10.1.1.188 dev eth0 FAILED";
        assert!(of(failed, Some(Answer::Accepts)).is_empty(), "it is back");
        assert!(
            of("", Some(Answer::Refuses)).is_empty(),
            "the host is there"
        );
    }
}
