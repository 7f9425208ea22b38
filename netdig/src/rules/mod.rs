//! Rules: each reads the evidence and names one cause. A rule does no I/O and knows no
//! source; all that it may know is in its [`View`].
//!
//! To add one: `rules/ndNNN_<name>.rs` with a `RULE` and its tests, its page in
//! docs/playbooks, and a line each in the list of modules and in [`RULES`].
mod draft;
mod evaluate;
mod nd201_ip_forward_off;
mod nd202_forward_policy_drop;
mod nd203_rp_filter_strict;
mod nd206_neigh_overflow;
mod nd209_masq_hides_source;
pub mod passage;
pub mod prefixes;
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
    nd201_ip_forward_off::RULE,
    nd202_forward_policy_drop::RULE,
    nd203_rp_filter_strict::RULE,
    nd206_neigh_overflow::RULE,
    nd209_masq_hides_source::RULE,
];

/// The rule of a code.
pub fn rule(code: Code) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.code == code)
}
