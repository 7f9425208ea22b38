//! Rules: each reads the evidence and names one cause. A rule does no I/O and knows no
//! source; all that it may know is in its [`View`].
//!
//! To add one: `rules/ndNNN_<name>.rs` with a `RULE` and its tests, its page in
//! docs/playbooks, and a line each in the list of modules and in [`RULES`].
mod collisions;
mod draft;
mod evaluate;
mod nd101_overlay_underlay_overlap;
mod nd102_nameserver_via_overlay;
mod nd103_tunnel_recursion;
mod nd104_bridge_collision;
mod nd105_service_cidr_overlap;
mod nd106_bridge_subnet_mismatch;
mod nd107_subnet_misaligned;
mod nd108_subnets_exhausted;
pub mod overlay;
pub mod prefixes;
mod renumber;
pub mod routing;
#[cfg(test)]
mod testing;
pub mod view;

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
    nd101_overlay_underlay_overlap::RULE,
    nd102_nameserver_via_overlay::RULE,
    nd103_tunnel_recursion::RULE,
    nd104_bridge_collision::RULE,
    nd105_service_cidr_overlap::RULE,
    nd106_bridge_subnet_mismatch::RULE,
    nd107_subnet_misaligned::RULE,
    nd108_subnets_exhausted::RULE,
];

/// The rule of a code.
pub fn rule(code: Code) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.code == code)
}
