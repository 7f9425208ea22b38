//! ND507: nothing listens at an upstream's place, and its key stays for ever.
use super::upstreams::{delete, key, list, services, shown};
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::context::registry::ApiVersion;
use crate::evidence::services::{Answer, Service, Upstream};
use crate::finding::{Code, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(507),
    name: "stale-upstream",
    severity: Severity::High,
    title: "nothing listens at an upstream's address, and its key has no TTL",
    needs: &[Part::Services],
    page: include_str!("../../../docs/playbooks/nd507_stale_upstream.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    for service in services(view) {
        let stale = service.upstreams.iter().filter(|one| is_stale(view, one));
        let stale: Vec<_> = stale.collect();
        if !stale.is_empty() {
            found.push(draft(view, service, &stale));
        }
    }
}

fn is_stale(view: &View<'_>, upstream: &Upstream<'_>) -> bool {
    let answer = upstream.address().and_then(|at| view.probes?.get(&at));
    // A connection refused says nothing of UDP.
    upstream.key.ttl.is_none()
        && !upstream.name.ends_with(":udp")
        && answer == Some(&Answer::Refuses)
}

fn draft(view: &View<'_>, service: &Service<'_>, stale: &[&Upstream<'_>]) -> Draft {
    let name = &service.name;
    let what = match stale.len() {
        1 => "an upstream",
        _ => "upstreams",
    };
    let title = format!(
        "the service {name} has {what} where nothing listens, without a TTL: {}",
        list(stale)
    );
    let draft = Draft::new(key(service), title).because(
        "The host is there and refuses the connection: the service has stopped, or never listened \
         on that address. The key has no TTL, so that nothing takes it away, and a balancer \
         without health checks goes on sending its share there.",
    );
    let first = stale[0];
    let draft = shown(draft, stale);
    let draft = match first.address() {
        Some(at) => draft
            .seen(Evidence::new(
                "look-up",
                at.to_string(),
                "connection refused",
            ))
            .fix(format!(
                "# if the service is meant to run there: start it on {at}; otherwise"
            )),
        None => draft,
    };
    let draft = draft.fix(delete(view, first));
    let how = match first.key.api {
        ApiVersion::V2 => {
            "# and let the unit write it with a TTL and renew that: etcdctl set --ttl 60"
        }
        ApiVersion::V3 => {
            "# and let the unit write it with a lease that it keeps alive: etcdctl lease grant 60"
        }
    };
    draft
        .fix(how)
        .fix("# or remove it when it stops: ExecStopPost= of the unit")
        .comes_of(Code(508))
}

#[cfg(test)]
mod tests {
    use super::super::testing::titles;
    use crate::evidence::services::Answer;

    const KEY: &str = "key v3 /haproxy-discover/services/myapp/upstreams/frontend1 10.1.1.187:8081";

    #[test]
    fn refused_and_without_a_ttl() {
        let probes = [("10.1.1.187:8081", Answer::Refuses)];
        let found = titles(KEY, &probes, 507);
        assert!(
            found.len() == 1 && found[0].contains("10.1.1.187:8081"),
            "{found:?}"
        );
    }

    #[test]
    fn what_may_be_well() {
        let refuses = [("10.1.1.187:8081", Answer::Refuses)];
        assert!(titles(KEY, &[], 507).is_empty(), "nobody tried");
        assert!(titles(&format!("{KEY}\nttl 30"), &refuses, 507).is_empty());
        for answer in [Answer::Accepts, Answer::Silent] {
            assert!(titles(KEY, &[("10.1.1.187:8081", answer)], 507).is_empty());
        }
        let udp = "key v3 /services/dns/h:dns:53:udp 10.1.1.187:8081";
        assert!(titles(udp, &refuses, 507).is_empty());
    }
}
