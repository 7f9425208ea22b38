//! The corpus of the fuzz targets, and every input that once was a finding.
#[path = "../../fuzz/src/checks.rs"]
mod checks;

use std::path::Path;

fn replay(target: &str, check: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut inputs = 0;
    for entry in std::fs::read_dir(folder.join(target)).expect("a corpus") {
        let path = entry.expect("an entry").path();
        let data = std::fs::read(&path).expect("an input");
        // Told when something goes wrong, and then it matters which it was.
        eprintln!("{}", path.display());
        check(&data);
        for len in [0, data.len() / 3, data.len().saturating_sub(1)] {
            check(&data[..len]);
        }
        inputs += 1;
    }
    assert!(inputs > 0, "an empty corpus proves nothing");
}

#[test]
fn link() {
    replay("link", checks::link);
}

#[test]
fn ip() {
    replay("ip", checks::ip);
}

#[test]
fn tunnel() {
    replay("tunnel", checks::tunnel);
}

#[test]
fn application() {
    replay("application", checks::application);
}

#[test]
fn pcap() {
    replay("pcap", checks::pcap);
}

#[test]
fn pcapng() {
    replay("pcapng", checks::pcapng);
}
