//! The kernel's own answer to "how does a packet of this host get there": `ip route get`.
use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::{RouteAttribute, RouteFlags, RouteMessage};

use super::links::Names;
use super::routes::{self, Told};
use super::socket::Conversation;
use crate::context::net::{Answer, Lookup, Role, RouteKind};
use crate::context::{Context, Part, Unread};

/// Asks the kernel for the way to each destination, and adds the answers to
/// `context.net.lookups`, by destination; one that was asked before is replaced and keeps
/// its roles.
pub fn look_up(context: &mut Context, wanted: &[(IpAddr, Role)]) {
    let mut all: BTreeMap<IpAddr, Lookup> = BTreeMap::new();
    for known in context.net.lookups.drain(..) {
        all.insert(known.destination, known);
    }
    let mut roles: BTreeMap<IpAddr, Vec<Role>> = BTreeMap::new();
    for &(destination, role) in wanted {
        roles.entry(destination).or_default().push(role);
    }
    let destinations: Vec<IpAddr> = roles.keys().copied().collect();
    let answers = ask(context, &destinations);
    for ((destination, mut roles), answer) in roles.into_iter().zip(answers) {
        let known = all.remove(&destination);
        let Some(answer) = answer else {
            continue;
        };
        roles.extend(known.into_iter().flat_map(|known| known.roles));
        roles.sort_unstable();
        roles.dedup();
        let lookup = Lookup {
            destination,
            roles,
            answer,
        };
        all.insert(destination, lookup);
    }
    context.net.lookups = all.into_values().collect();
}

/// The answers, in the order of the destinations.
fn ask(context: &mut Context, destinations: &[IpAddr]) -> Vec<Option<Answer>> {
    let mut answers = vec![None; destinations.len()];
    if destinations.is_empty() {
        return answers;
    }
    let names = Names::of(&context.net.links);
    let asked = Conversation::open().and_then(|mut conversation| {
        let ways = destinations.iter().map(|&one| question(one, false));
        conversation.ask(libc::RTM_GETROUTE, ways, |number, reply| {
            answers[number] = answer(reply, &names);
        })?;
        let prefixes = destinations.iter().map(|&one| question(one, true));
        conversation.ask(libc::RTM_GETROUTE, prefixes, |number, reply| {
            let found = reply
                .ok()
                .and_then(|message| routes::parse(message, &names));
            if let (Some(told), Some(answer)) = (found, &mut answers[number]) {
                add_prefix(answer, &told);
            }
        })
    });
    let silent = answers.iter().filter(|answer| answer.is_none()).count();
    let why = match asked {
        Err(error) => format!("asked the kernel for routes by netlink, and it said: {error}"),
        Ok(()) if silent > 0 => format!(
            "asked the kernel for the routes to {} destinations, and it did not answer for \
             {silent}",
            destinations.len()
        ),
        Ok(()) => return answers,
    };
    context.unread.push(Unread {
        part: Part::Lookups,
        what: Part::Lookups.name().to_owned(),
        why,
        hint: None,
        partly: silent < destinations.len(),
    });
    answers
}

fn question(destination: IpAddr, prefix: bool) -> RouteMessage {
    let mut message = RouteMessage::default();
    // Without the flag every answer of IPv4 says table main; IPv6 tells the table, and takes
    // the flag for a mistake.
    let (family, length, flags) = match destination {
        IpAddr::V4(_) => (AddressFamily::Inet, 32, RouteFlags::LookupTable),
        IpAddr::V6(_) => (AddressFamily::Inet6, 128, RouteFlags::empty()),
    };
    message.header.address_family = family;
    message.header.destination_prefix_length = length;
    message.header.flags = flags;
    if prefix {
        message.header.flags |= RouteFlags::FibMatch;
    }
    let destination = RouteAttribute::Destination(destination.into());
    message.attributes.push(destination);
    message
}

fn answer(reply: Result<&[u8], i32>, names: &Names) -> Option<Answer> {
    let message = match reply {
        Ok(message) => message,
        Err(error) => return Some(Answer::Refused(error_name(error))),
    };
    let route = routes::parse(message, names)?.route;
    // IPv6 answers with the route itself where IPv4 answers with the error.
    let refusal = match route.kind {
        RouteKind::Unreachable => Some("EHOSTUNREACH"),
        RouteKind::Prohibit => Some("EACCES"),
        RouteKind::Blackhole => Some("EINVAL"),
        _ => None,
    };
    if let Some(error) = refusal {
        return Some(Answer::Refused(error.to_owned()));
    }
    Some(Answer::Way {
        kind: route.kind,
        dev: route.dev().map(str::to_owned),
        via: route.via(),
        source: route.source,
        table: route.table,
        matched: None,
    })
}

/// An older kernel answers the second question as the first, with the destination alone.
fn add_prefix(answer: &mut Answer, told: &Told) {
    if told.cloned {
        return;
    }
    if let Answer::Way { table, matched, .. } = answer {
        *table = told.route.table;
        *matched = Some(IpNet::trunc(&told.route.to));
    }
}

/// Name of an error that a look-up ends with (errno(3)).
fn error_name(error: i32) -> String {
    let name = match error {
        libc::ENETUNREACH => "ENETUNREACH",
        libc::EHOSTUNREACH => "EHOSTUNREACH",
        libc::EACCES => "EACCES",
        libc::EINVAL => "EINVAL",
        libc::EPERM => "EPERM",
        libc::ENODEV => "ENODEV",
        libc::EAGAIN => "EAGAIN",
        libc::ENOBUFS => "ENOBUFS",
        libc::ENOMEM => "ENOMEM",
        libc::EAFNOSUPPORT => "EAFNOSUPPORT",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        other => return format!("error {other}"),
    };
    name.to_owned()
}
