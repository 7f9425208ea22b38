//! Rules: each reads the evidence and names one cause. A rule does no I/O and knows no
//! source; all that it may know is in its [`View`].
//!
//! To add one: `rules/ndNNN_<name>.rs` with a `RULE` and its tests, its page in
//! docs/playbooks, and a line each in the list of modules and in [`RULES`].
mod draft;
mod evaluate;
mod nd207_icmp_unreach_martian;
mod nd210_conntrack_insert_race;
mod nd302_pmtu_blackhole;
mod nd303_one_way_tunnel;
mod nd305_vxlan_checksum_offload;
mod nd308_proto_filtered;
mod nd309_inner_not_sent;
mod nd310_unknown_peer;
mod nd901_events_lost;
mod nd902_payload_cut;
mod nd904_clock_skew;
mod one_way;
pub mod prefixes;
pub mod routing;
#[cfg(test)]
mod testing;
pub mod view;
#[cfg(test)]
mod wire;

pub use draft::Draft;
pub use evaluate::{Report, Unchecked, evaluate};
pub use view::View;

use crate::context::Part;
use crate::finding::{Code, Severity};

/// One rule of the catalogue.
pub struct Rule {
    pub code: Code,
    /// `overlay-underlay-overlap`.
    pub name: &'static str,
    pub severity: Severity,
    /// What it finds, in one line.
    pub title: &'static str,
    /// Without one of these it cannot be evaluated, and the run says so. A rule that can
    /// still say something without a part does not name it here.
    pub needs: &'static [Part],
    /// The very text of its page.
    pub page: &'static str,
    /// Adds what it finds.
    pub check: fn(&View<'_>, &mut Vec<Draft>),
}

impl Rule {
    /// Whether it speaks only where packets are seen.
    pub fn needs_packets(&self) -> bool {
        self.needs.contains(&Part::Packets)
    }
}

/// All rules, in order of their codes.
pub const RULES: &[Rule] = &[
    nd207_icmp_unreach_martian::RULE,
    nd210_conntrack_insert_race::RULE,
    nd302_pmtu_blackhole::RULE,
    nd303_one_way_tunnel::RULE,
    nd305_vxlan_checksum_offload::RULE,
    nd308_proto_filtered::RULE,
    nd309_inner_not_sent::RULE,
    nd310_unknown_peer::RULE,
    nd901_events_lost::RULE,
    nd902_payload_cut::RULE,
    nd904_clock_skew::RULE,
];

/// The rule of a code.
pub fn rule(code: Code) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.code == code)
}
