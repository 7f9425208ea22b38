//! etcd's keys, by the API that they were read with: v2 and v3 hold different ones.
pub(crate) mod access;
pub(crate) mod discover;
mod dump;
pub(crate) mod error;
mod near;
mod options;
pub(crate) mod read;
pub(crate) mod v2;
pub(crate) mod v3;

use std::fmt;
use std::path::PathBuf;

use crate::base64;
use serde::{Deserialize, Serialize};

pub use discover::{flannel_prefixes, told_api};
pub use near::is_near;
pub use options::{Named, Options, Said, TlsFiles, Url, User, Which, duration};
pub use read::read;

/// Longest value that is kept whole.
pub const LONGEST_VALUE: usize = 64 * 1024;
/// Keys that are read below one prefix.
pub const MOST_KEYS: usize = 200_000;
/// Who names a file of keys.
const KEYS: &str = "--keys";
/// How much of a longer value is kept.
const BEGINNING: usize = 1024;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Registry {
    /// Where they were asked for; none where nobody named one and none was found.
    pub endpoints: Vec<Endpoint>,
    /// The prefixes that were read.
    pub prefixes: Vec<String>,
    /// What it took to be let in.
    pub login: Login,
    pub v2: Api,
    pub v3: Api,
    pub keys: Vec<Key>,
}

/// What a client says of itself beside the endpoint, but for a password: files as they were named.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Login {
    pub cacert: Option<String>,
    pub cert: Option<String>,
    pub key: Option<String>,
    /// Whether certificates were not verified.
    pub insecure: bool,
    pub user: Option<String>,
}

impl Login {
    fn of(tls: &TlsFiles, user: Option<&User>) -> Login {
        let file = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        Login {
            cacert: file(&tls.cacert),
            cert: file(&tls.cert),
            key: file(&tls.key),
            insecure: tls.insecure,
            user: user.map(|user| user.name.clone()),
        }
    }
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// Without user and password.
    pub url: String,
    /// Who names it: `--etcd`, `ETCDCTL_ENDPOINTS`, `flanneld's command line (pid 758)`.
    pub named_by: String,
    /// `3.4.23`.
    pub version: Option<String>,
    /// What went wrong with it.
    pub error: Option<String>,
}

impl Endpoint {
    /// Whether it is a file of keys in place of an etcd.
    pub fn is_file(&self) -> bool {
        self.named_by == KEYS
    }
}

/// What became of asking by one API.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Api {
    #[default]
    NotAsked,
    /// It answered; `revision` is v3's revision or v2's X-Etcd-Index.
    Read {
        cluster: Option<String>,
        revision: u64,
    },
    /// etcd is there, and says that it does not speak it.
    Disabled,
    /// It could not be asked or did not answer: the sentence.
    Failed { why: String },
}

impl Api {
    pub fn is_read(&self) -> bool {
        matches!(self, Api::Read { .. })
    }
}

#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum ApiVersion {
    #[default]
    V2,
    V3,
}

impl fmt::Display for ApiVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ApiVersion::V2 => "v2",
            ApiVersion::V3 => "v3",
        })
    }
}

/// A key with its value. Directories of v2 are not among them, unless they are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Key {
    pub api: ApiVersion,
    /// Any bytes; what is no UTF-8 is `\xNN` in `key`, and `\` is `\\` then.
    pub key: String,
    pub value: Value,
    pub created: u64,
    /// Revision (v3) or index (v2) of the last change.
    pub modified: u64,
    /// How often it was written since it was created, of v3.
    pub version: Option<u64>,
    /// Seconds that it has left.
    pub ttl: Option<i64>,
    /// Seconds that its lease was granted for, of v3.
    pub granted_ttl: Option<i64>,
    /// A directory of v2 without entries.
    pub directory: bool,
    /// What it was before, the latest first; read of flannel's keys only, and only as far as
    /// etcd remembers.
    pub history: Vec<Past>,
}

/// A value that a key had.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Past {
    pub value: Value,
    pub modified: u64,
}

impl Key {
    /// How evidence names it: `/coreos.com/network/config @ 4711`.
    pub fn place(&self) -> String {
        format!("{} @ {}", self.key, self.modified)
    }

    /// How evidence names where it stands: `etcd v2`.
    pub fn source(&self) -> String {
        format!("etcd {}", self.api)
    }
}

/// A value's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", untagged)]
pub enum Value {
    Text(String),
    /// What is no UTF-8, in base64 (RFC 4648).
    Bytes {
        base64: String,
    },
    /// Too long to keep: its length and its beginning.
    Cut {
        bytes: u64,
        begins: String,
    },
}

impl Default for Value {
    fn default() -> Self {
        Value::Text(String::new())
    }
}

impl Value {
    /// A value as it came; a long one is cut.
    pub fn of(bytes: &[u8]) -> Value {
        if bytes.len() > LONGEST_VALUE {
            return Value::Cut {
                bytes: bytes.len() as u64,
                begins: String::from_utf8_lossy(&bytes[..BEGINNING]).into_owned(),
            };
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => Value::Text(text.to_owned()),
            Err(_) => Value::Bytes {
                base64: base64::encode(bytes),
            },
        }
    }

    /// Those of a value that is no text.
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Value::Bytes { base64 } => base64::decode(base64),
            Value::Text(_) | Value::Cut { .. } => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            Value::Bytes { .. } | Value::Cut { .. } => None,
        }
    }
}

/// A key's bytes as [`Key::key`] has them.
fn name(bytes: &[u8]) -> String {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.to_owned();
    }
    let mut name = String::new();
    for chunk in bytes.utf8_chunks() {
        name.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            name.push_str(&format!("\\x{byte:02x}"));
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_has_the_files_and_the_name_and_no_password() {
        let tls = TlsFiles {
            cacert: Some("/ca.pem".into()),
            insecure: true,
            ..TlsFiles::default()
        };
        let user = User {
            name: "root".to_owned(),
            password: "geheim".to_owned(),
        };
        let login = Login::of(&tls, Some(&user));
        assert_eq!(login.cacert.as_deref(), Some("/ca.pem"));
        assert_eq!(
            (login.user.as_deref(), login.insecure),
            (Some("root"), true)
        );
        let saved = serde_json::to_string(&login).expect("JSON");
        assert!(!saved.contains("geheim"), "{saved}");
    }
}
