//! Rules: each reads the evidence and names one cause. A rule does no I/O and knows no
//! source; all that it may know is in its [`View`].
//!
//! To add one: `rules/ndNNN_<name>.rs` with a `RULE` and its tests, its page in
//! docs/playbooks, and a line each in the list of modules and in [`RULES`].
mod draft;
mod evaluate;
mod nd401_nat_public_ip;
mod nd402_duplicate_lease_owner;
mod nd403_lease_renumbered;
mod nd404_subnet_env_missing;
mod nd405_etcd_api_mismatch;
mod nd406_backend_type_mixed;
mod nd407_config_clobber;
mod nd408_public_ip_unreachable;
mod nd409_lease_expiring;
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
    nd401_nat_public_ip::RULE,
    nd402_duplicate_lease_owner::RULE,
    nd403_lease_renumbered::RULE,
    nd404_subnet_env_missing::RULE,
    nd405_etcd_api_mismatch::RULE,
    nd406_backend_type_mixed::RULE,
    nd407_config_clobber::RULE,
    nd408_public_ip_unreachable::RULE,
    nd409_lease_expiring::RULE,
];

/// The rule of a code.
pub fn rule(code: Code) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.code == code)
}
