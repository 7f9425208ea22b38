//! What all tests of labs need.

use std::fs;
use std::path::Path;

/// Whether a lab can be built here; where `CI=true` it has to.
pub fn privileged() -> bool {
    let root =
        fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let possible = root && Path::new("/dev/net/tun").exists();
    assert!(
        possible || std::env::var_os("CI").is_none_or(|ci| ci != "true"),
        "CI must run as root with /dev/net/tun"
    );
    if !possible {
        eprintln!("skipped: a lab needs root and /dev/net/tun");
    }
    possible
}
