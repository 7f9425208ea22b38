//! Writes the list of the scenarios in `../scenarios`, which are part of the program.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    // Asked for now, not when this was compiled: a target folder may be moved or copied.
    let package = env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?;
    let folder = Path::new(&package).join("../scenarios");
    println!("cargo::rerun-if-changed={}", folder.display());
    println!("cargo::rerun-if-changed=build.rs");
    let mut slugs = Vec::new();
    for entry in fs::read_dir(&folder)? {
        let entry = entry?;
        if entry.path().join("scenario.toml").is_file()
            && let Ok(slug) = entry.file_name().into_string()
        {
            slugs.push(slug);
        }
    }
    slugs.sort();
    let lines = slugs.iter().map(|slug| {
        let file = folder.join(slug).join("scenario.toml");
        format!("({slug:?}, include_str!({file:?})),\n")
    });
    let list = format!("&[\n{}]\n", lines.collect::<String>());
    let out = env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?;
    fs::write(PathBuf::from(out).join("scenarios.rs"), list)
}
