//! Reads what rtnetlink(7) tells of a network namespace, asks it for routes, and follows its
//! changes.
//!
//! All of it speaks of the namespace of the calling thread: see
//! [`inside`](crate::context::namespace::inside).
mod addresses;
mod attributes;
mod critical;
mod follow;
mod links;
mod lookup;
mod neighbours;
mod nexthops;
mod offloads;
mod policy;
mod routes;
pub mod segments;
mod socket;

use std::io;

use netlink_packet_route::AddressFamily;

pub use critical::critical;
pub use follow::{Changes, Follower, refresh};
pub use lookup::look_up;

use super::{Context, Part, Unread};
use links::Names;
use socket::{Conversation, Table};

/// What this reads: everything of [`Network`](super::net::Network) but the look-ups.
const PARTS: [Part; 6] = [
    Part::Links,
    Part::Addresses,
    Part::Routes,
    Part::PolicyRules,
    Part::Neighbours,
    Part::Fdb,
];

const FAMILIES: [(AddressFamily, &str); 2] = [
    (AddressFamily::Inet, "IPv4"),
    (AddressFamily::Inet6, "IPv6"),
];

/// Reads links, addresses, routes, policy rules, neighbours and forwarding databases.
pub fn read(context: &mut Context) {
    read_parts(context, &PARTS);
}

/// Reads some parts again; what was said to be missing of them is forgotten.
fn read_parts(context: &mut Context, parts: &[Part]) {
    context
        .unread
        .retain(|unread| !parts.contains(&unread.part));
    let mut conversation = match Conversation::open() {
        Ok(conversation) => conversation,
        Err(error) => {
            for &part in parts {
                context.lacks(part, no_socket(&error), None);
            }
            return;
        }
    };
    if parts.contains(&Part::Links) {
        let links = links::read(&mut conversation);
        context.net.links = taken(context, Part::Links, "links", links);
    }
    let names = Names::of(&context.net.links);
    for &part in parts {
        read_part(context, part, &mut conversation, &names);
    }
    if parts.contains(&Part::Links) {
        offloads::add(&mut context.net);
    }
}

/// All but the links, which give the names.
fn read_part(context: &mut Context, part: Part, conversation: &mut Conversation, names: &Names) {
    match part {
        Part::Addresses => {
            let addresses = addresses::read(conversation, names);
            context.net.addresses = taken(context, part, "addresses", addresses);
        }
        Part::Routes => {
            context.net.routes.clear();
            for (family, word) in FAMILIES {
                let routes = routes::read(conversation, family, names);
                let routes = taken(context, part, &format!("{word} routes"), routes);
                context.net.routes.extend(routes);
            }
        }
        Part::PolicyRules => {
            context.net.rules.clear();
            for (family, word) in FAMILIES {
                let rules = policy::read(conversation, family);
                let rules = taken(context, part, &format!("{word} policy rules"), rules);
                context.net.rules.extend(rules);
            }
        }
        Part::Neighbours => {
            let neighbours = neighbours::read(conversation, names);
            context.net.neighbours = taken(context, part, "neighbours", neighbours);
        }
        Part::Fdb => {
            let fdb = neighbours::read_fdb(conversation, names, &context.net.links);
            context.net.fdb = taken(context, part, part.name(), fdb);
        }
        _ => {}
    }
}

/// The entries of a table; what went wrong with it is noted.
fn taken<T>(context: &mut Context, part: Part, what: &str, table: io::Result<Table<T>>) -> Vec<T> {
    let (entries, why, partly) = match table {
        Ok(Table {
            entries,
            torn: false,
        }) => return entries,
        Ok(Table { entries, .. }) => {
            let why = format!(
                "asked the kernel for its {what} by netlink three times, and each time they \
                 changed while it told them: some may be missing"
            );
            (entries, why, true)
        }
        Err(error) => {
            let why = format!("asked the kernel for its {what} by netlink, and it said: {error}");
            (Vec::new(), why, false)
        }
    };
    context.unread.push(Unread {
        part,
        what: what.to_owned(),
        why,
        hint: partly.then(|| "run it again when the network has come to rest".to_owned()),
        partly,
    });
    entries
}

fn no_socket(error: &io::Error) -> String {
    format!(
        "asked the system for a netlink socket (AF_NETLINK, NETLINK_ROUTE), and it said: {error}"
    )
}
