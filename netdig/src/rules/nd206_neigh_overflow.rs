//! ND206: the neighbour table is full.
use super::{Draft, Rule, View};
use crate::context::Part;
use crate::finding::{Code, Confidence, Evidence, Severity};

pub const RULE: Rule = Rule {
    code: Code(206),
    name: "neigh-overflow",
    severity: Severity::Medium,
    title: "The neighbour table is full: new neighbours cannot be resolved",
    needs: &[Part::Sysctls, Part::Neighbours],
    page: include_str!("../../../docs/playbooks/nd206_neigh_overflow.md"),
    check,
};

/// A family's table.
struct Table {
    family: &'static str,
    /// Its file in /proc/net/stat.
    cache: &'static str,
    ipv6: bool,
}

const TABLES: [Table; 2] = [
    Table {
        family: "ipv4",
        cache: "arp_cache",
        ipv6: false,
    },
    Table {
        family: "ipv6",
        cache: "ndisc_cache",
        ipv6: true,
    },
];

fn check(view: &View<'_>, found: &mut Vec<Draft>) {
    found.extend(TABLES.iter().filter_map(|table| overflow(view, table)));
}

fn overflow(view: &View<'_>, table: &Table) -> Option<Draft> {
    let name = |number: u8| format!("net.{}.neigh.default.gc_thresh{number}", table.family);
    let limit = |number: u8| {
        view.context
            .sysctl(&name(number))
            .filter(|value| *value > 0)
    };
    let (soft, hard) = (limit(2)?, limit(3)?);
    let entries = entries(view, table);
    let counter = |name: &str| {
        let name = format!("{}.{name}", table.cache);
        view.context.counters.get(&name).copied().unwrap_or(0)
    };
    let refused = counter("table_fulls");
    // The table was full once since the machine began: it says something only near the limit.
    let was_full = refused > 0 && entries >= soft;
    if entries < hard && !was_full {
        return None;
    }
    let larger = (entries.max(hard).saturating_mul(4)).min(i64::from(i32::MAX));
    let state = if entries >= hard {
        "is full"
    } else {
        "was full and fills again"
    };
    let draft = Draft::new(
        table.family,
        format!(
            "the {} neighbour table {state}: {entries} entries, {} is {hard}",
            table.family,
            name(3)
        ),
    )
    .because(
        "With as many entries as gc_thresh3 the kernel makes no new one: packets to neighbours \
         that are not in the table are dropped, and connect() fails with ENOBUFS or EINVAL. All \
         network namespaces of the machine share the table; a flat overlay or a wide bridge \
         fills it.",
    )
    .fix(format!("sysctl -w {}={larger}", name(3)))
    .fix(format!("sysctl -w {}={}", name(2), larger / 2))
    .fix(format!("sysctl -w {}={}", name(1), larger / 4))
    .seen(Evidence::new(
        "sysctl",
        format!("{} = {hard}", name(3)),
        "the limit",
    ))
    .seen(Evidence::new(
        "sysctl",
        format!("{} = {soft}", name(2)),
        "kept for 5 seconds at most",
    ))
    .seen(Evidence::new(
        "neighbour",
        format!("{entries} entries"),
        "those that the limit counts: permanent ones are free",
    ))
    .confidence(if entries >= hard {
        Confidence::Certain
    } else {
        Confidence::Likely
    });
    Some(match refused {
        0 => draft,
        _ => draft.seen(Evidence::new(
            "counter",
            format!("{}.table_fulls = {refused}", table.cache),
            "entries that were refused since the machine began",
        )),
    })
}

/// Entries that count: the machine's where it is told, otherwise this namespace's.
fn entries(view: &View<'_>, table: &Table) -> i64 {
    let of_family = view.context.net.neighbours.iter();
    let of_family = of_family.filter(|one| one.address.is_ipv6() == table.ipv6);
    let (permanent, counted): (Vec<_>, Vec<_>) =
        of_family.partition(|one| matches!(one.state.as_str(), "PERMANENT" | "NOARP"));
    let all = view
        .context
        .counters
        .get(&format!("{}.entries", table.cache));
    let all = all.map_or(0, |all| all.saturating_sub(permanent.len() as u64));
    i64::try_from(all.max(counted.len() as u64)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::finding::Finding;

    fn found(hard: u32, entries: u32, text: &str) -> Vec<Finding> {
        let mut context = format!(
            "link flannel.1 vxlan
            sysctl net.ipv4.neigh.default.gc_thresh2 {}
            sysctl net.ipv4.neigh.default.gc_thresh3 {hard}
            {text}\n",
            hard / 2
        );
        for number in 0..entries {
            let state = if text.contains("permanent") {
                "PERMANENT"
            } else {
                "REACHABLE"
            };
            let (high, low) = (number / 250, number % 250 + 1);
            context.push_str(&format!("neigh 10.1.{high}.{low} dev flannel.1 {state}\n"));
        }
        testing::findings(&context, 206)
    }

    #[test]
    fn a_full_table_is_found() {
        let full = found(1024, 1024, "");
        assert_eq!(full.len(), 1);
        assert_eq!(
            full[0].title,
            "the ipv4 neighbour table is full: 1024 entries, net.ipv4.neigh.default.gc_thresh3 is 1024"
        );
        assert_eq!(
            full[0].fix[0],
            "sysctl -w net.ipv4.neigh.default.gc_thresh3=4096"
        );
        let elsewhere = found(1024, 3, "counter arp_cache.entries 1030");
        assert_eq!(elsewhere[0].confidence, Confidence::Certain);
        let again = found(1024, 600, "counter arp_cache.table_fulls 7");
        assert_eq!(again[0].confidence, Confidence::Likely);
        let six = "sysctl net.ipv6.neigh.default.gc_thresh2 1
            sysctl net.ipv6.neigh.default.gc_thresh3 2
            neigh fd00::1 dev eth0 STALE
            neigh fd00::2 dev eth0 STALE";
        assert!(testing::findings(six, 206)[0].title.contains("ipv6"));
    }

    #[test]
    fn room_permanent_entries_and_unknown_limits_are_left_alone() {
        assert!(found(1024, 600, "").is_empty());
        assert!(found(1024, 100, "counter arp_cache.table_fulls 7").is_empty());
        assert!(found(1024, 1100, "# permanent").is_empty());
        let unknown = "neigh 10.1.1.1 dev eth0 STALE\ncounter arp_cache.entries 99999";
        assert!(testing::findings(unknown, 206).is_empty());
        let zero = "sysctl net.ipv4.neigh.default.gc_thresh3 0\nsysctl net.ipv4.neigh.default.gc_thresh2 0";
        assert!(testing::findings(zero, 206).is_empty());
    }
}
