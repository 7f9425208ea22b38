//! Reading scenario files.

use super::*;

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
        assert_eq!(read(name, &scenario.text).unwrap(), scenario);
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
        error.contains(&format!("line {line}, column 1")) && error.contains("colour"),
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
    assert_eq!(read("x/two", &text).unwrap(), both[1]);
    let wrong = text.replacen("NET = \"192.168.0.0/17\"", "NIT = \"\"", 1);
    let error = format!("{:#}", parse("x", &wrong).unwrap_err());
    assert!(error.contains("`NIT`"), "{error}");
    let wrong = text.replacen("${NET}", "${NOT}", 1);
    let error = format!("{:#}", parse("x", &wrong).unwrap_err());
    assert!(
        error.contains("line ") && error.contains("`NOT`"),
        "{error}"
    );
}
