//! ND209: containers' addresses are hidden inside their own overlay.
use super::passage::{Passage, passages};
use super::renumber::quoted;
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::context::firewall::{At, Backend, FirewallRule, Nat, Passing, State, Verdict};
use crate::finding::{Code, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(209),
    name: "masq-hides-source",
    severity: Severity::Info,
    title: "POSTROUTING gives traffic inside the overlay this host's address",
    needs: &[Part::Firewall, Part::Links, Part::Addresses],
    page: include_str!("../../../docs/playbooks/nd209_masq_hides_source.md"),
    check,
};

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let mut seen = Vec::new();
    for passage in passages(view) {
        let packet = Passing {
            source: passage.local,
            destination: passage.remote,
            iif: passage.bridge,
            oif: passage.link,
            protocol: None,
            source_port: None,
            destination_port: None,
            state: State::New,
        };
        let Nat::Rewritten(at) = view.context.firewall.postrouting(&packet) else {
            continue;
        };
        if let Some(rule) = at.rule
            && !seen.contains(&passage.own)
        {
            seen.push(passage.own);
            found.push(draft(&passage, at, rule));
        }
    }
}

fn draft(passage: &Passage<'_>, at: At<'_>, rule: &FirewallRule) -> Draft {
    let Passage {
        own, network, link, ..
    } = passage;
    let chain = at.chain;
    let (how, address) = match &rule.verdict {
        Verdict::Snat { to, .. } => ("rewrites", to.clone()),
        _ => ("masquerades", format!("the address of {link}")),
    };
    let table = format!("table {} {}", chain.family, chain.table);
    let mut draft = Draft::new(
        own.to_string(),
        format!(
            "{} of {table} {how} what {own} sends inside {network}: other hosts see {address}",
            chain.name
        ),
    )
    .because(
        "Traffic between containers of the overlay needs no translation: both ends have routes \
         to each other. With it, logs, access lists and network policies see the host in place \
         of the container, and connection tracking has another reason to run out of ports.",
    )
    .seen(Evidence::new(
        "firewall",
        format!("chain {} of {table}: {}", chain.name, rule.text),
        format!(
            "applies to {} → {} by {link}",
            passage.local, passage.remote
        ),
    ));
    if rule.oif.iter().any(|oif| oif.negated) {
        draft = draft.fix(
            "# docker adds this rule for its bridge: start dockerd with --ip-masq=false, flannel's own --ip-masq then does what is needed",
        );
    }
    draft = draft.fix("# exempt the overlay, before the rule that translates:");
    for command in exempt(passage, at) {
        draft = draft.fix(command);
    }
    draft
}

fn exempt(passage: &Passage<'_>, at: At<'_>) -> Vec<String> {
    let (chain, own, network) = (at.chain, passage.own, passage.network);
    vec![match chain.backend {
        Backend::Nft => {
            let family = if own.addr().is_ipv6() { "ip6" } else { "ip" };
            format!(
                "nft insert rule {} {} {} {family} saddr {own} {family} daddr {network} return",
                quoted(&chain.family),
                quoted(&chain.table),
                quoted(&chain.name)
            )
        }
        backend => format!(
            "{} -t {} -I {} -s {own} -d {network} -j RETURN",
            backend.command(),
            quoted(&chain.table),
            quoted(&chain.name)
        ),
    }]
}

#[cfg(test)]
mod tests {
    use super::super::testing;

    const HOST: &str = "
        link eth0
        link flannel0 tun
        link docker0 bridge
        address 10.1.1.95/24 dev eth0
        address 192.168.69.0/16 dev flannel0
        address 192.168.69.1/24 dev docker0
        save *nat
        save :POSTROUTING ACCEPT
        ";

    fn titles(save: &str) -> Vec<String> {
        let findings = testing::findings(&format!("{HOST}{}", testing::saved(save)), 209);
        findings.into_iter().map(|finding| finding.title).collect()
    }

    #[test]
    fn masquerading_inside_the_overlay_is_found() {
        assert_eq!(
            titles("-A POSTROUTING -s 192.168.69.0/24 -j MASQUERADE"),
            [
                "POSTROUTING of table ip nat masquerades what 192.168.69.0/24 sends inside \
              192.168.0.0/16: other hosts see the address of flannel0"
            ]
        );
        // Docker's rule, with its bridge in the overlay.
        assert_eq!(
            titles("-A POSTROUTING -s 192.168.69.0/24 ! -o docker0 -j MASQUERADE").len(),
            1
        );
        let snat = titles("-A POSTROUTING -o flannel0 -j SNAT --to-source 10.1.1.95");
        assert!(snat[0].ends_with("other hosts see 10.1.1.95"));
    }

    #[test]
    fn exempted_and_uncertain_traffic_is_left_alone() {
        for save in [
            "",
            // flannel's own rules, as iptables prints them.
            "-A POSTROUTING -s 192.168.0.0/16 -d 192.168.0.0/16 -j RETURN
             -A POSTROUTING -s 192.168.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully
             -A POSTROUTING ! -s 192.168.0.0/16 -d 192.168.69.0/24 -j RETURN
             -A POSTROUTING ! -s 192.168.0.0/16 -d 192.168.0.0/16 -j MASQUERADE --random-fully",
            "-A POSTROUTING -s 192.168.69.0/24 ! -d 192.168.0.0/16 -j MASQUERADE",
            "-A POSTROUTING -o eth0 -j MASQUERADE",
            "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE",
            "-A POSTROUTING -m set --match-set ours src -j MASQUERADE",
            "-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE",
        ] {
            assert!(titles(save).is_empty(), "{save}");
        }
    }
}
