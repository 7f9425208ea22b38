//! What all rules have in common: the catalogue, a page of one shape, a scenario each.
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::{RULES, Rule, View, evaluate, testing};
use crate::context::Context;
use crate::context::registry::{Api, Endpoint, Past, Value};

/// The catalogue. Codes never change their meaning, and scripts go by severities.
const CATALOGUE: &str = "
    ND101 overlay-underlay-overlap critical
    ND102 nameserver-via-overlay critical
    ND103 tunnel-recursion critical
    ND104 bridge-collision high
    ND105 service-cidr-overlap high
    ND106 bridge-subnet-mismatch high
    ND107 subnet-misaligned medium
    ND108 subnets-exhausted medium
    ND201 ip-forward-off high
    ND202 forward-policy-drop critical
    ND203 rp-filter-strict high
    ND204 stale-route high
    ND205 missing-route-neigh-fdb critical
    ND206 neigh-overflow medium
    ND207 icmp-unreach-martian info
    ND208 host-gw-not-l2 high
    ND209 masq-hides-source info
    ND210 conntrack-insert-race high
    ND301 mtu-mismatch high
    ND302 pmtu-blackhole high
    ND303 one-way-tunnel critical
    ND304 port-conflict high
    ND305 vxlan-checksum-offload high
    ND306 vtep-mac-mismatch critical
    ND308 proto-filtered high
    ND309 inner-not-sent critical
    ND310 unknown-peer medium
    ND401 nat-public-ip critical
    ND402 duplicate-lease-owner critical
    ND403 lease-renumbered high
    ND404 subnet-env-missing high
    ND405 etcd-api-mismatch high
    ND406 backend-type-mixed high
    ND407 config-clobber medium
    ND408 public-ip-unreachable high
    ND409 lease-expiring high
    ND501 blank-host critical
    ND502 self-loop-upstream critical
    ND503 rejected-value high
    ND504 portless-upstream medium
    ND505 duplicate-upstream medium
    ND506 upstream-not-leased high
    ND507 stale-upstream high
    ND508 wrong-address-registered high
    ND509 upstream-unreachable high
    ND510 empty-set high
    ND901 events-lost info
    ND902 payload-cut info
    ND903 no-permission info
    ND904 clock-skew info
";

/// Rules without a scenario of their own, each with the reason.
const WITHOUT_SCENARIO: &[(u16, &str)] = &[
    (
        206,
        "the neighbour table's limit is the machine's, not a namespace's",
    ),
    (
        210,
        "two answers have to race for one conntrack entry: tested with packets made by hand",
    ),
    (305, "it takes a card that computes the checksum wrongly"),
    (308, "no backend of the lab sends IP in IP or GRE"),
    (
        901,
        "it is about the run itself: lost events cannot be ordered",
    ),
    (
        902,
        "it is about the run itself: tested with files that were cut",
    ),
    (903, "it is about the run itself: a lab is run by root"),
    (904, "all hosts of a lab have one clock"),
];

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `nd101_overlay_underlay_overlap`.
fn stem(rule: &Rule) -> String {
    let number = rule.code.0;
    format!("nd{number:03}_{}", rule.name.replace('-', "_"))
}

/// Names of the files of a folder, as far as they begin with a rule's code.
fn of_rules(folder: &str, ending: &str) -> BTreeSet<String> {
    let folder = repository().join(folder);
    let files =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let names = files.map(|file| file.expect("an entry").file_name());
    let names = names.map(|name| name.to_string_lossy().into_owned());
    names
        .filter_map(|name| name.strip_suffix(ending).map(str::to_owned))
        .filter(|name| {
            let digits = name.get(2..5).unwrap_or_default();
            name.starts_with("nd") && digits.bytes().all(|one| one.is_ascii_digit())
        })
        .collect()
}

#[test]
fn the_rules_are_the_catalogues_in_order() {
    let lines = CATALOGUE.trim().lines().map(|line| line.trim().to_owned());
    let rules = RULES
        .iter()
        .map(|rule| format!("{} {} {}", rule.code, rule.name, rule.severity.name()));
    assert_eq!(
        rules.collect::<Vec<_>>(),
        lines.collect::<Vec<_>>(),
        "RULES and the catalogue, in order of codes"
    );
}

