//! Values of a template, and how Go prints and compares them.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, bail};

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value: nil, or an entry that a map does not have.
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
    /// What `get` and `gets` give.
    Pair {
        key: String,
        value: String,
    },
}

impl Value {
    /// Go's name of the type.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Value::Nil => "nil",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float64",
            Value::Text(_) => "string",
            Value::List(_) => "[]interface {}",
            Value::Map(_) => "map[string]interface {}",
            Value::Pair { .. } => "memkv.KVPair",
        }
    }

    /// How deep values are in each other, and how many they are.
    pub fn extent(&self) -> (usize, usize) {
        let all = |inner: &mut dyn Iterator<Item = &Value>| {
            inner.fold((1, 1), |(depth, count), value| {
                let (below, more) = value.extent();
                (depth.max(below + 1), count + more)
            })
        };
        match self {
            Value::List(list) => all(&mut list.iter()),
            Value::Map(map) => all(&mut map.values()),
            _ => (1, 1),
        }
    }

    /// Whether `if` takes it for true.
    pub fn is_true(&self) -> bool {
        match self {
            Value::Nil => false,
            Value::Bool(bool) => *bool,
            Value::Int(int) => *int != 0,
            Value::Float(float) => *float != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::List(list) => !list.is_empty(),
            Value::Map(map) => !map.is_empty(),
            Value::Pair { .. } => true,
        }
    }

    /// `.name` of it.
    pub fn field(&self, name: &str) -> Result<Value> {
        match self {
            Value::Map(map) => Ok(map.get(name).cloned().unwrap_or(Value::Nil)),
            Value::Pair { key, .. } if name == "Key" => Ok(Value::Text(key.clone())),
            Value::Pair { value, .. } if name == "Value" => Ok(Value::Text(value.clone())),
            Value::Nil => bail!("nil data; no entry for key {name:?}"),
            other => bail!("can't evaluate field {name} in type {}", other.type_name()),
        }
    }

    /// What `range` goes over: keys, if any but numbers, and elements.
    pub fn elements(&self) -> Result<Vec<(Value, Value)>> {
        match self {
            Value::Nil => Ok(Vec::new()),
            Value::List(list) => Ok(list
                .iter()
                .enumerate()
                .map(|(n, element)| (Value::from(n), element.clone()))
                .collect()),
            Value::Map(map) => Ok(map
                .iter()
                .map(|(key, element)| (Value::Text(key.clone()), element.clone()))
                .collect()),
            other => bail!("range can't iterate over {other}"),
        }
    }

    /// As `eq`, `lt` and their like compare; only what is alike can be compared.
    pub fn compare(&self, other: &Value) -> Result<Option<Ordering>> {
        match (self, other) {
            (Value::Int(a), Value::Int(b)) => Ok(Some(a.cmp(b))),
            (Value::Float(a), Value::Float(b)) => Ok(a.partial_cmp(b)),
            (Value::Text(a), Value::Text(b)) => Ok(Some(a.cmp(b))),
            (Value::Bool(a), Value::Bool(b)) => Ok(Some(a.cmp(b))),
            (Value::Nil, Value::Nil) => Ok(Some(Ordering::Equal)),
            (Value::List(_) | Value::Map(_) | Value::Pair { .. }, _) => {
                bail!("invalid type for comparison")
            }
            _ => bail!("incompatible types for comparison"),
        }
    }

    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Value {
        Value::List(
            texts
                .into_iter()
                .map(|text| Value::Text(text.into()))
                .collect(),
        )
    }
}

impl From<usize> for Value {
    fn from(n: usize) -> Value {
        Value::Int(i64::try_from(n).unwrap_or(i64::MAX))
    }
}

impl From<serde_json::Value> for Value {
    /// As Go's decoder gives it: every number is a float64.
    fn from(json: serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::Nil,
            serde_json::Value::Bool(bool) => Value::Bool(bool),
            serde_json::Value::Number(number) => Value::Float(number.as_f64().unwrap_or(f64::NAN)),
            serde_json::Value::String(text) => Value::Text(text),
            serde_json::Value::Array(list) => {
                Value::List(list.into_iter().map(Value::from).collect())
            }
            serde_json::Value::Object(map) => Value::Map(
                map.into_iter()
                    .map(|(key, value)| (key, Value::from(value)))
                    .collect(),
            ),
        }
    }
}

/// As Go's `%v`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Nil => f.write_str("<nil>"),
            Value::Bool(bool) => write!(f, "{bool}"),
            Value::Int(int) => write!(f, "{int}"),
            Value::Float(float) => write_float(f, *float),
            Value::Text(text) => f.write_str(text),
            Value::List(list) => {
                f.write_str("[")?;
                for (n, element) in list.iter().enumerate() {
                    let gap = if n == 0 { "" } else { " " };
                    write!(f, "{gap}{element}")?;
                }
                f.write_str("]")
            }
            Value::Map(map) => {
                f.write_str("map[")?;
                for (n, (key, element)) in map.iter().enumerate() {
                    let gap = if n == 0 { "" } else { " " };
                    write!(f, "{gap}{key}:{element}")?;
                }
                f.write_str("]")
            }
            Value::Pair { key, value } => write!(f, "{{{key} {value}}}"),
        }
    }
}

/// Go turns to exponents below 1e-4 and from 1e21 on, of two digits at least.
fn write_float(f: &mut fmt::Formatter<'_>, float: f64) -> fmt::Result {
    let size = float.abs();
    if float.is_nan() {
        f.write_str("NaN")
    } else if float.is_infinite() {
        f.write_str(if float > 0.0 { "+Inf" } else { "-Inf" })
    } else if size == 0.0 || (1e-4..1e21).contains(&size) {
        write!(f, "{float}")
    } else {
        let text = format!("{float:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent
            .strip_prefix('-')
            .map_or(('+', exponent), |digits| ('-', digits));
        write!(f, "{mantissa}e{sign}{digits:0>2}")
    }
}
