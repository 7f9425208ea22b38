//! The range of Kubernetes' services, as the control plane's static pods are told it.
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use super::files::{Place, ServiceRange};
use super::{Context, Part, Unread};

/// Where kubelet looks for static pods unless told otherwise.
const MANIFESTS: &str = "etc/kubernetes/manifests";
/// Who is told the range, and by what option.
const NAMES: [&str; 2] = ["kube-apiserver.yaml", "kube-controller-manager.yaml"];
const OPTIONS: [&str; 2] = ["--service-cluster-ip-range", "--service-cidr"];
/// More than any manifest has.
const MAX_BYTES: u64 = 1 << 20;

/// Reads the manifests below `root`. A host that is no control plane has none.
pub fn read(context: &mut Context, root: &Path) {
    for name in NAMES {
        let file = format!("/{MANIFESTS}/{name}");
        let mut bytes = Vec::new();
        let opened = File::open(root.join(MANIFESTS).join(name));
        let result = opened.and_then(|file| file.take(MAX_BYTES).read_to_end(&mut bytes));
        match result {
            Ok(_) => {
                let text = String::from_utf8_lossy(&bytes);
                context
                    .files
                    .service_ranges
                    .extend(in_manifest(&file, &text));
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => context.unread.push(Unread {
                part: Part::Configuration,
                what: file.clone(),
                why: format!("cannot read {file}: {error}"),
                hint: Some("run it as root".to_owned()),
                partly: true,
            }),
        }
    }
}

/// Ranges in a manifest's lines, `- --service-cluster-ip-range=10.96.0.0/12,fd00:96::/112`.
fn in_manifest(file: &str, text: &str) -> Vec<ServiceRange> {
    let lines = text.lines().zip(1u32..);
    let named = lines.flat_map(|(text, line)| {
        let words = text.split(|c: char| c.is_whitespace() || "\"',[]".contains(c) && c != ',');
        let place = Place {
            file: file.to_owned(),
            line,
        };
        let words: Vec<&str> = words.collect();
        in_words(&words)
            .into_iter()
            .map(move |net| ServiceRange {
                place: place.clone(),
                net,
            })
            .collect::<Vec<_>>()
    });
    named.collect()
}

/// Ranges among the words of a command line: `--option=RANGES` or `--option RANGES`.
pub fn in_words<T: AsRef<str>>(words: &[T]) -> Vec<ipnet::IpNet> {
    let mut found = Vec::new();
    for (at, word) in words.iter().enumerate() {
        for option in OPTIONS {
            let Some(rest) = word.as_ref().strip_prefix(option) else {
                continue;
            };
            let value = match rest.strip_prefix('=') {
                Some(value) => Some(value),
                None if rest.is_empty() => words.get(at + 1).map(AsRef::as_ref),
                None => None,
            };
            let ranges = value.into_iter().flat_map(|value| value.split(','));
            found.extend(ranges.filter_map(|range| range.parse::<ipnet::IpNet>().ok()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_found_in_all_the_ways_of_writing_them() {
        let text = "spec:\n  - command:\n    - kube-apiserver\n    - --service-cluster-ip-range=10.96.0.0/12,fd00:96::/112\n    - \"--service-cidr=10.43.0.0/16\"\n    - --service-cluster-ip-ranges=1.2.3.0/24\n    - --service-cidr=nonsense\n";
        let found = in_manifest("/m", text);
        let found: Vec<String> = found
            .iter()
            .map(|one| format!("{} {}", one.place, one.net))
            .collect();
        assert_eq!(
            found,
            [
                "/m:4 10.96.0.0/12",
                "/m:4 fd00:96::/112",
                "/m:5 10.43.0.0/16"
            ]
        );
        assert_eq!(
            in_words(&["k3s", "--service-cidr", "10.43.0.0/16"]).len(),
            1
        );
        assert!(in_words(&["k3s", "--service-cidr"]).is_empty());
    }

    #[test]
    fn a_host_that_is_no_control_plane_lacks_nothing() {
        let mut context = Context::default();
        read(&mut context, Path::new("/nonexistent"));
        assert_eq!(context, Context::default());
    }
}
