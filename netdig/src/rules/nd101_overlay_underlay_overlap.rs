//! ND101: the overlay's range and something of the underlay overlap.
use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::FxHashMap;

use super::collisions::{self, Caught, Collision, Links};
use super::renumber;
use super::view::Overlay;
use super::{Draft, Rule, View, by_hand, way_out};
use crate::context::Part;
use crate::context::flannel::Lease;
use crate::context::net::{Route, RouteKind};
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
        let led = misled(&mut caught, |address| {
            by_hand::into_overlay(view, overlay, address)
        });
        found.extend(led.iter().map(|one| misled_draft(overlay, one)));
        let led = misled(&mut caught, |address| {
            by_hand::of_before(view, overlay, address)
        });
        found.extend(led.iter().map(|one| before_draft(overlay, one)));
        if collides || !caught.is_empty() {
            found.push(draft(view, overlay, &collisions, &swallowed, &caught));
        }
    }
    let alone: Vec<&Overlay<'_>> = view.joined().filter(|one| is_alive(view, one)).collect();
    for (at, overlay) in alone.iter().enumerate() {
        let others = alone[..at].iter();
        let mut pairs = others.filter_map(|other| Some((other, common(overlay, other)?)));
        if let Some((other, part)) = pairs.next() {
            found.push(two_draft(view, other, overlay, part));
        }
    }
}

/// Whether an overlay that no registry tells of is there for certain: a subnet.env names its
/// range, or a device with an address has routes. One that a change of backend left has none.
fn is_alive(view: &View<'_>, overlay: &Overlay<'_>) -> bool {
    let net = &view.context.net;
    let routed = |dev: &&str| {
        let mut routes = net.routes.iter().filter(|route| route.dev() == Some(dev));
        let set = |route: &Route| {
            route.kind == RouteKind::Unicast
                && route.protocol != "kernel"
                && view.routing.is_used(route.table)
        };
        net.addresses_of(dev).any(|one| one.scope != "link") && routes.any(set)
    };
    let known = overlay.config.is_some() || overlay.knows_leases();
    !known && (overlay.subnet_env.is_some() || overlay.links.iter().any(routed))
}

/// What the ranges of both have.
fn common(one: &Overlay<'_>, other: &Overlay<'_>) -> Option<IpNet> {
    one.networks.iter().find_map(|net| {
        let range = other.ranges_of(*net).next()?;
        Some(if range.contains(net) { *net } else { range })
    })
}

/// Two overlays with one range, or a part of it.
fn two_draft(view: &View<'_>, one: &Overlay<'_>, other: &Overlay<'_>, part: IpNet) -> Draft {
    let title = format!("{} overlaps the {}", one.title(), other.title());
    let taker = collisions::taker(view, part).map(|route| {
        let what = format!("wins for a part of {part}");
        Evidence::new("route", route.to_string(), what)
    });
    Draft::new(format!("{} and {}", one.key(), other.key()), title)
        .because(format!(
            "Both give {part} to their hosts, and a packet for an address of it takes one of the \
             two ways: the route with the longest prefix, and of equal ones that with the least \
             metric. Containers of the other are not reached from this host. The remedy is \
             another range for one of them."
        ))
        .seen_all(one.origin.iter().chain(&other.origin).cloned())
        .seen_all(taker)
        .fix_all(renumber::commands(view, other))
        .confidence(Confidence::Likely)
}

/// A route that is not of the overlay's range, and the destinations that it leads to the
/// overlay's device.
type Misled<'a, 'v> = (&'a Route, Vec<Caught<'v>>);

/// Takes from `caught` what no range of flannel's brought there, or none that it still has.
fn misled<'a, 'v>(
    caught: &mut Vec<Caught<'v>>,
    route_of: impl Fn(IpAddr) -> Option<&'a Route>,
) -> Vec<Misled<'a, 'v>> {
    let mut all: Vec<Misled<'a, 'v>> = Vec::new();
    caught.retain(|one| {
        let Some(route) = route_of(one.address) else {
            return true;
        };
        match all
            .iter_mut()
            .find(|(known, _)| std::ptr::eq(*known, route))
        {
            Some((_, caught)) => caught.push(*one),
            None => all.push((route, vec![*one])),
        }
        false
    });
    all
}

