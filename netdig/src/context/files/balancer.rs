//! haproxy.cfg: its `bind` and `server` lines (HAProxy's configuration manual, 2.2 quoting).
use std::path::Path;

use super::{Balancer, Bind, Place, Server, running, text};
use crate::context::{Context, Part, bounded};

const DEFAULT: &str = "/etc/haproxy/haproxy.cfg";
const MAX_FILES: usize = 64;
const SECTIONS: [&str; 4] = ["frontend", "backend", "listen", "defaults"];
/// Sections whose lines mean something else: `server` of `peers` or `ring` is no upstream.
const OTHERS: [&str; 14] = [
    "global",
    "peers",
    "resolvers",
    "userlist",
    "mailers",
    "program",
    "cache",
    "ring",
    "log-forward",
    "http-errors",
    "fcgi-app",
    "crt-store",
    "traces",
    "acme",
];

pub fn read(context: &mut Context, root: &Path) {
    for file in files(context, root) {
        if let Some(text) = text(context, root, &file, Part::Configuration) {
            context.files.balancers.push(parse(&file, &text));
        }
    }
}

/// What each haproxy was started with, folders too; the default where none says.
fn files(context: &Context, root: &Path) -> Vec<String> {
    let mut named: Vec<String> = Vec::new();
    for process in running(context, "haproxy") {
        let mut args = process.args.iter().skip(1).peekable();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                // What follows is files; `-f` may be given several times.
                "-f" => named.extend(args.next().cloned()),
                "--" => named.extend(args.by_ref().cloned()),
                _ => {}
            }
        }
    }
    if named.is_empty() {
        named.push(DEFAULT.to_owned());
    }
    let mut files: Vec<String> = Vec::new();
    for name in named.into_iter().filter(|name| name.starts_with('/')) {
        let inside = bounded::names(root, &name, MAX_FILES).unwrap_or_default();
        let inside = inside.into_iter().filter(|file| file.ends_with(".cfg"));
        let inside: Vec<String> = inside.map(|file| format!("{name}/{file}")).collect();
        let all = if inside.is_empty() {
            vec![name]
        } else {
            inside
        };
        for file in all {
            if !files.contains(&file) && files.len() < MAX_FILES {
                files.push(file);
            }
        }
    }
    files
}

fn parse(file: &str, text: &str) -> Balancer {
    let mut balancer = Balancer {
        file: file.to_owned(),
        ..Balancer::default()
    };
    // Name of the section; none where `bind` and `server` mean something else.
    let mut section: Option<String> = None;
    // Whether `default-server` of the section has `check`, and what `defaults` hands on.
    let (mut checks, mut default_checks) = (false, false);
    let mut in_defaults = false;
    for (line, number) in text.lines().zip(1..) {
        let words = words(line);
        let Some(first) = words.first().map(String::as_str) else {
            continue;
        };
        if SECTIONS.contains(&first) {
            in_defaults = first == "defaults";
            checks = !in_defaults && default_checks;
            section = Some(words.get(1).cloned().unwrap_or_else(|| first.to_owned()));
            continue;
        }
        if OTHERS.contains(&first) {
            section = None;
            continue;
        }
        let Some(section) = &section else {
            continue;
        };
        let place = Place {
            file: file.to_owned(),
            line: number,
        };
        match first {
            "bind" => binds(&mut balancer, section, &words, &place),
            "default-server" => {
                checks = checked(&words, checks);
                default_checks = if in_defaults { checks } else { default_checks };
            }
            "server" => servers(&mut balancer, section, &words, &place, checks),
            "server-template" => template(&mut balancer, section, &words, &place, checks),
            _ => {}
        }
    }
    balancer
}

/// `bind 10.1.1.95:80,:8080 ssl …`
fn binds(balancer: &mut Balancer, section: &str, words: &[String], place: &Place) {
    let addresses = words.get(1).map_or("", String::as_str).split(',');
    let addresses = addresses.filter(|address| !address.is_empty());
    balancer.binds.extend(addresses.map(|address| Bind {
        place: place.clone(),
        section: section.to_owned(),
        address: address.to_owned(),
    }));
}

