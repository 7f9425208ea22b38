use super::super::{Decision, Firewall, Passing, State};
use super::*;
use crate::context::bounded::testing::Folder;

/// As nft 1.0.6 prints, shortened.
fn listed(rules: &str) -> String {
    format!(
        r#"{{"nftables":[{{"metainfo":{{"version":"1.0.6"}}}},{{"table":{{"family":"inet","name":"f"}}}},
        {{"set":{{"family":"inet","table":"f","name":"ours","type":"ipv4_addr","elem":[
            {{"prefix":{{"addr":"192.168.0.0","len":16}}}},{{"elem":{{"val":"10.1.1.1","timeout":5}}}}]}}}},
        {{"chain":{{"family":"inet","table":"f","name":"fwd","type":"filter","hook":"forward","prio":0,"policy":"drop"}}}},
        {{"chain":{{"family":"inet","table":"f","name":"sub"}}}}{rules}]}}"#
    )
}

fn rule(chain: &str, statements: &str) -> String {
    format!(
        r#"{{"rule":{{"family":"inet","table":"f","chain":"{chain}","handle":7,"expr":[{statements}]}}}}"#
    )
}

fn firewall(rules: &[String]) -> Firewall {
    let rules: String = rules.iter().map(|rule| format!(",{rule}")).collect();
    let text = listed(&rules);
    let (chains, _) = nft::parse(text.as_bytes()).expect("JSON");
    Firewall { chains }
}

fn said(rules: &[String], state: State) -> &'static str {
    let firewall = firewall(rules);
    let packet = Passing {
        source: "192.168.69.2".parse().expect("an address"),
        destination: "192.168.13.2".parse().expect("an address"),
        iif: "flannel0",
        oif: "docker0",
        protocol: Some("tcp"),
        source_port: None,
        destination_port: Some(8080),
        state,
    };
    match firewall.forward(&packet) {
        Decision::Accept => "accept",
        Decision::Drop(_) => "drop",
        Decision::Unknown(_) => "unknown",
    }
}

