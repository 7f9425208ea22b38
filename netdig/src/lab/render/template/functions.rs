//! The functions of a template: Go's own and confd's.

use std::collections::BTreeMap;
use std::net::{IpAddr, ToSocketAddrs};

use anyhow::{Context, Result, bail};

use super::printf::{printf, quote};
use super::store::Store;
use super::value::Value;

/// Names and numbers of arguments, from and to.
const FUNCTIONS: &[(&str, usize, usize)] = &[
    ("add", 2, 2),
    ("and", 1, MANY),
    ("atoi", 1, 1),
    ("base", 1, 1),
    ("contains", 2, 2),
    ("dir", 1, 1),
    ("div", 2, 2),
    ("eq", 2, MANY),
    ("exists", 1, 1),
    ("fileExists", 1, 1),
    ("ge", 2, 2),
    ("get", 1, 1),
    ("getenv", 1, 2),
    ("gets", 1, 1),
    ("getv", 1, 2),
    ("getvs", 1, 1),
    ("gt", 2, 2),
    ("index", 1, MANY),
    ("join", 2, 2),
    ("json", 1, 1),
    ("jsonArray", 1, 1),
    ("le", 2, 2),
    ("len", 1, 1),
    ("lookupIP", 1, 1),
    ("lookupIPV4", 1, 1),
    ("lookupIPV6", 1, 1),
    ("ls", 1, 1),
    ("lsdir", 1, 1),
    ("lt", 2, 2),
    ("map", 0, MANY),
    ("mod", 2, 2),
    ("mul", 2, 2),
    ("ne", 2, 2),
    ("not", 1, 1),
    ("or", 1, MANY),
    ("parseBool", 1, 1),
    ("print", 0, MANY),
    ("printf", 1, MANY),
    ("println", 0, MANY),
    ("replace", 4, 4),
    ("reverse", 1, 1),
    ("seq", 2, 2),
    ("split", 2, 2),
    ("sub", 2, 2),
    ("toLower", 1, 1),
    ("toUpper", 1, 1),
    ("trimSuffix", 2, 2),
];

const MANY: usize = usize::MAX;
/// A template can put a map into itself again and again; each level takes of
/// the stack.
const DEEPEST: usize = 200;
const LARGEST: usize = 1_000_000;

pub fn is_known(name: &str) -> bool {
    FUNCTIONS.iter().any(|(known, ..)| *known == name)
}

/// Calls a function that is known.
pub fn call(name: &str, values: &[Value], store: &Store) -> Result<Value> {
    let found = FUNCTIONS.iter().find(|(known, ..)| *known == name);
    let (_, least, most) = found.with_context(|| format!("function {name:?} not defined"))?;
    if !(*least..=*most).contains(&values.len()) {
        bail!(
            "wrong number of args for {name}: want {least} got {}",
            values.len()
        );
    }
    let arguments = Arguments(values);
    if let Some(value) = of_keys(name, &arguments, store)? {
        return Ok(value);
    }
    if let Some(value) = of_text(name, &arguments)? {
        return Ok(value);
    }
    if let Some(value) = of_numbers(name, &arguments)? {
        return Ok(value);
    }
    match name {
        "eq" => any_equal(&values[0], &values[1..]).map(Value::Bool),
        "ne" => any_equal(&values[0], &values[1..]).map(|equal| Value::Bool(!equal)),
        "lt" | "le" | "gt" | "ge" => {
            let order = values[0].compare(&values[1])?;
            Ok(Value::Bool(match name {
                "lt" => order.is_some_and(|order| order.is_lt()),
                "le" => order.is_some_and(|order| order.is_le()),
                "gt" => order.is_some_and(|order| order.is_gt()),
                _ => order.is_some_and(|order| order.is_ge()),
            }))
        }
        "not" => Ok(Value::Bool(!values[0].is_true())),
        "len" => len(&values[0]),
        "index" => values[1..].iter().try_fold(values[0].clone(), index),
        "map" => map(values),
        "reverse" => Ok(match &values[0] {
            Value::List(list) => Value::List(list.iter().rev().cloned().collect()),
            other => other.clone(),
        }),
        "printf" => Ok(Value::Text(printf(arguments.text(0)?, &values[1..]))),
        "print" => Ok(Value::Text(print(values))),
        "println" => {
            let words: Vec<_> = values.iter().map(Value::to_string).collect();
            Ok(Value::Text(words.join(" ") + "\n"))
        }
        _ => bail!("function {name:?} not defined"),
    }
}

struct Arguments<'a>(&'a [Value]);

