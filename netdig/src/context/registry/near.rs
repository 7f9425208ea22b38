//! Keys that nearly have the name of a network's configuration: a slash too few, an `s` too
//! many, a capital letter.

/// Furthest that a name may be off, in letters.
const FURTHEST: usize = 3;

/// Whether `key` may be meant for `<prefix>/config` and is not that.
pub fn is_near(key: &str, prefix: &str) -> bool {
    let prefix = prefix.trim_end_matches('/');
    let wanted = format!("{prefix}/config");
    if key == wanted {
        return false;
    }
    // `<prefix>/<network>/config` is one of several networks, as old versions have them.
    let inner = key
        .strip_prefix(prefix)
        .and_then(|rest| rest.strip_prefix('/')?.strip_suffix("/config"));
    if inner.is_some_and(|network| !network.is_empty() && !network.contains('/')) {
        return false;
    }
    let plain = |name: &str| name.trim_matches('/').replace("//", "/").to_lowercase();
    let (key, wanted, prefix) = (plain(key), plain(&wanted), plain(prefix));
    // A short prefix is soon that of somebody else.
    key == prefix || distance(&key, &wanted) <= FURTHEST.min(prefix.len() / 4)
}

/// Whether a folder's name is near the first one of `prefix`.
pub fn is_near_folder(name: &str, prefix: &str) -> bool {
    let first = prefix.trim_matches('/').split('/').next().unwrap_or("");
    distance(&name.to_lowercase(), &first.to_lowercase()) <= FURTHEST.min(first.len() / 3)
}

/// Letters to put in, take out or replace (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    // What differs so much in length is far; nothing long is compared.
    if a.chars().count().abs_diff(b.len()) > FURTHEST {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (above, letter) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (at, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_near_and_others_are_not() {
        for near in [
            "/coreos.com/networks/config",
            "coreos.com/network/config",
            "/coreos.com/network/Config",
            "/coreos.com/network/config/",
            "//coreos.com/network/config",
            "/coreos.com/network/conf",
            "/coreos.org/network/config",
            "/coreos.com/network",
            "/coreos.com/netwrok/config",
        ] {
            assert!(is_near(near, "/coreos.com/network"), "{near}");
        }
        for far in [
            "/coreos.com/network/config",
            "/coreos.com/network/blue/config",
            "/coreos.com/network/a/config",
            "/coreos.com/network/subnets/10.5.52.0-24",
            "/skydns/config",
            "/config",
            "",
        ] {
            assert!(!is_near(far, "/coreos.com/network"), "{far}");
        }
        assert!(
            !is_near("/b/config", "/a"),
            "a short name is no mistake of another"
        );
    }

    #[test]
    fn distances() {
        assert_eq!(distance("", ""), 0);
        assert_eq!(distance("network", "netwrok"), 2);
        assert_eq!(distance("a", ""), 1);
        assert_eq!(distance("ü", "u"), 1);
    }
}
