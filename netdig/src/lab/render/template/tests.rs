use std::collections::BTreeMap;

use super::{Store, Template, Value, clean};

const KEYS: &[(&str, &str)] = &[
    ("/services/myapp/domain", "myapp.org"),
    ("/services/myapp/upstreams/frontend1", "192.168.13.2:80"),
    ("/services/myapp/upstreams/frontend2", ":80"),
    ("/services/other/domain", "other.org"),
    ("/services/other/upstreams/b", "10.0.0.9:81"),
    ("/services/other/upstreams/a", "10.0.0.10:81"),
    (
        "/json",
        r#"{"port": 80, "tags": ["x", "y"], "in": {"a": null}}"#,
    ),
    ("/n", "7"),
];

fn store() -> Store {
    let pairs = KEYS
        .iter()
        .map(|(key, value)| (key.to_string(), value.to_string()));
    Store(pairs.collect())
}

fn render(text: &str) -> String {
    let template = Template::parse("t", text).unwrap_or_else(|error| panic!("{text}: {error:#}"));
    let rendered = template.render(&Value::Nil, &store());
    rendered.unwrap_or_else(|error| panic!("{text}: {error:#}"))
}

fn error(text: &str) -> String {
    match Template::parse("t", text).and_then(|t| t.render(&Value::Nil, &store())) {
        Ok(rendered) => panic!("{text} rendered: {rendered}"),
        Err(error) => format!("{error:#}"),
    }
}