impl Arguments<'_> {
    fn text(&self, n: usize) -> Result<&str> {
        match self.0.get(n) {
            Some(Value::Text(text)) => Ok(text),
            other => bail!("{}", self.wrong("string", other)),
        }
    }

    fn int(&self, n: usize) -> Result<i64> {
        match self.0.get(n) {
            Some(Value::Int(int)) => Ok(*int),
            other => bail!("{}", self.wrong("int", other)),
        }
    }

    fn texts(&self, n: usize) -> Result<Vec<&str>> {
        let Some(Value::List(list)) = self.0.get(n) else {
            bail!("{}", self.wrong("[]string", self.0.get(n)));
        };
        list.iter()
            .map(|value| match value {
                Value::Text(text) => Ok(text.as_str()),
                other => bail!("{}", self.wrong("string", Some(other))),
            })
            .collect()
    }

    fn wrong(&self, expected: &str, got: Option<&Value>) -> String {
        let got = got.map_or("nothing", Value::type_name);
        format!("wrong type for value; expected {expected}; got {got}")
    }
}

/// Those that ask the store.
fn of_keys(name: &str, arguments: &Arguments, store: &Store) -> Result<Option<Value>> {
    Ok(Some(match name {
        "exists" => Value::Bool(store.has(arguments.text(0)?)),
        "get" => store.pair(arguments.text(0)?)?,
        "gets" => Value::List(store.pairs(arguments.text(0)?)?),
        "getv" => {
            let found = store.value(arguments.text(0)?);
            match arguments.0.len() {
                2 => Value::Text(found.unwrap_or(arguments.text(1)?).to_owned()),
                _ => Value::Text(found?.to_owned()),
            }
        }
        "getvs" => Value::texts(store.values(arguments.text(0)?)?),
        "ls" => Value::texts(store.names(arguments.text(0)?)),
        "lsdir" => Value::texts(store.folders(arguments.text(0)?)),
        _ => return Ok(None),
    }))
}

/// Those of Go's `strings`, `path`, `os`, `net` and `encoding/json`.
fn of_text(name: &str, arguments: &Arguments) -> Result<Option<Value>> {
    let text = |n| arguments.text(n);
    Ok(Some(match name {
        "base" => Value::Text(base(text(0)?)),
        "dir" => Value::Text(dir(text(0)?)),
        "split" => match (text(0)?, text(1)?) {
            (all, "") => Value::texts(all.chars()),
            (all, by) => Value::texts(all.split(by)),
        },
        "join" => Value::Text(arguments.texts(0)?.join(text(1)?)),
        "toUpper" => Value::Text(text(0)?.to_uppercase()),
        "toLower" => Value::Text(text(0)?.to_lowercase()),
        "contains" => Value::Bool(text(0)?.contains(text(1)?)),
        "replace" => Value::Text(match usize::try_from(arguments.int(3)?) {
            Ok(times) => text(0)?.replacen(text(1)?, text(2)?, times),
            Err(_) => text(0)?.replace(text(1)?, text(2)?),
        }),
        "trimSuffix" => {
            let whole = text(0)?;
            Value::Text(whole.strip_suffix(text(1)?).unwrap_or(whole).to_owned())
        }
        "getenv" => {
            let found = std::env::var(text(0)?).unwrap_or_default();
            match (found.is_empty(), arguments.0.len()) {
                (true, 2) => Value::Text(text(1)?.to_owned()),
                _ => Value::Text(found),
            }
        }
        "fileExists" => Value::Bool(std::path::Path::new(text(0)?).exists()),
        "json" => match json(text(0)?)? {
            map @ (Value::Map(_) | Value::Nil) => map,
            other => bail!(
                "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                json_name(&other)
            ),
        },
        "jsonArray" => match json(text(0)?)? {
            list @ (Value::List(_) | Value::Nil) => list,
            other => bail!(
                "json: cannot unmarshal {} into Go value of type []interface {{}}",
                json_name(&other)
            ),
        },
        "lookupIP" => look_up(text(0)?, |_| true),
        "lookupIPV4" => look_up(text(0)?, IpAddr::is_ipv4),
        "lookupIPV6" => look_up(text(0)?, IpAddr::is_ipv6),
        "atoi" => Value::Int(number(text(0)?)?),
        "parseBool" => Value::Bool(match text(0)? {
            "1" | "t" | "T" | "TRUE" | "true" | "True" => true,
            "0" | "f" | "F" | "FALSE" | "false" | "False" => false,
            other => bail!(
                "strconv.ParseBool: parsing {}: invalid syntax",
                quote(other)
            ),
        }),
        _ => return Ok(None),
    }))
}

