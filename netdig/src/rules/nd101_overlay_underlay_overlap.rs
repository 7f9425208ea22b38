//! ND101: the overlay's range and something of the underlay overlap.
use ipnet::IpNet;
use rustc_hash::FxHashMap;

use super::collisions::{self, Caught, Collision, Links};
use super::renumber;
use super::view::Overlay;
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::context::flannel::Lease;
use crate::context::net::Route;
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(101),
    name: "overlay-underlay-overlap",
    severity: Severity::Critical,
    title: "the overlay's network and the underlay's addresses or routes overlap",
    needs: &[Part::Links, Part::Addresses, Part::Routes],
    page: include_str!("../../../docs/playbooks/nd101_overlay_underlay_overlap.md"),
    check,
};

/// Collisions, leases and destinations that evidence shows, of each.
const SHOWN: usize = 8;

type Swallowed<'v> = FxHashMap<*const Route, Vec<&'v Lease>>;

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    let links = Links::new(view);
    for overlay in view.joined() {
        let collisions = collisions::collisions(view, &links, overlay);
        let swallowed = collisions::swallowed(view, overlay, &collisions);
        let collides = collisions.iter().any(|one| !one.weak) || !swallowed.is_empty();
        let mut caught = collisions::caught(view, overlay, collides);
        caught.retain(|one| one.confidence > Confidence::Inconclusive);
        if collides || !caught.is_empty() {
            found.push(draft(view, overlay, &collisions, &swallowed, &caught));
        }
    }
}

