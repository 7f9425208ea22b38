//! A template's text, cut into plain text and the tokens of its actions.

use anyhow::{Result, bail};

use super::value::Value;

/// What an action is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Token {
    /// A keyword or a function's name.
    Word(String),
    /// `.Name`
    Field(String),
    /// `$name`, without the sign; empty for `$` alone.
    Variable(String),
    Dot,
    Constant(Value),
    Open,
    Close,
    Pipe,
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

/// A token, where it stands, and whether it touches the one before it: `a.b`
/// is one term, `a .b` two.
#[derive(Debug, Clone, PartialEq)]
pub struct Placed {
    pub token: Token,
    pub line: usize,
    pub touches: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    Text(String),
    Action { line: usize, tokens: Vec<Placed> },
}

/// Go's white space for `{{-` and `-}}`.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Cuts a template. The error says on which line, `LINE: what`.
pub fn pieces(text: &str) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let (mut rest, mut line, mut trim_next) = (text, 1, false);
    loop {
        let (before, action) = match rest.split_once("{{") {
            Some((before, action)) => (before, Some(action)),
            None => (rest, None),
        };
        let start = line + lines(before);
        let trims = action.is_some_and(|action| {
            action
                .strip_prefix('-')
                .is_some_and(|after| after.starts_with(SPACE))
        });
        let mut plain = before;
        if trim_next {
            plain = plain.trim_start_matches(SPACE);
        }
        if trims {
            plain = plain.trim_end_matches(SPACE);
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain.to_owned()));
        }
        let Some(action) = action else {
            return Ok(pieces);
        };
        let action = if trims { &action[1..] } else { action };
        let (tokens, after, trims) = inside(action, start)?;
        line = start + lines(&action[..action.len() - after.len()]);
        if let Some(tokens) = tokens {
            pieces.push(Piece::Action {
                line: start,
                tokens,
            });
        }
        (rest, trim_next) = (after, trims);
    }
}

fn lines(text: &str) -> usize {
    text.bytes().filter(|&b| b == b'\n').count()
}

/// The tokens up to `}}`, none for a comment; what is behind; and whether
/// white space there is to go.
fn inside(action: &str, line: usize) -> Result<(Option<Vec<Placed>>, &str, bool)> {
    if let Some(comment) = action.trim_start_matches(SPACE).strip_prefix("/*") {
        let Some((_, after)) = comment.split_once("*/") else {
            bail!("{line}: unclosed comment");
        };
        let trimmed = after.trim_start_matches(SPACE);
        return match (after.strip_prefix("}}"), trimmed.strip_prefix("-}}")) {
            (Some(after), _) => Ok((None, after, false)),
            (None, Some(after)) => Ok((None, after, true)),
            (None, None) => bail!("{line}: comment ends before closing delimiter"),
        };
    }
    let (mut rest, mut line, mut touches) = (action, line, false);
    let mut tokens = Vec::new();
    loop {
        if let Some(after) = rest.strip_prefix("}}") {
            return Ok((Some(tokens), after, false));
        }
        let unspaced = rest.trim_start_matches(SPACE);
        if unspaced.len() < rest.len() {
            if let Some(after) = unspaced.strip_prefix("-}}") {
                return Ok((Some(tokens), after, true));
            }
            line += lines(&rest[..rest.len() - unspaced.len()]);
            (rest, touches) = (unspaced, false);
            continue;
        }
        let (token, len) = token(rest).map_err(|error| error.context(format!("{line}")))?;
        tokens.push(Placed {
            token,
            line,
            touches,
        });
        line += lines(&rest[..len]);
        (rest, touches) = (&rest[len..], true);
    }
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// How many bytes of `text` belong to a name.
fn name(text: &str) -> usize {
    text.find(|c| !is_name(c)).unwrap_or(text.len())
}

/// The first token of `text`, and its length.
fn token(text: &str) -> Result<(Token, usize)> {
    let Some(first) = text.chars().next() else {
        bail!("unclosed action");
    };
    let single = |token| Ok((token, 1));
    match first {
        '(' => single(Token::Open),
        ')' => single(Token::Close),
        '|' => single(Token::Pipe),
        ',' => single(Token::Comma),
        '=' => single(Token::Assign),
        ':' if text.starts_with(":=") => Ok((Token::Declare, 2)),
        '"' => quoted(text),
        '`' => match text[1..].find('`') {
            Some(end) => Ok((
                Token::Constant(Value::Text(text[1..=end].to_owned())),
                end + 2,
            )),
            None => bail!("unterminated raw quoted string"),
        },
        '\'' => character(text),
        '$' => {
            let end = 1 + name(&text[1..]);
            Ok((Token::Variable(text[1..end].to_owned()), end))
        }
        '.' => match name(&text[1..]) {
            0 => single(Token::Dot),
            len if text[1..].starts_with(|c: char| c.is_ascii_digit()) => number(&text[..=len]),
            len => Ok((Token::Field(text[1..=len].to_owned()), len + 1)),
        },
        c if c.is_ascii_digit() || c == '-' || c == '+' => {
            let in_number = |c: char| !(is_name(c) || c == '.');
            let end = text[1..].find(in_number).map_or(text.len(), |end| end + 1);
            number(&text[..end])
        }
        c if is_name(c) => {
            let len = name(text);
            let token = match &text[..len] {
                "true" => Token::Constant(Value::Bool(true)),
                "false" => Token::Constant(Value::Bool(false)),
                "nil" => Token::Constant(Value::Nil),
                word => Token::Word(word.to_owned()),
            };
            Ok((token, len))
        }
        c => bail!("unexpected {c:?} in command"),
    }
}

fn number(text: &str) -> Result<(Token, usize)> {
    let digits = text.trim_start_matches(['+', '-']);
    let hex = digits
        .strip_prefix("0x")
        .and_then(|digits| i64::from_str_radix(digits, 16).ok());
    let value = match (hex, text.parse::<i64>(), text.parse::<f64>()) {
        (Some(hex), ..) if text.starts_with('-') => Value::Int(-hex),
        (Some(hex), ..) => Value::Int(hex),
        (_, Ok(int), _) => Value::Int(int),
        (_, _, Ok(float)) if digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            Value::Float(float)
        }
        _ => bail!("bad number syntax: {text:?}"),
    };
    Ok((Token::Constant(value), text.len()))
}