#[test]
fn every_file_of_a_rule_is_registered_under_its_name() {
    let registered: BTreeSet<String> = RULES.iter().map(stem).collect();
    // Tests that stand beside a rule have no name of a rule's.
    let mut files = of_rules("netdig/src/rules", ".rs");
    files.retain(|name| !name.ends_with("_tests"));
    assert_eq!(files, registered);
    assert_eq!(of_rules("docs/playbooks", ".md"), registered);
}

#[test]
fn titles_are_lines() {
    for rule in RULES {
        let title = rule.title;
        let fits = !title.is_empty() && !title.contains('\n') && title.len() <= 100;
        assert!(fits && !title.ends_with('.'), "{}: {title}", rule.code);
    }
}

#[test]
fn pages_have_one_shape() {
    const SECTIONS: [&str; 5] = ["Symptom", "Why", "Confirm", "Fix", "References"];
    for rule in RULES {
        let mut sections = rule.page.split("\n## ");
        let head = sections.next().unwrap_or_default();
        let mut lines = head.lines();
        let title = format!("# {} {}", rule.code, rule.name);
        assert_eq!(lines.next(), Some(title.as_str()));
        assert_eq!(lines.next(), Some(""), "{}", rule.code);
        let severity = rule.severity.name();
        let sentence = lines.next().unwrap_or_default().to_lowercase();
        assert!(
            sentence.starts_with(&format!("{severity}. ")),
            "{}: the page begins with its severity and a sentence: {sentence}",
            rule.code
        );
        let sections: Vec<(&str, &str)> = sections
            .map(|section| section.split_once('\n').unwrap_or((section, "")))
            .collect();
        let names: Vec<&str> = sections.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, SECTIONS, "{}", rule.code);
        for (name, text) in sections {
            assert!(!text.trim().is_empty(), "{}: {name} is empty", rule.code);
            let commands = ["Confirm", "Fix"].contains(&name);
            let has = text.contains("```sh\n");
            assert!(
                has || !commands || may_lack_commands(rule),
                "{}: {name}",
                rule.code
            );
        }
        let ended = rule.page.lines().filter(|line| line.starts_with("```"));
        assert_eq!(ended.count() % 2, 0, "{}: a fence is open", rule.code);
    }
}

#[test]
fn pages_say_which_api_etcdctl_is_to_speak() {
    for rule in RULES {
        let mut silent = rule
            .page
            .lines()
            .filter(|line| line.starts_with("etcdctl "));
        assert_eq!(silent.next(), None, "{}: of etcd 3.3 it is v2", rule.code);
    }
}

/// What is told of for information alone has no command that cures it.
fn may_lack_commands(rule: &Rule) -> bool {
    rule.code.0 == 207 || rule.code.0 >= 900
}

/// The codes that scenarios are made for.
fn in_scenarios() -> BTreeSet<String> {
    let folder = repository().join("scenarios");
    let mut codes = BTreeSet::new();
    for entry in fs::read_dir(&folder).expect("scenarios") {
        let file = entry.expect("an entry").path().join("scenario.toml");
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let scenario: toml::Table =
            toml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let finding = scenario.get("finding").and_then(toml::Value::as_array);
        let named = finding
            .into_iter()
            .flatten()
            .filter_map(toml::Value::as_str);
        codes.extend(named.map(str::to_owned));
    }
    codes
}

#[test]
fn every_rule_has_a_scenario_or_a_reason() {
    let there = in_scenarios();
    for rule in RULES {
        let reason = WITHOUT_SCENARIO
            .iter()
            .find(|(code, _)| *code == rule.code.0);
        let has = there.contains(&rule.code.to_string());
        assert!(has || reason.is_some(), "{} has no scenario", rule.code);
        assert!(!has || reason.is_none(), "{} has a scenario now", rule.code);
    }
}

