//! Links and their addresses against `ip link` and `ip addr`.
use netdig::context::net::LinkKind;

use crate::net::{ADDRESSES, LINKS, Net, has, or_empty, same, text};

#[test]
fn links_are_what_ip_says() {
    let (Some(net), Some(far)) = (Net::new("links"), Net::new("far")) else {
        return;
    };
    net.ip(LINKS);
    net.ip(&format!(
        "link add away type veth peer name eth0 netns {}",
        far.0
    ));
    let context = net.read();
    let ours = context.net.links.iter().map(|link| {
        let kind = match &link.kind {
            LinkKind::Vxlan(vxlan) => format!(
                "vxlan {} {} {} {} {} {}",
                vxlan.vni,
                vxlan.port,
                or_empty(vxlan.local),
                or_empty(vxlan.remote),
                vxlan.learning,
                vxlan.external
            ),
            kind => kind.name().to_owned(),
        };
        let place = [
            or_empty(link.master.as_ref()),
            or_empty(link.parent.as_ref()),
        ];
        format!(
            "{} {} {kind} up {} {} lo {} mtu {} {} {place:?} {}",
            link.index,
            link.name,
            link.up,
            link.running,
            link.loopback,
            link.mtu,
            or_empty(link.mac.as_ref()),
            or_empty(link.peer_netns)
        )
    });
    let all = net.json(&["ip", "link"]);
    let theirs = all.iter().map(|link| {
        let info = &link["linkinfo"];
        let data = &info["info_data"];
        let kind = match text(info, "info_kind").as_str() {
            "" => "physical".to_owned(),
            "tun" => text(data, "type"),
            "vxlan" => format!(
                "vxlan {} {} {}{} {}{} {} {}",
                data["id"].as_u64().unwrap_or_default(),
                text(data, "port"),
                text(data, "local"),
                text(data, "local6"),
                text(data, "remote"),
                text(data, "remote6"),
                data["learning"].as_bool().unwrap_or_default(),
                data["external"].as_bool().unwrap_or_default(),
            ),
            kind => kind.to_owned(),
        };
        let parent = match text(info, "info_kind").as_str() {
            "veth" => String::new(),
            "vxlan" => text(data, "link"),
            _ => text(link, "link"),
        };
        let place = [text(link, "master"), parent];
        let loopback = has(link, "flags", "LOOPBACK");
        let mac = if loopback || text(link, "address").len() != 17 {
            String::new()
        } else {
            text(link, "address")
        };
        format!(
            "{} {} {kind} up {} {} lo {loopback} mtu {} {mac} {place:?} {}",
            link["ifindex"],
            text(link, "ifname"),
            has(link, "flags", "UP"),
            has(link, "flags", "LOWER_UP"),
            link["mtu"],
            text(link, "link_netnsid")
        )
    });
    same(ours, theirs, 13);
    assert!(
        context
            .net
            .links
            .iter()
            .any(|link| link.peer_netns.is_some())
    );
}

#[test]
fn addresses_are_what_ip_says() {
    let Some(net) = Net::new("addresses") else {
        return;
    };
    net.ip(LINKS);
    net.ip(ADDRESSES);
    let context = net.read();
    let ours = context.net.addresses.iter().map(|one| {
        format!(
            "{} {} {} {} {}",
            one.link,
            one.net,
            or_empty(one.peer),
            one.scope,
            one.secondary
        )
    });
    let mut theirs = Vec::new();
    for link in net.json(&["ip", "addr"]) {
        for one in link["addr_info"].as_array().expect("a list") {
            let (local, length) = (text(one, "local"), text(one, "prefixlen"));
            let peer = text(one, "address");
            let full = if local.contains(':') { 128 } else { 32 };
            let (address, peer) = match peer.as_str() {
                "" => (format!("{local}/{length}"), String::new()),
                peer => (format!("{local}/{full}"), format!("{peer}/{length}")),
            };
            let secondary = one["secondary"].as_bool().unwrap_or_default();
            theirs.push(format!(
                "{} {address} {peer} {} {secondary}",
                text(&link, "ifname"),
                text(one, "scope")
            ));
        }
    }
    same(ours, theirs, 14);
    assert!(context.net.addresses.iter().any(|one| one.secondary));
}
