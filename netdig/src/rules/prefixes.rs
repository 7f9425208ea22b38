//! Overlaps among many prefixes, in n log n.
//!
//! Two prefixes overlap only where one holds the other: sorted by address and then by length,
//! what lies in a prefix is a run behind it, and what holds it is one of a few lengths.
use std::net::IpAddr;

use ipnet::IpNet;

/// Prefixes with a number each, for questions one at a time: who holds it, who lies in it.
#[derive(Debug, Default)]
pub struct Index {
    /// By address, then by length.
    sorted: Vec<(IpNet, u32)>,
    /// Lengths that are there, longest first, of IPv4 and IPv6.
    lengths: [Vec<u8>; 2],
}

impl Index {
    pub fn new(prefixes: impl IntoIterator<Item = (IpNet, u32)>) -> Index {
        let mut sorted: Vec<(IpNet, u32)> = prefixes
            .into_iter()
            .map(|(net, number)| (net.trunc(), number))
            .collect();
        sorted.sort_by_key(|&(net, number)| (place(net), number));
        let mut present = [[false; 129]; 2];
        for (net, _) in &sorted {
            present[family(net.addr())][usize::from(net.prefix_len())] = true;
        }
        let lengths = present.map(|present| {
            let lengths = (0..=128u8).rev();
            lengths.filter(|&one| present[usize::from(one)]).collect()
        });
        Index { sorted, lengths }
    }

    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }

    /// The number of the longest prefix that holds `address`; of equal ones the least.
    pub fn longest(&self, address: IpAddr) -> Option<u32> {
        self.holding(IpNet::from(address))
            .map(|(_, number)| number)
            .next()
    }

    /// Those that hold `net` or are equal to it, longest first.
    pub fn holding(&self, net: IpNet) -> impl Iterator<Item = (IpNet, u32)> + '_ {
        let lengths = self.lengths[family(net.addr())].iter().copied();
        lengths
            .filter(move |&length| length <= net.prefix_len())
            .filter_map(move |length| Some(IpNet::new(net.addr(), length).ok()?.trunc()))
            .flat_map(|wider| self.equal(wider).iter().copied())
    }

    /// Those that lie in `net` or are equal to it, by address.
    pub fn within(&self, net: IpNet) -> &[(IpNet, u32)] {
        let first = self.from(place(net.trunc()));
        let last = net.broadcast();
        let rest = &self.sorted[first..];
        &rest[..run(rest, |one| one.addr() <= last)]
    }

    /// Whether anything of it overlaps `net`.
    pub fn touches(&self, net: IpNet) -> bool {
        !self.within(net).is_empty() || self.holding(net).next().is_some()
    }

    fn equal(&self, net: IpNet) -> &[(IpNet, u32)] {
        let rest = &self.sorted[self.from(place(net))..];
        &rest[..run(rest, |one| *one == net)]
    }

    fn from(&self, place: (IpAddr, u8)) -> usize {
        self.sorted
            // Those that are kept have no bits behind their length.
            .partition_point(|(one, _)| (one.addr(), one.prefix_len()) < place)
    }
}

/// How many from the first on are `of_it`. Runs are short as a rule: steps that double find
/// the end of one sooner than halves of all that follows.
fn run(rest: &[(IpNet, u32)], of_it: impl Fn(&IpNet) -> bool) -> usize {
    let mut step = 1;
    while rest.get(step - 1).is_some_and(|(one, _)| of_it(one)) {
        step *= 2;
    }
    let end = rest.len().min(step);
    rest[..end].partition_point(|(one, _)| of_it(one))
}

fn place(net: IpNet) -> (IpAddr, u8) {
    (net.network(), net.prefix_len())
}

fn family(address: IpAddr) -> usize {
    usize::from(address.is_ipv6())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts
            .iter()
            .map(|text| text.parse().expect("a prefix"))
            .collect()
    }

    fn index(texts: &[&str]) -> Index {
        Index::new(nets(texts).into_iter().zip(0..))
    }

    #[test]
    fn of_each_pair_that_overlaps_the_one_lies_in_the_other() {
        let texts = [
            "10.1.1.0/24",
            "10.1.0.0/16",
            "10.2.0.0/16",
            "10.1.1.0/24",
            "::/0",
            "fd00::/8",
            "0.0.0.0/0",
        ];
        let index = index(&texts);
        let (mut held, mut within) = (Vec::new(), Vec::new());
        for (net, at) in nets(&texts).into_iter().zip(0u32..) {
            held.extend(index.holding(net).map(|(_, wider)| (wider, at)));
            within.extend(index.within(net).iter().map(|(_, inner)| (at, *inner)));
        }
        held.retain(|(wider, inner)| wider != inner);
        within.retain(|(wider, inner)| wider != inner);
        held.sort_unstable();
        within.sort_unstable();
        assert_eq!(held, within);
        let expected = [
            (0, 3),
            (1, 0),
            (1, 3),
            (3, 0),
            (4, 5),
            (6, 0),
            (6, 1),
            (6, 2),
            (6, 3),
        ];
        assert_eq!(held, expected);
    }

    #[test]
    fn the_longest_prefix_holds_an_address() {
        let index = index(&[
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.1.0/24",
            "fd00::/8",
            "10.1.1.7/32",
        ]);
        let longest = |text: &str| index.longest(text.parse().expect("an address"));
        assert_eq!(longest("10.1.1.9"), Some(2));
        assert_eq!(longest("10.1.1.7"), Some(4));
        assert_eq!(longest("10.9.1.9"), Some(0));
        assert_eq!(longest("fd12::1"), Some(3));
        assert_eq!(longest("192.0.2.1"), None);
        assert_eq!(longest("::a01:109"), None);
    }

    #[test]
    fn what_lies_within_is_a_run_of_the_sorted() {
        let index = index(&[
            "10.0.0.0/8",
            "10.1.0.0/16",
            "10.1.0.0/24",
            "10.1.255.0/24",
            "10.2.0.0/24",
        ]);
        let net = "10.1.0.0/16".parse().expect("a prefix");
        let within: Vec<u32> = index.within(net).iter().map(|one| one.1).collect();
        assert_eq!(within, [1, 2, 3]);
        let holding: Vec<u32> = index.holding(net).map(|one| one.1).collect();
        assert_eq!(holding, [1, 0]);
        assert!(!index.touches("11.0.0.0/8".parse().expect("a prefix")));
        assert!(index.touches("10.128.0.0/9".parse().expect("a prefix")));
    }
}
