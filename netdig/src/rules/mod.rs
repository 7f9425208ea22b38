//! Rules: each reads the evidence and names one cause. A rule does no I/O and knows no
//! source; all that it may know is in its [`View`].
//!
//! To add one: `rules/ndNNN_<name>.rs` with a `RULE` and its tests, its page in
//! docs/playbooks, and a line each in the list of modules and in [`RULES`].
pub mod backend;
mod by_hand;
mod collisions;
mod diverted;
mod draft;
mod etcdctl;
mod evaluate;
#[cfg(test)]
mod ipv6_tests;
mod nd101_overlay_underlay_overlap;
mod nd102_nameserver_via_overlay;
mod nd103_tunnel_recursion;
mod nd104_bridge_collision;
mod nd105_service_cidr_overlap;
mod nd106_bridge_subnet_mismatch;
mod nd107_subnet_misaligned;
mod nd108_subnets_exhausted;
mod nd201_ip_forward_off;
mod nd202_forward_policy_drop;
mod nd203_rp_filter_strict;
mod nd204_stale_route;
mod nd205_missing_route_neigh_fdb;
mod nd206_neigh_overflow;
mod nd207_icmp_unreach_martian;
mod nd208_host_gw_not_l2;
mod nd209_masq_hides_source;
mod nd210_conntrack_insert_race;
mod nd301_mtu_mismatch;
mod nd302_pmtu_blackhole;
mod nd303_one_way_tunnel;
mod nd304_port_conflict;
mod nd305_vxlan_checksum_offload;
mod nd306_vtep_mac_mismatch;
mod nd308_proto_filtered;
mod nd309_inner_not_sent;
mod nd310_unknown_peer;
mod nd401_nat_public_ip;
mod nd402_duplicate_lease_owner;
mod nd403_lease_renumbered;
mod nd404_subnet_env_missing;
mod nd405_etcd_api_mismatch;
mod nd406_backend_type_mixed;
mod nd407_config_clobber;
mod nd408_public_ip_unreachable;
mod nd409_lease_expiring;
mod nd501_blank_host;
mod nd502_self_loop_upstream;
mod nd503_rejected_value;
mod nd504_portless_upstream;
mod nd505_duplicate_upstream;
mod nd506_upstream_not_leased;
mod nd507_stale_upstream;
mod nd508_wrong_address_registered;
mod nd509_upstream_unreachable;
mod nd510_empty_set;
mod nd901_events_lost;
mod nd902_payload_cut;
mod nd903_no_permission;
mod nd904_clock_skew;
mod one_way;
pub mod overlay;
pub mod passage;
pub mod prefixes;
mod renumber;
pub mod routing;
#[cfg(test)]
mod services_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod upstreams;
pub mod view;
mod way_out;
#[cfg(test)]
mod wire;

pub use draft::Draft;
pub use evaluate::{Report, Unchecked, evaluate};
pub use nd403_lease_renumbered::own_subnets;
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

    /// Whether it speaks only where a registry's services are watched.
    pub fn needs_services(&self) -> bool {
        self.needs.contains(&Part::Services)
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
    nd201_ip_forward_off::RULE,
    nd202_forward_policy_drop::RULE,
    nd203_rp_filter_strict::RULE,
    nd204_stale_route::RULE,
    nd205_missing_route_neigh_fdb::RULE,
    nd206_neigh_overflow::RULE,
    nd207_icmp_unreach_martian::RULE,
    nd208_host_gw_not_l2::RULE,
    nd209_masq_hides_source::RULE,
    nd210_conntrack_insert_race::RULE,
    nd301_mtu_mismatch::RULE,
    nd302_pmtu_blackhole::RULE,
    nd303_one_way_tunnel::RULE,
    nd304_port_conflict::RULE,
    nd305_vxlan_checksum_offload::RULE,
    nd306_vtep_mac_mismatch::RULE,
    nd308_proto_filtered::RULE,
    nd309_inner_not_sent::RULE,
    nd310_unknown_peer::RULE,
    nd401_nat_public_ip::RULE,
    nd402_duplicate_lease_owner::RULE,
    nd403_lease_renumbered::RULE,
    nd404_subnet_env_missing::RULE,
    nd405_etcd_api_mismatch::RULE,
    nd406_backend_type_mixed::RULE,
    nd407_config_clobber::RULE,
    nd408_public_ip_unreachable::RULE,
    nd409_lease_expiring::RULE,
    nd501_blank_host::RULE,
    nd502_self_loop_upstream::RULE,
    nd503_rejected_value::RULE,
    nd504_portless_upstream::RULE,
    nd505_duplicate_upstream::RULE,
    nd506_upstream_not_leased::RULE,
    nd507_stale_upstream::RULE,
    nd508_wrong_address_registered::RULE,
    nd509_upstream_unreachable::RULE,
    nd510_empty_set::RULE,
    nd901_events_lost::RULE,
    nd902_payload_cut::RULE,
    nd903_no_permission::RULE,
    nd904_clock_skew::RULE,
];

/// The rule of a code.
pub fn rule(code: Code) -> Option<&'static Rule> {
    RULES.iter().find(|rule| rule.code == code)
}
