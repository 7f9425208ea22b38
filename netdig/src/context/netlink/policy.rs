//! Policy rules: `ip rule`.
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_core::Emitable;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::rule::{RuleAction, RuleHeader, RuleMessage};

use super::attributes::{address_of, behind, text_of, u32_of};
use super::socket::{Conversation, Table};
use crate::context::net::PolicyRule;

// linux/fib_rules.h.
const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_GOTO: u16 = 4;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_FLOW: u16 = 11;
const FRA_SUPPRESS_IFGROUP: u16 = 13;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_PAD: u16 = 18;
const FRA_PROTOCOL: u16 = 21;
const FIB_RULE_INVERT: u32 = 2;

/// Rules of one family, by priority as the kernel has them.
pub fn read(
    conversation: &mut Conversation,
    family: AddressFamily,
) -> io::Result<Table<PolicyRule>> {
    let mut request = RuleMessage::default();
    request.header.family = family;
    let table = conversation.table(libc::RTM_GETRULE, &request, |message| {
        let rule = parse(message)?;
        (rule.ipv6 == (family == AddressFamily::Inet6)).then_some(rule)
    });
    match table {
        // A kernel without policy routing, or without the family, has no rules.
        Err(error)
            if matches!(
                error.raw_os_error(),
                Some(libc::EOPNOTSUPP | libc::EAFNOSUPPORT)
            ) =>
        {
            Ok(Table {
                entries: Vec::new(),
                torn: false,
            })
        }
        table => table,
    }
}

fn parse(message: &[u8]) -> Option<PolicyRule> {
    let header = RuleHeader::parse(message).ok()?;
    let nothing = match header.family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut rule = PolicyRule {
        ipv6: nothing.is_ipv6(),
        from: prefix(nothing, header.src_len),
        to: prefix(nothing, header.dst_len),
        action: action(header.action),
        table: u32::from(header.table),
        invert: header.flags.bits() & FIB_RULE_INVERT != 0,
        others: header.tos != 0,
        ..PolicyRule::default()
    };
    for (kind, value) in behind(header.buffer_len(), message) {
        match kind {
            FRA_SRC => rule.from = address_of(value).and_then(|one| prefix(one, header.src_len)),
            FRA_DST => rule.to = address_of(value).and_then(|one| prefix(one, header.dst_len)),
            _ => take(&mut rule, kind, value),
        }
    }
    // `fwmark 0/0x1`: the kernel leaves a mark of 0 out.
    if rule.fwmask.is_some() {
        rule.fwmark.get_or_insert(0);
    }
    Some(rule)
}

/// Of `from 0.0.0.0/0` no trace is kept: it is no condition.
fn prefix(address: IpAddr, length: u8) -> Option<IpNet> {
    IpNet::new(address, length).ok().filter(|_| length > 0)
}

fn take(rule: &mut PolicyRule, kind: u16, value: &[u8]) {
    let number = u32_of(value);
    match kind {
        FRA_PRIORITY => rule.priority = number.unwrap_or_default(),
        FRA_TABLE => rule.table = number.unwrap_or(rule.table),
        FRA_GOTO => rule.goto = number,
        FRA_IIFNAME => rule.iif = Some(text_of(value)),
        FRA_OIFNAME => rule.oif = Some(text_of(value)),
        FRA_FWMARK => rule.fwmark = number,
        FRA_FWMASK => rule.fwmask = number,
        // All ones where nothing is suppressed.
        FRA_SUPPRESS_PREFIXLEN => {
            rule.suppress_prefix_len = number.filter(|&length| length != u32::MAX);
        }
        FRA_SUPPRESS_IFGROUP => rule.others |= number != Some(u32::MAX),
        FRA_FLOW | FRA_PAD | FRA_PROTOCOL => {}
        // Ports, user ids, a VRF, and what later kernels add: conditions all of them.
        _ => rule.others = true,
    }
}

fn action(action: RuleAction) -> String {
    match action {
        RuleAction::ToTable => "lookup".to_owned(),
        RuleAction::Goto => "goto".to_owned(),
        RuleAction::Nop => "nop".to_owned(),
        RuleAction::Blackhole => "blackhole".to_owned(),
        RuleAction::Unreachable => "unreachable".to_owned(),
        RuleAction::Prohibit => "prohibit".to_owned(),
        other => u8::from(other).to_string(),
    }
}
