//! ND502: an upstream's address is the balancer itself.
use super::upstreams::{
    Listener, correct, example, is_any, is_loopback, key, list, listener, services, shown,
};
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::evidence::services::{Host, Schema, Service, Upstream};
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(502),
    name: "self-loop-upstream",
    severity: Severity::Critical,
    title: "an upstream's address is the balancer itself",
    needs: &[Part::Services],
    page: include_str!("../../../docs/playbooks/nd502_self_loop_upstream.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    for service in services(view) {
        let (mut sure, mut likely) = (Vec::new(), Vec::new());
        for one in &service.upstreams {
            match judge(view, service, one) {
                Some((Confidence::Certain, seen)) => sure.push((one, seen)),
                Some((_, seen)) => likely.push((one, seen)),
                None => {}
            }
        }
        // A blank one has its own name, and this is what it leads to.
        let is_blank = |(one, _): &(&Upstream<'_>, _)| one.host() == Some(&Host::Blank);
        let (blank, sure): (Vec<_>, Vec<_>) = sure.into_iter().partition(is_blank);
        if !blank.is_empty() {
            let mut draft = draft(view, service, &blank, true).comes_of(Code(501));
            draft.key.push_str(" blank");
            found.push(draft);
        }
        if !sure.is_empty() {
            found.push(draft(view, service, &sure, true));
        }
        if !likely.is_empty() {
            let mut draft = draft(view, service, &likely, false).confidence(Confidence::Likely);
            draft.key.push_str(" likely");
            found.push(draft);
        }
    }
}

/// Whether connections to it come back to the balancer of this host for certain.
pub fn is_certain(view: &View<'_>, service: &Service<'_>, upstream: &Upstream<'_>) -> bool {
    matches!(
        judge(view, service, upstream),
        Some((Confidence::Certain, _))
    )
}

fn judge(
    view: &View<'_>,
    service: &Service<'_>,
    upstream: &Upstream<'_>,
) -> Option<(Confidence, Option<Evidence>)> {
    let host = upstream.host()?;
    let own = upstream.ip().is_some_and(|ip| view.is_local(ip));
    let (blank, any, loopback) = (host == &Host::Blank, is_any(host), is_loopback(host));
    // DNS has such addresses of its own: for names that are blocked, for localhost.
    if service.schema == Schema::SkyDns && upstream.port().is_none() {
        return None;
    }
    if !(blank || any || loopback || own) {
        return None;
    }
    match listener(view, host, upstream.port()) {
        Listener::Balancer(seen) => Some((Confidence::Certain, Some(seen))),
        Listener::Service if loopback || own => None,
        // A container's port that this host hands on, and one that is told of as blank already.
        _ if own && !loopback || blank => None,
        // Debian's name for the host itself is a registrar's mistake: ND508.
        _ if upstream.ip() == Some([127, 0, 1, 1].into()) => None,
        Listener::Unknown(seen) => Some((Confidence::Likely, Some(seen))),
        Listener::Service | Listener::None => Some((Confidence::Likely, None)),
    }
}

type Judged<'v, 'a> = (&'v Upstream<'a>, Option<Evidence>);

fn draft(view: &View<'_>, service: &Service<'_>, all: &[Judged<'_, '_>], sure: bool) -> Draft {
    let upstreams: Vec<&Upstream<'_>> = all.iter().map(|(one, _)| *one).collect();
    let name = &service.name;
    let upstream = match upstreams.len() {
        1 => "an upstream",
        _ => "upstreams",
    };
    let (is, because) = match sure {
        true => (
            "that is the balancer itself",
            "The balancer listens there and hands each request to itself, again and again, until \
             maxconn is reached and the client gets a 503 or 504. `haproxy -c` accepts the \
             address, and the health check is green.",
        ),
        false => (
            "that every host has for itself",
            "It means the host of whoever reads it, and not that of the service. Where the \
             balancer listens on that port it hands requests to itself; where nothing does they \
             are refused. It is right only where balancer and service share a network namespace.",
        ),
    };
    let title = format!(
        "the service {name} has {upstream} {is}: {}",
        list(&upstreams)
    );
    let mut draft = shown(Draft::new(key(service), title).because(because), &upstreams);
    if let Some(seen) = all.iter().find_map(|(_, seen)| seen.clone()) {
        draft = draft.seen(seen);
    }
    correct(view, draft, upstreams[0], &example(upstreams[0]))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{titles, watched};
    use crate::finding::{Code, Confidence};

    fn of(value: &str, context: &str) -> Vec<String> {
        let key = "key v3 /haproxy-discover/services/myapp/upstreams/frontend2";
        titles(&format!("{key} {value}\n{context}"), &[], 502)
    }

    #[test]
    fn all_forms_behind_a_balancers_listener() {
        let values = [
            ":80",
            "0.0.0.0:80",
            "*:80",
            "[::]:80",
            "localhost:80",
            "127.0.1.1:80",
            "10.1.1.95:80",
        ];
        for value in values {
            let found = of(value, "link eth0\naddress 10.1.1.95/24 dev eth0\nbind :80");
            let fits = found.len() == 1 && found[0].contains(&format!("`{value}`"));
            assert!(fits && found[0].contains("balancer itself"), "{found:?}");
        }
    }

    #[test]
    fn a_blank_one_is_a_consequence() {
        let key = "key v3 /haproxy-discover/services/myapp/upstreams/frontend2";
        let found = watched(&format!("{key} :80\nbind :80"), &[]);
        let two = found
            .iter()
            .find(|one| one.code == Code(502))
            .expect("ND502");
        assert_eq!(two.cause, Some(Code(501)));
        assert!(of(":80", "").is_empty(), "ND501 alone");
    }

    #[test]
    fn without_a_listener_it_is_likely() {
        let key = "key v3 /haproxy-discover/services/myapp/upstreams/frontend2";
        for value in ["0.0.0.0:80", "127.0.0.1:80"] {
            let found = watched(&format!("{key} {value}\nbind :8080"), &[]);
            let one = found
                .iter()
                .find(|one| one.code == Code(502))
                .expect("ND502");
            assert_eq!(one.confidence, Confidence::Likely, "{value}");
        }
    }

    #[test]
    fn a_service_of_this_host_is_none() {
        let host = "link eth0\naddress 10.1.1.95/24 dev eth0";
        for (value, more) in [
            ("10.1.1.187:80", "bind :80"),
            ("10.1.1.95:8081", "bind :80"),
            ("10.1.1.95:80", ""),
            ("127.0.0.1:8081", "bind :80\nlistens 127.0.0.1:8081 app"),
            ("10.1.1.95:80", "listens 10.1.1.95:80 app"),
            ("web:80", "bind :80"),
        ] {
            let found = of(value, &format!("{host}\n{more}"));
            assert!(found.is_empty(), "{value} {more}: {found:?}");
        }
    }
}
