//! systemd's units of those that start containers: which subnet.env they ask for.
use std::collections::BTreeMap;
use std::path::Path;

use super::{Place, SubnetEnvReader, text};
use crate::context::{Context, Part, bounded};

const UNITS: [&str; 3] = ["docker", "containerd", "kubelet"];
/// The first one that has a file of a name counts (systemd.unit(5)).
const FOLDERS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];
/// Files in one unit's folder of drop-ins.
const MAX_FILES: usize = 64;
/// Settings without whose file the unit does not start.
const SETTINGS: [&str; 5] = [
    "EnvironmentFile",
    "ExecStart",
    "ExecStartPre",
    "ConditionPathExists",
    "AssertPathExists",
];

pub fn read(context: &mut Context, root: &Path) {
    for unit in UNITS {
        let mut wanted: BTreeMap<&str, Vec<SubnetEnvReader>> = BTreeMap::new();
        for file in files(context, root, unit) {
            if let Some(text) = text(context, root, &file, Part::Configuration) {
                add(&mut wanted, &file, &text);
            }
        }
        context
            .files
            .subnet_env_wanted
            .extend(wanted.into_values().flatten());
    }
}

/// The unit's own file, then its drop-ins in the order of their names.
fn files(context: &mut Context, root: &Path, unit: &str) -> Vec<String> {
    let own = FOLDERS
        .iter()
        .map(|folder| format!("{folder}/{unit}.service"));
    let own = own.into_iter().find(|file| is_there(root, file));
    let mut drop_ins: BTreeMap<String, String> = BTreeMap::new();
    for folder in FOLDERS {
        let folder = format!("{folder}/{unit}.service.d");
        let names = match bounded::names(root, &folder, MAX_FILES) {
            Ok(names) => names,
            Err(error) if bounded::absent(&error) => continue,
            Err(error) => {
                super::not_read(context, Part::Configuration, &folder, &error);
                continue;
            }
        };
        for name in names.into_iter().filter(|name| name.ends_with(".conf")) {
            let file = format!("{folder}/{name}");
            drop_ins.entry(name).or_insert(file);
        }
    }
    own.into_iter().chain(drop_ins.into_values()).collect()
}

/// What cannot be opened is there too: why, the reading says.
fn is_there(root: &Path, file: &str) -> bool {
    match bounded::open(root, file) {
        Ok(_) => true,
        Err(error) => !bounded::absent(&error),
    }
}

fn add(wanted: &mut BTreeMap<&str, Vec<SubnetEnvReader>>, file: &str, text: &str) {
    let mut setting = None;
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';', '[']) {
            continue;
        }
        // A line that ends in a backslash goes on in the next one.
        let goes_on = setting.is_some();
        let value = match setting.take() {
            Some(before) => Some((before, line)),
            None => line.split_once('=').and_then(|(name, value)| {
                let name = name.trim();
                let known = SETTINGS.into_iter().find(|one| *one == name)?;
                Some((known, value.trim()))
            }),
        };
        let Some((name, value)) = value else {
            continue;
        };
        if line.ends_with('\\') {
            setting = Some(name);
        }
        let readers = wanted.entry(name).or_default();
        // An empty value takes back what was set before; with `-` systemd goes on without it.
        match value {
            "" => readers.clear(),
            optional if optional.starts_with('-') && !goes_on => {}
            value => readers.extend(subnet_files(value).map(|wants| SubnetEnvReader {
                place: Place {
                    file: file.to_owned(),
                    line: number,
                },
                wants,
            })),
        }
    }
}

/// The paths in a value that are a subnet.env's.
fn subnet_files(value: &str) -> impl Iterator<Item = String> + '_ {
    let between = |one: char| one.is_whitespace() || matches!(one, '"' | '\'' | ';' | '=' | '&');
    let words = value.split(between);
    let paths = words.filter(|word| word.starts_with('/') && word.ends_with("subnet.env"));
    paths.map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::bounded::testing::Folder;

    fn wanted(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(path, text)| (*path, text.as_bytes()))
            .collect();
        let folder = Folder::with(&files);
        let mut context = Context::default();
        read(&mut context, folder.path());
        assert!(context.unread.is_empty(), "{:?}", context.unread);
        let wanted = context.files.subnet_env_wanted.iter();
        wanted
            .map(|one| format!("{} {}", one.place, one.wants))
            .collect()
    }

    #[test]
    fn drop_ins_and_shells_name_it() {
        let drop_in = "[Service]\nEnvironmentFile=/run/flannel/subnet.env\n";
        assert_eq!(
            wanted(&[("/etc/systemd/system/docker.service.d/flannel.conf", drop_in)]),
            ["/etc/systemd/system/docker.service.d/flannel.conf:2 /run/flannel/subnet.env"]
        );
        let shell = "ExecStartPre=/bin/sh \\\n  -c '. /run/blue/subnet.env; exec true'\n";
        assert_eq!(
            wanted(&[("/usr/lib/systemd/system/kubelet.service", shell)]),
            ["/usr/lib/systemd/system/kubelet.service:2 /run/blue/subnet.env"]
        );
    }

    #[test]
    fn the_administrators_files_come_before_the_packages() {
        let named = "EnvironmentFile=/run/flannel/subnet.env\n";
        let package = ("/usr/lib/systemd/system/docker.service", named);
        assert_eq!(wanted(&[package]).len(), 1);
        let own = ("/etc/systemd/system/docker.service", "ExecStart=/bin/x\n");
        assert!(wanted(&[package, own]).is_empty());
        let reset = (
            "/etc/systemd/system/docker.service.d/a.conf",
            "EnvironmentFile=\n",
        );
        assert!(wanted(&[package, reset]).is_empty());
    }

    #[test]
    fn what_may_be_missing_or_is_none_of_it_is_not_asked_for() {
        for text in [
            "EnvironmentFile=-/run/flannel/subnet.env",
            "# EnvironmentFile=/run/flannel/subnet.env",
            "ExecStopPost=/bin/rm /run/flannel/subnet.env",
            "EnvironmentFile=/run/flannel/docker",
            "Documentation=subnet.env",
            "\u{0}=\n=\n\\",
        ] {
            let file = ("/etc/systemd/system/docker.service", text);
            assert!(wanted(&[file]).is_empty(), "{text}");
        }
    }
}
