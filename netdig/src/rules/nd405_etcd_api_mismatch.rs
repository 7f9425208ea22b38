//! The network's configuration stands where flanneld does not look.
use super::etcdctl::{self, Verb};
use super::renumber::operand;
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::context::flannel::{self, FlannelNetwork};
use crate::context::registry::{ApiVersion, Key, flannel_prefixes, is_near, told_api};
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(405),
    name: "etcd-api-mismatch",
    severity: Severity::High,
    title: "The network's key is where flanneld does not look",
    needs: &[Part::Registry],
    page: include_str!("../../../docs/playbooks/nd405_etcd_api_mismatch.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let networks = flannel::networks(&view.context.registry);
    for prefix in flannel_prefixes(view.context) {
        let prefix = prefix.trim_end_matches('/');
        let of = |api: ApiVersion| {
            let mut networks = networks.iter();
            networks.find(move |one| one.api == api && one.prefix == prefix)
        };
        let (v2, v3) = (of(ApiVersion::V2), of(ApiVersion::V3));
        let has =
            |network: Option<&FlannelNetwork>| network.is_some_and(|one| one.config.is_some());
        let used =
            |network: Option<&FlannelNetwork>| network.is_some_and(|one| !one.leases.is_empty());
        // Leases beside it show that hosts find their configuration.
        let draft = match (has(v2), has(v3)) {
            (true, false) if !used(v2) => one_store(view, v2, used(v3)),
            (false, true) if !used(v3) => one_store(view, v3, used(v2)),
            (false, false) if !used(v2) && !used(v3) => misnamed(view, prefix),
            _ => None,
        };
        found.extend(draft);
    }
}

const fn other(api: ApiVersion) -> ApiVersion {
    match api {
        ApiVersion::V2 => ApiVersion::V3,
        ApiVersion::V3 => ApiVersion::V2,
    }
}

/// The key is in one store alone, and nobody has a lease by it; `elsewhere` tells of leases in
/// the other one.
fn one_store(view: &View<'_>, network: Option<&FlannelNetwork>, elsewhere: bool) -> Option<Draft> {
    let config = network?.config.as_ref()?;
    let api = config.origin.api;
    let registry = &view.context.registry;
    let wants = other(api);
    // What the other store holds must be known; one that is off holds nothing.
    let unknown = match wants {
        ApiVersion::V2 => matches!(registry.v2, crate::context::registry::Api::NotAsked),
        ApiVersion::V3 => matches!(registry.v3, crate::context::registry::Api::NotAsked),
    };
    let told = told_api(view.context);
    let off = wants == ApiVersion::V2 && !registry.v2.is_read();
    // Today's flanneld reads v3: a key there is amiss only for one that is known to read v2.
    let known = told.is_some() || elsewhere;
    if unknown || told == Some(api) || !known && (off || api == ApiVersion::V3) {
        return None;
    }
    let key = &config.origin.key;
    let reads = match told {
        Some(told) => format!("flanneld here reads {told}"),
        None if elsewhere => format!("the leases are in {wants}"),
        None => "no host has a lease by it".to_owned(),
    };
    let command = etcdctl::copy(view, (api, key), (wants, key));
    let draft = Draft::new(
        key.clone(),
        format!("{key} stands in etcd's store {api} alone, and {reads}"),
    )
    .because(
        "etcd keeps what is written by API v2 and by API v3 apart: neither sees the other's \
         keys. flanneld 0.18 and later read v3, those before read v2. One that finds no \
         configuration waits for it and says so once a second; no tunnel comes up.",
    )
    .seen(Evidence::new(
        config.origin.source(),
        config.origin.place(),
        "the network's configuration",
    ))
    .seen(Evidence::new(
        format!("etcd {wants}"),
        key.clone(),
        "no such key",
    ))
    .fix("flanneld --version   # 0.18 and later: v3; before: v2")
    .fix(format!("# if it reads {wants}: the same key for {wants}"))
    .fix(command)
    .fix("systemctl restart flanneld");
    Some(match told {
        Some(_) => draft,
        None => draft.confidence(Confidence::Likely),
    })
}

