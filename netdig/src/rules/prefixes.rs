//! Overlaps among many prefixes, in n log n.
//!
//! Two prefixes overlap only where one holds the other, so that sorted by address and then
//! by length, all that hold a prefix stand on a stack when the sweep comes to it.
use ipnet::IpNet;

/// Calls `found` with the indices of each pair that overlaps, the wider one first; of equal
/// ones the earlier.
pub fn overlaps(prefixes: &[IpNet], mut found: impl FnMut(usize, usize)) {
    let mut order: Vec<usize> = (0..prefixes.len()).collect();
    order.sort_by_key(|&index| {
        let net = prefixes[index];
        (net.network(), net.prefix_len(), index)
    });
    let mut open: Vec<usize> = Vec::new();
    for index in order {
        let net = prefixes[index];
        while let Some(&last) = open.last()
            && !prefixes[last].contains(&net.network())
        {
            open.pop();
        }
        for &wider in &open {
            found(wider, index);
        }
        open.push(index);
    }
}
