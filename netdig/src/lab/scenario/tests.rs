//! Reading scenario files.

use anyhow::Result;

use super::source::Source;
use super::*;

fn parse(slug: &str, text: &str) -> Result<Vec<Scenario>> {
    let (file, variant) = ("x.toml", None);
    load::parse(
        slug,
        &Source {
            file,
            text,
            variant,
        },
    )
}

fn refusal(text: &str) -> String {
    match parse("x", text) {
        Ok(_) => panic!("this was not refused:\n{text}"),
        Err(error) => format!("{error:#}"),
    }
}

fn built_in() -> Vec<Scenario> {
    let find = |name| find(name).unwrap_or_else(|error| panic!("{name}: {error:#}"));
    names().flat_map(find).collect()
}

fn udp() -> String {
    find("flannel-udp").unwrap().remove(0).text
}

#[test]
fn every_built_in_scenario_can_be_read() {
    for scenario in built_in() {
        let name = &scenario.name;
        assert!(!scenario.title.contains('\n'), "{name}");
        let steps = scenario.steps.iter().chain(&scenario.traffic).count();
        let expects = scenario.expectations.len() + scenario.conclusions.len();
        assert!(steps > 0 && expects > 0, "{name} shows nothing");
        assert_eq!(read(name, "x.toml", &scenario.text).unwrap(), scenario);
    }
}

#[test]
fn every_scenario_folder_is_built_in() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");
    let mut folders: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    folders.sort();
    assert_eq!(folders, names().collect::<Vec<_>>());
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    let text = udp().replacen("[underlay]", "[underlay]\ncolour = 3", 1);
    let is_it = |line: &str| line.starts_with("colour");
    let line = text.lines().position(is_it).unwrap() + 1;
    let error = format!("{:#}", parse("x", &text).unwrap_err());
    assert!(
        error.starts_with(&format!("x.toml:{line}:1: [underlay]: ")) && error.contains("colour"),
        "{error}"
    );
}

#[test]
fn a_reference_to_nothing_is_refused() {
    let text = udp().replacen("on = \"balancer\"", "on = \"nobody\"", 1);
    let error = format!("{:#}", parse("x", &text).unwrap_err());
    assert!(error.contains("`nobody` is neither"), "{error}");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let head = "title = 'x'\nstory = 'x'\n";
    let host = "[[host]]\nname = 'a'\naddresses = ['10.0.0.1/24']\n";
    let watch = "[watch]\nhost = 'a'\narguments = []\n[[expect]]\nwhat = 'x'\nkind = 'packet'\n";
    let watched = |text: &str| format!("{head}{host}{watch}{text}");
    for (text, wanted) in [
        (watched("at_most = 0"), None),
        (
            watched("at_least = 3\nat_most = 2"),
            Some("no number is both"),
        ),
        (
            watched("at_most = 0\nat_least = 1"),
            Some("no number is both"),
        ),
        (watched("where = { tcp.flags = 'ACK' }"), Some("is quoted")),
        (watched("where = { joined = [1] }"), Some("with a list")),
        (
            format!("{head}{}", host.replace("'a'", "'-a'")),
            Some("`-a`"),
        ),
        (
            format!("{head}{}", host.replace("'a'", "'lo'")),
            Some("`lo`"),
        ),
        (
            format!("{head}[[segment]]\nname = 'underlay'\n{host}"),
            Some("`underlay`"),
        ),
        (
            format!("{head}[sysctls]\n'kernel.hostname' = 'x'\n{host}"),
            Some("`kernel.hostname`"),
        ),
        (
            format!("{head}{host}[[conclusion]]\ncode = 'ND101'\nby = 'overlay'\non = 'a'"),
            Some("no [watch]"),
        ),
        (
            format!("{head}[overlay]\nnetwork = '10.5.0.0/16'\nttl_s = 3\n{host}"),
            Some("`ttl_s`"),
        ),
        (
            format!("{head}[[variant]]\nname = 'A'\n{host}"),
            Some("`A` cannot name a variant"),
        ),
        (
            format!("{head}[[variant]]\nname = 'b'\n[[variant]]\nname = 'b'\n{host}"),
            Some("two variants"),
        ),
        (
            format!(
                "{head}[values]\nV4 = 'a'\n{}",
                host.replace("'a'", "'${V4}'")
            ),
            None,
        ),
        (
            format!("{head}{}", host.replace("'a'", "'${V4}'")),
            Some("does not name `V4`"),
        ),
    ] {
        let error = parse("x", &text).err().map(|error| format!("{error:#}"));
        match wanted {
            None => assert_eq!(error, None, "{text}"),
            Some(wanted) => assert!(
                error.as_ref().is_some_and(|e| e.contains(wanted)),
                "{text}: {error:?}"
            ),
        }
    }
}