fn quoted(text: &str) -> Result<(Token, usize)> {
    let mut value = String::new();
    let mut rest = &text[1..];
    loop {
        match rest.chars().next() {
            Some('"') => {
                let len = text.len() - rest.len() + 1;
                return Ok((Token::Constant(Value::Text(value)), len));
            }
            None | Some('\n') => bail!("unterminated quoted string"),
            Some('\\') => {
                let (c, len) = escape(rest)?;
                value.push(c);
                rest = &rest[len..];
            }
            Some(c) => {
                value.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
}

fn character(text: &str) -> Result<(Token, usize)> {
    let rest = &text[1..];
    let (c, len) = match rest.chars().next() {
        Some('\\') => escape(rest)?,
        Some(c) if c != '\'' && c != '\n' => (c, c.len_utf8()),
        _ => bail!("unterminated character constant"),
    };
    if !rest[len..].starts_with('\'') {
        bail!("unterminated character constant");
    }
    Ok((
        Token::Constant(Value::Int(i64::from(u32::from(c)))),
        len + 2,
    ))
}

/// What a backslash and what follows stand for, and their length.
fn escape(text: &str) -> Result<(char, usize)> {
    let hex = |digits: usize| {
        let code = text
            .get(2..2 + digits)
            .and_then(|code| u32::from_str_radix(code, 16).ok())
            .and_then(char::from_u32);
        code.map(|c| (c, 2 + digits))
    };
    let found = match text[1..].chars().next() {
        Some('n') => Some(('\n', 2)),
        Some('t') => Some(('\t', 2)),
        Some('r') => Some(('\r', 2)),
        Some('a') => Some(('\x07', 2)),
        Some('b') => Some(('\x08', 2)),
        Some('f') => Some(('\x0c', 2)),
        Some('v') => Some(('\x0b', 2)),
        Some(c @ ('\\' | '"' | '\'')) => Some((c, 2)),
        Some('x') => hex(2),
        Some('u') => hex(4),
        Some('U') => hex(8),
        _ => None,
    };
    match found {
        Some(found) => Ok(found),
        None => bail!("invalid syntax in a quoted string"),
    }
}