/// Each template and what Go and confd make of it.
#[test]
fn templates_render_as_with_confd() {
    for (text, wanted) in [
        ("plain { }} text", "plain { }} text"),
        // White space.
        ("a {{- 1 -}} b", "a1b"),
        ("a {{ 1 }} b", "a 1 b"),
        ("a\n{{- /* comment */ -}}\n b", "ab"),
        ("a{{/* comment\n*/}}b", "ab"),
        ("{{-1}} {{- 2}}", "-12"),
        ("{{ 3 -}} \n\t x", "3x"),
        // Values.
        (
            "{{1}} {{1.5}} {{0x10}} {{'a'}} {{true}} {{`raw\\n`}} {{\"q\\t\\\"\\u00e4\"}}",
            "1 1.5 16 97 true raw\\n q\t\"ä",
        ),
        (
            "{{1e21}} {{1e20}} {{0.00001}}",
            "1e+21 100000000000000000000 1e-05",
        ),
        ("{{getv \"/n\"}} {{getv \"/none\" \"deflt\"}}", "7 deflt"),
        (
            "{{get \"/n\"}} {{(get \"/n\").Value}} {{(get \"/n\").Key}}",
            "{/n 7} 7 /n",
        ),
        ("{{exists \"/n\"}}{{exists \"/services\"}}", "truefalse"),
        (
            "{{ls \"/services\"}} {{lsdir \"/services\"}} {{ls \"/services/myapp\"}} {{lsdir \"/services/myapp\"}}",
            "[myapp other] [myapp other] [domain upstreams] [upstreams]",
        ),
        (
            "{{ls \"/none\"}}{{ls \"/n\"}}{{lsdir \"/\"}}",
            "[][n][services]",
        ),
        (
            "{{range gets \"/services/*/upstreams/*\"}}{{base .Key}}={{.Value}} {{end}}",
            "frontend1=192.168.13.2:80 frontend2=:80 a=10.0.0.10:81 b=10.0.0.9:81 ",
        ),
        (
            "{{getvs \"/services/*/domain\"}} {{getvs \"/services/*\"}}",
            "[myapp.org other.org] []",
        ),
        (
            "{{getvs \"/services/other/upstreams/[^a]\"}}{{getvs \"/?\"}}",
            "[10.0.0.9:81][7]",
        ),
        // Missing values.
        ("{{(json (getv \"/json\")).none}}", "<no value>"),
        (
            "{{printf \"%v %s\" (json (getv \"/json\")).none nil}}",
            "<nil> %!s(<nil>)",
        ),
        (
            "{{with (json (getv \"/json\")).none}}is{{else}}is not{{end}}",
            "is not",
        ),
        // Control.
        (
            "{{if exists \"/a\"}}a{{else if exists \"/n\"}}n{{else}}none{{end}}",
            "n",
        ),
        (
            "{{if 0}}a{{else}}b{{end}}{{if \"\"}}a{{end}}{{if not \"\"}}c{{end}}",
            "bc",
        ),
        ("{{with get \"/n\"}}{{.Value}}{{end}}", "7"),
        ("{{with $x := getv \"/n\"}}{{$x}}{{.}}{{end}}", "77"),
        ("{{range gets \"/none/*\"}}x{{else}}none{{end}}", "none"),
        (
            "{{range $i, $e := split \"a:b:c\" \":\"}}{{if $i}},{{end}}{{$i}}{{$e}}{{end}}",
            "0a,1b,2c",
        ),
        (
            "{{range $e := seq 1 3}}{{$e}}{{end}}{{range $k, $v := json \"{\\\"b\\\":1,\\\"a\\\":2}\"}}{{$k}}{{$v}}{{end}}",
            "123a2b1",
        ),
        (
            "{{range seq 1 5}}{{if eq . 2}}{{continue}}{{end}}{{if eq . 4}}{{break}}{{end}}{{.}}{{end}}",
            "13",
        ),
        (
            "{{range $d := ls \"/services\"}}{{$base := printf \"/services/%s\" $d}}[{{$d}}{{range gets (printf \"%s/upstreams/*\" $base)}} {{$d}}-{{base .Key}}{{end}}]{{end}}",
            "[myapp myapp-frontend1 myapp-frontend2][other other-a other-b]",
        ),
        (
            "{{$x := 1}}{{range seq 1 3}}{{$x = add $x .}}{{end}}{{$x}}",
            "7",
        ),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        // Functions.
        (
            "{{index (split (getv \"/services/myapp/upstreams/frontend1\") \":\") 1}}",
            "80",
        ),
        ("{{\"a-b-c\" | printf \"%s!\" | toUpper}}", "A-B-C!"),
        (
            "{{join (split \"a,b\" \",\") \"+\"}}{{join (getvs \"/services/*/domain\") \" \"}}",
            "a+bmyapp.org other.org",
        ),
        (
            "{{replace \"aaa\" \"a\" \"b\" 2}}{{replace \"aaa\" \"a\" \"b\" -1}}{{trimSuffix \"x.org\" \".org\"}}{{toLower \"ABC\"}}",
            "bbabbbxabc",
        ),
        (
            "{{contains \"abc\" \"b\"}}{{dir \"/a/b/c\"}}{{dir \"x\"}}{{base \"/\"}}{{base \"/a/b/\"}}",
            "true/a/b./b",
        ),
        (
            "{{$d := json (getv \"/json\")}}{{$d.port}} {{index $d.tags 1}} {{len $d.tags}} {{$d.in}}",
            "80 y 2 map[a:<nil>]",
        ),
        (
            "{{range jsonArray \"[1.5,\\\"x\\\",true]\"}}{{.}} {{end}}",
            "1.5 x true ",
        ),
        (
            "{{add 1 2}}{{sub 5 7}}{{mul 2 3}}{{div 7 2}}{{mod 7 2}}{{atoi \"42\" | add 1}}",
            "3-263143",
        ),
        (
            "{{reverse (split \"a b c\" \" \")}}{{range reverse (gets \"/services/*/domain\")}}{{.Value}} {{end}}",
            "[c b a]other.org myapp.org ",
        ),
        (
            "{{eq \"a\" \"b\" \"a\"}}{{ne 1 2}}{{lt 1 2}}{{ge \"b\" \"a\"}}{{and 1 0}}{{or 0 \"\" 5}}{{and 1 2}}",
            "truetruetruetrue052",
        ),
        ("{{or true (getv \"/none\")}}", "true"),
        (
            "{{printf \"%d|%5d|%-5d|%05d|%q|%v|%%|%x\" 7 7 7 -7 \"a\\\"b\" 1.5 255}}",
            "7|    7|7    |-0007|\"a\\\"b\"|1.5|%|ff",
        ),
        (
            "{{printf \"%d %s\" \"x\"}}{{printf \"x\" 1}}{{printf \"%s\" 1}}",
            "%!d(string=x) %!s(MISSING)x%!(EXTRA int=1)%!s(int=1)",
        ),
        ("{{print 1 2 \"a\" 3}} {{println \"a\" 1}}", "1 2a3 a 1\n"),
        ("{{getenv \"NO_SUCH_NAME_HERE\" \"or this\"}}", "or this"),
        ("{{(map \"a\" 1 \"b\" 2).b}}{{parseBool \"T\"}}", "2true"),
    ] {
        assert_eq!(render(text), wanted, "{text}");
    }
}