#[test]
fn variants_put_their_values_in() {
    let head = "[values]\nNET = \"192.168.0.0/16\"\nWHO = \"a\"\n\
        [[variant]]\nname = \"one\"\n\
        [[variant]]\nname = \"two\"\nvalues = { NET = \"192.168.0.0/17\" }\n";
    let text = udp().replacen("network = \"192.168.0.0/16\"", "network = \"${NET}\"", 1);
    // Tables stand behind the keys of the file's head.
    let text = text.replacen("[sysctls]", &format!("{head}[sysctls]"), 1);
    let both = parse("x", &text).unwrap();
    let network = |scenario: &Scenario| scenario.overlay.as_ref().unwrap().network.0.prefix;
    assert_eq!(
        both.iter()
            .map(|s| (s.name.as_str(), network(s)))
            .collect::<Vec<_>>(),
        [("x/one", 16), ("x/two", 17)]
    );
    assert_eq!(read("x/two", "x.toml", &text).unwrap(), both[1]);
    let wrong = text.replacen("NET = \"192.168.0.0/17\"", "NIT = \"\"", 1);
    let error = format!("{:#}", parse("x", &wrong).unwrap_err());
    assert!(error.contains("`NIT`"), "{error}");
    let wrong = text.replacen("${NET}", "${NOT}", 1);
    let error = format!("{:#}", parse("x", &wrong).unwrap_err());
    assert!(
        error.contains("[overlay], `network`: ") && error.contains("`NOT`"),
        "{error}"
    );
}

