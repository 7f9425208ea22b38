//! ND504: an upstream has no port where one is needed.
use super::upstreams::{correct, is_any, key, list, services, shown};
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::evidence::services::{Host, Service, Upstream, is_path};
use crate::finding::{Code, Confidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(504),
    name: "portless-upstream",
    severity: Severity::Medium,
    title: "an upstream has no port where one is needed",
    needs: &[Part::Services],
    page: include_str!("../../../docs/playbooks/nd504_portless_upstream.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let all = services(view);
    for service in all.iter().filter(|one| one.is_plain()) {
        let portless = service.upstreams.iter().filter(|one| is_portless(one));
        let portless: Vec<_> = portless.collect();
        if !portless.is_empty() && !is_added(view, all, service, &portless) {
            found.push(draft(view, service, &portless));
        }
    }
}

fn is_portless(upstream: &Upstream<'_>) -> bool {
    let named = upstream.host().is_some_and(|host| match host {
        Host::Name(name) => !is_path(name),
        Host::Address(_) => !is_any(host),
        Host::Blank | Host::Any => false,
    });
    named && upstream.port().is_none()
}

/// Whether the template adds the port: the rendered configuration has it, or no upstream of
/// several has one.
fn is_added(
    view: &View<'_>,
    all: &[Service<'_>],
    service: &Service<'_>,
    portless: &[&Upstream<'_>],
) -> bool {
    let balancers = view.context.files.balancers.iter();
    let mut servers = balancers.flat_map(|one| &one.servers);
    let value = portless[0].value.trim();
    if let Some(server) = servers.find(|one| one.address.starts_with(value)) {
        let rest = &server.address[value.len()..];
        return rest.len() > 1 && rest.starts_with(':');
    }
    let alike = all.iter().filter(|one| one.schema == service.schema);
    let upstreams: Vec<_> = alike.flat_map(|one| &one.upstreams).collect();
    upstreams.len() > 1 && upstreams.iter().all(|one| is_portless(one))
}

fn draft(view: &View<'_>, service: &Service<'_>, portless: &[&Upstream<'_>]) -> Draft {
    let name = &service.name;
    let what = match portless.len() {
        1 => "an upstream",
        _ => "upstreams",
    };
    let title = format!(
        "the service {name} has {what} without a port: {}",
        list(portless)
    );
    let draft = Draft::new(key(service), title).because(
        "haproxy takes the port that its client asked for: what comes on 8080 goes to port 8080 \
         of the upstream. With `check` on the server it refuses the whole configuration, since \
         there is no port to check.",
    );
    let value = match portless[0].ip() {
        Some(ip) if ip.is_ipv6() => format!("[{ip}]:PORT"),
        Some(ip) => format!("{ip}:PORT"),
        None => format!("{}:PORT", portless[0].value.trim().trim_end_matches(":0")),
    };
    let draft = shown(draft, portless).confidence(Confidence::Likely);
    correct(view, draft, portless[0], &value)
}

#[cfg(test)]
mod tests {
    use super::super::testing::titles;

    const PLACE: &str = "key v3 /haproxy-discover/services/myapp/upstreams";

    fn of(lines: &[&str]) -> Vec<String> {
        let lines: Vec<String> = lines.iter().map(|line| line.replace("UP", PLACE)).collect();
        titles(&lines.join("\n"), &[], 504)
    }

    #[test]
    fn an_address_alone() {
        let found = of(&["UP/frontend2 10.1.1.187"]);
        assert!(
            found.len() == 1 && found[0].contains("`10.1.1.187`"),
            "{found:?}"
        );
        assert_eq!(of(&["UP/a 10.1.1.187:0", "UP/b 10.1.1.188:80"]).len(), 1);
        assert_eq!(of(&["UP/a web", "UP/b 10.1.1.188:80"]).len(), 1);
        let rendered = "server frontend2 10.1.1.187";
        assert_eq!(of(&["UP/frontend2 10.1.1.187", rendered]).len(), 1);
    }

    #[test]
    fn a_port_that_the_template_adds_is_not_missed() {
        assert!(of(&["UP/a 10.1.1.187", "UP/b 10.1.1.188"]).is_empty());
        assert!(of(&["UP/a 10.1.1.187", "server a 10.1.1.187:80 check"]).is_empty());
        assert!(of(&["UP/a /run/app.sock"]).is_empty());
        assert!(of(&["UP/a 10.1.1.187:80"]).is_empty());
        let dns = r#"key v3 /skydns/org/myapp/a {"host":"10.0.0.1"}"#;
        assert!(of(&[dns]).is_empty(), "a record of an address has none");
    }
}