#[test]
fn errors_name_line_and_cause() {
    for (text, wanted) in [
        (
            "a\n{{nofunc 1}}",
            "template: t:2: function \"nofunc\" not defined",
        ),
        ("{{$x}}", "template: t:1: undefined variable \"$x\""),
        (
            "{{range seq 1 2}}{{$y := 1}}{{end}}{{$y}}",
            "template: t:1: undefined variable \"$y\"",
        ),
        (
            "\n\n{{if true}}x",
            "template: t:3: unexpected EOF: {{if}} has no {{end}}",
        ),
        ("{{end}}", "template: t:1: unexpected {{end}}"),
        ("{{if}}x{{end}}", "template: t:1: missing value for if"),
        ("{{ \"open }}", "template: t:1: unterminated quoted string"),
        ("x{{ 1", "template: t:1: unclosed action"),
        ("{{(1}}", "template: t:1: unclosed left paren"),
        ("{{break}}", "template: t:1: {{break}} outside {{range}}"),
        (
            "\n{{getv \"/none\"}}",
            "template: t:2: executing \"t\" at <getv>: error calling getv: key does not exist: /none",
        ),
        (
            "{{if true}}\n{{(get \"/n\").Port}}{{end}}",
            "template: t:2: executing \"t\" at <(...).Port>: can't evaluate field Port in type memkv.KVPair",
        ),
        (
            "{{index (split \"a\" \":\") 1}}",
            "template: t:1: executing \"t\" at <index>: error calling index: index out of range: 1",
        ),
        (
            "{{.Key}}",
            "template: t:1: executing \"t\" at <.Key>: nil data; no entry for key \"Key\"",
        ),
        (
            "{{toUpper 1}}",
            "template: t:1: executing \"t\" at <toUpper>: error calling toUpper: wrong type for value; expected string; got int",
        ),
        (
            "{{eq 1 \"1\"}}",
            "template: t:1: executing \"t\" at <eq>: error calling eq: incompatible types for comparison",
        ),
        (
            "{{atoi \"x\"}}",
            "template: t:1: executing \"t\" at <atoi>: error calling atoi: strconv.Atoi: parsing \"x\": invalid syntax",
        ),
        (
            "{{getv}}",
            "template: t:1: executing \"t\" at <getv>: error calling getv: wrong number of args for getv: want 1 got 0",
        ),
    ] {
        assert_eq!(error(text), wanted, "{text}");
    }
}

/// Whatever the text, there is an answer.
#[test]
fn no_prefix_of_a_template_panics() {
    let text = "{{- range $i, $e := gets `/a/[a-z]*` -}}ä{{if eq \"ö\\u00e4\" 'x' | not}}{{.Key.x}}{{else if $i}}{{printf \"%05.2f%\" (1.5)}}{{end}}{{/* c */ -}}{{end}}";
    for end in (0..text.len()).filter(|end| text.is_char_boundary(*end)) {
        for start in (0..end).filter(|start| text.is_char_boundary(*start)) {
            if let Ok(template) = Template::parse("t", &text[start..end]) {
                let _ = template.render(&Value::Nil, &store());
            }
        }
    }
}

/// What is too deep, too many or too precise for this program.
#[test]
fn excess_is_an_error_or_cut_short() {
    let nested = |open: &str, inner: &str, close: &str, times: usize| {
        format!("{}{inner}{}", open.repeat(times), close.repeat(times))
    };
    for times in [101, 100_000] {
        for text in [
            format!("{{{{{}}}}}", nested("(", "1", ")", times)),
            nested("{{if 1}}", "x", "{{end}}", times),
            nested("{{with 1}}x{{else}}", "x", "{{end}}", times),
        ] {
            let said = error(&text);
            assert!(
                said.ends_with("blocks and parentheses in each other"),
                "{said}"
            );
        }
    }
    assert_eq!(
        render(&nested("{{if 1}}", "{{(((1)))}}", "{{end}}", 97)),
        "1"
    );
    let deep = "{{$x := map}}{{range seq 1 100000}}{{$x = map \"a\" $x}}{{end}}";
    assert!(error(deep).ends_with("values in each other"));
    let wide = "{{$x := map}}{{range seq 1 100}}{{$x = map \"a\" $x \"b\" $x}}{{end}}";
    assert!(error(wide).ends_with("a map of more than 1000000 values"));
    assert_eq!(render("{{printf \"%.70000f\" 1.5}}").len(), 65_537);
}

#[test]
fn paths_are_cleaned() {
    for (path, wanted) in [
        ("/", "/"),
        ("", "."),
        ("//a/./b/../c/", "/a/c"),
        ("/..", "/"),
        ("a/../..", ".."),
    ] {
        assert_eq!(clean(path), wanted);
    }
}

/// As the check command is put together.
#[test]
fn the_dot_can_be_a_map() {
    let root = Value::Map(BTreeMap::from([(
        "src".to_owned(),
        Value::Text("/etc/.x1".to_owned()),
    )]));
    let template = Template::parse("checkcmd", "haproxy -c -f {{.src}}").unwrap();
    assert_eq!(
        template.render(&root, &Store::default()).unwrap(),
        "haproxy -c -f /etc/.x1"
    );
}