/// Each with the beginning of what is said.
#[test]
fn refusals_say_where_and_in_which_table() {
    let head = "title = 'x'\nstory = 'x'\n";
    let host = "[[host]]\nname = 'a'\naddresses = ['10.0.0.1/24']\n";
    let net = "[overlay]\nnetwork = '10.5.0.0/16'\n";
    let lease = "subnet = '10.5.1.0/24'\n";
    for (text, wanted) in [
        (
            format!("{head}{host}[[server]]\nkind = 'http'\nat = 'a'\nlisten = 3\nbody = 'x'"),
            "x.toml:9:10: [[server]] number 1 (kind \"http\"), `listen`: invalid type: integer `3`",
        ),
        (
            format!("{head}{host}[[server]]\nkind = 'http'\nat = 'a'\nport = 3\nbody = 'x'"),
            "x.toml:9:1: [[server]] number 1 (kind \"http\"): unexpected keys in table: port",
        ),
        (
            format!("{head}{host}[[server]]\nkind = 'http'\nat = 'a'\nbody = 'x'"),
            "x.toml:6:1: [[server]] number 1 (kind \"http\"): missing field `listen`",
        ),
        (
            format!("{head}{host}[[server]]\nkind = 'smtp'\nat = 'a'"),
            "x.toml:7:8: [[server]] number 1 (kind \"smtp\"), `kind`: unknown variant `smtp`, expected one of `http`",
        ),
        (
            format!("{head}{host}[[server]]\nkind = 3\nat = 'a'"),
            "x.toml:7:8: [[server]] number 1, `kind`: a server's kind",
        ),
        (
            format!("{head}{host}[[server]]\nat = 'a'"),
            "x.toml:6:1: [[server]] number 1: missing field `kind`",
        ),
        (
            format!("{head}[[host]]\nname = 'a'\n"),
            "x.toml:3:1: [[host]] \"a\": missing field `addresses`",
        ),
        (
            format!("{head}[[host]]\nname = 'a'\naddresses = ['10.0.0.1/33']\n"),
            "x.toml:5:14: [[host]] \"a\", `addresses[0]`: ",
        ),
        ("story = 'x'".to_owned(), "x.toml:1:1: missing field"),
        (
            format!("{head}{host}[host.bridge]\nmtu = 'x'"),
            "x.toml:7:7: [[host]] \"a\", `bridge.mtu`: ",
        ),
        (
            format!("{head}{host}{host}"),
            "x.toml:7:8: [[host]] \"a\", `name`: two hosts",
        ),
        (
            format!("{head}{host}{lease}"),
            "x.toml:6:10: [[host]] \"a\", `subnet`: a subnet is a lease",
        ),
        (
            format!("{head}{net}{host}subnet = '10.6.1.0/24'"),
            "x.toml:8:10: [[host]] \"a\", `subnet`: 10.6.1.0/24 is not within",
        ),
        (
            format!("{head}{net}{host}subnet = '10.5.0.0/15'"),
            "x.toml:8:10: [[host]] \"a\", `subnet`: 10.5.0.0/15 is not within",
        ),
        (
            format!(
                "{head}{net}{host}{lease}[[container]]\nname = 'c'\nhost = 'a'\naddress = '10.5.2.2/24'"
            ),
            "x.toml:12:11: [[container]] \"c\", `address`: 10.5.2.2/24 is not in the subnet",
        ),
        (
            format!("{head}{host}[host.sysctls]\n'kernel.x' = '1'"),
            "x.toml:7:1: [[host]] \"a\", `sysctls`: the sysctl `kernel.x`",
        ),
        (
            format!("{head}{host}[host.files]\n'/usr/x' = '1'"),
            "x.toml:7:1: [[host]] \"a\", `files`: /usr/x is not",
        ),
        (
            format!("{head}{host}links = [{{ segment = 's', device = 'eth1' }}]"),
            "x.toml:6:22: [[host]] \"a\", `links[0].segment`: `s` is no segment; there is no",
        ),
        (
            format!("{head}{host}[[step]]\non = 'b'\nrun = ['x']"),
            "x.toml:7:6: [[step]] number 1, `on`: `b` is neither a host nor a container; there are: a",
        ),
        (
            format!(
                "{head}{host}[[step]]\nwhat = 'w'\non = 'a'\nrun = ['x']\nuntil = 3\nbackground = true"
            ),
            "x.toml:10:9: [[step]] \"w\", `until`: what runs in the background",
        ),
        (
            format!("{head}finding = ['ND101', 'ND307']\n{host}"),
            "x.toml:3:21: `finding[1]`: netdig has no finding `ND307`; it has ND101-108",
        ),
        (
            format!("{head}{host}[none]\ncodes = ['ND1']"),
            "x.toml:7:10: [none], `codes[0]`: `ND1` is no code",
        ),
        (
            format!("{head}{host}[[conclusion]]\ncode = 'ND999'\non = 'a'\npending = true"),
            "x.toml:7:8: [[conclusion]] \"ND999\", `code`: netdig has no finding",
        ),
        (
            format!(
                "{head}{host}[watch]\nhost = 'a'\narguments = []\n[[expect]]\nwhat = 'w'\nkind = 'paket'\npending = true"
            ),
            "x.toml:11:8: [[expect]] \"w\", `kind`: `paket` is no kind",
        ),
        (
            format!("{head}{host}[[key]]\nkey = '/k'\nvalue = 'v'"),
            "x.toml:6:1: [[key]] \"/k\": this is about etcd",
        ),
        (
            format!("{head}{host}bridge = {{ mtu = 65536 }}"),
            "x.toml:6:18: [[host]] \"a\", `bridge.mtu`: a link's MTU is",
        ),
        (
            format!("{head}{net}vni = 16777216\n{host}"),
            "x.toml:5:7: [overlay], `vni`: a VNI has 24 bits",
        ),
        (format!("{head}x = ["), "x.toml:3:"),
        ("title = 'x'\nstory = 'ä' y".to_owned(), "x.toml:2:"),
    ] {
        let said = refusal(&text);
        assert!(said.starts_with(wanted), "{text}\n{said}");
    }
}

#[test]
fn values_move_no_line_and_say_nothing_but_text() {
    let host = "[[host]]\nname = 'a'\naddresses = ['10.0.0.1/24']\n";
    let text = |a: &str| {
        format!("title = '${{A}}'\nstory = 'x'\n[values]\nA = {a}\nB = 'y'\n{host}colour = 3\n")
    };
    let long = "\"one\\ntwo ' \\\\ \\\" three\"";
    assert!(refusal(&text(long)).starts_with("x.toml:9:1: [[host]] \"a\": "));
    let read = |a: &str| parse("x", &text(a).replace("colour = 3", "")).unwrap();
    assert_eq!(read(long)[0].title, "one\ntwo ' \\ \" three");
    assert_eq!(read("'${B}${B} ${b}'")[0].title, "yy ${b}");
}