/// The key is in neither store, and one of nearly its name is.
fn misnamed(view: &View<'_>, prefix: &str) -> Option<Draft> {
    let meant = |key: &&Key| {
        let text = key.value.text().unwrap_or_default();
        is_near(&key.key, prefix) && text.contains("\"Network\"")
    };
    let key = view.context.registry.keys.iter().find(meant)?;
    let wanted = format!("{prefix}/config");
    let (name, api) = (&key.key, key.api);
    let copied = etcdctl::copy(view, (api, name), (api, &wanted));
    // In the line that has asked for the password already.
    let delete = etcdctl::unasked(view, api, Verb::Delete);
    let moved = format!("{copied} && {delete} {}", operand(name));
    Some(
        Draft::new(
            name.clone(),
            format!("{name} holds a network's configuration; flanneld reads {wanted}, which is not there"),
        )
        .because(
            "A key's name counts to the letter: a slash at its beginning, capitals, an `s`. \
             flanneld waits for the key that it was told of, and no tunnel comes up.",
        )
        .seen(Evidence::new(key.source(), key.place(), "a configuration with a Network"))
        .seen(Evidence::new(format!("etcd {api}"), wanted.clone(), "no such key"))
        .fix(moved)
        .fix(format!("# or tell flanneld where it is: --etcd-prefix, in place of {prefix}"))
        .fix("systemctl restart flanneld"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::testing::{context, findings};
    use super::super::{View, evaluate};
    use super::*;
    use crate::context::Process;
    use crate::context::registry::Api;

    const V2: &str = r#"key v2 /coreos.com/network/config {"Network":"192.168.0.0/16"}"#;
    const V3: &str = r#"key v3 /coreos.com/network/config {"Network":"192.168.0.0/16"}"#;

    fn told(text: &str, args: &[&str]) -> Vec<String> {
        let mut context = context(text);
        if context.registry.v2 == Api::NotAsked {
            context.registry.v2 = Api::Read {
                cluster: None,
                revision: 1,
            };
        }
        if context.registry.v3 == Api::NotAsked {
            context.registry.v3 = Api::Read {
                cluster: None,
                revision: 1,
            };
        }
        if !args.is_empty() {
            context.processes.push(Process {
                comm: "flanneld".to_owned(),
                args: args.iter().map(|&arg| arg.to_owned()).collect(),
                ..Process::default()
            });
        }
        let report = evaluate(&View::new(&context, None));
        let mine = report
            .findings
            .into_iter()
            .filter(|one| one.code == Code(405));
        mine.map(|one| format!("{} {:?}", one.title, one.confidence))
            .collect()
    }

    #[test]
    fn the_key_is_in_one_store() {
        assert!(
            told(V2, &[])[0].contains("/coreos.com/network/config stands in etcd's store v2 alone")
        );
        assert!(told(V2, &[])[0].contains("Likely"));
        assert!(told(V3, &[]).is_empty(), "as it is with today's flanneld");
        let old = ["flanneld", "--etcd-endpoints=http://e:2379", "--api=v2"];
        assert!(
            told(V3, &old)[0].contains("flanneld here reads v2 Certain"),
            "{:?}",
            told(V3, &old)
        );
        assert!(told(V2, &old).is_empty());
    }

    #[test]
    fn leases_in_the_other_store_tell_which_one_is_read() {
        let lease =
            r#"key v2 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95"}"#;
        let found = told(&format!("{V3}\n{lease}"), &[]);
        assert!(
            found[0].contains("v3 alone, and the leases are in v2 Likely"),
            "{found:?}"
        );
        let found = told(&format!("{V2}\n{}", lease.replace("v2", "v3")), &[]);
        assert!(
            found[0].contains("v2 alone, and the leases are in v3"),
            "{found:?}"
        );
    }

    #[test]
    fn both_stores_a_lease_or_an_unread_store_are_none() {
        assert!(told(&format!("{V2}\n{V3}"), &[]).is_empty());
        let lease =
            r#"key v2 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95"}"#;
        assert!(told(&format!("{V2}\n{lease}"), &[]).is_empty());
        assert!(findings(V2, 405).is_empty(), "v3 was not asked");
        assert!(told("", &[]).is_empty());
    }

    #[test]
    fn names_with_a_mistake() {
        for name in [
            "/coreos.com/networks/config",
            "coreos.com/network/config",
            "/coreos.com/network/Config",
        ] {
            let found = told(
                &format!(r#"key v3 {name} {{"Network":"192.168.0.0/16"}}"#),
                &[],
            );
            assert!(
                found.len() == 1 && found[0].starts_with(&format!("{name} holds")),
                "{found:?}"
            );
        }
        assert!(told(r#"key v3 /coreos.com/networks/config {"a":1}"#, &[]).is_empty());
        assert!(told(r#"key v3 /skydns/config {"Network":"192.168.0.0/16"}"#, &[]).is_empty());
        let other = r#"key v3 /blue/config {"Network":"192.168.0.0/16"}"#;
        assert!(
            told(
                other,
                &[
                    "flanneld",
                    "--etcd-prefix=/blue",
                    "--etcd-endpoints=e",
                    "--api=v3"
                ]
            )
            .is_empty()
        );
    }
}
