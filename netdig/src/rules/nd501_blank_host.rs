//! ND501: the host part of an upstream is empty.
use super::upstreams::{correct, example, key, list, services, shown};
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::evidence::services::{Host, Service, Upstream};
use crate::finding::{Code, Severity};

pub const RULE: Rule = Rule {
    code: Code(501),
    name: "blank-host",
    severity: Severity::Critical,
    title: "the host part of an upstream is empty",
    needs: &[Part::Services],
    page: include_str!("../../../docs/playbooks/nd501_blank_host.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    for service in services(view) {
        let blank = service.upstreams.iter();
        let blank: Vec<_> = blank
            .filter(|one| one.host() == Some(&Host::Blank))
            .collect();
        if !blank.is_empty() {
            found.push(draft(view, service, &blank));
        }
    }
}

fn draft(view: &View<'_>, service: &Service<'_>, blank: &[&Upstream<'_>]) -> Draft {
    let name = &service.name;
    let what = match blank.len() {
        1 => "an upstream without a host".to_owned(),
        count => format!("{count} upstreams without a host"),
    };
    let effect = match service.is_plain() {
        true => {
            "haproxy takes it for an address: it connects to the one that its client asked for, \
             which is the balancer itself. `haproxy -c` accepts it, and with a listener on that \
             port the health check is green."
        }
        false => "Who reads it has nowhere to connect to.",
    };
    let title = format!("the service {name} has {what}: {}", list(blank));
    let draft = Draft::new(key(service), title).because(format!(
        "Whoever wrote it had no address yet: a unit that asks for its container's address before \
         the container has one writes the port alone. {effect}"
    ));
    let draft = shown(draft, blank)
        .fix("# in the unit: write only when the address is there, as of the container NAME:")
        .fix("until ip=$(docker inspect -f '{{.NetworkSettings.IPAddress}}' NAME) && [ -n \"$ip\" ]; do sleep 0.2; done");
    correct(view, draft, blank[0], &example(blank[0]))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{titles, watched};
    use crate::finding::Code;

    const PLACE: &str = "/haproxy-discover/services/myapp/upstreams";

    #[test]
    fn the_keys_of_one_service_are_one_finding() {
        let text = format!(
            "key v2 {PLACE}/frontend1 192.168.13.2:80\nkey v2 {PLACE}/frontend2 :80\nkey v2 {PLACE}/frontend5 :80"
        );
        assert_eq!(
            titles(&text, &[], 501),
            [format!(
                "the service myapp has 2 upstreams without a host: {PLACE}/frontend2 (`:80`), frontend5 (`:80`)"
            )]
        );
        let found = watched(&text, &[]);
        let one = found.iter().find(|one| one.code == Code(501)).expect("one");
        assert_eq!(one.evidence[0].source, "etcd v2");
        assert_eq!(one.evidence[0].place, format!("{PLACE}/frontend2 @ 4711"));
        let put = format!("ETCDCTL_API=2 etcdctl set {PLACE}/frontend2 ADDRESS:80");
        assert!(one.fix.contains(&put), "{:?}", one.fix);
    }

    #[test]
    fn every_layout_has_its_blank() {
        for (key, value) in [
            ("/haproxy-discover/services/a/upstreams/b", ":"),
            ("/skydns/org/myapp/frontend2", r#"{"host":"","port":80}"#),
            (
                "/vulcand/backends/myapp/servers/f2",
                r#"{"URL":"http://:80"}"#,
            ),
            (
                "/traefik/http/services/a/loadbalancer/servers/0/url",
                "http://:80",
            ),
            ("/services/myapp/frontend:frontend2:80", ":80"),
        ] {
            let found = titles(&format!("key v3 {key} {value}"), &[], 501);
            assert!(
                found.len() == 1 && found[0].contains(key),
                "{key}: {found:?}"
            );
        }
    }

    #[test]
    fn a_host_and_other_keys_are_none() {
        for line in [
            "/haproxy-discover/services/a/upstreams/b 10.0.0.1:80",
            "/haproxy-discover/services/a/upstreams/b web:80",
            "/haproxy-discover/services/a/upstreams/b",
            "/config/app/listen :8080",
            r#"/skydns/org/myapp/txt {"host":"","text":"v=spf1"}"#,
        ] {
            let found = titles(&format!("key v3 {line}"), &[], 501);
            assert!(found.is_empty(), "{line}: {found:?}");
        }
    }
}
