//! ND510: a service without an upstream.
use super::etcdctl::put;
use super::upstreams::{key, look, services};
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::evidence::services::{Schema, Service};
use crate::finding::{Code, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(510),
    name: "empty-set",
    severity: Severity::High,
    title: "a service has no upstream",
    needs: &[Part::Services],
    page: include_str!("../../../docs/playbooks/nd510_empty_set.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let empty = services(view).iter().filter(|one| one.upstreams.is_empty());
    found.extend(empty.map(|service| draft(view, service)));
}

fn draft(view: &View<'_>, service: &Service<'_>) -> Draft {
    let (name, place) = (&service.name, &service.place);
    let domain = service.domain.as_deref().filter(|one| !one.is_empty());
    let of = domain.map_or(String::new(), |domain| format!(" ({domain})"));
    let title = format!("the service {name}{of} has no upstream: nothing below {place}");
    let (folder, value) = match service.schema {
        Schema::Vulcand => ("servers", "{\"URL\":\"http://ADDRESS:PORT\"}"),
        _ => ("upstreams", "ADDRESS:PORT"),
    };
    let title = format!("{title}/{folder}");
    Draft::new(key(service), title)
        .because(
            "The service stands in the registry, so that the balancer takes requests for it, and \
             has nobody to hand them to: each gets a 503 at once. A backend without servers \
             passes `haproxy -c`. The last upstream was taken away or its TTL has run out, or it \
             is written below another name.",
        )
        .seen(evidence(service))
        .fix("# what stands below it, and what registers its upstreams:")
        .fix(look(view, service))
        .fix("# with the upstream's name, address and port in place of the capitals:")
        .fix(put(
            view,
            service.api,
            &format!("{place}/{folder}/NAME"),
            value,
        ))
}

fn evidence(service: &Service<'_>) -> Evidence {
    let Some(key) = service.entry else {
        let source = format!("etcd {}", service.api);
        return Evidence::new(source, &service.place, "no upstreams below it");
    };
    let what = match key.directory {
        true => "a directory without entries",
        false => "no upstreams beside it",
    };
    Evidence::new(key.source(), key.place(), what)
}

#[cfg(test)]
mod tests {
    use super::super::testing::titles;

    #[test]
    fn a_domain_or_a_folder_alone() {
        let domain = "key v3 /haproxy-discover/services/myapp/domain myapp.org";
        assert_eq!(
            titles(domain, &[], 510),
            [
                "the service myapp (myapp.org) has no upstream: nothing below /haproxy-discover/services/myapp/upstreams"
            ]
        );
        for text in [
            "folder v2 /haproxy-discover/services/myapp/upstreams",
            "folder v2 /haproxy-discover/services/myapp",
            r#"key v2 /vulcand/backends/myapp/backend {"Type":"http"}"#,
            "key v3 /lb/services/myapp/domain a.org\nkey v3 /lb/services/b/upstreams/c 10.0.0.1:80",
        ] {
            let found = titles(text, &[], 510);
            assert!(
                found.len() == 1 && found[0].contains("myapp"),
                "{text}: {found:?}"
            );
        }
    }

    #[test]
    fn a_service_with_one_and_settings() {
        for text in [
            "key v3 /haproxy-discover/services/a/domain a.org\nkey v3 /haproxy-discover/services/a/upstreams/b 10.0.0.1:80",
            "key v3 /config/services/web/domain example.org",
            "folder v2 /config/empty",
            "key v3 /a b",
        ] {
            let found = titles(text, &[], 510);
            assert!(found.is_empty(), "{text}: {found:?}");
        }
    }
}
