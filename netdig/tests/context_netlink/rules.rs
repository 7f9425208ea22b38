//! Policy rules, neighbours and forwarding databases against `ip rule`, `ip neigh` and
//! `bridge fdb`.
use netdig::context::net::table_name;
use serde_json::Value;

use crate::net::{ADDRESSES, LINKS, Net, or_empty, run, same, text};

const RULES: &str = "
rule add from 10.0.0.0/8 to 10.9.0.0/16 lookup 100 priority 100
rule add not fwmark 0xca6c lookup 51820 priority 200
rule add fwmark 0x1/0xff iif e0 oif br0 lookup 100 priority 300
rule add lookup main suppress_prefixlength 0 priority 400
rule add from 10.1.2.3 unreachable priority 500
rule add blackhole to 10.66.0.0/16 priority 510
rule add prohibit iif e0 priority 520
rule add dport 53 ipproto udp lookup 100 priority 600
rule add uidrange 0-99 lookup 100 priority 610
rule add tos 0x10 lookup 100 priority 620
rule add goto 700 priority 650
rule add nop priority 700
-6 rule add from fd00::/8 lookup 300 priority 100
-6 rule add not fwmark 0xca6c lookup 51820 priority 200
";

#[test]
fn policy_rules_are_what_ip_says() {
    let Some(net) = Net::new("rules") else {
        return;
    };
    net.ip(LINKS);
    net.ip(RULES);
    let context = net.read();
    let ours = context.net.rules.iter().map(|rule| {
        let action = match rule.action.as_str() {
            "lookup" => format!("lookup {}", table_name(rule.table)),
            "goto" => format!("goto {}", or_empty(rule.goto)),
            action => action.to_owned(),
        };
        let mask = rule.fwmask.filter(|&mask| mask != u32::MAX);
        let hex =
            |number: Option<u32>| number.map_or_else(String::new, |number| format!("{number:#x}"));
        format!(
            "{} v6 {} {} {} {} {} {}/{} not {} {action} suppress {} others {}",
            rule.priority,
            rule.ipv6,
            or_empty(rule.from),
            or_empty(rule.to),
            or_empty(rule.iif.as_ref()),
            or_empty(rule.oif.as_ref()),
            hex(rule.fwmark),
            hex(mask),
            rule.invert,
            or_empty(rule.suppress_prefix_len),
            rule.others
        )
    });
    let mut theirs = Vec::new();
    for (family, v6) in [("-4", false), ("-6", true)] {
        for rule in net.json(&["ip", family, "rule"]) {
            theirs.push(ip_rule(&rule, v6));
        }
    }
    same(ours, theirs, 19);
}

fn ip_rule(rule: &Value, v6: bool) -> String {
    let prefix = |address: &str, length: &str| match (text(rule, address), text(rule, length)) {
        (address, _) if address.is_empty() || address == "all" => String::new(),
        (address, length) if length.is_empty() => format!("{address}/32"),
        (address, length) => format!("{address}/{length}"),
    };
    let action = match (
        text(rule, "goto"),
        text(rule, "action"),
        text(rule, "table"),
    ) {
        (to, ..) if !to.is_empty() => format!("goto {to}"),
        (_, action, _) if !action.is_empty() => action,
        (.., table) if !table.is_empty() => format!("lookup {table}"),
        _ if rule.get("nop").is_none() => "?".to_owned(),
        _ => "nop".to_owned(),
    };
    let others = ["ipproto", "dport", "uid_start", "tos", "l3mdev"];
    let others = others.iter().any(|key| !rule[*key].is_null());
    format!(
        "{} v6 {v6} {} {} {} {} {}/{} not {} {action} suppress {} others {others}",
        text(rule, "priority"),
        prefix("src", "srclen"),
        prefix("dst", "dstlen"),
        text(rule, "iif"),
        text(rule, "oif"),
        text(rule, "fwmark"),
        text(rule, "fwmask"),
        rule.get("not").is_some(),
        text(rule, "suppress_prefixlen")
    )
}

const NEIGHBOURS: &str = "
neigh add 192.168.0.7 lladdr 02:00:00:00:00:07 dev e0 nud permanent
neigh add 192.168.0.8 lladdr 02:00:00:00:00:08 dev e0 nud stale
neigh add 192.168.0.9 dev e0 nud failed
neigh add 192.168.0.10 lladdr 02:00:00:00:00:10 dev e0 nud noarp
neigh add 10.1.13.0 lladdr 02:00:00:00:00:13 dev flannel.1 nud permanent
neigh add fd00::7 lladdr 02:00:00:00:00:07 dev e0 nud permanent
";

#[test]
fn neighbours_and_fdb_are_what_iproute2_says() {
    let Some(net) = Net::new("neigh") else {
        return;
    };
    net.ip(LINKS);
    net.ip(ADDRESSES);
    net.ip(NEIGHBOURS);
    // What the bridge learns between the two looks would be in one of them alone.
    run(
        "bridge",
        &["-n", &net.0, "link", "set", "dev", "e1", "learning", "off"],
        "",
    );
    let fdb = "
fdb append 02:00:00:00:00:13 dev flannel.1 dst 10.1.1.187
fdb append 02:00:00:00:00:14 dev flannel.1 dst 10.1.1.188 port 4799 vni 5
fdb append 00:00:00:00:00:00 dev flannel.1 dst 10.1.1.187
fdb append 00:00:00:00:00:00 dev flannel.1 dst 10.1.1.188
fdb append 02:00:00:00:00:15 dev vx6 dst fd00::77
fdb add 02:00:00:00:00:16 dev e1 master static
";
    run("bridge", &["-n", &net.0, "-batch", "-"], fdb);
    let context = net.read();
    let ours = context.net.neighbours.iter().map(|one| {
        format!(
            "{} {} {} {}",
            one.link,
            one.address,
            or_empty(one.mac.as_ref()),
            one.state
        )
    });
    let all = net.json(&["ip", "neigh"]);
    let theirs = all.iter().map(|one| {
        let state = one["state"]
            .as_array()
            .and_then(|all| all[0].as_str())
            .unwrap_or_default();
        format!(
            "{} {} {} {state}",
            text(one, "dev"),
            text(one, "dst"),
            text(one, "lladdr")
        )
    });
    same(ours, theirs, 5);

    let ours = context.net.fdb.iter().map(|one| {
        format!(
            "{} {} {} {} {} {}",
            one.link,
            one.mac,
            or_empty(one.dst),
            one.permanent,
            or_empty(one.vni),
            or_empty(one.port)
        )
    });
    let all = net.json(&["bridge", "fdb"]);
    let forwards = |one: &&Value| {
        let link = text(one, "ifname");
        !one["master"].is_null() || ["br0", "flannel.1", "vx6", "ext"].contains(&link.as_str())
    };
    let theirs = all.iter().filter(forwards).map(|one| {
        let permanent = text(one, "state") == "permanent";
        format!(
            "{} {} {} {permanent} {} {}",
            text(one, "ifname"),
            text(one, "mac"),
            text(one, "dst"),
            text(one, "vni"),
            text(one, "port")
        )
    });
    same(ours, theirs, 9);
}
