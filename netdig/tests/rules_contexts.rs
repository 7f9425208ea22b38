//! Saved contexts of machines: of those named `innocent-…` no rule says anything that
//! matters; `guilty-ND101+ND102-…` gives just these codes, beside what is only information.
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use netdig::context::{Context, SCHEMA};
use netdig::finding::Severity;
use netdig::rules::{View, evaluate};

fn files(begin: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contexts");
    let entries = fs::read_dir(folder).expect("the folder");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> = paths.filter(|path| name(path).starts_with(begin)).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_stem()
        .expect("a name")
        .to_string_lossy()
        .into_owned()
}

/// Codes of what matters, each with its title.
fn said(path: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(path).expect("a file");
    let context: Context =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(context.schema, SCHEMA, "{}", path.display());
    let findings = evaluate(&View::new(&context, None)).findings.into_iter();
    let findings = findings.filter(|finding| finding.severity >= Severity::Medium);
    findings
        .map(|one| (one.code.to_string(), one.title))
        .collect()
}

#[test]
fn ordinary_machines_give_no_alarm() {
    let all = files("innocent-");
    assert!(all.len() >= 14, "{} contexts", all.len());
    let alarms: Vec<_> = all
        .iter()
        .flat_map(|path| said(path).into_iter().map(|one| (name(path), one)))
        .collect();
    assert!(alarms.is_empty(), "{alarms:#?}");
}

#[test]
fn planted_faults_give_their_codes_and_no_others() {
    let all = files("guilty-");
    assert!(all.len() >= 6, "{} contexts", all.len());
    for path in all {
        let stem = name(&path);
        let codes = stem.split('-').nth(1).expect("codes");
        let expected: BTreeSet<String> = codes.split('+').map(str::to_owned).collect();
        let said = said(&path);
        let found: BTreeSet<String> = said.iter().map(|(code, _)| code.clone()).collect();
        assert_eq!(found, expected, "{stem}: {said:#?}");
        assert_eq!(
            said.len(),
            expected.len(),
            "{stem}: one finding a cause: {said:#?}"
        );
    }
}