fn of_numbers(name: &str, arguments: &Arguments) -> Result<Option<Value>> {
    if !matches!(name, "add" | "sub" | "mul" | "div" | "mod" | "seq") {
        return Ok(None);
    }
    let (a, b) = (arguments.int(0)?, arguments.int(1)?);
    Ok(Some(Value::Int(match name {
        "add" => a.wrapping_add(b),
        "sub" => a.wrapping_sub(b),
        "mul" => a.wrapping_mul(b),
        "div" | "mod" if b == 0 => bail!("runtime error: integer divide by zero"),
        "div" => a.wrapping_div(b),
        "mod" => a.wrapping_rem(b),
        _ if b.saturating_sub(a) > 1_000_000 => bail!("more than a million numbers"),
        _ => return Ok(Some(Value::List((a..=b).map(Value::Int).collect()))),
    })))
}

fn number(text: &str) -> Result<i64> {
    text.parse()
        .ok()
        .with_context(|| format!("strconv.Atoi: parsing {}: invalid syntax", quote(text)))
}

fn json(text: &str) -> Result<Value> {
    let parsed = serde_json::from_str::<serde_json::Value>(text);
    parsed.map(Value::from).context("invalid JSON")
}

const fn json_name(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Float(_) => "number",
        Value::List(_) => "array",
        Value::Map(_) | Value::Pair { .. } => "object",
        Value::Text(_) => "string",
        Value::Nil => "null",
    }
}

fn look_up(name: &str, wanted: impl Fn(&IpAddr) -> bool) -> Value {
    let mut found: Vec<String> = (name, 0)
        .to_socket_addrs()
        .into_iter()
        .flatten()
        .map(|address| address.ip())
        .filter(wanted)
        .map(|address| address.to_string())
        .collect();
    found.sort();
    found.dedup();
    Value::texts(found)
}

/// Go's `path.Base`.
fn base(path: &str) -> String {
    let trimmed = path.trim_end_matches('/');
    match (path.is_empty(), trimmed.is_empty()) {
        (true, _) => ".".to_owned(),
        (_, true) => "/".to_owned(),
        _ => trimmed.rsplit('/').next().unwrap_or(trimmed).to_owned(),
    }
}

/// Go's `path.Dir`.
fn dir(path: &str) -> String {
    clean(path.rfind('/').map_or("", |end| &path[..=end]))
}

/// Go's `path.Clean`.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

fn any_equal(one: &Value, others: &[Value]) -> Result<bool> {
    for other in others {
        if one.compare(other)?.is_some_and(|order| order.is_eq()) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn len(value: &Value) -> Result<Value> {
    match value {
        Value::Text(text) => Ok(Value::from(text.len())),
        Value::List(list) => Ok(Value::from(list.len())),
        Value::Map(map) => Ok(Value::from(map.len())),
        Value::Nil => bail!("len of nil pointer"),
        other => bail!("len of type {}", other.type_name()),
    }
}

fn index(value: Value, by: &Value) -> Result<Value> {
    match (&value, by) {
        (Value::List(list), Value::Int(n)) => {
            let found = usize::try_from(*n).ok().and_then(|n| list.get(n));
            found
                .cloned()
                .with_context(|| format!("index out of range: {n}"))
        }
        (Value::Text(text), Value::Int(n)) => {
            let found = usize::try_from(*n)
                .ok()
                .and_then(|n| text.as_bytes().get(n));
            let byte = found.with_context(|| format!("index out of range: {n}"))?;
            Ok(Value::Int(i64::from(*byte)))
        }
        (Value::Map(map), Value::Text(key)) => Ok(map.get(key).cloned().unwrap_or(Value::Nil)),
        (Value::List(_) | Value::Text(_), by) => {
            bail!("cannot index slice/array with type {}", by.type_name())
        }
        (Value::Map(_), by) => bail!("value has type {}; should be string", by.type_name()),
        (Value::Nil, _) => bail!("index of untyped nil"),
        (other, _) => bail!("can't index item of type {}", other.type_name()),
    }
}

fn map(values: &[Value]) -> Result<Value> {
    if !values.len().is_multiple_of(2) {
        bail!("invalid map call");
    }
    let mut map = BTreeMap::new();
    for pair in values.chunks_exact(2) {
        let Value::Text(key) = &pair[0] else {
            bail!("map keys must be strings");
        };
        map.insert(key.clone(), pair[1].clone());
    }
    let map = Value::Map(map);
    match map.extent() {
        (depth, _) if depth > DEEPEST => bail!("more than {DEEPEST} values in each other"),
        (_, count) if count > LARGEST => bail!("a map of more than {LARGEST} values"),
        _ => Ok(map),
    }
}

/// Go's `Sprint`: spaces between two of which neither is a text.
fn print(values: &[Value]) -> String {
    let mut out = String::new();
    let mut after_text = true;
    for value in values {
        let is_text = matches!(value, Value::Text(_));
        if !is_text && !after_text {
            out.push(' ');
        }
        out += &value.to_string();
        after_text = is_text;
    }
    out
}