fn misled_draft(overlay: &Overlay<'_>, one: &Misled<'_, '_>) -> Draft {
    let why = "It is neither the route of the overlay's network nor one of a lease: flannel did \
               not set it.";
    led_draft(overlay, one, "", why).fix(by_hand::delete(one.0))
}

/// The configuration has another range already, and this host does not know it yet.
fn before_draft(overlay: &Overlay<'_>, one: &Misled<'_, '_>) -> Draft {
    let end = ": flanneld was not restarted since its range was changed";
    let why = format!(
        "The configuration has the range {}, and this route is of the one that flanneld on this \
         host was started with: it reads its configuration only then.",
        overlay.name()
    );
    let restart = way_out::RESTART.map(str::to_owned);
    led_draft(overlay, one, end, &why)
        .fix_all(restart)
        .comes_of(Code(407))
}

fn led_draft(
    overlay: &Overlay<'_>,
    (route, caught): &Misled<'_, '_>,
    end: &str,
    why: &str,
) -> Draft {
    let (first, dev) = (&caught[0], route.dev().unwrap_or_default());
    let title = format!(
        "the route {} dev {dev} takes {} {}{} into the {}{end}",
        route.to,
        first.role.name(),
        first.address,
        more(caught.len()),
        overlay.title()
    );
    let what = format!("made by {}, wins for {}", route.protocol, first.address);
    let confidence = caught.iter().map(|one| one.confidence).min();
    Draft::new(format!("{} {route}", overlay.key()), title)
        .because(format!(
            "{why} {} {} is no container, and no lease covers it: packets for it are lost in the \
             tunnel without an error that reaches the sender.",
            capital(first.role.name()),
            first.address
        ))
        .seen_all(overlay.origin.iter().cloned())
        .seen(Evidence::new("route", route.to_string(), what))
        .seen_all(caught.iter().take(SHOWN).map(caught_evidence))
        .confidence(confidence.unwrap_or(Confidence::Likely))
}

fn draft<'a>(
    view: &View<'a>,
    overlay: &Overlay<'a>,
    collisions: &[Collision<'a>],
    swallowed: &Swallowed<'_>,
    caught: &[Caught<'_>],
) -> Draft {
    let strong = collisions.iter().filter(|one| !one.weak);
    let routes: Vec<&Route> = strong.clone().filter_map(|one| one.route).collect();
    // Nothing but routes that somebody set by hand: it is not the range that is wrong.
    let hands = caught.is_empty() && strong.clone().all(|one| by_hand::is_in(view, overlay, one));
    let because = explanation(overlay, collisions, swallowed, caught);
    let mut draft = Draft::new(overlay.key(), title(overlay, collisions, swallowed, caught))
        .because(because + remedy(hands))
        .seen_all(overlay.origin.iter().cloned());
    for one in collisions.iter().take(SHOWN) {
        draft = draft.seen_all(collision_evidence(view, overlay, one));
    }
    draft = draft.seen_all(lease_evidence(swallowed));
    for one in caught.iter().take(SHOWN) {
        draft = draft.seen_all(winner(view, one)).seen(caught_evidence(one));
    }
    draft = match hands {
        true => draft.fix_all(without(&routes)),
        false => draft.fix_all(renumber::commands(view, overlay)),
    };
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
        _ if one.route.is_some_and(by_hand::refuses) => {
            let kind = one.route.map_or("", |route| route.kind.name());
            format!("the {kind} route to {}", one.net)
        }
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
    text
}

fn remedy(hands: bool) -> &'static str {
    match hands {
        true => {
            " No link has such a prefix: somebody set the route by hand, and without it there is \
             no overlap."
        }
        false => " The remedy is another range for the overlay, one that nothing here uses.",
    }
}

/// Commands that take the routes away.
fn without(routes: &[&Route]) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let shown = routes.iter().take(SHOWN);
    commands.extend(shown.map(|route| by_hand::delete(route)));
    if routes.len() > SHOWN {
        commands.push(format!("# and so for {} more routes", routes.len() - SHOWN));
    }
    let leads = routes.iter().any(|route| !by_hand::refuses(route));
    if leads {
        commands.push(by_hand::STAYS.to_owned());
    }
    commands
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
