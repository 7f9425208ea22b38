//! Routes of all tables against `ip route`.
use netdig::context::net::{NextHop, Route, table_name};
use serde_json::Value;

use crate::net::{ADDRESSES, LINKS, Net, ROUTES, has, or_empty, run, same, text};

/// One hop in words; with weight 1 of a single one.
fn hop_words(hop: &NextHop) -> String {
    format!(
        "[{} {} {} {} {}]",
        or_empty(hop.via),
        or_empty(hop.dev.as_ref()),
        hop.onlink,
        hop.weight,
        hop.down
    )
}

fn route_words(route: &Route) -> String {
    let hops: String = route.hops.iter().map(hop_words).collect();
    format!(
        "{} {} table {} metric {} {hops} src {} {} {} mtu {}",
        route.kind.name(),
        route.to,
        table_name(route.table),
        route.metric,
        or_empty(route.source),
        route.protocol,
        route.scope,
        or_empty(route.mtu)
    )
}

fn ip_hop(hop: &Value) -> String {
    let via = match &hop["via"] {
        Value::Null => text(hop, "gateway"),
        via => text(via, "host"),
    };
    let weight = hop["weight"].as_u64().unwrap_or(1);
    let down = has(hop, "flags", "dead") || has(hop, "flags", "linkdown");
    format!(
        "[{via} {} {} {weight} {down}]",
        text(hop, "dev"),
        has(hop, "flags", "onlink")
    )
}

pub fn ip_route(route: &Value, v6: bool) -> String {
    let to = match text(route, "dst").as_str() {
        "default" if v6 => "::/0".to_owned(),
        "default" => "0.0.0.0/0".to_owned(),
        net if net.contains('/') => net.to_owned(),
        host if v6 => format!("{host}/128"),
        host => format!("{host}/32"),
    };
    let hops: String = match route["nexthops"].as_array() {
        Some(hops) => hops.iter().map(ip_hop).collect(),
        None if route["dev"].is_null() && route["gateway"].is_null() => String::new(),
        None => ip_hop(route),
    };
    let mtu = route["metrics"]
        .as_array()
        .and_then(|all| all.iter().find(|one| !one["mtu"].is_null()));
    let table = match text(route, "table").as_str() {
        "" => "main".to_owned(),
        table => table.to_owned(),
    };
    format!(
        "{} {to} table {table} metric {} {hops} src {} {} {} mtu {}",
        text(route, "type"),
        route["metric"].as_u64().unwrap_or_default(),
        text(route, "prefsrc"),
        text(route, "protocol"),
        text(route, "scope"),
        mtu.map_or_else(String::new, |mtu| text(mtu, "mtu"))
    )
}

#[test]
fn routes_of_all_tables_are_what_ip_says() {
    let Some(net) = Net::new("routes") else {
        return;
    };
    net.ip(LINKS);
    net.ip(ADDRESSES);
    net.ip(ROUTES);
    let ours = net.read().net.routes;
    let mut theirs = Vec::new();
    for (family, v6) in [("-4", false), ("-6", true)] {
        let routes = net.json(&["ip", family, "route", "show", "table", "all"]);
        let noise = |route: &&Value| {
            text(route, "table") == "local"
                && ["broadcast", "multicast"].contains(&text(route, "type").as_str())
        };
        theirs.extend(
            routes
                .iter()
                .filter(|route| !noise(route))
                .map(|route| ip_route(route, v6)),
        );
    }
    same(ours.iter().map(route_words), theirs, 35);
    assert!(
        ours.iter()
            .any(|route| route.hops.iter().any(|hop| hop.down))
    );

    // Where routes tell nothing but the number of their object, they still have its hops.
    run(
        "ip",
        &[
            "netns",
            "exec",
            &net.0,
            "sysctl",
            "-qw",
            "net.ipv4.nexthop_compat_mode=0",
        ],
        "",
    );
    let bare = net.read().net.routes;
    same(
        bare.iter().map(route_words),
        ours.iter().map(route_words),
        35,
    );
}
