//! ND503: a value that the consumer's check refuses.
use super::upstreams::{correct, example, key, list, services, shown};
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::evidence::services::{Schema, Service, Target, Upstream};
use crate::finding::{Code, Confidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(503),
    name: "rejected-value",
    severity: Severity::High,
    title: "a value that the balancer's check refuses",
    needs: &[Part::Services],
    page: include_str!("../../../docs/playbooks/nd503_rejected_value.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    for service in services(view) {
        let refused = service.upstreams.iter();
        let refused: Vec<_> = refused.filter(|one| why(one).is_some()).collect();
        if !refused.is_empty() {
            found.push(draft(view, service, &refused));
        }
    }
}

fn why<'u>(upstream: &'u Upstream<'_>) -> Option<&'u str> {
    match &upstream.target {
        Target::Refused(why) => Some(why),
        Target::Upstream { .. } => None,
    }
}

fn draft(view: &View<'_>, service: &Service<'_>, refused: &[&Upstream<'_>]) -> Draft {
    let name = &service.name;
    let what = match refused.len() {
        1 => "an upstream",
        _ => "upstreams",
    };
    let why = why(refused[0]).unwrap_or_default();
    let title = format!(
        "the service {name} has {what} that is refused, {why}: {}",
        list(refused)
    );
    let title = match refused.len() {
        1 => title,
        _ => title.replacen("that is refused", "that are refused", 1),
    };
    let effect = match service.is_plain() {
        true => {
            "`haproxy -c` refuses the whole configuration that is rendered of it: the balancer \
             goes on with the one before, for all of its services, while the registry moves on."
        }
        false => "Who reads it leaves it out, or refuses all of the configuration.",
    };
    let draft = Draft::new(key(service), title).because(format!(
        "{effect} Such values come of a script or a template that had no value to write."
    ));
    // A template may take a value apart, and without `check` a port may lack.
    let certain = service.schema == Schema::HaproxyConfd
        && (is_checked(view) || refused.iter().any(|one| !one.value.trim().ends_with(':')));
    let confidence = match certain {
        true => Confidence::Certain,
        false => Confidence::Likely,
    };
    let draft = shown(draft, refused).confidence(confidence);
    correct(view, draft, refused[0], &example(refused[0]))
        .fix("# then see that the balancer takes it:")
        .fix("haproxy -c -f /etc/haproxy/haproxy.cfg")
}

/// Whether the balancer of this host checks its servers, and wants a port of each for it.
fn is_checked(view: &View<'_>) -> bool {
    let balancers = view.context.files.balancers.iter();
    balancers.flat_map(|one| &one.servers).any(|one| one.check)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{titles, watched};
    use crate::finding::{Code, Confidence};

    const KEY: &str = "key v3 /haproxy-discover/services/myapp/upstreams/frontend2";

    #[test]
    fn what_the_field_has_seen() {
        for value in [
            "nil:80",
            "",
            "null",
            "<no value>",
            "10.1.1.187:",
            "http://10.1.1.187:80",
        ] {
            let found = titles(&format!("{KEY} {value}"), &[], 503);
            assert!(
                found.len() == 1 && found[0].contains(value),
                "{value}: {found:?}"
            );
            assert!(found[0].contains("frontend2"), "{found:?}");
        }
    }

    #[test]
    fn a_missing_port_is_refused_where_servers_are_checked() {
        let confidence = |more: &str| {
            let found = watched(&format!("{KEY} 10.1.1.187:\n{more}"), &[]);
            let one = found.into_iter().find(|one| one.code == Code(503));
            one.expect("ND503").confidence
        };
        assert_eq!(confidence(""), Confidence::Likely);
        assert_eq!(
            confidence("server a 10.1.1.1:80 check"),
            Confidence::Certain
        );
    }

    #[test]
    fn what_passes_is_none() {
        for value in [
            "10.1.1.187:80",
            ":80",
            "10.1.1.187",
            "web.example.org:80",
            "[fd00::1]:80",
        ] {
            assert!(
                titles(&format!("{KEY} {value}"), &[], 503).is_empty(),
                "{value}"
            );
        }
        let json = r#"key v3 /skydns/org/a {"host":"10.0.0.1"}"#;
        assert!(titles(json, &[], 503).is_empty());
    }
}