fn draft<'a>(
    view: &View<'a>,
    overlay: &Overlay<'a>,
    collisions: &[Collision<'a>],
    swallowed: &Swallowed<'_>,
    caught: &[Caught<'_>],
) -> Draft {
    let mut draft = Draft::new(overlay.key(), title(overlay, collisions, swallowed, caught))
        .because(explanation(overlay, collisions, swallowed, caught))
        .seen_all(overlay.origin.iter().cloned());
    for one in collisions.iter().take(SHOWN) {
        draft = draft.seen_all(collision_evidence(view, overlay, one));
    }
    draft = draft.seen_all(lease_evidence(swallowed));
    for one in caught.iter().take(SHOWN) {
        draft = draft.seen_all(winner(view, one)).seen(caught_evidence(one));
    }
    draft = draft.fix_all(renumber::commands(view, overlay));
    // Of a network that no device or lease of this host tells, it is not known to be here.
    let confidence = match overlay.is_joined() {
        true => Confidence::Certain,
        false => Confidence::Likely,
    };
    draft.confidence(confidence)
}

fn title(
    overlay: &Overlay<'_>,
    collisions: &[Collision<'_>],
    swallowed: &Swallowed<'_>,
    caught: &[Caught<'_>],
) -> String {
    let mut title = overlay.title();
    if let Some(first) = collisions.first() {
        title += &format!(" overlaps {}", named(first));
        title += &more(collisions.len());
    }
    let joint = if collisions.is_empty() {
        " takes "
    } else {
        "; it takes "
    };
    if let Some(first) = caught.first() {
        title += &format!("{joint}{} {}", first.role.name(), first.address);
        title += &more(caught.len());
    }
    let leases: usize = swallowed.values().map(Vec::len).sum();
    if let Some(first) = first_lease(swallowed) {
        title += &format!("; the underlay takes lease {}", first.subnet);
        title += &more(leases);
    }
    title
}

fn more(count: usize) -> String {
    match count {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    }
}

/// `10.1.1.0/24 on eth0`.
fn named(one: &Collision<'_>) -> String {
    match one.dev {
        Some(dev) => format!("{} on {dev}", one.net),
        None => format!("the route to {}", one.net),
    }
}

fn first_lease<'v>(swallowed: &Swallowed<'v>) -> Option<&'v Lease> {
    let all = swallowed.values().flatten().copied();
    all.min_by_key(|lease| lease.subnet)
}

fn explanation(
    overlay: &Overlay<'_>,
    collisions: &[Collision<'_>],
    swallowed: &Swallowed<'_>,
    caught: &[Caught<'_>],
) -> String {
    let mut text = "The kernel takes the route with the longest prefix, and of equal ones that \
                    with the least metric."
        .to_owned();
    let narrower = collisions.iter().any(|one| {
        let mut ranges = overlay.ranges_of(one.net);
        ranges.any(|range| range.contains(&one.net) && range != one.net)
    });
    if narrower {
        text += &format!(
            " What of {} has no longer route of its own goes into the overlay, however it was \
             reached before.",
            overlay.name()
        );
    }
    if let Some(first) = caught.first() {
        text += &format!(
            " {} {} is no container, and no lease covers it: packets for it are lost in the \
             tunnel without an error that reaches the sender.",
            capital(first.role.name()),
            first.address
        );
    }
    if let Some(lease) = first_lease(swallowed) {
        text += &format!(
            " Packets for containers in {} go into the underlay instead, where nobody has \
             their addresses.",
            lease.subnet
        );
    }
    text + " The remedy is another range for the overlay, one that nothing here uses."
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

/// Where it stands, and which route wins for the part that both have.
fn collision_evidence(
    view: &View<'_>,
    overlay: &Overlay<'_>,
    one: &Collision<'_>,
) -> Vec<Evidence> {
    let mut all = Vec::new();
    if let Some(address) = one.address {
        let what = format!("{} has {}", address.link, address.net);
        all.push(Evidence::new("address", address.link.clone(), what));
    }
    if let Some(route) = one.route {
        let range = overlay.ranges_of(one.net).next().unwrap_or(one.net);
        let part = if range.contains(&one.net) {
            one.net
        } else {
            range
        };
        all.push(Evidence::new(
            "route",
            route.to_string(),
            verdict(view, route, part),
        ));
        if part == range
            && let Some(winner) = collisions::taker(view, part)
            && winner.dev().is_some_and(|dev| view.is_overlay_link(dev))
        {
            let what = format!("wins for {part}, {}", why(winner, route));
            all.push(Evidence::new("route", winner.to_string(), what));
        }
    }
    all
}

/// What becomes of a route of the underlay for the part that the overlay has as well.
fn verdict(view: &View<'_>, route: &Route, part: IpNet) -> String {
    match collisions::taker(view, part) {
        Some(winner) if std::ptr::eq(winner, route) => format!("wins for {part}"),
        Some(winner) if view.routing.way(part.addr()).is_some() => {
            format!("loses {part} to {winner}, {}", why(winner, route))
        }
        _ => format!("overlaps in {part}"),
    }
}

fn why(winner: &Route, loser: &Route) -> &'static str {
    if winner.table != loser.table {
        "by the order of the policy rules"
    } else if winner.to.prefix_len() > loser.to.prefix_len() {
        "by its longer prefix"
    } else {
        "by its lower metric"
    }
}

fn lease_evidence(swallowed: &Swallowed<'_>) -> Vec<Evidence> {
    let mut leases: Vec<&Lease> = swallowed.values().flatten().copied().collect();
    leases.sort_by_key(|lease| lease.subnet);
    leases.dedup_by_key(|lease| lease.subnet);
    let shown = leases.into_iter().take(SHOWN);
    shown
        .map(|lease| {
            let what = format!("lease {} is routed by the underlay", lease.subnet);
            Evidence::new(lease.origin.source(), lease.origin.place(), what)
        })
        .collect()
}

/// The route that takes it, by the tables; where they say another device than the kernel does,
/// its answer stands alone.
fn winner(view: &View<'_>, one: &Caught<'_>) -> Option<Evidence> {
    let route = view.routing.way(one.address)?;
    (route.dev() == Some(one.dev)).then(|| {
        let what = format!("wins for {}", one.address);
        Evidence::new("route", route.to_string(), what)
    })
}

/// The kernel's answer where it was asked.
pub(super) fn caught_evidence(one: &Caught<'_>) -> Evidence {
    let source = if one.asked { "look-up" } else { "route" };
    let what = format!("{} {} leaves by {}", one.role.name(), one.address, one.dev);
    Evidence::new(source, one.address.to_string(), what)
}

#[cfg(test)]
#[path = "nd101_tests.rs"]
mod tests;