/// Contexts of which some rule's fix has etcdctl in it.
const WITH_ETCDCTL: &[&str] = &[
    "link eth0\naddress 10.1.0.95/16 dev eth0\nlink flannel0 tun\naddress 10.1.5.0/16 dev flannel0
     key V /coreos.com/network/config {\"Network\":\"10.1.0.0/16\"}
     key V /coreos.com/network/subnets/10.1.5.0-24 {\"PublicIP\":\"10.1.0.95\"}",
    "key V /n/config {\"Network\":\"192.168.0.0/16\",\"SubnetMin\":\"192.168.10.64\"}",
    "key V /n/config {\"Network\":\"192.168.0.0/24\",\"SubnetLen\":26}
     key V /n/subnets/192.168.0.64-26 {\"PublicIP\":\"10.1.1.1\"}
     key V /n/subnets/192.168.0.128-26 {\"PublicIP\":\"10.1.1.2\"}
     key V /n/subnets/192.168.0.192-26 {\"PublicIP\":\"10.1.1.3\"}",
    "link eth0\naddress 10.1.1.95/24 dev eth0\nlink docker0 bridge\naddress 192.168.70.1/24 dev docker0
     key V /coreos.com/network/config {\"Network\":\"192.168.0.0/16\"}
     key V /coreos.com/network/subnets/192.168.69.0-24 {\"PublicIP\":\"10.1.1.95\"}
     key V /coreos.com/network/subnets/192.168.13.0-24 {\"PublicIP\":\"10.0.2.15\"}
     key V /coreos.com/network/subnets/192.168.14.0-24 {\"PublicIP\":\"10.1.1.99\",\"BackendType\":\"vxlan\"}
     neigh 10.1.1.99 dev eth0 FAILED",
    "key V /coreos.com/networks/config {\"Network\":\"192.168.0.0/16\"}",
    "key v2 /coreos.com/network/config {\"Network\":\"192.168.0.0/16\"}
     key v3 /coreos.com/network/subnets/192.168.69.0-24 {\"PublicIP\":\"10.1.1.95\"}",
    "key V /coreos.com/network/config {\"Network\":\"192.168.0.0/16\"}
     key V /coreos.com/network/subnets/192.168.13.0-24 {\"PublicIP\":\"10.1.1.187\"}",
];

/// One of [`WITH_ETCDCTL`], as an etcd that wants certificates and a user told it.
fn of_etcd(text: &str, api: &str) -> Context {
    let mut context = testing::context(&text.replace("key V ", &format!("key {api} ")));
    let registry = &mut context.registry;
    registry.endpoints.push(Endpoint {
        url: "https://10.1.1.95:2379".to_owned(),
        ..Endpoint::default()
    });
    registry.login.cacert = Some("/ca.pem".to_owned());
    registry.login.user = Some("root".to_owned());
    for other in [&mut registry.v2, &mut registry.v3] {
        if !other.is_read() {
            *other = Api::Read {
                cluster: None,
                revision: 1,
            };
        }
    }
    // The last lease is late, and the first key went to and fro.
    if let Some(last) = registry.keys.last_mut() {
        last.ttl = Some(60);
    }
    let past = |text: &str, modified| Past {
        value: Value::Text(text.to_owned()),
        modified,
    };
    let first = &mut registry.keys[0];
    let now = first.value.text().unwrap_or_default().to_owned();
    first.history = vec![past("{\"Network\":\"10.9.0.0/16\"}", 9), past(&now, 8)];
    context
}

#[test]
fn every_etcdctl_is_complete() {
    const START: [&str; 4] = [
        "ETCDCTL_API=2 etcdctl --endpoints https://10.1.1.95:2379 --ca-file /ca.pem --username root ",
        "ETCDCTL_API=3 etcdctl --endpoints https://10.1.1.95:2379 --cacert /ca.pem --user root ",
        "ETCDCTL_API=2 etcdctl --endpoints https://10.1.1.95:2379 --ca-file /ca.pem --username root:\"$PW\" ",
        "ETCDCTL_API=3 etcdctl --endpoints https://10.1.1.95:2379 --cacert /ca.pem --user root:\"$PW\" ",
    ];
    let mut codes = BTreeSet::new();
    for (text, api) in WITH_ETCDCTL
        .iter()
        .flat_map(|text| [(text, "v2"), (text, "v3")])
    {
        let context = of_etcd(text, api);
        for finding in evaluate(&View::new(&context, None)).findings {
            let lines = finding.fix.iter().filter(|line| !line.starts_with('#'));
            for line in lines.filter(|line| line.contains("etcdctl")) {
                let complete: usize = START.iter().map(|start| line.matches(start).count()).sum();
                let all = line.matches("etcdctl").count();
                assert_eq!(all, complete, "{}: {line}", finding.code);
                // Its question would stand among the output, or be answered by the input.
                let asks = START[..2].iter().any(|start| line.contains(start));
                let fed = line.contains("$(") || line.contains(" | ");
                assert!(!(asks && fed), "{}: {line}", finding.code);
                let knows = line.contains("read -rsp") || finding.code.0 == 407;
                assert!(knows || !line.contains("$PW"), "{}: {line}", finding.code);
                codes.insert(finding.code.to_string());
            }
        }
    }
    let wanted = [
        "ND101", "ND107", "ND108", "ND401", "ND403", "ND405", "ND406", "ND407", "ND408", "ND409",
    ];
    let missing: Vec<_> = wanted.iter().filter(|one| !codes.contains(**one)).collect();
    assert!(missing.is_empty(), "no fix of {missing:?} in {codes:?}");
}

/// Contexts of which some rule's fix names the link LINK.
const WITH_LINK: &[&str] = &[
    "link eth0\nlink LINK tun\nlink docker0 bridge\naddress 10.1.1.95/24 dev eth0
     address 192.168.69.0/16 dev LINK\naddress 192.168.69.1/24 dev docker0
     sysctl net.ipv4.ip_forward 1\nsysctl net.ipv4.conf.LINK.forwarding 0",
    "link eth0\nlink LINK tun\naddress 10.1.1.95/24 dev eth0\naddress 192.168.69.0/32 dev LINK
     route 10.1.1.0/24 dev eth0\nroute 192.168.0.0/16 dev LINK
     route 192.168.13.0/24 via 10.1.1.1 dev eth0
     sysctl net.ipv4.conf.all.rp_filter 0\nsysctl net.ipv4.conf.LINK.rp_filter 1",
    "link LINK\nlink flannel0 tun\naddress 10.1.1.95/24 dev LINK
     address 192.168.69.0/16 dev flannel0\nroute 10.1.1.0/24 dev LINK
     route 192.168.77.0/24 via 10.1.1.177 dev LINK onlink",
    "link eth0\nlink LINK vxlan vni 1 port 8472 mac 02:00:00:00:00:77
     address 10.1.1.95/24 dev eth0\naddress 192.168.69.0/32 dev LINK\nroute 10.1.1.0/24 dev eth0",
    "link eth0\nlink flannel0 tun mtu 1472\nlink docker0 bridge\nlink LINK veth master docker0
     address 10.1.1.95/24 dev eth0\naddress 192.168.69.0/16 dev flannel0
     address 192.168.69.1/24 dev docker0",
];

/// The keys that [`WITH_LINK`] goes with.
const OF_LINKS: &str = r#"
    key v3 /coreos.com/network/config {"Network":"192.168.0.0/16"}
    key v3 /coreos.com/network/subnets/192.168.69.0-24 {"PublicIP":"10.1.1.95","BackendType":"TYPE","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}}
    key v3 /coreos.com/network/subnets/192.168.13.0-24 {"PublicIP":"10.1.1.187","BackendType":"TYPE","BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:00:02"}}
"#;

/// A line's words as a shell takes them apart; what ends a command is a word too.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match (quote, c) {
            (Some(end), c) if c == end => quote = None,
            (Some(_), c) => word.push(c),
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') => words.push(std::mem::take(&mut word)),
            (None, ';' | '&' | '|') => {
                words.push(std::mem::take(&mut word));
                words.push(c.to_string());
            }
            (None, c) => word.push(c),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

#[test]
fn a_links_name_is_one_word_of_a_fix() {
    let mut codes = BTreeSet::new();
    for name in ["a;reboot", "-x", "eth0.100"] {
        for text in WITH_LINK {
            let backend = if text.contains(" vxlan ") {
                "vxlan"
            } else {
                "udp"
            };
            let keys = OF_LINKS.replace("TYPE", backend);
            let context = testing::context(&format!("{}\n{keys}", text.replace("LINK", name)));
            for finding in evaluate(&View::new(&context, None)).findings {
                let lines = finding.fix.iter().filter(|line| !line.starts_with('#'));
                for line in lines.filter(|line| line.contains(name)) {
                    let words = words(line);
                    let shown = format!("{}: {line}", finding.code);
                    assert!(!words.iter().any(|word| word == "reboot"), "{shown}");
                    assert!(!line.contains(".eth0.100"), "a path of sysctls: {shown}");
                    for pair in words.windows(2).filter(|pair| pair[1] == "-x") {
                        let before = pair[0].as_str();
                        assert!(["dev", "-i", "-o", "--"].contains(&before), "{shown}");
                    }
                    codes.insert(finding.code.to_string());
                }
            }
        }
    }
    let wanted = ["ND201", "ND203", "ND204", "ND205", "ND301", "ND306"];
    let missing: Vec<_> = wanted.iter().filter(|one| !codes.contains(**one)).collect();
    assert!(missing.is_empty(), "no fix of {missing:?} in {codes:?}");
}
