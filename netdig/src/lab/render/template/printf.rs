//! Go's `printf`, for what configuration files need.

use super::value::Value;

/// Rust formats a number with no more digits behind the point.
const MOST_PRECISE: usize = u16::MAX as usize;

/// Formats `values` as Go does, its complaints in the text included.
pub fn printf(format: &str, values: &[Value]) -> String {
    let mut out = String::new();
    let mut values = values.iter();
    let mut rest = format;
    while let Some((plain, directive)) = rest.split_once('%') {
        out += plain;
        let len = directive
            .find(|c: char| !matches!(c, '-' | '+' | ' ' | '#' | '.') && !c.is_ascii_digit());
        let Some((flags, verb)) = len.and_then(|len| {
            let verb = directive[len..].chars().next()?;
            Some((&directive[..len], verb))
        }) else {
            out += "%!(NOVERB)";
            rest = "";
            break;
        };
        rest = &directive[flags.len() + verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        match values.next() {
            None => out += &format!("%!{verb}(MISSING)"),
            Some(value) => out += &padded(&one(verb, flags, value), flags, value),
        }
    }
    out += rest;
    let extra: Vec<_> = values
        .map(|value| format!("{}={value}", type_shown(value)))
        .collect();
    if !extra.is_empty() {
        out += &format!("%!(EXTRA {})", extra.join(", "));
    }
    out
}

fn type_shown(value: &Value) -> &'static str {
    match value {
        Value::Nil => "<nil>",
        other => other.type_name(),
    }
}

fn one(verb: char, flags: &str, value: &Value) -> String {
    let precision = flags
        .split_once('.')
        .map(|(_, digits)| digits.parse::<usize>().unwrap_or(0).min(MOST_PRECISE));
    match (verb, value) {
        ('v', _) => value.to_string(),
        ('s' | 'q' | 'd' | 'x', Value::List(list)) => {
            let each: Vec<_> = list.iter().map(|value| one(verb, flags, value)).collect();
            format!("[{}]", each.join(" "))
        }
        ('s', Value::Text(text)) => match precision {
            Some(len) => text.chars().take(len).collect(),
            None => text.clone(),
        },
        ('s', Value::Pair { .. }) => value.to_string(),
        ('q', Value::Text(text)) => quote(text),
        ('d', Value::Int(int)) if flags.contains('+') => format!("{int:+}"),
        ('d', Value::Int(int)) => int.to_string(),
        ('x', Value::Int(int)) => match *int < 0 {
            true => format!("-{:x}", int.unsigned_abs()),
            false => format!("{int:x}"),
        },
        ('x', Value::Text(text)) => text.bytes().map(|b| format!("{b:02x}")).collect(),
        ('c', Value::Int(int)) => u32::try_from(*int)
            .ok()
            .and_then(char::from_u32)
            .unwrap_or(char::REPLACEMENT_CHARACTER)
            .to_string(),
        ('t', Value::Bool(bool)) => bool.to_string(),
        ('f', Value::Float(float)) => format!("{float:.*}", precision.unwrap_or(6)),
        ('g', Value::Float(_)) => value.to_string(),
        ('T', _) => type_shown(value).to_owned(),
        (_, Value::Nil) => format!("%!{verb}(<nil>)"),
        _ => format!("%!{verb}({}={value})", type_shown(value)),
    }
}

/// In double quotes, as Go writes it in source.
pub fn quote(text: &str) -> String {
    // Rust's differs only in how it writes what cannot be printed.
    format!("{text:?}")
}

fn padded(text: &str, flags: &str, value: &Value) -> String {
    let digits = flags.split('.').next().unwrap_or_default();
    let left = digits.contains('-');
    let digits = digits.trim_start_matches(['-', '+', ' ', '#']);
    let zeros = digits.starts_with('0') && !left;
    let width = digits.parse::<usize>().unwrap_or(0).min(1000);
    let missing = width.saturating_sub(text.chars().count());
    match (
        left,
        zeros && matches!(value, Value::Int(_) | Value::Float(_)),
    ) {
        (true, _) => format!("{text}{}", " ".repeat(missing)),
        (false, true) => {
            let (sign, number) = text.split_at(usize::from(text.starts_with(['-', '+'])));
            format!("{sign}{}{number}", "0".repeat(missing))
        }
        (false, false) => format!("{}{text}", " ".repeat(missing)),
    }
}
