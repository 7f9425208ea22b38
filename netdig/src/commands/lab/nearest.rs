//! The name that was meant, where fingers slipped.

/// The one of `names` that most resembles `typed`; `None` where none does: more than
/// a third of the letters would have to be others, and neither begins with the other.
pub fn nearest<'a>(typed: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let begins =
        |name: &str| !typed.is_empty() && (name.starts_with(typed) || typed.starts_with(name));
    let near = names.filter_map(|name| {
        let edits = edits(typed, name);
        let few = edits <= name.chars().count().max(typed.chars().count()) / 3;
        (few || begins(name)).then_some((edits, name))
    });
    near.min().map(|(_, name)| name)
}

/// How many letters have to be added, left out or replaced (Levenshtein's distance).
fn edits(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (n, a) in one.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], n + 1);
        for (m, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[m + 1];
            row[m + 1] = replaced.min(diagonal + 1).min(row[m] + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_forgiven_and_other_words_are_not() {
        let labs = || ["flannel-udp", "flannel-vxlan", "blank-host"].into_iter();
        assert_eq!(nearest("flanel-udp", labs()), Some("flannel-udp"));
        assert_eq!(nearest("flannel-vxlna", labs()), Some("flannel-vxlan"));
        assert_eq!(nearest("blank", labs()), Some("blank-host"));
        assert_eq!(nearest("etcd", labs()), None);
        assert_eq!(nearest("", labs()), None);
        assert_eq!(nearest("x", std::iter::empty()), None);
    }

    #[test]
    fn edits_are_counted() {
        for (one, other, count) in [
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("abc", "acb", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edits(one, other), count, "{one} {other}");
        }
    }
}
