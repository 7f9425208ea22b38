//! Asks the tools for all rules of the calling thread's network namespace.
use std::io;
use std::path::Path;
use std::process::Command;

use super::{Backend, Chain, Verdict, iptables, nft};
use crate::context::{Context, Part, Unread, bounded, proc};

/// Hooks whose filters and source NAT decide on what passes, arrives and leaves.
const HOOKS: [&str; 4] = ["forward", "postrouting", "input", "output"];

pub fn read(context: &mut Context) {
    nftables(context);
    for (names, backend) in [
        ("ip_tables_names", Backend::IptablesLegacy),
        ("ip6_tables_names", Backend::Ip6tablesLegacy),
    ] {
        legacy(context, names, backend);
    }
    context.firewall.chains = reached(std::mem::take(&mut context.firewall.chains));
}

fn lacks(context: &mut Context, what: &str, error: &io::Error, package: &str, partly: bool) {
    let (why, hint) = match error.kind() {
        io::ErrorKind::NotFound => (
            format!(
                "`{}` is not installed",
                what.split(' ').next().unwrap_or(what)
            ),
            format!("apt-get install {package}"),
        ),
        _ => (format!("`{what}`: {error}"), "run it as root".to_owned()),
    };
    context.unread.push(Unread {
        part: Part::Firewall,
        what: Part::Firewall.name().to_owned(),
        why,
        hint: Some(hint),
        partly,
    });
}

fn nftables(context: &mut Context) {
    if !in_use(Path::new("/")) {
        return;
    }
    let listed = bounded::output(Command::new("nft").args(["-j", "list", "ruleset"]));
    let parsed = listed.and_then(|bytes| nft::parse(&bytes).map_err(io::Error::other));
    let (mut chains, foreign) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => return lacks(context, "nft -j list ruleset", &error, "nftables", false),
    };
    if foreign {
        for (program, backend, family) in [
            ("iptables-nft-save", Backend::IptablesNft, "ip"),
            ("ip6tables-nft-save", Backend::Ip6tablesNft, "ip6"),
        ] {
            if !chains.iter().any(|chain| chain.family == family) {
                continue;
            }
            match bounded::output(Command::new(program).arg("-c")) {
                Ok(bytes) => {
                    let text = String::from_utf8_lossy(&bytes);
                    replace(&mut chains, family, iptables::parse(&text, backend));
                }
                // nft's own word stays: its rules of iptables are uncertain then.
                Err(error) => lacks(context, program, &error, "iptables", true),
            }
        }
    }
    context.firewall.chains.extend(chains);
}

/// Whether nftables may hold rules. Asking for them would load the module.
fn in_use(root: &Path) -> bool {
    if root.join("sys/module/nf_tables").exists() {
        return true;
    }
    let text = |path: &str| std::fs::read_to_string(root.join(path)).ok();
    let release = text("proc/sys/kernel/osrelease").unwrap_or_default();
    let builtin = text(&format!("lib/modules/{}/modules.builtin", release.trim()));
    match (text("proc/modules"), builtin) {
        (Some(loaded), Some(builtin)) => {
            loaded.lines().any(|line| line.starts_with("nf_tables "))
                || builtin.contains("/nf_tables.ko")
        }
        _ => true,
    }
}

/// Puts rules as iptables-nft shows them in the place of nft's, which lack the conditions of
/// iptables' matches. Chains that somebody else wrote to do not agree in number, and stay.
fn replace(chains: &mut [Chain], family: &str, shown: Vec<Chain>) {
    for theirs in shown {
        let own = chains.iter_mut().find(|chain| {
            (&chain.family[..], &chain.table, &chain.name) == (family, &theirs.table, &theirs.name)
        });
        let Some(own) = own.filter(|own| own.rules.len() == theirs.rules.len()) else {
            continue;
        };
        own.backend = theirs.backend;
        own.rules = theirs.rules;
    }
    // A jump leads to a chain of the same backend.
    let tables: Vec<(String, Backend)> = chains
        .iter()
        .filter(|chain| chain.family == family && chain.backend != Backend::Nft)
        .map(|chain| (chain.table.clone(), chain.backend))
        .collect();
    for chain in chains.iter_mut().filter(|chain| chain.family == family) {
        if let Some((_, backend)) = tables.iter().find(|(table, _)| *table == chain.table) {
            chain.backend = *backend;
        }
    }
}

/// Legacy tables, where the kernel has any: iptables-legacy would load its modules.
fn legacy(context: &mut Context, names: &str, backend: Backend) {
    let file = Path::new(proc::NET).join(names);
    match std::fs::read_to_string(&file) {
        Ok(tables) if tables.trim().is_empty() => return,
        Ok(_) => {}
        Err(error) if bounded::absent(&error) => return,
        Err(error) => {
            let what = file.display().to_string();
            return lacks(context, &what, &error, "iptables", false);
        }
    }
    let six = backend == Backend::Ip6tablesLegacy;
    let programs = match six {
        false => ["iptables-legacy-save", "iptables-save"],
        true => ["ip6tables-legacy-save", "ip6tables-save"],
    };
    let mut failed = io::Error::from(io::ErrorKind::NotFound);
    for program in programs {
        match bounded::output(Command::new(program).arg("-c")) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                // The plain name may be that of the nft variant.
                if text
                    .lines()
                    .next()
                    .is_some_and(|line| line.contains("(nf_tables)"))
                {
                    continue;
                }
                let chains = iptables::parse(&text, backend);
                context.firewall.chains.extend(chains);
                return;
            }
            Err(error) if bounded::absent(&error) => {}
            Err(error) => failed = error,
        }
    }
    lacks(context, programs[0], &failed, "iptables", false);
}

/// The base chains that matter, and all that they lead to. Chains of a table's other hooks
/// can be tens of thousands.
fn reached(chains: Vec<Chain>) -> Vec<Chain> {
    let wanted = |chain: &Chain| {
        let hook = chain.hook.as_deref().filter(|hook| HOOKS.contains(hook));
        let translates = chain.kind.as_deref() == Some("nat");
        hook.is_some_and(|hook| !translates || hook == "postrouting")
    };
    let mut by_name = std::collections::HashMap::new();
    for (index, chain) in chains.iter().enumerate() {
        let key = (chain.backend, &chain.family, &chain.table, &chain.name);
        by_name.insert(key, index);
    }
    let mut kept = vec![false; chains.len()];
    let mut open: Vec<usize> = (0..chains.len())
        .filter(|&at| wanted(&chains[at]))
        .collect();
    while let Some(at) = open.pop() {
        if std::mem::replace(&mut kept[at], true) {
            continue;
        }
        let chain = &chains[at];
        for rule in &chain.rules {
            if let Verdict::Jump(name) | Verdict::Goto(name) = &rule.verdict {
                let key = (chain.backend, &chain.family, &chain.table, name);
                open.extend(by_name.get(&key));
            }
        }
    }
    let mut kept = kept.into_iter();
    let chains = chains.into_iter();
    chains.filter(|_| kept.next() == Some(true)).collect()
}

#[cfg(test)]
mod tests;