/// `server NAME ADDRESS check …`
fn servers(balancer: &mut Balancer, section: &str, words: &[String], place: &Place, checks: bool) {
    let [_, name, address, ..] = words else {
        return;
    };
    balancer.servers.push(Server {
        place: place.clone(),
        section: section.to_owned(),
        name: name.clone(),
        address: address.clone(),
        check: checked(&words[3..], checks),
    });
}

/// `server-template PREFIX NUMBER ADDRESS …`: servers with one address.
fn template(balancer: &mut Balancer, section: &str, words: &[String], place: &Place, checks: bool) {
    let [_, prefix, number, address, ..] = words else {
        return;
    };
    balancer.servers.push(Server {
        place: place.clone(),
        section: section.to_owned(),
        name: format!("{prefix}{number}"),
        address: address.clone(),
        check: checked(&words[4..], checks),
    });
}

fn checked(words: &[String], before: bool) -> bool {
    let mut says = words.iter().filter_map(|word| match word.as_str() {
        "check" => Some(true),
        "no-check" => Some(false),
        _ => None,
    });
    says.next_back().unwrap_or(before)
}

/// Words of a line: quotes are taken off, a backslash takes the next byte as it is, `#` ends
/// the line where it is not quoted. A variable stays as it is written.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote: Option<char> = None;
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        match (quote, char) {
            (Some(open), _) if char == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, '#') => break,
            (None, _) if char.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Process;
    use crate::context::bounded::testing::Folder;

    #[test]
    fn bind_and_server_lines_are_found_with_their_sections() {
        let balancer = parse(
            "x.cfg",
            "global\n  server ignored 1.1.1.1:1\ndefaults\n  default-server check\n\
             frontend \"http in\" # ours\n  bind *:80,10.1.1.95:8080 name x\n\
             backend app\n  server app#1 1:1\n  server 'a b' 192.168.13.2:80 weight 1 # check\n\
             \tserver c :80 no-check\n  server-template t 1-3 web.local:80\n  server broken\n\
             peers p\n  server q 1.2.3.4:5\nlisten stats\n  bind\n  bind /run/h.sock",
        );
        let binds: Vec<String> = balancer
            .binds
            .iter()
            .map(|b| format!("{} {} {}", b.place, b.section, b.address))
            .collect();
        assert_eq!(
            binds,
            [
                "x.cfg:6 http in *:80",
                "x.cfg:6 http in 10.1.1.95:8080",
                "x.cfg:17 stats /run/h.sock"
            ]
        );
        let servers: Vec<String> = balancer
            .servers
            .iter()
            .map(|s| {
                format!(
                    "{} {} {} {} {}",
                    s.place.line, s.section, s.name, s.address, s.check
                )
            })
            .collect();
        assert_eq!(
            servers,
            [
                "9 app a b 192.168.13.2:80 true",
                "10 app c :80 false",
                "11 app t1-3 web.local:80 true"
            ]
        );
    }

    #[test]
    fn files_are_those_of_the_command_line() {
        let folder = Folder::with(&[
            ("etc/haproxy/haproxy.cfg", b"listen a\nbind :1"),
            ("a.cfg", b"listen b\nbind :2\n\xff\xfe"),
            ("d/1.cfg", b"listen c\nbind :3"),
            ("d/readme", b"listen d\nbind :4"),
        ]);
        let read_with = |line: &str| {
            let mut context = Context::default();
            context.processes.push(Process {
                args: line.split(' ').map(str::to_owned).collect(),
                ..Process::default()
            });
            read(&mut context, folder.path());
            let files = context.files.balancers.into_iter().map(|one| one.file);
            files.collect::<Vec<_>>()
        };
        assert_eq!(
            read_with("haproxy -Ws -f /a.cfg -f /d -p x"),
            ["/a.cfg", "/d/1.cfg"]
        );
        assert_eq!(read_with("haproxy -- /a.cfg"), ["/a.cfg"]);
        assert_eq!(read_with("nginx"), [DEFAULT]);
    }

    #[test]
    fn odd_text_gives_words() {
        assert_eq!(
            words("a\\ b 'c \"d' \"e\\\"\" \"\" #x"),
            ["a b", "c \"d", "e\"", ""]
        );
        assert_eq!(words("\\"), [""]);
        assert!(words(" # x").is_empty());
        assert_eq!(words("'open end"), ["open end"]);
    }
}