#[test]
fn values_that_name_values_end() {
    let host = "[[host]]\nname = 'a'\naddresses = ['10.0.0.1/24']\n";
    let read = |values: &str| format!("title = 'x'\nstory = 'x'\n[values]\n{values}{host}");
    for (values, wanted) in [
        (
            "A = '${B}'\nB = '${A}'\n",
            "x.toml:4:5: [values], `A`: ${A}, ${B} and ${A} go round",
        ),
        (
            "A = '${A}'\n",
            "x.toml:4:5: [values], `A`: ${A} and ${A} go round",
        ),
        (
            "A = '${B}'\n",
            "x.toml:4:5: [values], `A`: [values] does not name `B`",
        ),
        ("a = 'x'\n", "x.toml:4:5: [values], `a`: `a` cannot name"),
    ] {
        let said = refusal(&read(values));
        assert!(said.starts_with(wanted), "{said}");
    }
    let doubling: String = (0..60)
        .map(|n| format!("A{n:02} = '${{A{:02}}}${{A{:02}}}'\n", n + 1, n + 1))
        .collect();
    let said = refusal(&read(&format!("{doubling}A60 = 'x'\n")));
    assert!(said.contains("longer than"), "{said}");
    // Nothing doubled is nothing, and is soon known.
    parse("x", &read(&format!("{doubling}A60 = ''\n"))).unwrap();
    let chain: String = (0..5000)
        .map(|n| format!("A{n:04} = '${{A{:04}}}'\n", n + 1))
        .collect();
    let said = refusal(&read(&format!("{chain}A5000 = ''\n")));
    assert!(said.contains("name one another"), "{said}");
}

#[test]
fn a_value_that_is_missing_is_found_where_it_stands() {
    let text = "title = 'x'\nstory = \"\"\"\none\n  ${TWO}\n\"\"\"\n\
        [[host]]\nname = 'a'\naddresses = ['10.0.0.1/24']\n";
    let said = refusal(text);
    assert!(
        said.starts_with("x.toml:4:3: `story`: [values] does not name `TWO`"),
        "{said}"
    );
    let text = text.replace("${TWO}", "${TWO");
    assert!(refusal(&text).starts_with("x.toml:4:3: `story`: `${` without"));
}

#[test]
fn a_variant_is_named_where_only_it_is_wrong() {
    let text = "title = 'x'\nstory = 'x'\n[values]\nNET = '10.0.0.1/24'\n[[variant]]\nname = 'good'\n\
        [[variant]]\nname = 'bad'\nvalues = { NET = 'x' }\n[[host]]\nname = 'a'\naddresses = ['${NET}']\n";
    let said = refusal(text);
    assert!(
        said.starts_with("x.toml:12:14: [[host]] \"a\", `addresses[0]`: ")
            && said.ends_with("(in the variant `bad`)"),
        "{said}"
    );
}

/// Whether a refusal begins with file, line and column.
fn has_place(said: &str) -> bool {
    let parts: Vec<_> = said.splitn(4, ':').collect();
    let is_number = |text: &&str| text.parse::<usize>().is_ok_and(|n| n > 0);
    parts.len() == 4 && parts[0] == "x.toml" && parts[1..3].iter().all(is_number)
}

#[test]
fn whatever_is_wrong_with_a_line_it_has_a_place() {
    let mut refused = 0;
    for (begin, slug) in names().enumerate() {
        let text = find(slug).unwrap().remove(0).text;
        let lines: Vec<_> = text.split_inclusive('\n').collect();
        // A third of the lines of each is enough: they are much alike.
        for n in (begin % 3..lines.len()).step_by(3) {
            let with = |line: &str| [&lines[..n], &[line], &lines[n + 1..]].concat().concat();
            let key = lines[n].split('=').next().unwrap_or_default();
            for text in [
                with(""),
                lines[..n].concat(),
                with(&format!("{key}= 3\n")),
                with(&format!("{key}= \"ä\"\n")),
                with(&format!("{key}= [{{}}, 3]\n")),
            ] {
                if let Err(error) = parse("x", &text) {
                    let said = format!("{error:#}");
                    assert!(has_place(&said), "{said}\n{text}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}
