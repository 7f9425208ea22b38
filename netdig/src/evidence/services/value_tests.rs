use super::*;

fn server(text: &str) -> Target {
    of_server(&Value::Text(text.to_owned()))
}

fn at(host: Host, port: u16) -> Target {
    Target::Upstream {
        host,
        port: (port > 0).then_some(port),
    }
}

fn ip(text: &str) -> Host {
    Host::Address(text.parse().expect("an address"))
}

#[test]
fn a_value_is_taken_as_haproxy_takes_it() {
    let name = |text: &str| Host::Name(text.to_owned());
    for (text, target) in [
        (":80", at(Host::Blank, 80)),
        (":", at(Host::Blank, 0)),
        ("$HOST:80", at(Host::Blank, 80)),
        ("*:80", at(Host::Any, 80)),
        ("0.0.0.0:80", at(ip("0.0.0.0"), 80)),
        ("[::]:80", at(ip("::"), 80)),
        (":::80", at(ip("::"), 80)),
        ("localhost:80", at(name("localhost"), 80)),
        (" 10.0.0.9:80\t", at(ip("10.0.0.9"), 80)),
        ("10.0.0.9:80\r\n", at(ip("10.0.0.9"), 80)),
        ("\"10.0.0.9:80\"", at(ip("10.0.0.9"), 80)),
        ("10.0.0.9:80 check # it is", at(ip("10.0.0.9"), 80)),
        ("10.0.0.9:0", at(ip("10.0.0.9"), 0)),
        ("10.0.0.9", at(ip("10.0.0.9"), 0)),
        ("10.9:80", at(ip("10.0.0.9"), 80)),
        ("[fd00::1]:80", at(ip("fd00::1"), 80)),
        ("fd00::1:80", at(ip("fd00::1"), 80)),
        ("ipv4@10.0.0.9:80", at(ip("10.0.0.9"), 80)),
        ("web.example.org:80", at(name("web.example.org"), 80)),
    ] {
        assert_eq!(server(text), target, "{text:?}");
    }
}

#[test]
fn what_haproxy_refuses_has_a_reason() {
    for text in [
        "",
        "\n",
        "null",
        "nil:80",
        "<no value>",
        "10.0.0.9:",
        "10.0.0.9:99999",
        "10.0.0.9:80 extra",
        "http://10.0.0.9:80",
        "10.0.0.256:80",
        "undefined:80",
        "10.0.0.9:80,10.0.0.8:80",
        "10.0.0.9:80:80",
        "10.0.0.9:http",
        "fd00::1",
        "::",
        "{\"host\":\"10.0.0.9\",\"port\":80}",
        "10.0.0.9:80\n10.0.0.8:80",
        "\"10.0.0.9:80",
        "a\0b:80",
    ] {
        let target = server(text);
        let why = matches!(&target, Target::Refused(why) if !why.is_empty());
        assert!(why, "{text:?}: {target:?}");
    }
    assert!(matches!(
        of_server(&Value::of(b"\xff\xfe")),
        Target::Refused(_)
    ));
}

#[test]
fn urls_and_objects() {
    assert_eq!(of_url("http://10.0.0.9"), Some(at(ip("10.0.0.9"), 80)));
    assert_eq!(of_url("https://[fd00::1]/x"), Some(at(ip("fd00::1"), 443)));
    assert_eq!(
        of_url("http://u:p@10.0.0.9:81/"),
        Some(at(ip("10.0.0.9"), 81))
    );
    assert_eq!(of_url("http://:80"), Some(at(Host::Blank, 80)));
    assert_eq!(of_url("http://"), Some(at(Host::Blank, 80)));
    assert_eq!(of_url("10.0.0.9:80"), None);
    let json = of_json(r#"{"host":"10.0.0.9","port":80,"ttl":60}"#);
    assert_eq!(json, Some(at(ip("10.0.0.9"), 80)));
    let json = of_json(r#"{"URL":"http://10.0.0.9:81"}"#);
    assert_eq!(json, Some(at(ip("10.0.0.9"), 81)));
    let json = of_json(r#"{"Address":"10.0.0.9:81"}"#);
    assert_eq!(json, Some(at(ip("10.0.0.9"), 81)));
    let json = of_json(r#"{"host":"","port":80}"#);
    assert_eq!(json, Some(at(Host::Blank, 80)));
    for other in [
        r#"{"text":"v=spf1"}"#,
        "{}",
        "[]",
        "3",
        r#"{"host":""}"#,
        r#"{"host":{}}"#,
    ] {
        assert_eq!(of_json(other), None, "{other}");
    }
}

#[test]
fn any_bytes_are_survived() {
    let pieces = [
        ":", "[", "]", "::", "\"", "\\", "é", "\0", "@", "{", "0x", "/", "-",
    ];
    for a in pieces {
        for b in pieces {
            for c in pieces {
                let text = format!("{a}{b}{c}80");
                let _ = (server(&text), of_url(&text), of_json(&text));
                let _ = (
                    of_url(&format!("http://{text}")),
                    says_nothing(&text),
                    of_json(&format!(r#"{{"host":{text:?}}}"#)),
                );
            }
        }
    }
}