fn left(kind: &str, key: &str, right: &str, end: &str) -> String {
    let left = match kind {
        "payload" => {
            let (protocol, field) = key.split_once(' ').expect("two words");
            format!(r#"{{"payload":{{"protocol":"{protocol}","field":"{field}"}}}}"#)
        }
        kind => format!(r#"{{"{kind}":{{"key":"{key}"}}}}"#),
    };
    let operator = if end.starts_with('!') { "!=" } else { "==" };
    let end = end.trim_start_matches('!');
    let tests = format!(r#"{{"match":{{"op":"{operator}","left":{left},"right":{right}}}}}"#);
    rule(
        "fwd",
        &format!(r#"{tests},{{"counter":{{"packets":3}}}},{{"{end}":null}}"#),
    )
}

#[test]
fn conditions_of_nft_are_judged() {
    assert_eq!(said(&[], State::New), "drop");
    for (kind, key, right, expected) in [
        (
            "payload",
            "ip saddr",
            r#"{"prefix":{"addr":"192.168.0.0","len":16}}"#,
            "accept",
        ),
        ("payload", "ip saddr", r#""10.1.1.1""#, "drop"),
        ("payload", "ip daddr", r#""@ours""#, "accept"),
        ("payload", "ip daddr", r#""@unknown""#, "unknown"),
        (
            "payload",
            "ip daddr",
            r#"{"set":[{"range":["192.168.13.1","192.168.13.5"]}]}"#,
            "accept",
        ),
        ("payload", "ip6 daddr", r#""fd00::1""#, "drop"),
        (
            "payload",
            "tcp dport",
            r#"{"set":[80,{"range":[8000,9000]}]}"#,
            "accept",
        ),
        ("payload", "udp dport", "8080", "drop"),
        ("meta", "iifname", r#"{"set":["br*","flannel*"]}"#, "accept"),
        ("meta", "oifname", r#""eth0""#, "drop"),
        ("meta", "nfproto", r#""ipv6""#, "drop"),
        ("meta", "l4proto", r#""tcp""#, "accept"),
        ("meta", "mark", "16", "drop"),
        ("meta", "skuid", "0", "unknown"),
        ("ct", "state", r#"["established","related"]"#, "drop"),
        ("ct", "direction", r#""reply""#, "unknown"),
    ] {
        let rules = [left(kind, key, right, "accept")];
        assert_eq!(said(&rules, State::New), expected, "{kind} {key} {right}");
    }
    let established = [left(
        "ct",
        "state",
        r#"["established","related"]"#,
        "accept",
    )];
    assert_eq!(said(&established, State::Established), "accept");
    let other = [left("payload", "ip saddr", r#""10.1.1.1""#, "!accept")];
    assert_eq!(said(&other, State::New), "accept");
}

#[test]
fn verdict_maps_and_jumps_are_followed() {
    let map = r#"{"vmap":{"key":{"ct":{"key":"state"}},"data":{"set":[["established",{"accept":null}],
        ["new",{"jump":{"target":"sub"}}]]}}}"#;
    let rules = [rule("fwd", map), rule("sub", r#"{"accept":null}"#)];
    assert_eq!(said(&rules, State::New), "accept");
    assert_eq!(said(&rules, State::Established), "accept");
    assert_eq!(said(&rules[..1], State::New), "drop");
}

#[test]
fn concatenations_are_read_part_by_part() {
    let links = r#"{"concat":[{"meta":{"key":"iifname"}},{"meta":{"key":"oifname"}}]}"#;
    let pair = |a: &str, b: &str| format!(r#"{{"concat":["{a}","{b}"]}}"#);
    let matched = |elements: &[String]| {
        let right = format!(r#"{{"set":[{}]}}"#, elements.join(","));
        let tests = format!(r#"{{"match":{{"op":"==","left":{links},"right":{right}}}}}"#);
        rule("fwd", &format!(r#"{tests},{{"accept":null}}"#))
    };
    let (forth, back) = (pair("docker0", "flannel0"), pair("flannel0", "docker0"));
    let both = matched(&[forth.clone(), back.clone()]);
    assert_eq!(said(&[both], State::New), "accept");
    assert_eq!(
        said(&[matched(std::slice::from_ref(&forth))], State::New),
        "drop"
    );
    let map = |element: &str| {
        let data = format!(r#"{{"set":[[{element},{{"accept":null}}]]}}"#);
        rule(
            "fwd",
            &format!(r#"{{"vmap":{{"key":{links},"data":{data}}}}}"#),
        )
    };
    assert_eq!(said(&[map(&back)], State::New), "accept");
    assert_eq!(said(&[map(&forth)], State::New), "drop");
    let odd = matched(&[r#"{"concat":["docker0"]}"#.to_owned()]);
    assert_eq!(said(&[odd], State::New), "unknown");
}

#[test]
fn text_is_about_what_nft_prints() {
    let rules = [left(
        "payload",
        "ip saddr",
        r#"{"prefix":{"addr":"192.168.0.0","len":16}}"#,
        "accept",
    )];
    let firewall = firewall(&rules);
    let first = &firewall.chains[0].rules[0];
    assert_eq!(first.text, "ip saddr 192.168.0.0/16 counter accept");
    assert_eq!((first.packets, first.handle), (Some(3), Some(7)));
}

#[test]
fn odd_output_is_an_error_or_uncertain() {
    for text in ["", "{", "[]", "{\"nftables\":5}"] {
        assert!(nft::parse(text.as_bytes()).is_err(), "{text}");
    }
    for statement in [
        "5",
        "{}",
        "null",
        r#"{"match":5}"#,
        r#"{"vmap":{}}"#,
        r#"{"new":{}}"#,
    ] {
        let rules = [rule("fwd", &format!(r#"{statement},{{"accept":null}}"#))];
        assert_ne!(said(&rules, State::New), "accept", "{statement}");
    }
    for save in [
        "*",
        ":",
        ":x",
        "[",
        "[1",
        "-A ",
        "-A x",
        "[1:2] -A FORWARD -s",
        "\u{fffd}",
    ] {
        let text = format!("*filter\n:FORWARD ACCEPT\n{save}\n-A FORWARD -j\n-A FORWARD ! -p \"x");
        assert!(!iptables::parse(&text, Backend::IptablesLegacy).is_empty());
    }
}

#[test]
fn rules_of_iptables_are_taken_from_its_own_tool() {
    let text = r#"{"nftables":[{"chain":{"family":"ip","table":"filter","name":"FORWARD","type":"filter",
        "hook":"forward","prio":0,"policy":"drop"}},{"rule":{"family":"ip","table":"filter","chain":"FORWARD",
        "expr":[{"xt":{"type":"match","name":"conntrack"}},{"accept":null}]}}]}"#;
    let (mut chains, foreign) = nft::parse(text.as_bytes()).expect("JSON");
    assert!(foreign && chains[0].rules[0].others);
    let save = "*filter\n:FORWARD DROP [0:0]\n[9:9] -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT\n";
    replace(
        &mut chains,
        "ip",
        iptables::parse(save, Backend::IptablesNft),
    );
    assert_eq!(chains[0].backend, Backend::IptablesNft);
    assert_eq!(chains[0].policy.as_deref(), Some("drop"));
    let rule = &chains[0].rules[0];
    assert!(!rule.others && rule.states == ["established"] && rule.packets == Some(9));
}

#[test]
fn only_what_the_hooks_reach_is_kept() {
    let save = "*nat\n:PREROUTING ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\n:SVC -\n:MASQ -\n\
                -A OUTPUT -j SVC\n-A POSTROUTING -j MASQ\n-A MASQ -j RETURN";
    let kept = reached(iptables::parse(save, Backend::IptablesLegacy));
    let names: Vec<&str> = kept.iter().map(|chain| chain.name.as_str()).collect();
    assert_eq!(names, ["POSTROUTING", "MASQ"]);
}

#[test]
fn without_the_module_nft_is_not_asked() {
    let files: &[(&str, &[u8])] = &[
        ("proc/sys/kernel/osrelease", b"6.1\n"),
        ("proc/modules", b"xfs 1 0\n"),
        (
            "lib/modules/6.1/modules.builtin",
            b"kernel/fs/ext4/ext4.ko\n",
        ),
    ];
    let folder = Folder::with(files);
    assert!(!in_use(folder.path()));
    folder.write("proc/modules", b"nf_tables 1 0\n");
    assert!(in_use(folder.path()));
    assert!(in_use(Folder::new().path()));
}
